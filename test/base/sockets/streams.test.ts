import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { loadSockets } from '../../../src/base/sockets/index.ts';
import { type StreamListener, Streams, type TcpStream } from '../../../src/base/sockets/streams.ts';

const LOOPBACK = '127.0.0.1';
const streams = new Streams();
const sockets = loadSockets();

/** A listener of streams, and a way to connect to it by one of Node's sockets. */
class Pairs {
  readonly #accepted: TcpStream[] = [];
  readonly #waiting: ((stream: TcpStream) => void)[] = [];
  readonly #listener: StreamListener;
  readonly #clients: Socket[] = [];
  accepts = true;
  readonly ends: unknown[] = [];
  readonly port: number;

  constructor() {
    // The kernel is asked for a free port first: the addon's listener does not tell its own.
    this.port = 20_000 + (process.pid % 20_000) + ++pairs;
    const bind = { address: LOOPBACK, port: this.port };
    const fd = sockets.openSocket({ family: 4, type: 'stream', bind, listen: 16 });
    this.#listener = streams.listen(fd, {
      accepts: () => this.accepts,
      onConnection: ({ stream, peer, own }) => {
        this.ends.push({ peer, own });
        stream.on('error', () => undefined);
        const waiting = this.#waiting.shift();
        if (waiting === undefined) this.#accepted.push(stream);
        else waiting(stream);
      },
      onError: (error) => assert.fail(error),
    });
  }

  async pair(): Promise<{ readonly socket: Socket; readonly stream: TcpStream }> {
    const socket = connect({ host: LOOPBACK, port: this.port, allowHalfOpen: true });
    socket.on('error', () => undefined);
    this.#clients.push(socket);
    await once(socket, 'connect');
    const stream = this.#accepted.shift() ?? (await new Promise<TcpStream>((r) => this.#waiting.push(r)));
    return { socket, stream };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const client of this.#clients) client.destroy();
  }
}
let pairs = 0;

function collect(from: TcpStream | Socket): () => string {
  const hash = createHash('sha256');
  from.on('data', (bytes: Buffer) => hash.update(bytes));
  return () => hash.digest('hex');
}

/** Unlike `once` of `close`, content with an error before it. */
const closed = (stream: { once(event: 'close', listener: () => void): unknown }): Promise<void> =>
  new Promise((resolve) => stream.once('close', () => resolve()));

const sha = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

describe('a stream of the addon', () => {
  it('carries bytes both ways, tells the ends, and closes when both directions have ended', async () => {
    await using net = new Pairs();
    const { socket, stream } = await net.pair();
    const { address, port } = socket.address() as { address: string; port: number };
    assert.deepEqual(net.ends, [{ peer: { address, port }, own: { address: LOOPBACK, port: net.port } }]);
    socket.write('ping');
    const [ping] = await once(stream, 'data');
    assert.equal(String(ping), 'ping');
    stream.write(Buffer.from('pong'));
    const [pong] = await once(socket, 'data');
    assert.equal(String(pong), 'pong');
    socket.end();
    await once(stream, 'end');
    assert.equal(stream.destroyed, false);
    stream.write(Buffer.from('last'));
    stream.end();
    assert.equal(stream.destroyed, true);
    const [last] = await once(socket, 'data');
    assert.equal(String(last), 'last');
  });

  it('gives each listener a buffer of its own, which later bytes do not change', async () => {
    await using net = new Pairs();
    const { socket, stream } = await net.pair();
    const kept: Buffer[] = [];
    stream.on('data', (bytes: Buffer) => kept.push(bytes));
    for (const text of ['first', 'other']) {
      const before = kept.length;
      socket.write(text);
      while (kept.length === before) await once(stream, 'data');
    }
    assert.deepEqual(kept.map(String), ['first', 'other']);
  });

  it('keeps what a slow reader does not take, asks to wait, says drain, and loses and reorders nothing', async () => {
    await using net = new Pairs();
    const { socket, stream } = await net.pair();
    const bytes = randomBytes(16 * 1024 * 1024);
    let asked = 0;
    socket.pause();
    let from = 0;
    const send = (): void => {
      while (from < bytes.length) {
        const part = bytes.subarray(from, from + 50_000);
        from += part.length;
        if (stream.write(part)) continue;
        asked++;
        assert.equal(stream.writableNeedDrain, true);
        stream.once('drain', send);
        return;
      }
      stream.end();
    };
    send();
    assert.ok(stream.writableLength > 0 && asked === 1);
    const sum = collect(socket);
    socket.resume();
    await once(socket, 'end');
    assert.equal(sum(), sha(bytes));
    assert.ok(asked > 1);
  });

  it('reads nothing while it is paused, and all of it afterwards', async () => {
    await using net = new Pairs();
    const { socket, stream } = await net.pair();
    const bytes = randomBytes(4 * 1024 * 1024);
    let seen = 0;
    stream.pause();
    const sum = collect(stream);
    stream.on('data', (chunk: Buffer) => {
      seen += chunk.length;
    });
    socket.end(bytes);
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.equal(seen, 0);
    assert.equal(stream.isPaused(), true);
    stream.resume();
    await once(stream, 'end');
    assert.equal(sum(), sha(bytes));
    stream.end();
  });

  it('says of a reset what came before it, error and close', async () => {
    await using net = new Pairs();
    const { socket, stream } = await net.pair();
    const told: string[] = [];
    stream.on('data', (bytes: Buffer) => told.push(String(bytes)));
    stream.on('error', (error: NodeJS.ErrnoException) => told.push(String(error.code)));
    socket.write('before');
    while (told.length === 0) await once(stream, 'data');
    socket.resetAndDestroy();
    await closed(stream);
    assert.deepEqual(told, ['before', 'ECONNRESET']);
    assert.equal(stream.write(Buffer.from('x')), true);
    assert.equal(stream.writable, false);
  });

  it('resets the connection when told so', async () => {
    await using net = new Pairs();
    const { socket, stream } = await net.pair();
    const failed = new Promise<NodeJS.ErrnoException>((resolve) => socket.once('error', resolve));
    socket.resume();
    stream.resetAndDestroy();
    assert.equal((await failed).code, 'ECONNRESET');
  });

  it('goes on as a socket of Node after detach, and closes with that', async () => {
    await using net = new Pairs();
    const { socket, stream } = await net.pair();
    const own = stream.detach();
    socket.write('hello');
    const [hello] = await once(own.resume(), 'data');
    assert.equal(String(hello), 'hello');
    const gone = closed(stream);
    own.destroy();
    await gone;
  });

  it('of a listener that accepts no more is closed at once', async () => {
    await using net = new Pairs();
    net.accepts = false;
    const socket = connect({ host: LOOPBACK, port: net.port });
    socket.on('error', () => undefined);
    socket.resume();
    await once(socket, 'close');
    assert.equal(net.ends.length, 0);
  });
});

