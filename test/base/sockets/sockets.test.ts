import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, readlinkSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { CiliateError } from '../../../src/base/errors.ts';
import { loadSockets, type SocketOptions } from '../../../src/base/sockets/index.ts';
import { NetnsLab } from '../../support/netns.ts';
import { rootOrSkip } from '../../support/privilege.ts';

const sockets = loadSockets();

function failureOf(options: SocketOptions): CiliateError {
  try {
    closeSync(sockets.openSocket(options));
  } catch (error) {
    if (error instanceof CiliateError) return error;
    throw error;
  }
  throw new Error('the socket was made');
}

describe('sockets', () => {
  it('hands out a listening descriptor that node serves on', async () => {
    for (const [family, address] of [
      [4, '127.0.0.1'],
      [6, '::1'],
    ] as const) {
      const fd = sockets.openSocket({ family, type: 'stream', bind: { address, port: 0 }, listen: 16 });
      const server = createServer((socket) => socket.end('hello')).listen({ fd });
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const client = connect(port, address);
      const [greeting] = await once(client, 'data');
      assert.equal(String(greeting), 'hello');
      client.destroy();
      server.close();
    }
  });

  it('names the call that failed and keeps its errno', () => {
    const fd = sockets.openSocket({
      family: 4,
      type: 'stream',
      bind: { address: '127.0.0.1', port: 0 },
      listen: 1,
    });
    const unreachable = failureOf({ family: 4, type: 'datagram', bind: { address: '192.0.2.7', port: 0 } });
    assert.equal(unreachable.code, 'SOCKET_EADDRNOTAVAIL');
    assert.equal(unreachable.exitCode, 4);
    assert.match(unreachable.message, /192\.0\.2\.7:0: bind failed/);
    assert.deepEqual((unreachable.cause as { errno?: number; syscall?: string }).errno, -99);
    const nowhere = failureOf({ family: 4, type: 'stream', netns: '/run/netns/ciliate-none' });
    assert.equal(nowhere.code, 'SOCKET_ENOENT');
    assert.match(nowhere.message, /enter the network namespace/);
    const noNamespace = failureOf({ family: 4, type: 'stream', netns: '/etc/hostname' });
    assert.equal(noNamespace.code, 'SOCKET_EINVAL');
    closeSync(fd);
  });

  it('refuses what makes no sense before any call', () => {
    const wrong: readonly SocketOptions[] = [
      { family: 4, type: 'stream', bind: { address: '::1', port: 0 } },
      { family: 6, type: 'stream', bind: { address: '127.0.0.1', port: 0 } },
      { family: 4, type: 'stream', bind: { address: '127.0.0.1', port: 65536 } },
      { family: 4, type: 'stream', bind: { address: 'localhost', port: 1 } },
      { family: 4, type: 'datagram', listen: 1 },
      { family: 4, type: 'stream', mark: -1 },
      { family: 4, type: 'stream', mark: 2 ** 32 },
      { family: 4, type: 'stream', trafficClass: 256 },
      { family: 4, type: 'stream', listen: 1.5 },
      { family: 4, type: 'stream', netns: '' },
    ];
    for (const options of wrong) {
      const error = failureOf(options);
      assert.equal(error.code, 'SOCKET_ARGUMENT', JSON.stringify(options));
      assert.equal(error.exitCode, 2);
    }
  });

  it('finds interfaces, or says which it did not', () => {
    assert.equal(sockets.interfaceIndex('lo'), 1);
    assert.throws(() => sockets.interfaceIndex('nothing0'), { code: 'SOCKET_ENODEV' });
    assert.throws(() => sockets.interfaceIndex(''), { code: 'SOCKET_ARGUMENT' });
    assert.throws(() => sockets.interfaceIndex('a-name-that-is-too-long'), { code: 'SOCKET_ARGUMENT' });
  });

  it('works in a worker', async () => {
    const index = new URL('../../../src/base/sockets/index.ts', import.meta.url).href;
    const body = `const { parentPort } = require('node:worker_threads');
      import(${JSON.stringify(index)}).then(({ loadSockets }) => parentPort.postMessage(loadSockets().interfaceIndex('lo')));`;
    const worker = new Worker(body, { eval: true });
    const [answer] = await once(worker, 'message');
    assert.equal(answer, 1);
    await worker.terminate();
  });
});

describe('sockets in another namespace', { skip: rootOrSkip() }, () => {
  const lab = new NetnsLab('tA');
  let netns = '';
  before(async () => {
    netns = lab.path(await lab.namespace('sock'));
  });
  after(() => lab.cleanUp());

  it('binds a foreign address transparently there, while the caller stays here', async () => {
    const here = readlinkSync('/proc/self/ns/net');
    const fd = sockets.openSocket({
      family: 4,
      type: 'stream',
      netns,
      mark: 0x200,
      transparent: true,
      bind: { address: '198.51.100.9', port: 8080 },
      listen: 4,
    });
    assert.equal(readlinkSync('/proc/self/ns/net'), here);
    const server = createServer().listen({ fd });
    await once(server, 'listening');
    assert.deepEqual(server.address(), { address: '198.51.100.9', family: 'IPv4', port: 8080 });
    const sixth = sockets.openSocket({
      family: 6,
      type: 'datagram',
      netns,
      freebind: true,
      bind: { address: '2001:db8::9', port: 53 },
    });
    closeSync(sixth);
    const taken = failureOf({
      family: 4,
      type: 'stream',
      netns,
      transparent: true,
      bind: { address: '198.51.100.9', port: 8080 },
    });
    assert.equal(taken.code, 'SOCKET_EADDRINUSE');
    server.close();
  });

  it('keeps both families apart unless asked', () => {
    const any6 = {
      family: 6,
      type: 'stream',
      netns,
      bind: { address: '::', port: 7000 },
      listen: 1,
    } as const;
    const any4 = {
      family: 4,
      type: 'stream',
      netns,
      bind: { address: '0.0.0.0', port: 7000 },
      listen: 1,
    } as const;
    const both = [sockets.openSocket(any6), sockets.openSocket(any4)];
    for (const fd of both) closeSync(fd);
    const dual = sockets.openSocket({ ...any6, v6only: false });
    assert.equal(failureOf(any4).code, 'SOCKET_EADDRINUSE');
    closeSync(dual);
  });

  it('makes many at once from many callers', async () => {
    const fds = await Promise.all(
      Array.from({ length: 50 }, async () => sockets.openSocket({ family: 4, type: 'datagram', netns })),
    );
    assert.equal(new Set(fds).size, 50);
    for (const fd of fds) closeSync(fd);
  });
});
