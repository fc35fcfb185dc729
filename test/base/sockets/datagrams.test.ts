import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { parseIp } from '../../../src/base/ip.ts';
import {
  DATAGRAM_LAYOUT,
  type DatagramFlow,
  type DatagramHandlers,
  Datagrams,
  nativeDatagramLayout,
} from '../../../src/base/sockets/datagrams.ts';
import { loadSockets } from '../../../src/base/sockets/index.ts';
import { rootOrSkip } from '../../support/privilege.ts';

const sockets = loadSockets();
const LOOPBACK = { 4: '127.0.0.1', 6: '::1' } as const;

interface Seen {
  readonly queries: { readonly flow: DatagramFlow; readonly text: string }[];
  readonly answers: { readonly tag: number; readonly text: string }[];
  readonly errors: { readonly tag: number; readonly code: string }[];
}

/** Handlers that keep what they are given, and a promise for the next call. */
function recorder(): Seen & DatagramHandlers & { next(): Promise<void> } {
  let wake = (): void => undefined;
  const seen: Seen = { queries: [], answers: [], errors: [] };
  return {
    ...seen,
    onQuery(flow, bytes) {
      seen.queries.push({ flow, text: Buffer.from(bytes).toString('latin1') });
      wake();
    },
    onAnswer(tag, bytes) {
      seen.answers.push({ tag, text: Buffer.from(bytes).toString('latin1') });
      wake();
    },
    onError(tag, code) {
      seen.errors.push({ tag, code });
      wake();
    },
    next: () =>
      new Promise((resolve) => {
        wake = resolve;
      }),
  };
}

async function bound(family: 4 | 6): Promise<Socket> {
  const socket = createSocket(family === 4 ? 'udp4' : 'udp6').bind(0, LOOPBACK[family]);
  await once(socket, 'listening');
  return socket;
}

/** A bound descriptor, as an agent hands them out. */
async function listener(family: 4 | 6): Promise<{ readonly fd: number; readonly port: number }> {
  const probe = await bound(family);
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  const fd = sockets.openSocket({ family, type: 'datagram', bind: { address: LOOPBACK[family], port } });
  return { fd, port };
}

