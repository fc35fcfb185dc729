import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2, constants, createServer } from 'node:http2';
import { createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import {
  data,
  END_HEADERS,
  END_STREAM,
  type Fields,
  FrameType,
  headers,
  PREFACE,
  readFrames,
  reset,
  settings,
} from '../support/http2-frames.ts';
import { request } from './http2-hostile-table.ts';
import { httpFilter, httpRule, ingressPolicy, type RawClient, Rig, until } from './rig.ts';

const POLICY = ingressPolicy([
  httpFilter([
    httpRule({ path: '/v1/.*' }),
    httpRule({ path: '/add/.*', headerMatches: [{ name: 'User-Agent', value: 'x', mismatch: 'ADD' }] }),
  ]),
]);

const framesOf = (client: RawClient) => readFrames(Buffer.from(client.text, 'latin1'));
/** The RST that says that nothing is wrong: the stream is closed then, and may not be destroyed yet. */
const unfeigned = (stream: number): Buffer => reset(stream, constants.NGHTTP2_NO_ERROR);

async function portOf(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** A server of HTTP/2 that says of each stream what it is told to. */
class ScriptedServer {
  answer: (socket: Socket) => void = () => undefined;
  readonly server = createTcpServer((socket) => this.#accept(socket));
  readonly #sockets = new Set<Socket>();

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.write(settings());
    let bytes = Buffer.alloc(0);
    const onData = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk]);
      if (!readFrames(bytes.subarray(PREFACE.length)).some(({ type }) => type === FrameType.headers)) return;
      socket.off('data', onData).resume();
      this.answer(socket);
    };
    socket.on('data', onData);
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.server.close();
  }
}

describe('what is read of HTTP/2 and cannot be written', () => {
  const scripted = new ScriptedServer();
  let rig: Rig;
  before(async () => {
    const port = await portOf(scripted.server);
    rig = await new Rig({ dialPort: () => port }).start(POLICY);
  });
  after(async () => {
    await rig.stop();
    scripted.close();
  });

  async function send(...frames: Buffer[]): Promise<RawClient> {
    const client = await rig.client();
    return client.send(Buffer.concat([PREFACE, settings(), ...frames]));
  }

  /** An answer of 204 comes through on a new connection: the proxy is there still. */
  async function askHonestly(): Promise<void> {
    scripted.answer = (socket) => socket.write(headers(1, [[':status', '204']], END_HEADERS | END_STREAM));
    const client = await send(headers(1, request()));
    await until('an answer', () => framesOf(client).some(({ type }) => type === FrameType.headers));
    assert.equal(framesOf(client).find(({ type }) => type === FrameType.headers)?.payload[0], 0x89);
    client.destroy();
  }

  for (const [what, fields] of [
    ['an answer to a denied request', request({ ':method': 'POST', ':path': '/admin' })],
    ['an answer to what cannot be judged', request({ ':method': 'POST', ':path': '/v1/../a' })],
    ['100 to one that waits for it', request({ ':method': 'POST' }, [['expect', '100-continue']])],
  ] as const) {
    it(`${what} that was reset at once: the proxy lives on`, async () => {
      scripted.answer = () => undefined;
      const before = rig.records.length;
      const client = await send(headers(1, fields, END_HEADERS), unfeigned(1));
      await until('a record', () => rig.records.length > before);
      await askHonestly();
      client.destroy();
    });
  }

  const answers: readonly (readonly [what: string, frames: readonly Buffer[]])[] = [
    ['a status of 600', [headers(1, [[':status', '600']], END_HEADERS | END_STREAM)]],
    ['a status of 999', [headers(1, [[':status', '999']], END_HEADERS)]],
    [
      'HTTP2-Settings',
      [
        headers(
          1,
          [
            [':status', '200'],
            ['http2-settings', 'AA'],
          ],
          END_HEADERS | END_STREAM,
        ),
      ],
    ],
  ];
  for (const [what, frames] of answers) {
    it(`${what} of a server: 503 for its client, and the proxy lives on`, async () => {
      scripted.answer = (socket) => socket.write(Buffer.concat(frames));
      const before = rig.records.length;
      const client = await send(headers(1, request()));
      await until('an answer', () => framesOf(client).some(({ type }) => type === FrameType.headers));
      assert.deepEqual(
        rig.records.slice(before).map(({ l7 }) => l7.kind === 'http' && l7.status),
        [0, 503],
      );
      await askHonestly();
      client.destroy();
    });
  }

  const ok: Fields = [[':status', '200']];
  const settingsField: Fields = [['http2-settings', 'AA']];
  it('HTTP2-Settings in 103 and in trailers of a server: the answer comes, and no whole one', async () => {
    scripted.answer = (socket) =>
      socket.write(
        Buffer.concat([
          headers(1, [[':status', '103'], ...settingsField], END_HEADERS),
          headers(1, ok, END_HEADERS),
          data(1, 'abc', false),
          headers(1, settingsField, END_HEADERS | END_STREAM),
        ]),
      );
    const client = await send(headers(1, request()));
    await until('a reset', () => framesOf(client).some(({ type }) => type === FrameType.reset));
    assert.deepEqual(
      framesOf(client)
        .filter(({ type }) => type === FrameType.headers)
        .map(({ payload }) => payload[0]),
      [0x88],
    );
    await askHonestly();
    client.destroy();
  });

  it('one value more of a field that has one: the server gets both as one field', async () => {
    const server = createServer();
    const seen: unknown[] = [];
    server.on('stream', (stream, got) => {
      seen.push(got['user-agent'], got.cookie);
      stream.respond({ ':status': 200 }, { endStream: true });
    });
    const port = await portOf(server);
    await using adding = await new Rig({ dialPort: () => port }).start(POLICY);
    const session = connectHttp2(`http://${adding.address}:18080`);
    session.on('error', () => undefined);
    try {
      const stream = session.request({ ':path': '/add/a', 'user-agent': 'q', cookie: 'a=b' });
      stream.on('error', () => undefined);
      await until('the request', () => seen.length > 0);
      assert.deepEqual(seen, ['q, x', 'a=b']);
    } finally {
      session.destroy();
      server.close();
    }
  });
});
