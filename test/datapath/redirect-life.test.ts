import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import type { Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { Socket } from 'node:net';
import { before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { loadSockets } from '../../src/base/sockets/index.ts';
import { openMapReader } from '../../src/datapath/index.ts';
import { DropReason, PacketMark } from '../../src/model/constants.gen.ts';
import {
  allow,
  type DatapathLab,
  deny,
  type Pod,
  REMOTE_IDENTITY,
  REMOTE4,
  REMOTE6,
  redirect,
} from '../support/datapath-lab.ts';
import { closed, firstBytes } from '../support/net-sockets.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { eventually } from '../support/process.ts';
import { EGRESS, INGRESS, OPEN, PROXY_PORT, RedirectLab, say } from '../support/redirect-lab.ts';

const WAIT_MS = 700;
const PORT = 9000;

describe('the life of flows that pass the proxy', { skip: bpfOrSkip(), timeout: 180_000 }, () => {
  const rig = new RedirectLab('Q');
  const lab: DatapathLab = rig.datapaths;
  let a: Pod;
  let b: Pod;

  rig.serveSuite();
  before(() => {
    ({ a, b } = rig);
  });

  const redirectToB = () => rig.setPolicy(b, [redirect('ingress', a.endpoint.identity, 6, PORT, PROXY_PORT)]);

  async function answerOf(client: UdpSocket, text: string | Buffer, to: readonly [string, number]) {
    const answer = once(client, 'message').then(([bytes, from]) => ({ bytes, from }));
    client.send(text, to[1], to[0]);
    return Promise.race([answer, delay(WAIT_MS, undefined)]);
  }

  async function udpServer(namespace: string, address: string, bytes = 0): Promise<UdpSocket> {
    const server = await rig.sockets.udp(rig.path(namespace), address, PORT);
    server.on('message', (message, { address: from, port }) =>
      server.send(
        Buffer.concat([Buffer.from(`${from}/${port} ${message} `), Buffer.alloc(bytes)]),
        port,
        from,
      ),
    );
    return server;
  }

  for (const [family, client, server, remote] of [
    [4, () => a.ipv4, () => b.ipv4, REMOTE4],
    [6, () => a.ipv6, () => b.ipv6, REMOTE6],
  ] as const) {
    it(`carries datagrams of IPv${family} between pods, with both addresses kept`, async () => {
      await rig.setPolicy(b, [redirect('ingress', a.endpoint.identity, 17, PORT, PROXY_PORT)]);
      await udpServer(b.namespace, server());
      const socket = await rig.sockets.udp(rig.path(a.namespace), client());
      for (const text of ['one', 'two']) {
        const answer = await answerOf(socket, text, [server(), PORT]);
        assert.equal(String(answer?.bytes).trim(), `${client()}/${socket.address().port} ${text}`);
        assert.equal(answer?.from.address, server());
        assert.equal(answer?.from.port, PORT);
      }
      assert.equal(rig.seenByProxy(new RegExp(`^udp ${client()}/${socket.address().port} `)), 2);
    });

    it(`carries datagrams of IPv${family} to another machine, and answers in pieces back`, async () => {
      await rig.setPolicy(a, [redirect('egress', REMOTE_IDENTITY, 17, PORT, PROXY_PORT)], EGRESS);
      await udpServer(lab.remote, remote, 4000);
      const socket = await rig.sockets.udp(rig.path(a.namespace), client());
      const answer = await answerOf(socket, 'x', [remote, PORT]);
      assert.equal(answer?.bytes.length, `${client()}/${socket.address().port} x `.length + 4000);
      assert.equal(answer?.from.address, remote);
      // A query in pieces is nothing that a proxy could be given.
      assert.equal(await answerOf(socket, Buffer.alloc(4000, 'x'), [remote, PORT]), undefined);
      await rig.dropped(DropReason.fragNosupport);
    });

    it(`takes nothing of IPv${family} for the proxy that the port of a socket of the node would take`, async () => {
      // Bound to every address, with the server's port: a lookup by the packet's own tuple finds it.
      const any = family === 4 ? '0.0.0.0' : '::';
      const stranger = await rig.sockets.udp(rig.path(lab.node), any, PORT);
      let strangers = 0;
      stranger.on('message', () => strangers++);
      await rig.sockets.listen(rig.path(lab.node), any, PORT, () => strangers++);
      await rig.setPolicy(
        b,
        [6, 17].map((protocol) => redirect('ingress', a.endpoint.identity, protocol, PORT, PROXY_PORT)),
      );
      await udpServer(b.namespace, server());
      await rig.serve(b.namespace, server(), PORT);
      const socket = await rig.sockets.udp(rig.path(a.namespace), client());
      assert.match(String((await answerOf(socket, 'x', [server(), PORT]))?.bytes), / x /);
      assert.match((await say(await rig.connect(a.namespace, server(), PORT), 'y')) ?? '', / y$/);
      assert.equal(strangers, 0);
    });
  }

  it('passes nothing and counts 178 while no proxy runs, and works again with the next one', async () => {
    await redirectToB();
    const served = await rig.serve(b.namespace, b.ipv4, PORT);
    const running = await rig.connect(a.namespace, b.ipv4, PORT);
    assert.match((await say(running, 'x')) ?? '', / x$/);
    await rig.stopProxy('SIGKILL');
    try {
      running?.write('lost');
      assert.equal(await rig.connect(a.namespace, b.ipv4, PORT), undefined);
      await rig.dropped(DropReason.proxyLookupFailed);
      assert.equal(served.length, 1);
      const counters = await lab.datapath.readCounters();
      const counter = counters.find(({ reason }) => reason === DropReason.proxyLookupFailed);
      assert.ok((counter?.packets ?? 0n) > 0n);
    } finally {
      await rig.startProxy();
    }
    const next = await rig.connect(a.namespace, b.ipv4, PORT);
    assert.match((await say(next, 'y')) ?? '', / y$/);
  });

  it('gives nothing to another process that listens at the port of the proxy', async () => {
    await redirectToB();
    await rig.serve(b.namespace, b.ipv4, PORT);
    await rig.stopProxy('SIGKILL');
    try {
      let impostor = 0;
      await rig.sockets.listen(rig.path(lab.node), '127.0.0.1', PROXY_PORT, () => impostor++);
      assert.equal(await rig.connect(a.namespace, b.ipv4, PORT), undefined);
      await rig.dropped(DropReason.proxyLookupFailed);
      assert.equal(impostor, 0);
      rig.sockets.close();
    } finally {
      await rig.startProxy();
    }
  });

  it('ends in both directions as soon as it is denied', async () => {
    await redirectToB();
    const served = await rig.serve(b.namespace, b.ipv4, PORT);
    const socket = await rig.connect(a.namespace, b.ipv4, PORT);
    assert.match((await say(socket, 'x')) ?? '', / x$/);
    await rig.setPolicy(b, [deny('ingress', a.endpoint.identity, 6, PORT)]);
    const atServer = firstBytes(served[0] ?? new Socket());
    assert.equal(await say(socket, 'y'), undefined);
    assert.equal(await atServer, undefined);
    const atClient = socket && firstBytes(socket);
    served[0]?.write('from the server');
    assert.equal(await atClient, undefined);
    await rig.dropped(DropReason.policyDeny);
    await redirectToB();
    // Both sides try again, and nothing was lost meanwhile.
    await eventually('what was said', () => (served[0]?.bytesRead ?? 0) >= 2 || undefined);
  });

  it('is reset when it was direct before: nothing more reaches the server', async () => {
    const served = await rig.serve(b.namespace, b.ipv4, PORT);
    const socket = await rig.connect(a.namespace, b.ipv4, PORT);
    assert.match((await say(socket, 'direct')) ?? '', / direct$/);
    const before = served[0]?.bytesRead;
    await redirectToB();
    assert.equal(await say(socket, 'past the proxy'), 'closed');
    assert.equal(served[0]?.bytesRead, before);
    // The server learns of it when it speaks.
    const end = served[0] && closed(served[0]);
    served[0]?.write('anybody there?');
    await end;
    assert.match((await say(await rig.connect(a.namespace, b.ipv4, PORT), 'again')) ?? '', / again$/);
  });

  it('stays with the proxy until it ends when nobody asks for that any more; the next one is direct', async () => {
    await redirectToB();
    await rig.serve(b.namespace, b.ipv4, PORT);
    const socket = await rig.connect(a.namespace, b.ipv4, PORT);
    assert.match((await say(socket, 'x')) ?? '', / x$/);
    await rig.setPolicy(b, [allow('ingress', a.endpoint.identity, 6, PORT)]);
    assert.match((await say(socket, 'y')) ?? '', / y$/);
    const next = await rig.connect(a.namespace, b.ipv4, PORT);
    assert.match((await say(next, 'z')) ?? '', / z$/);
    assert.equal(rig.seenByProxy(new RegExp(`/${socket?.localPort} ${b.ipv4}/${PORT}`)), 1);
    assert.equal(rig.seenByProxy(new RegExp(`/${next?.localPort} ${b.ipv4}/${PORT}`)), 0);
  });

  it('cannot be had by a pod that sets marks', async () => {
    await redirectToB();
    await rig.serve(b.namespace, b.ipv4, PORT);
    await rig.serve(b.namespace, b.ipv4, PORT + 1);
    for (const mark of [PacketMark.fromProxy, PacketMark.returned, PacketMark.toProxy, 0xffffffff]) {
      for (const port of [PORT, PORT + 1]) {
        const fd = loadSockets().openSocket({
          family: 4,
          type: 'stream',
          netns: rig.path(a.namespace),
          mark,
        });
        const socket = new Socket({ fd }).on('error', () => undefined).connect(port, b.ipv4);
        const connected = once(socket, 'connect').then(
          () => true,
          () => false,
        );
        assert.equal(
          await Promise.race([connected, delay(WAIT_MS, false)]),
          port === PORT,
          `${mark} ${port}`,
        );
        if (port === PORT) {
          assert.match((await say(socket, 'x')) ?? '', / x$/);
          assert.equal(rig.seenByProxy(new RegExp(`^tcp ${a.ipv4}/${socket.localPort} `)), 1);
        }
        socket.destroy();
      }
    }
  });

  it('is nothing that the node can join from the side by its own sockets', async () => {
    await redirectToB();
    const served = await rig.serve(b.namespace, b.ipv4, PORT);
    const from = { address: a.ipv4, port: 4711 };
    // Transparent, but without the mark of a proxy: a packet in the name of an endpoint.
    const fd = loadSockets().openSocket({
      family: 4,
      type: 'stream',
      netns: rig.path(lab.node),
      transparent: true,
      bind: from,
    });
    const socket = new Socket({ fd }).on('error', () => undefined).connect(PORT, b.ipv4);
    await rig.dropped(DropReason.invalidSip);
    socket.destroy();
    assert.equal(served.length, 0);
  });

  it('carries 32 MiB each way unharmed', async () => {
    await redirectToB();
    const size = 32 * 1024 * 1024;
    const payload = { up: randomBytes(size), down: randomBytes(size) };
    const hashOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
    const received = createHash('sha256');
    let digest: string | undefined;
    await rig.sockets.listen(rig.path(b.namespace), b.ipv6, PORT, (socket) => {
      socket.on('data', (chunk) => received.update(chunk));
      socket.on('end', () => {
        digest = received.digest('hex');
      });
      socket.end(payload.down);
    });
    const socket = await rig.connect(a.namespace, b.ipv6, PORT);
    assert.ok(socket);
    const back = createHash('sha256');
    socket.on('data', (chunk) => back.update(chunk));
    socket.end(payload.up);
    await once(socket, 'end');
    await eventually('the server has all', () => digest);
    assert.equal(digest, hashOf(payload.up));
    assert.equal(back.digest('hex'), hashOf(payload.down));
  });

  it('half-closes: an answer comes after the question has ended, and closed flows are soon forgotten', async () => {
    await redirectToB();
    await rig.sockets.listen(rig.path(b.namespace), b.ipv4, PORT, (socket) => {
      let question = '';
      socket.on('data', (chunk) => {
        question += chunk;
      });
      socket.on('end', () => setTimeout(() => socket.end(`${question}!`), 50));
    });
    const socket = await rig.connect(a.namespace, b.ipv4, PORT);
    assert.ok(socket);
    const answer = firstBytes(socket);
    socket.end('question');
    assert.equal(await answer, 'question!');
    const reader = openMapReader(lab.bpfDir);
    try {
      const flow = await eventually('both ends closing', () => {
        const flows = [...reader.conntrack(4)];
        const mine = flows.find(({ initiator }) => initiator.port === socket.localPort);
        return mine?.initiator.closing && mine.responder.closing ? mine : undefined;
      });
      assert.ok(flow.expiresInSeconds < 60, `${flow.expiresInSeconds}`);
    } finally {
      reader.close();
    }
  });

  it('hands a reset on to the other side, from either', async () => {
    await redirectToB();
    const served = await rig.serve(b.namespace, b.ipv4, PORT);
    const first = await rig.connect(a.namespace, b.ipv4, PORT);
    await say(first, 'x');
    const atServer = served[0] && closed(served[0]);
    first?.resetAndDestroy();
    await atServer;
    const second = await rig.connect(a.namespace, b.ipv4, PORT);
    await say(second, 'y');
    const atClient = second && closed(second);
    served[1]?.resetAndDestroy();
    await atClient;
  });

  it('begins anew at once with the same ports, whoever ended the last one', async () => {
    await redirectToB();
    const served = await rig.serve(b.namespace, b.ipv4, PORT);
    const from = { address: a.ipv4, port: 4712 };
    for (let round = 0; round < 6; round++) {
      // After one that the server ended, the remains at the proxy's end are cleared away by a first SYN.
      const socket = await rig.connect(a.namespace, b.ipv4, PORT, from, 3000);
      assert.equal(await say(socket, `${round}`), `${a.ipv4}/4712 ${round}`, `round ${round}`);
      const server = served.at(-1);
      assert.ok(socket && server);
      const gone = closed(server);
      const over = closed(socket);
      if (round % 2 === 0) socket.resetAndDestroy();
      else {
        server.end();
        await once(socket, 'end');
        socket.end();
      }
      await Promise.all([gone, over]);
    }
  });

  it('lets policies change under load, between every kind of verdict, without harm to flows of the proxy', async () => {
    await redirectToB();
    await rig.serve(b.namespace, b.ipv4, PORT);
    const socket = await rig.connect(a.namespace, b.ipv4, PORT);
    for (let round = 0; round < 30; round++) {
      const entry =
        round % 2 === 0
          ? allow('ingress', a.endpoint.identity, 6, PORT)
          : redirect('ingress', a.endpoint.identity, 6, PORT, PROXY_PORT);
      const [answer] = await Promise.all([say(socket, `${round}`), rig.setPolicy(b, [entry], INGRESS)]);
      assert.match(answer ?? '', new RegExp(` ${round}$`));
    }
    await rig.setPolicy(b, [], OPEN);
  });
});