describe('dialling by a stream', () => {
  const to = (port: number) => ({ from: undefined, to: { address: LOOPBACK, port }, mark: 0 });

  it('connects, and sends what was written before it had', async () => {
    const server = createServer((socket) => socket.pipe(socket)).listen(0, LOOPBACK);
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const stream = streams.dialFrom(sockets, to(port));
    stream.write(Buffer.from('early'));
    const [bytes] = await once(stream, 'data');
    assert.equal(String(bytes), 'early');
    stream.destroy();
    server.close();
  });

  it('says error and close of a server that is not there', async () => {
    const server = createServer().listen(0, LOOPBACK);
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    server.close();
    await once(server, 'close');
    const stream = streams.dialFrom(sockets, to(port));
    const gone = closed(stream);
    const [error] = await once(stream, 'error');
    assert.equal((error as NodeJS.ErrnoException).code, 'ECONNREFUSED');
    await gone;
  });

  it('says error of a socket that cannot be made', async () => {
    const failing = { openSocket: () => assert.fail('no socket') };
    const [error] = await once(streams.dialFrom(failing, to(1)), 'error');
    assert.match(String(error), /no socket/);
  });
});

describe('the end of streams', () => {
  const openFiles = (): number => readdirSync('/proc/self/fd').length;

  it('leaves no descriptor open, whichever way each one ends', async () => {
    const before = openFiles();
    {
      await using net = new Pairs();
      const ends = [
        (stream: TcpStream) => stream.destroy(),
        (stream: TcpStream) => stream.resetAndDestroy(),
        (stream: TcpStream) => stream.detach().destroy(),
        (stream: TcpStream) => {
          // Work is pending: nobody reads it.
          stream.write(randomBytes(32 * 1024 * 1024));
          stream.destroy();
          stream.destroy();
        },
      ];
      for (const end of ends) {
        const { socket, stream } = await net.pair();
        socket.resume();
        const gone = Promise.all([closed(stream), closed(socket)]);
        end(stream);
        socket.destroy();
        await gone;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.ok(openFiles() <= before);
  });

  for (const drop of [true, false])
    it(`is orderly in a worker that ends with a watched stream ${drop ? 'that is garbage' : 'in use'}`, async () => {
      const source = `
        const { workerData } = require('node:worker_threads');
        const addon = require(workerData.addon);
        let handle = addon.streamOpen(workerData.fd, () => {});
        addon.streamWatch(handle, 1);
        if (workerData.drop) { handle = undefined; globalThis.gc?.(); } else globalThis.kept = handle;
        setTimeout(() => process.exit(0), 20);`;
      const fd = sockets.openSocket({
        family: 4,
        type: 'stream',
        bind: { address: LOOPBACK, port: 0 },
        listen: 1,
      });
      const before = openFiles();
      const addon = new URL('../../../build/sockets.node', import.meta.url).pathname;
      const worker = new Worker(source, { eval: true, workerData: { addon, drop, fd } });
      const [code] = await once(worker, 'exit');
      assert.equal(code, 0);
      assert.ok(openFiles() < before + 1);
    });

  it('is told to whoever uses the handle afterwards', async () => {
    const addon = await import('../../../src/base/assets.ts');
    const native = addon.loadAddon<Record<string, (...words: unknown[]) => unknown>>('sockets.node');
    const fd = sockets.openSocket({ family: 4, type: 'stream' });
    const handle = native.streamOpen?.(fd, () => undefined);
    native.streamClose?.(handle, 0);
    native.streamClose?.(handle, 1);
    for (const call of ['streamRead', 'streamWrite', 'streamWatch', 'streamShutdown', 'streamDetach'])
      assert.throws(() => native[call]?.(handle, Buffer.alloc(1)), /closed/);
    for (const wrong of [undefined, 1, {}, () => undefined])
      assert.throws(() => native.streamRead?.(wrong, Buffer.alloc(1)), TypeError);
  });
});
