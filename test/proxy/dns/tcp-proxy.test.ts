import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, describe, it } from 'node:test';
import type * as dnsPacket from 'dns-packet';
import { silentLog } from '../../../src/base/log.ts';
import { FrameReader, frame } from '../../../src/proxy/dns/framing.ts';
import { TcpProxy } from '../../../src/proxy/dns/tcp-proxy.ts';
import { PolicyTable } from '../../../src/proxy/policy-table.ts';
import { a, answerTo, decoded, deskRig, dnsFilter, query, type RigOptions } from './desk-rig.ts';

const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanups.splice(0).reverse()) await cleanUp();
});

async function listening(onSocket: (socket: Socket) => void): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    cleanups.push(() => {
      socket.destroy();
    });
    onSocket(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(() => new Promise((resolve) => server.close(() => resolve())));
  return (server.address() as AddressInfo).port;
}

type Answerer = (query: Buffer, socket: Socket) => void;

/** A server of DNS over TCP; counts what it was asked. */
async function dnsServer(answer: Answerer): Promise<{ readonly port: number; readonly asked: string[] }> {
  const asked: string[] = [];
  const port = await listening((socket) => {
    const frames = new FrameReader();
    socket.on('data', (chunk: Buffer) => {
      for (const bytes of frames.push(chunk)) {
        asked.push(decoded(bytes).questions?.[0]?.name ?? '');
        answer(bytes, socket);
      }
    });
    socket.on('end', () => socket.end());
  });
  return { port, asked };
}

class Client {
  readonly answers: dnsPacket.DecodedPacket[] = [];
  readonly socket: Socket;
  closed = false;
  #wake = (): void => undefined;

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const frames = new FrameReader();
    this.socket.on('data', (chunk: Buffer) => {
      for (const bytes of frames.push(chunk)) this.answers.push(decoded(bytes));
      this.#wake();
    });
    this.socket.on('error', () => undefined);
    this.socket.on('end', () => this.socket.end());
    this.socket.on('close', () => {
      this.closed = true;
      this.#wake();
    });
    cleanups.push(() => {
      this.socket.destroy();
    });
  }

  /** Waits for so many answers, or the end of the connection. */
  async until(count: number): Promise<readonly dnsPacket.DecodedPacket[]> {
    while (this.answers.length < count && !this.closed)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    return this.answers;
  }
}

interface TcpRigOptions extends RigOptions {
  readonly answer?: Answerer;
  /** Where the proxy finds the server; default: where it is. */
  readonly serverPort?: number;
}

const reply: Answerer = (bytes, socket) => socket.write(frame(answerTo(bytes, [])));

async function tcpRig({ answer = reply, serverPort, ...options }: TcpRigOptions = {}) {
  const filter = dnsFilter('r', ['*.x.io'], { firstPort: 0, lastPort: 65535 });
  const endpoint = { endpoint: 7, identity: 300, addresses: ['127.0.0.1'] };
  const subjects = [{ subject: 300, ingress: undefined, egress: [filter] }];
  const rig = deskRig({ table: new PolicyTable({ revision: 1, subjects }, [endpoint]), ...options });
  const server = await dnsServer(answer);
  const dial = (): Socket =>
    connect({ port: serverPort ?? server.port, host: '127.0.0.1', allowHalfOpen: true });
  const proxy = new TcpProxy({ ...rig, dial, log: silentLog });
  const port = await listening((socket) => proxy.accept(socket));
  cleanups.push(() => proxy.close());
  return { ...rig, proxy, server, client: (): Client => new Client(port) };
}

const rcodes = (answers: readonly dnsPacket.DecodedPacket[]) =>
  answers.map((answer) => [answer.id, (answer as { rcode?: string }).rcode]);

