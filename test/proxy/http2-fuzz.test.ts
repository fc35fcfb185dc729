import assert from 'node:assert/strict';
import { createServer, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
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
  windowUpdate,
} from '../support/http2-frames.ts';
import { request } from './http2-hostile-table.ts';
import { httpFilter, httpRule, ingressPolicy, Rig, until } from './rig.ts';

const POLICIES = ['/v1/.*', '/v2/.*'].map((path, i) =>
  ingressPolicy(
    [
      httpFilter([
        httpRule({ path }),
        httpRule({ path: '/role/.*', headers: ['X-Role: user'] }),
        httpRule({ path: '/add/.*', headerMatches: [{ name: 'User-Agent', value: 'x', mismatch: 'ADD' }] }),
      ]),
    ],
    i + 1,
  ),
);
const FIELDS: Fields = [
  ...[
    ['http2-settings', 'AA'],
    ['content-length', '5'],
    ['te', 'trailers'],
    ['expect', '100-continue'],
    ['cookie', 'a=b'],
    ['user-agent', 'q'],
    ['x-role', 'user'],
    ['set-cookie', 'a=b'],
    ['content-type', 'a'],
    ['content-type', 'b'],
    ['connection', 'close'],
    ['host', 'h'],
    ['age', '1'],
  ].map(([name = '', value = '']) => [name, value] as const),
];
const PATHS = ['/v1/a', '/v2/a', '/no', '/role/a', '/add/a', '*'];
const STATUSES = ['100', '103', '199', '200', '204', '304', '404', '600', '999'];
const STREAMS = [1, 3, 5, 7];
const ROUNDS = 60;
const CLIENTS = 8;

type Below = (n: number) => number;

/** Numbers from 0 to below `n`, the same for the same seed. */
function random(seed: number): Below {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return Math.floor((state / 0x80000000) * n);
  };
}

const pick = <T>(list: readonly T[], below: Below): T => list[below(list.length)] as T;
const some = (below: Below): Fields => Array.from({ length: below(4) }, () => pick(FIELDS, below));

/** What either side may send of a stream that there is, or is not. */
function anyFrame(below: Below): Buffer {
  const stream = pick(STREAMS, below);
  const frames = [
    () => data(stream, 'x'.repeat(below(16_000)), below(2) > 0),
    () => reset(stream, below(14)),
    () => windowUpdate(pick([0, stream], below), 1 + below(100_000)),
    () => settings([4, below(70_000)]),
    () => headers(stream, some(below), END_HEADERS | END_STREAM),
  ];
  return pick(frames, below)();
}

function clientFrame(below: Below, stream: number): Buffer {
  if (below(3) === 0) return anyFrame(below);
  const fields = request({ ':method': pick(['GET', 'POST', 'HEAD'], below), ':path': pick(PATHS, below) });
  const head = headers(stream, [...fields, ...some(below)], END_HEADERS | below(2));
  return below(3) === 0 ? Buffer.concat([head, reset(stream, below(2))]) : head;
}

function serverFrame(below: Below): Buffer {
  if (below(3) === 0) return anyFrame(below);
  const fields: Fields = [[':status', pick(STATUSES, below)], ...some(below)];
  return headers(pick(STREAMS, below), fields, END_HEADERS | below(2));
}

/** A server of HTTP/2 that says anything whenever it is told something. */
function anyServer(below: Below, sockets: Set<Socket>): ReturnType<typeof createServer> {
  return createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.write(settings());
    socket.on('data', () => {
      for (let i = below(4); i > 0 && socket.writable; i--) socket.write(serverFrame(below));
      if (below(40) === 0) socket.resetAndDestroy();
    });
  });
}

async function round(rig: Rig, below: Below): Promise<void> {
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => rig.client()));
  for (const client of clients) client.send(Buffer.concat([PREFACE, settings()]));
  for (let turn = 0; turn < 4; turn++) {
    for (const client of clients) if (client.socket.writable) client.send(clientFrame(below, 2 * turn + 1));
    await delay(below(3));
  }
  for (const { socket } of clients) if (below(2) > 0) socket.destroy();
  for (const { socket } of clients) if (!socket.destroyed) socket.resetAndDestroy();
}

describe('a proxy whose clients and servers speak any HTTP/2', () => {
  it('stays up while policies change, and answers the next request', async () => {
    const seed = Math.floor(Math.random() * 0x7fffffff);
    const below = random(seed);
    const sockets = new Set<Socket>();
    const server = anyServer(below, sockets);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    await using rig = await new Rig({ dialPort: () => port }).start(POLICIES[0]);
    try {
      for (let i = 0; i < ROUNDS; i++) {
        if (i % 10 === 9) await rig.apply(pick(POLICIES, below));
        await round(rig, below);
      }
      const client = await rig.client();
      client.send(Buffer.concat([PREFACE, settings(), headers(1, request({ ':path': '/no' }))]));
      const isAnswered = (): boolean =>
        readFrames(Buffer.from(client.text, 'latin1')).some(({ type }) => type === FrameType.headers);
      await until(`an answer, seed ${seed}`, isAnswered);
      assert.ok(rig.records.some(({ verdict, type }) => verdict === 'forwarded' && type === 'response'));
      client.destroy();
    } finally {
      for (const socket of sockets) socket.destroy();
      server.close();
    }
  });
});