describe('datagram sockets', () => {
  it('have the layouts that the addon has', () => {
    const { flowBytes, recordBytes, batch, slotBytes } = DATAGRAM_LAYOUT;
    assert.deepEqual(nativeDatagramLayout(), [flowBytes, recordBytes, batch, slotBytes]);
  });

  for (const family of [4, 6] as const) {
    it(`tell where a datagram came from and was sent to, IPv${family}`, async () => {
      const seen = recorder();
      const datagrams = new Datagrams(seen);
      const { fd, port } = await listener(family);
      datagrams.listen(fd, family);
      const client = await bound(family);
      const next = seen.next();
      client.send('hello', port, LOOPBACK[family]);
      await next;
      assert.deepEqual(seen.queries, [
        {
          flow: {
            family,
            client: parseIp(LOOPBACK[family]),
            clientPort: client.address().port,
            server: parseIp(LOOPBACK[family]),
            serverPort: port,
          },
          text: 'hello',
        },
      ]);
      client.close();
      datagrams.close();
    });

    it(`speak to a server from another's address and answer from the server's, IPv${family}`, {
      skip: rootOrSkip(),
    }, async () => {
      const seen = recorder();
      const datagrams = new Datagrams(seen);
      const server = await bound(family);
      const client = await bound(family);
      const flow: DatagramFlow = {
        family,
        // Addresses and ports that are no socket's: only transparent ones may have them.
        client: parseIp(family === 4 ? '127.9.9.9' : '::1'),
        clientPort: 40_053,
        server: parseIp(LOOPBACK[family]),
        serverPort: server.address().port,
      };
      const tag = datagrams.connect(flow, 0);
      assert.ok(tag > 0, `connect: ${tag}`);
      const asked = once(server, 'message');
      assert.equal(datagrams.send(tag, Buffer.from('query')), 0);
      const [query, from] = await asked;
      assert.equal(String(query), 'query');
      assert.equal(from.port, 40_053);
      const next = seen.next();
      server.send('answer', from.port, from.address);
      await next;
      assert.deepEqual(seen.answers, [{ tag, text: 'answer' }]);

      const raw = sockets.openSocket({ family, type: 'raw-udp', transparent: true });
      const replied = once(client, 'message');
      const back = {
        ...flow,
        client: parseIp(LOOPBACK[family]),
        clientPort: client.address().port,
        serverPort: 53,
      };
      const long = Buffer.alloc(5001, 'x');
      assert.equal(datagrams.reply(raw, back, long), 0);
      const [reply, sender] = await replied;
      assert.equal(sender.port, 53);
      assert.ok(long.equals(reply));
      closeSync(raw);
      for (const socket of [server, client]) socket.close();
      datagrams.close();
    });
  }

  it('report a server that nobody listens at, and go on', { skip: rootOrSkip() }, async () => {
    const seen = recorder();
    const datagrams = new Datagrams(seen);
    const server = await bound(4);
    const { port } = server.address();
    server.close();
    const loopback = parseIp('127.0.0.1');
    const tag = datagrams.connect(
      { family: 4, client: loopback, clientPort: 0, server: loopback, serverPort: port },
      0,
    );
    const next = seen.next();
    assert.equal(datagrams.send(tag, Buffer.from('x')), 0);
    await next;
    assert.deepEqual(seen.errors, [{ tag, code: 'ECONNREFUSED' }]);
    assert.equal(datagrams.send(tag, Buffer.from('x')), 0);
    datagrams.close();
  });

  it('never take a tag of a socket that was removed', { skip: rootOrSkip() }, () => {
    const datagrams = new Datagrams(recorder());
    const loopback = parseIp('127.0.0.1');
    const flow: DatagramFlow = {
      family: 4,
      client: loopback,
      clientPort: 0,
      server: loopback,
      serverPort: 9,
    };
    const first = datagrams.connect(flow, 0);
    datagrams.remove(first);
    const second = datagrams.connect(flow, 0);
    assert.notEqual(first, second);
    assert.equal(datagrams.send(first, Buffer.from('x')), -2);
    datagrams.remove(first);
    assert.equal(datagrams.send(second, Buffer.from('x')), 0);
    const many = Array.from({ length: 300 }, () => datagrams.connect(flow, 0));
    assert.equal(new Set(many).size, 300);
    assert.ok(many.every((tag) => tag > 0));
    datagrams.close();
    datagrams.close();
  });

  it('refuse what is no socket', () => {
    const datagrams = new Datagrams(recorder());
    assert.throws(() => datagrams.listen(1_000_000, 4), { code: 'SOCKET_EBADF' });
    datagrams.close();
  });

  it('may be closed while handling, and again', async () => {
    const seen = recorder();
    const datagrams: Datagrams = new Datagrams({
      ...seen,
      onQuery(flow, bytes) {
        datagrams.close();
        seen.onQuery(flow, bytes);
      },
    });
    const { fd, port } = await listener(4);
    const client = await bound(4);
    for (let i = 0; i < 5; i++) client.send('x', port, '127.0.0.1');
    const next = seen.next();
    datagrams.listen(fd, 4);
    await next;
    assert.equal(seen.queries.length, 1);
    datagrams.close();
    client.close();
  });

  it('end with their environment, datagrams waiting or not', async () => {
    const source = `
      const { workerData } = require('node:worker_threads');
      const addon = require(workerData.addon);
      const handle = addon.datagramsOpen(() => undefined);
      if (workerData.drop) { globalThis.gc?.(); } else globalThis.kept = handle;
      setTimeout(() => process.exit(0), 20);`;
    for (const drop of [true, false]) {
      const workerData = { addon: new URL('../../../build/sockets.node', import.meta.url).pathname, drop };
      const worker = new Worker(source, { eval: true, workerData });
      const [code] = await once(worker, 'exit');
      assert.equal(code, 0);
    }
  });

  it('throw on wrong arguments and do not crash', () => {
    const script = `
      const addon = require(process.argv[1]);
      const handle = addon.datagramsOpen(() => undefined);
      const wrong = [() => addon.datagramsOpen(), () => addon.datagramsAdd({}, 1, 4), () => addon.datagramsAdd(handle, -1, 4),
        () => addon.datagramsAdd(handle, 1, 5), () => addon.datagramsConnect(handle, new Uint8Array(39), 4, 0),
        () => addon.datagramsConnect(handle, new Uint8Array(40).fill(255), 4, 0), () => addon.datagramsSend(handle, 1, 'x'),
        () => addon.datagramsReceive(handle, new Uint8Array(10), new Uint8Array(10)), () => addon.datagramsReply(1, new Uint8Array(40)),
        () => addon.datagramsClose(1), () => addon.datagramsRemove()];
      for (const call of wrong) { try { call(); console.log(String(call)); } catch (error) { if (!(error instanceof TypeError)) throw error; } }
      addon.datagramsClose(handle);
      try { addon.datagramsSend(handle, 1, new Uint8Array(1)); console.log('closed'); } catch {}`;
    const addon = new URL('../../../build/sockets.node', import.meta.url).pathname;
    const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', script, addon], {
      encoding: 'utf8',
    });
    assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '', stderr: '' });
  });
});
