import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  type ClientHttp2Session,
  connect,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
} from 'node:http2';
import { after, before, beforeEach, describe, it } from 'node:test';
import { END_STREAM, FrameType, headers, PREFACE, readFrames, settings } from '../support/http2-frames.ts';
import { LATER, PSEUDO, type Refusal, request, TABLE, UNWRITABLE } from './http2-hostile-table.ts';
import { httpFilter, httpRule, ingressPolicy, type RawClient, Rig, until } from './rig.ts';

/** Everything below /v1/ may be asked for, by these methods. */
const POLICY = ingressPolicy([
  httpFilter([
    httpRule({ method: 'GET|POST', path: '/v1/.*' }),
    httpRule({ path: '/role/.*', headers: ['X-Role: user'] }),
  ]),
]);

/** What a server saw of a stream. */
interface SeenStream {
  readonly headers: IncomingHttpHeaders;
  trailers: IncomingHttpHeaders | undefined;
  body: string;
  /** The client's side ended as it should. */
  whole: boolean;
}

/** An HTTP/2 server that keeps what it sees. */
class WatchedServer {
  readonly server: Http2Server = createServer();
  readonly streams: SeenStream[] = [];
  connections = 0;

  constructor() {
    this.server.on('connection', () => {
      this.connections++;
    });
    this.server.on('sessionError', () => undefined);
    this.server.on('stream', (stream, got) => {
      const seen: SeenStream = { headers: got, trailers: undefined, body: '', whole: false };
      this.streams.push(seen);
      stream.on('error', () => undefined);
      stream.on('data', (chunk) => {
        seen.body += String(chunk);
      });
      stream.on('trailers', (trailers) => {
        seen.trailers = trailers;
      });
      stream.on('end', () => {
        seen.whole = !stream.aborted && stream.rstCode === 0;
        if (stream.writable) stream.end('ok');
      });
    });
  }

  async listen(): Promise<number> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    const address = this.server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  forget(): void {
    this.streams.length = 0;
    this.connections = 0;
  }
}

function ask(session: ClientHttp2Session): Promise<number> {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':path': '/v1/honest' });
    stream.on('response', (got) => resolve(Number(got[':status'])));
    stream.on('error', reject);
    stream.resume();
  });
}

/** Whether the proxy has refused, by the frames and the end that came. */
function refusalOf(client: RawClient): Refusal | undefined {
  const frames = readFrames(Buffer.from(client.text, 'latin1'));
  if (client.ended || client.closed || frames.some(({ type }) => type === FrameType.goAway)) return 'ended';
  if (frames.some(({ type }) => type === FrameType.reset)) return 'reset';
  return frames.some(({ type }) => type === FrameType.headers) ? 'answered' : undefined;
}

/** `:status: 200` of HPACK's static table. */
const STATUS_200 = 0x88;

