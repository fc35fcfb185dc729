import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it, type TestContext } from 'node:test';
import { Worker } from 'node:worker_threads';
import { createProbeEngine } from '../../probes/engine/index.ts';
import { AnswerReader } from '../../probes/http/answer.ts';
import { createHttpProbe, HEALTH_PORT } from '../../probes/http/index.ts';
import { createResponder, type Responder, type ResponderOptions } from '../../probes/responder/index.ts';
import type { Handshakes, ProbeResult } from '../../probes/types.ts';
import { loadSockets } from '../../src/base/sockets/index.ts';
import { answeringPair } from '../support/answering-pair.ts';
import { NetnsLab } from '../support/netns.ts';
import { rootOrSkip } from '../support/privilege.ts';
import { eventually } from '../support/process.ts';
import { until } from '../support/until.ts';
import { compileWire, Wire } from '../support/wire.ts';

function portOf(server: Pick<Server, 'address'>): number {
  return (server.address() as AddressInfo).port;
}

/** A TCP server that does with each connection as it likes. */
async function peer(t: TestContext, act: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    act(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return portOf(server);
}

/** A server that answers while this thread is busy. */
async function peerThread(t: TestContext): Promise<number> {
  const code = `
    const { parentPort } = require('node:worker_threads');
    const server = require('node:http').createServer((request, response) => response.end());
    server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));`;
  const worker = new Worker(code, { eval: true });
  t.after(() => worker.terminate());
  const [port] = await once(worker, 'message');
  return Number(port);
}

/** Keeps the event loop from turning. */
function block(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

async function probe(port: number, timeoutMs = 300): Promise<ProbeResult> {
  const http = createHttpProbe({ port, timeoutMs });
  try {
    return await http.probe('127.0.0.1');
  } finally {
    await http.stop();
  }
}

function failureOf(result: ProbeResult): string {
  assert.equal(result.kind, 'failure');
  return `${result.failure.kind}: ${result.failure.text}`;
}

describe('the HTTP probe', () => {
  it('splits the time of an answer into its parts', async (t) => {
    const port = await peer(t, (socket) => {
      setTimeout(() => socket.write('HTTP/1.1 200 OK\r\ncontent-le'), 30);
      setTimeout(() => socket.write('ngth: 2\r\n\r\nok'), 60);
    });
    const result = await probe(port);
    assert.equal(result.kind, 'reply');
    const { network = 0, connect = 0, firstByte = 0, client = -1, total = 0 } = result.phases ?? {};
    assert.ok(network > 0 && network < connect, JSON.stringify(result.phases));
    assert.equal(total - client, result.latencyNs);
    assert.ok(firstByte > 20e6 && total - firstByte > 10e6, JSON.stringify(result.phases));
  });

  it('takes the network part from whoever noted the handshake, and else from the kernel', async (t) => {
    const port = await peer(t, (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'));
    for (const noted of [1234, undefined]) {
      const asked: number[] = [];
      const handshakeNs = (fd: number): number | undefined => {
        asked.push(fd);
        return noted;
      };
      const http = createHttpProbe({ port, handshakes: { handshakeMark: undefined, handshakeNs } });
      const result = await http.probe('127.0.0.1');
      await http.stop();
      assert.equal(result.kind, 'reply');
      const { network = 0 } = result.phases ?? {};
      assert.ok(noted === undefined ? network > 0 && network % 1000 === 0 : network === noted, `${network}`);
      assert.equal(asked.length, 1);
    }
  });

  it('takes a blocked event loop for none of the network, nor for a peer that does not answer', async (t) => {
    const port = await peerThread(t);
    const http = createHttpProbe({ port, timeoutMs: 150 });
    await http.probe('127.0.0.1');
    const result = http.probe('127.0.0.1');
    block(300);
    const reply = await result;
    assert.equal(reply.kind, 'reply', JSON.stringify(reply));
    const { network = 0, connect = 0, client = 0 } = reply.phases ?? {};
    assert.ok(connect >= 300e6 && client >= 290e6, JSON.stringify(reply.phases));
    assert.ok(network > 0 && network < 100e6 && (reply.latencyNs ?? 0) < 200e6, JSON.stringify(reply));
    await http.stop();
  });

  it('tells a closed port from a peer that hangs up', async (t) => {
    const closed = createServer();
    closed.listen(0, '127.0.0.1');
    await once(closed, 'listening');
    const port = portOf(closed);
    closed.close();
    await once(closed, 'close');
    assert.equal(failureOf(await probe(port)), 'refused: connection refused');
    const rude = await peer(t, (socket) => socket.resetAndDestroy());
    assert.match(failureOf(await probe(rude)), /^(reset|bad-answer): /);
    const silent = await peer(t, (socket) => socket.end());
    assert.equal(failureOf(await probe(silent)), 'bad-answer: closed without an answer');
  });

  it('tells a peer that accepts and says nothing, within its deadline', async (t) => {
    const port = await peer(t, () => undefined);
    const start = performance.now();
    assert.equal(failureOf(await probe(port, 100)), 'timeout: connected, but no answer within 100 ms');
    assert.ok(performance.now() - start < 1000);
  });

  for (const [answer, text] of [
    ['HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n', 'HTTP status 503'],
    ['SSH-2.0-OpenSSH\r\n', 'answer is not HTTP'],
    ['HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\nx', 'answer cut short'],
    [`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(20_000)}`, 'answer longer than 16384 bytes'],
  ] as const) {
    it(`does not take for an answer: ${text}`, async (t) => {
      const port = await peer(t, (socket) => socket.end(answer));
      assert.equal(failureOf(await probe(port)), `bad-answer: ${text}`);
    });
  }

  it('reads an answer however it is cut', () => {
    const text = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello';
    for (let cut = 1; cut < text.length; cut++) {
      const reader = new AnswerReader();
      assert.equal(reader.push(Buffer.from(text.slice(0, cut))).kind, 'more', `at ${cut}`);
      assert.deepEqual(reader.push(Buffer.from(text.slice(cut))), { kind: 'complete', status: 200 });
    }
  });

  it('ends what is under way as not probed when it is stopped', async (t) => {
    const port = await peer(t, () => undefined);
    const http = createHttpProbe({ port, timeoutMs: 5000 });
    const result = http.probe('127.0.0.1');
    await http.stop();
    assert.equal((await result).kind, 'not-probed');
  });
});

describe('the HTTP probe from another network namespace', { skip: rootOrSkip() }, () => {
  const lab = new NetnsLab('p');
  after(() => lab.cleanUp());

  it('connects there, and says which namespace there is none', async (t) => {
    const netns = lab.path(await lab.namespace('a'));
    const bind = { address: '127.0.0.1', port: 0 };
    const fd = loadSockets().openSocket({ family: 4, type: 'stream', netns, bind, listen: 8 });
    const responder = createResponder({ listen: [{ kind: 'fd', fd }] });
    await responder.start();
    t.after(() => responder.stop());
    const port = Number(responder.addresses()[0]?.split(':')[1]);
    const inside = createHttpProbe({ port, netns });
    assert.equal((await inside.probe('127.0.0.1')).kind, 'reply');
    assert.equal(failureOf(await probe(port)), 'refused: connection refused');
    const nowhere = createHttpProbe({ port, netns: '/run/netns/none-such' });
    assert.match(failureOf(await nowhere.probe('127.0.0.1')), /^send-failed: .*none-such/);
  });
});

describe('the HTTP probe on the wire', { skip: rootOrSkip() }, () => {
  const lab = new NetnsLab('p');
  const folder = mkdtempSync(join(tmpdir(), 'http-'));
  after(async () => {
    await lab.cleanUp();
    rmSync(folder, { recursive: true });
  });

  it('bears the DSCP that it is told to, over both families', async (t) => {
    const [here, there] = [await lab.namespace('a'), await lab.namespace('b')];
    await lab.veth(
      { name: 'eth0', netns: here, addresses: ['10.1.0.1/24', 'fd01::1/64'] },
      { name: 'eth0', netns: there, addresses: ['10.1.0.2/24', 'fd01::2/64'] },
    );
    const wire = await Wire.open(await compileWire(folder), there);
    t.after(() => wire.close());
    const dscpOf = (frame: Buffer): string | undefined => {
      const v6 = frame.readUInt16BE(12) === 0x86dd;
      const isTcp = frame[v6 ? 20 : 23] === 6;
      return isTcp
        ? `${v6 ? 6 : 4}: ${v6 ? (frame.readUInt16BE(14) >> 6) & 63 : frame.readUInt8(15) >> 2}`
        : undefined;
    };
    for (const dscp of [46, undefined]) {
      const http = createHttpProbe({ netns: lab.path(here), dscp });
      for (const address of ['10.1.0.2', 'fd01::2'])
        assert.equal(failureOf(await http.probe(address)), 'refused: connection refused');
      await http.stop();
    }
    const expected = ['4: 46', '6: 46', '4: 0', '6: 0'];
    await until(() => wire.received.filter((frame) => dscpOf(frame) !== undefined).length >= expected.length);
    assert.deepEqual(
      wire.received.map(dscpOf).filter((one) => one !== undefined),
      expected,
    );
  });
});

describe('the HTTP probe and programs on the device', { skip: rootOrSkip() }, () => {
  const lab = new NetnsLab('p');
  after(() => lab.cleanUp());

  it('tell the network part while they stand there; else it is that of the kernel, in whole microseconds', async (t) => {
    const { here, there } = await answeringPair(lab);
    const bind = { address: '10.1.0.2', port: HEALTH_PORT };
    const listener = { family: 4, type: 'stream', netns: lab.path(there), bind, listen: 8 } as const;
    const responder = createResponder({ listen: [{ kind: 'fd', fd: loadSockets().openSocket(listener) }] });
    await responder.start();
    t.after(() => responder.stop());
    const netns = lab.path(here);
    const netnsFd = openSync(netns, 'r');
    t.after(() => closeSync(netnsFd));
    const devices = [loadSockets().interfaceIndex('eth0', netns)];
    const parts = async (handshakes: Handshakes): Promise<number[]> => {
      const http = createHttpProbe({ netns, timeoutMs: 5000, handshakes });
      const found: number[] = [];
      for (let i = 0; i < 10; i++) {
        const result = await http.probe('10.1.0.2');
        assert.equal(result.kind, 'reply', JSON.stringify(result));
        assert.ok((result.phases?.network ?? 0) > 0, JSON.stringify(result));
        found.push(result.phases?.network ?? 0);
      }
      await http.stop();
      return found;
    };
    const isWhole = (ns: number): boolean => ns % 1000 === 0;
    const engine = createProbeEngine({ origins: [{ netnsFd, devices }], mode: 'bpf', pathsMax: 64 });
    t.after(() => engine.stop());
    const noted = await parts(engine);
    // All of them by chance: once in 10^30 runs.
    assert.ok(!noted.every(isWhole), noted.join());
    engine.setDevices(0, []);
    assert.ok((await parts(engine)).every(isWhole));
    const raw = createProbeEngine({ origins: [{ netnsFd }], mode: 'raw', pathsMax: 64 });
    t.after(() => raw.stop());
    assert.ok((await parts(raw)).every(isWhole));
  });
});

describe('the responder', () => {
  async function start(
    t: TestContext,
    options: Omit<ResponderOptions, 'listen'> = {},
  ): Promise<{ responder: Responder; port: number }> {
    const responder = createResponder({
      listen: [{ kind: 'address', host: '127.0.0.1', port: 0 }],
      ...options,
    });
    await responder.start();
    t.after(() => responder.stop());
    return { responder, port: Number(responder.addresses()[0]?.split(':')[1]) };
  }

  /** Sends bytes and reads until the connection ends. */
  async function talk(port: number, text: string, localAddress = '127.0.0.1'): Promise<string> {
    const socket = connect({ port, host: '127.0.0.1', localAddress });
    let answer = '';
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1');
    });
    socket.on('error', () => undefined);
    socket.write(text);
    // `once` would reject on a reset, which is an answer too.
    await new Promise((resolve) => socket.once('close', resolve));
    return answer;
  }

  it('says hello on both paths and nothing else', async (t) => {
    const { responder, port } = await start(t);
    const get = (line: string): Promise<string> =>
      talk(port, `${line}\r\nHost: x\r\nConnection: close\r\n\r\n`);
    for (const path of ['/hello', '/v1beta/hello'])
      assert.match(await get(`GET ${path} HTTP/1.1`), /^HTTP\/1.1 200 /);
    for (const path of ['/', '/metrics', '/hello/x'])
      assert.match(await get(`GET ${path} HTTP/1.1`), /^HTTP\/1.1 404 /);
    assert.match(await get('POST /hello HTTP/1.1'), /^HTTP\/1.1 405 /);
    assert.deepEqual(responder.counters(), { answered: 2, notFound: 3, refused: 1, dropped: 0 });
  });

  it('refuses bodies, long heads and what is no HTTP', async (t) => {
    const { port } = await start(t);
    assert.match(
      await talk(port, 'GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello'),
      /^HTTP\/1.1 413 /,
    );
    assert.match(
      await talk(port, `GET /hello HTTP/1.1\r\nx: ${'y'.repeat(5000)}\r\n\r\n`),
      /^HTTP\/1.1 431 /,
    );
    assert.match(await talk(port, 'HELO there\r\n\r\n'), /^HTTP\/1.1 400 /);
  });

  it('hangs up on a client that takes its time', async (t) => {
    const { port } = await start(t, { requestTimeoutMs: 100 });
    const before = performance.now();
    await talk(port, 'GET /hello HTTP/1.1\r\nHost:');
    assert.ok(performance.now() - before < 2000);
  });

  it('holds no more connections than it may, and answers again when they end', async (t) => {
    const { responder, port } = await start(t, { connectionsMax: 2 });
    const idle = [connect(port, '127.0.0.1'), connect(port, '127.0.0.1')];
    await Promise.all(idle.map((socket) => once(socket, 'connect')));
    await talk(port, 'GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    assert.equal(responder.counters().dropped, 1);
    for (const socket of idle) socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.match(await talk(port, 'GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'), /200/);
  });

  it('answers those it expects however many strangers hold connections, and strangers again when those have gone', async (t) => {
    const expected = '127.0.0.1';
    const { responder, port } = await start(t, { isExpected: (address) => address === expected });
    const held: Socket[] = [];
    t.after(() => {
      for (const socket of held) socket.destroy();
    });
    const hold = async (localAddress: string, count: number): Promise<void> => {
      const sockets = Array.from({ length: count }, () => connect({ host: expected, port, localAddress }));
      for (const socket of sockets) socket.on('error', () => undefined);
      held.push(...sockets);
      await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    };
    const hello = 'GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
    await hold('127.0.0.2', 64);
    assert.equal(await talk(port, hello, '127.0.0.2'), '');
    await hold('127.0.0.3', 64);
    assert.equal(await talk(port, hello, '127.0.0.4'), '');
    assert.equal(responder.counters().dropped, 2);
    assert.match(await talk(port, hello), /^HTTP\/1.1 200 /);
    for (const socket of held.splice(0)) socket.destroy();
    await eventually(
      'strangers are answered again',
      async () => (await talk(port, hello, '127.0.0.4')).startsWith('HTTP/1.1 200 ') || undefined,
    );
    await hold(expected, 64);
    assert.equal(await talk(port, hello), '');
  });

  it('says where it cannot listen, and leaves nothing open', async (t) => {
    const { port } = await start(t);
    const second = createResponder({
      listen: [
        { kind: 'address', host: '127.0.0.1', port: 0 },
        { kind: 'address', host: '127.0.0.1', port },
      ],
    });
    await assert.rejects(second.start(), {
      code: 'RESPONDER_LISTEN',
      message: new RegExp(`127.0.0.1 port ${port}`),
    });
  });
});
