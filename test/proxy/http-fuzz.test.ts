import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { httpFilter, httpRule, ingressPolicy, Rig, until } from './rig.ts';

const V1 = ingressPolicy([httpFilter([httpRule({ path: '/v1/.*' })])]);
const HONEST = 'GET /v1/honest HTTP/1.1\r\nHost: h\r\n\r\n';
const REQUESTS = [
  'GET /v1/a HTTP/1.1\r\nHost: h\r\n\r\n',
  'POST /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello',
  'POST /v1/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  'GET /x HTTP/1.1\r\nHost: h\r\n\r\n',
  'GET /v1/w HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: w\r\n\r\n',
  'POST /v1/a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello',
  'HEAD /v1/a HTTP/1.0\r\n\r\n',
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0',
];
const ANSWERS = [
  'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
  'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
  'HTTP/1.1 101 S\r\n\r\n',
  'HTTP/1.1 100 C\r\n\r\n',
  'HTTP/1.0 200 OK\r\n\r\nbye',
  'HTTP/1.1 304 N\r\n\r\n',
  'garbage\r\n\r\n',
];
const ROUNDS = 8;
const CLIENTS = 20;

/** Numbers from 0 to below `n`, the same for the same seed. */
function random(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return Math.floor((state / 0x80000000) * n);
  };
}

/** Mostly the text; else one with something taken out, put in, or changed. */
function mutated(text: string, below: (n: number) => number): string {
  if (below(3) > 0) return text;
  const at = below(text.length);
  if (below(2) > 0) return text.slice(0, at) + text.slice(at + 1 + below(4));
  return text.slice(0, at) + String.fromCharCode(below(256)) + text.slice(at + below(2));
}

function pick(texts: readonly string[], below: (n: number) => number): string {
  return mutated(texts[below(texts.length)] ?? '', below);
}

async function round(rig: Rig, below: (n: number) => number): Promise<void> {
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => rig.client()));
  for (let turn = 0; turn < 6; turn++) {
    for (const client of clients) {
      if (!client.socket.writable) continue;
      const text = Array.from({ length: 1 + below(4) }, () => pick(REQUESTS, below)).join('');
      const cut = below(text.length);
      client.send(text.slice(0, cut));
      if (below(2) > 0) client.send(text.slice(cut));
      const act = below(20);
      if (act === 0) client.socket.end();
      else if (act === 1) client.socket.resetAndDestroy();
    }
    await delay(2);
  }
  for (const client of clients) client.destroy();
  rig.server.forget();
}

const descriptors = (): number => readdirSync('/proc/self/fd').length;

describe('a proxy whose clients and servers send anything and end anyhow', () => {
  it('stays up, serves the next honest request, and keeps no descriptor', async () => {
    const seed = Math.floor(Math.random() * 0x7fffffff);
    const below = random(seed);
    const before = descriptors();
    const rig = await new Rig({ http: { lingerMs: 20, headTimeoutMs: 500, pipelined: 3 } }).start(V1);
    const honestly = rig.server.answer;
    rig.server.answer = (socket) => {
      for (let i = below(3); i >= 0; i--) socket.write(Buffer.from(pick(ANSWERS, below), 'latin1'));
      const act = below(12);
      if (act === 0) socket.end();
      // Not behind a FIN: see src/proxy/reset.ts.
      else if (act === 1 && !socket.writableEnded) socket.resetAndDestroy();
    };
    for (let i = 0; i < ROUNDS; i++) await round(rig, below);
    rig.server.answer = honestly;
    const client = await rig.client();
    client.send(HONEST);
    assert.deepEqual(await client.answers(1), [200], `seed ${seed}`);
    client.destroy();
    await rig.stop();
    await until(`no descriptor left (seed ${seed}): ${before} before`, () => descriptors() <= before);
  });
});