describe('a frame', () => {
  it('is found however the bytes are cut', () => {
    const bytes = Buffer.concat([
      frame(Buffer.from('ab')),
      frame(Buffer.alloc(0)),
      frame(Buffer.alloc(300, 'x')),
    ]);
    for (let size = 1; size < 20; size++) {
      const reader = new FrameReader();
      const found: number[] = [];
      for (let at = 0; at < bytes.length; at += size)
        found.push(...reader.push(bytes.subarray(at, at + size)).map(({ length }) => length));
      assert.deepEqual(found, [2, 0, 300]);
      assert.equal(reader.pending, 0);
    }
  });
});

describe('a connection', () => {
  it('has each query judged, and pipelined ones answered one by one', async () => {
    const { client, server } = await tcpRig();
    const one = client();
    one.socket.write(
      Buffer.concat(['a.x.io', 'evil.io', 'b.x.io', 'x.io'].map((name, id) => frame(query(name, id)))),
    );
    const answers = rcodes(await one.until(4)).sort();
    assert.deepEqual(answers, [
      [0, 'NOERROR'],
      [1, 'REFUSED'],
      [2, 'NOERROR'],
      [3, 'REFUSED'],
    ]);
    assert.deepEqual(server.asked, ['a.x.io', 'b.x.io']);
  });

  it('that only asks for what is denied never reaches the server', async () => {
    let dialed = 0;
    const { client } = await tcpRig({ answer: () => dialed++ });
    const one = client();
    one.socket.write(frame(query('evil.io')));
    assert.deepEqual(rcodes(await one.until(1)), [[1, 'REFUSED']]);
    assert.equal(dialed, 0);
  });

  it('may have its answers in another order', async () => {
    const waiting: Buffer[] = [];
    const { client } = await tcpRig({
      answer: (bytes, socket) => {
        waiting.push(bytes);
        if (waiting.length === 3) for (const one of waiting.reverse()) socket.write(frame(answerTo(one, [])));
      },
    });
    const one = client();
    for (const id of [1, 2, 3]) one.socket.write(frame(query('a.x.io', id)));
    assert.deepEqual(
      (await one.until(3)).map(({ id }) => id),
      [3, 2, 1],
    );
  });

  it('gets an answer with addresses when they are in force', async () => {
    const rig = await tcpRig({
      answer: (bytes, socket) => socket.write(frame(answerTo(bytes, [a('a.x.io', '192.0.2.1')]))),
    });
    const one = rig.client();
    one.socket.write(frame(query('a.x.io')));
    while (rig.toAgent.length === 0) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(one.answers.length, 0);
    rig.observations.applied(1);
    assert.equal((await one.until(1))[0]?.answers?.length, 1);
  });

  it('does not get what is no answer to its queries', async () => {
    const rig = await tcpRig({
      answer: (bytes, socket) => {
        socket.write(frame(answerTo(bytes, [], { id: 99 })));
        socket.write(frame(answerTo(bytes, [], { questions: [{ type: 'A', name: 'bank.com' }] })));
        socket.write(frame(Buffer.from('nonsense')));
        socket.write(frame(answerTo(bytes, [])));
      },
    });
    const one = rig.client();
    one.socket.write(frame(query('a.x.io', 5)));
    assert.deepEqual(rcodes(await one.until(1)), [[5, 'NOERROR']]);
    const { foreignAnswers, wrongQuestions, malformedAnswers } = rig.counters;
    assert.deepEqual([foreignAnswers, wrongQuestions, malformedAnswers], [1, 1, 1]);
  });

  it('may send large answers and messages in small pieces', async () => {
    const big = Array.from({ length: 2900 }, (_, i) => a('a.x.io', `10.${i >> 8}.${i & 255}.1`));
    const rig = await tcpRig({
      agent: false,
      answer: (bytes, socket) => socket.write(frame(answerTo(bytes, big))),
    });
    const one = rig.client();
    for (const byte of frame(query('a.x.io'))) {
      one.socket.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal((await one.until(1))[0]?.answers?.length, 2900);
  });

  it('ends with an answer for each query when the client is done sending', async () => {
    const rig = await tcpRig();
    const one = rig.client();
    one.socket.end(Buffer.concat([1, 2].map((id) => frame(query('a.x.io', id)))));
    assert.equal((await one.until(3)).length, 2);
    assert.equal(one.closed, true);
    while (rig.proxy.connections > 0) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(rig.desk.inFlight, 0);
  });

  it('is answered SERVFAIL and ends when the server ends, refuses or breaks off', async () => {
    const gone = await listening(() => undefined);
    await cleanups.pop()?.();
    const rigs = [
      await tcpRig({ answer: (_bytes, socket) => socket.end() }),
      await tcpRig({ answer: (_bytes, socket) => socket.resetAndDestroy() }),
      await tcpRig({ serverPort: gone }),
    ];
    for (const rig of rigs) {
      const one = rig.client();
      one.socket.write(frame(query('a.x.io', 4)));
      assert.deepEqual(rcodes(await one.until(2)), [[4, 'SERVFAIL']]);
      assert.equal(rig.desk.inFlight, 0);
      assert.equal(rig.log.at(-1)?.verdict, 'error');
    }
  });

  it('has only so many queries wait, and the rest is not read', async () => {
    const waiting: (() => void)[] = [];
    const rig = await tcpRig({
      limits: { tcpPipeline: 4 },
      answer: (bytes, socket) => waiting.push(() => socket.write(frame(answerTo(bytes, [])))),
    });
    const one = rig.client();
    one.socket.write(Buffer.concat(Array.from({ length: 20 }, (_, id) => frame(query('a.x.io', id)))));
    while (waiting.length < 4) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(rig.desk.inFlight, 4);
    while (one.answers.length < 20) {
      for (const answer of waiting.splice(0)) answer();
      await new Promise((resolve) => setImmediate(resolve));
      assert.ok(rig.desk.inFlight <= 4);
    }
  });

  it('that sends and never reads does not make the proxy keep its answers', async () => {
    const rig = await tcpRig();
    const one = rig.client();
    one.socket.pause();
    const burst = Buffer.concat(Array.from({ length: 2000 }, (_, id) => frame(query('evil.io', id))));
    let blocked = 0;
    for (let i = 0; i < 3000 && blocked < 50; i++) {
      blocked = one.socket.write(burst) ? 0 : blocked + 1;
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { queries } = rig.counters;
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(rig.counters.queries, queries, 'the proxy goes on reading');
  });

  it('that is idle, or whose server is silent, is cut off', async () => {
    const rig = await tcpRig({ answer: () => undefined });
    const idle = rig.client();
    const slow = rig.client();
    slow.socket.write(frame(query('a.x.io')));
    idle.socket.write(Buffer.from([0]));
    while (rig.desk.inFlight === 0 || rig.proxy.connections < 2)
      await new Promise((resolve) => setImmediate(resolve));
    rig.state.nowNs = 11e9;
    await Promise.all([idle.until(1), slow.until(1)]);
    assert.deepEqual([idle.closed, slow.closed, rig.desk.inFlight], [true, true, 0]);
    assert.equal(rig.counters.timeouts, 1);
  });

  it('beyond the limit of its client is reset', async () => {
    const rig = await tcpRig({ limits: { tcpConnectionsPerClient: 1 } });
    const first = rig.client();
    first.socket.write(frame(query('a.x.io')));
    await first.until(1);
    const second = rig.client();
    await second.until(1);
    assert.equal(second.closed, true);
    assert.equal(rig.counters.limitedQueries, 1);
  });

  it('that sends an answer instead of a query is cut off', async () => {
    const rig = await tcpRig();
    const one = rig.client();
    one.socket.write(frame(answerTo(query('a.x.io'), [])));
    assert.deepEqual(await one.until(1), []);
    assert.equal(one.closed, true);
  });
});