describe('hostile HTTP/2', () => {
  const watched = new WatchedServer();
  let rig: Rig;
  before(async () => {
    const port = await watched.listen();
    rig = await new Rig({ dialPort: () => port }).start(POLICY);
  });
  after(async () => {
    await rig.stop();
    watched.server.close();
  });
  beforeEach(() => watched.forget());

  async function send(bytes: Buffer): Promise<RawClient> {
    const client = await rig.client();
    client.send(Buffer.concat([PREFACE, settings(), bytes]));
    return client;
  }

  /** Ends the hostile connection and asks on a new one. @returns streams that the server saw before */
  async function endThenAskHonestly(client: RawClient): Promise<readonly SeenStream[]> {
    if (client.socket.writable) client.send(headers(0x7fff_ffff, request({ ':path': '/admin' })));
    client.socket.end();
    await until('closed', () => client.closed || client.ended);
    client.destroy();
    const seen = [...watched.streams];
    const session = connect(`http://${rig.address}:18080`);
    session.on('error', () => undefined);
    try {
      assert.equal(await ask(session), 200);
    } finally {
      session.destroy();
    }
    const [honest, ...others] = watched.streams.slice(seen.length);
    assert.equal(honest?.headers[':path'], '/v1/honest');
    assert.deepEqual(others, []);
    return seen;
  }

  for (const { what, bytes, refused } of TABLE) {
    it(`${what}: is refused, and does not reach the server`, async () => {
      const client = await send(bytes);
      await until('a refusal', () => refusalOf(client) === refused, 2000);
      assert.equal(refusalOf(client), refused);
      const answers = readFrames(Buffer.from(client.text, 'latin1')).filter(
        ({ type }) => type === FrameType.headers,
      );
      assert.ok(answers.every(({ payload }) => payload[0] !== STATUS_200));
      assert.deepEqual(await endThenAskHonestly(client), []);
      assert.equal(watched.connections, 1, 'nobody was dialed for it');
    });
  }

  for (const [what, name, value] of UNWRITABLE) {
    it(`${what}: does not reach the server with its request`, async () => {
      const client = await send(headers(1, request({}, [[name, value]])));
      await until('the request', () => watched.streams.length === 1);
      const [seen, ...others] = await endThenAskHonestly(client);
      const fields = Object.keys(seen?.headers ?? {}).filter((key) => !(key in PSEUDO));
      assert.deepEqual([fields, others], [[], []]);
    });
  }

  for (const [what, bytes] of LATER) {
    it(`${what}: never reaches the server whole`, async () => {
      const client = await send(bytes);
      await until('a refusal', () => refusalOf(client) !== undefined || what.includes('reset'), 2000);
      for (const { whole, trailers } of await endThenAskHonestly(client))
        assert.deepEqual([whole, trailers], [false, undefined]);
    });
  }

  it('whose preface comes in pieces is judged all the same', async () => {
    const client = await rig.client();
    const all = Buffer.concat([PREFACE, settings(), headers(1, request({ ':path': '/admin' }))]);
    for (const byte of all) {
      client.send(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until('an answer', () => refusalOf(client) === 'answered');
    assert.deepEqual(await endThenAskHonestly(client), []);
    assert.equal(watched.connections, 1);
  });

  for (const [what, text] of [
    ['a preface with another end', 'PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n'],
    ['a preface with fields', 'PRI * HTTP/2.0\r\nHost: h\r\n\r\nSM\r\n\r\n'],
    ['a preface of another version', 'PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n'],
  ] as const) {
    it(`${what}: is no HTTP/2, and refused`, async () => {
      const client = await rig.client();
      client.send(Buffer.concat([Buffer.from(text, 'latin1'), settings(), headers(1, request())]));
      assert.deepEqual(await client.answers(1), [505]);
      await client.end();
      assert.deepEqual(await endThenAskHonestly(client), []);
      assert.equal(watched.connections, 1);
    });
  }

  it('half a header block and nothing more: is ended in time', async () => {
    await using slow = await new Rig({ http: { openingTimeoutMs: 50 } }).start(POLICY);
    const client = await slow.client();
    client.send(Buffer.concat([PREFACE, settings(), headers(1, request(), END_STREAM)]));
    await client.end();
    client.destroy();
    assert.equal(slow.server.connections.length, 0);
  });

  it('half a preface and the end: is dropped', async () => {
    const client = await rig.client();
    client.send(PREFACE.subarray(0, 10));
    client.socket.end();
    await client.end();
    assert.equal(client.text, '');
    assert.deepEqual(await endThenAskHonestly(client), []);
  });

  it('asked for by an upgrade is not spoken: the server sees HTTP/1.1 without it, and no frames', async () => {
    await using plain = await new Rig().start(POLICY);
    const client = await plain.client();
    const asked =
      'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n';
    client.send(`GET /v1/a HTTP/1.1\r\nHost: h\r\n${asked}\r\n`);
    client.send(Buffer.concat([PREFACE, settings(), headers(1, request({ ':path': '/admin' }))]));
    assert.deepEqual(await client.answers(2), [200, 505]);
    await client.end();
    client.destroy();
    assert.equal(plain.server.text, 'GET /v1/a HTTP/1.1\r\nHost: h\r\n\r\n');
  });

  it('is a table of at least 25', () => {
    assert.ok(TABLE.length >= 25, `${TABLE.length}`);
  });
});
