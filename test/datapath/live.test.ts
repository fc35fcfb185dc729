import assert from 'node:assert/strict';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { loadSockets } from '../../src/base/sockets/index.ts';
import { openMapReader } from '../../src/datapath/index.ts';
import { DropReason } from '../../src/model/constants.gen.ts';
import { ReservedIdentity } from '../../src/model/identity.ts';
import {
  allow,
  DatapathLab,
  NODE4,
  NODE6,
  type Pod,
  REMOTE_IDENTITY,
  REMOTE4,
  REMOTE6,
  stateOf,
} from '../support/datapath-lab.ts';
import { NetSockets } from '../support/net-sockets.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { eventually } from '../support/process.ts';

const OPEN = { ingress: false, egress: false };
const INGRESS = { ingress: true, egress: false };
const CONNECT_MS = 700;

/** Sockets of one test, in any namespace of the lab (by its name); all closed at its end. */
class Sockets {
  readonly #lab: DatapathLab;
  readonly #net = new NetSockets();

  constructor(lab: DatapathLab) {
    this.#lab = lab;
  }

  /** An echo server on TCP. */
  serve(namespace: string, address: string, port: number): Promise<Server> {
    return this.#net.listen(this.#lab.net.path(namespace), address, port, (socket) => socket.pipe(socket));
  }

  /** A connected socket, or undefined when nothing answered. */
  connect(namespace: string, address: string, port: number): Promise<Socket | undefined> {
    return this.#net.connect(this.#lab.net.path(namespace), address, port);
  }

  udp(namespace: string, address: string, port = 0): Promise<UdpSocket> {
    return this.#net.udp(this.#lab.net.path(namespace), address, port);
  }

  close(): void {
    this.#net.close();
  }
}

/** Whether a byte comes back. */
async function echoes(socket: Socket): Promise<boolean> {
  const answer = once(socket, 'data').then(
    () => true,
    () => false,
  );
  socket.write('x');
  return Promise.race([answer, delay(CONNECT_MS, false)]);
}

async function udpEchoes(client: UdpSocket, server: UdpSocket, address: string): Promise<boolean> {
  const answer = once(client, 'message').then(
    () => true,
    () => false,
  );
  client.send('x', server.address().port, address);
  return Promise.race([answer, delay(CONNECT_MS, false)]);
}

describe('the BPF datapath in network namespaces', { skip: bpfOrSkip(), timeout: 90_000 }, () => {
  const lab = new DatapathLab('L');
  let a: Pod;
  let b: Pod;
  let sockets: Sockets;

  before(async () => {
    await lab.start();
    a = await lab.pod(10, 1000);
    b = await lab.pod(11, 2000);
    await lab.datapath.attachEndpoint(a.endpoint);
    await lab.datapath.attachEndpoint(b.endpoint);
  });
  after(() => lab.cleanUp());

  beforeEach((t) => {
    sockets = new Sockets(lab);
    const mine = sockets;
    if ('after' in t) t.after(() => mine.close());
    lab.events.length = 0;
  });

  /** Brings a pod to exactly these entries. */
  async function setPolicy(pod: Pod, entries: readonly ReturnType<typeof allow>[], enforcement = INGRESS) {
    await lab.datapath.applyPolicy(pod.endpoint.id, stateOf(entries), enforcement);
  }

  function drops(): readonly number[] {
    return lab.events.flatMap((event) => (event.kind === 'drop' ? [event.reason] : []));
  }

  it('passes nothing before the first policy', async () => {
    assert.equal(await lab.ping(a.namespace, b.ipv4), false);
    assert.equal(await lab.ping(lab.node, a.ipv4), false);
    assert.equal(await lab.ping(lab.remote, a.ipv4), false);
    await eventually('a drop event', () => drops().includes(DropReason.epNotReady) || undefined);
  });

  it('joins endpoints, node and other machines in both families', async () => {
    await setPolicy(a, [], OPEN);
    await setPolicy(b, [], OPEN);
    for (const [from, to] of [
      [a.namespace, b.ipv4],
      [a.namespace, b.ipv6],
      [a.namespace, NODE4],
      [a.namespace, NODE6],
      [a.namespace, REMOTE4],
      [a.namespace, REMOTE6],
      [lab.node, b.ipv4],
      [lab.node, b.ipv6],
      [lab.remote, a.ipv4],
      [lab.remote, a.ipv6],
    ] as const) {
      // Neighbours that could not be found while the endpoints were locked are asked for again after a second.
      await eventually(`${from} to ${to}`, async () => (await lab.ping(from, to)) || undefined);
    }
  });

  it('carries packets larger than one frame', async () => {
    assert.ok(await lab.ping(a.namespace, b.ipv4, 5000), 'local');
    assert.ok(await lab.ping(a.namespace, REMOTE6, 5000), 'to another machine');
    assert.ok(await lab.ping(lab.remote, a.ipv4, 5000), 'from another machine');
  });

  it('lets through what policy allows and drops the SYN of the rest', async () => {
    await setPolicy(b, [allow('ingress', a.endpoint.identity, 6, 80)]);
    for (const address of [b.ipv4, b.ipv6]) {
      await sockets.serve(b.namespace, address, 80);
      await sockets.serve(b.namespace, address, 81);
      const allowed = await sockets.connect(a.namespace, address, 80);
      assert.ok(allowed && (await echoes(allowed)), `${address} port 80`);
      assert.equal(await sockets.connect(a.namespace, address, 81), undefined, `${address} port 81`);
      assert.equal(await sockets.connect(lab.remote, address, 80), undefined, 'another identity');
      assert.equal(await sockets.connect(lab.node, address, 80), undefined, 'the node itself');
    }
    const drop = await eventually('a drop event', () =>
      lab.events.find((event) => event.kind === 'drop' && event.summary.endsWith(`${b.ipv4}:81 tcp SYN`)),
    );
    assert.ok(drop.kind === 'drop');
    assert.deepEqual(
      [drop.reason, drop.source, drop.srcIdentity, drop.dstIdentity],
      [DropReason.policy, b.endpoint.id, a.endpoint.identity, b.endpoint.identity],
    );
    const counters = await lab.datapath.readCounters();
    const counted = counters.find(
      ({ reason, direction }) => reason === DropReason.policy && direction === 'ingress',
    );
    assert.ok(counted && counted.packets >= 4n);
  });

  it('lets replies pass where the direction is denied, also to other machines and the node', async () => {
    await setPolicy(a, []);
    await setPolicy(b, [], OPEN);
    assert.equal(await lab.ping(b.namespace, a.ipv4), false);
    for (const target of [b.ipv4, b.ipv6, REMOTE4, REMOTE6, NODE4, NODE6]) {
      assert.ok(await lab.ping(a.namespace, target), target);
    }
    await setPolicy(a, [], OPEN);
  });

  it('knows the node and other nodes by their identities', async () => {
    await setPolicy(b, [allow('ingress', ReservedIdentity.host)]);
    assert.ok(await lab.ping(lab.node, b.ipv4));
    assert.equal(await lab.ping(lab.remote, b.ipv4), false);
    await setPolicy(b, [allow('ingress', REMOTE_IDENTITY)]);
    await sockets.serve(b.namespace, b.ipv4, 80);
    assert.equal(await sockets.connect(lab.node, b.ipv4, 80), undefined);
    assert.ok(await lab.ping(lab.remote, b.ipv4));
  });

  it('cuts established TCP and UDP at once when the policy goes, and touches no other stream', async () => {
    await setPolicy(b, [allow('ingress', a.endpoint.identity), allow('ingress', REMOTE_IDENTITY)]);
    await sockets.serve(b.namespace, b.ipv4, 80);
    const cut = await sockets.connect(a.namespace, b.ipv4, 80);
    const kept = await sockets.connect(lab.remote, b.ipv4, 80);
    const server = await sockets.udp(b.namespace, b.ipv4, 5353);
    server.on('message', (message, { port, address }) => server.send(message, port, address));
    const client = await sockets.udp(a.namespace, a.ipv4);
    assert.ok(cut && kept && (await echoes(cut)) && (await echoes(kept)));
    assert.ok(await udpEchoes(client, server, b.ipv4));
    await setPolicy(b, [allow('ingress', REMOTE_IDENTITY)]);
    assert.equal(await udpEchoes(client, server, b.ipv4), false, 'UDP');
    assert.equal(await echoes(cut), false, 'TCP');
    assert.ok(await echoes(kept), 'the other stream');
    await setPolicy(b, [allow('ingress', a.endpoint.identity), allow('ingress', REMOTE_IDENTITY)]);
    assert.ok(await udpEchoes(client, server, b.ipv4), 'UDP again');
    const again = await sockets.connect(a.namespace, b.ipv4, 80);
    assert.ok(again && (await echoes(again)), 'a new connection');
  });

  it('brings the error of a closed UDP port back to who asked', async () => {
    await setPolicy(b, [], OPEN);
    await setPolicy(a, []);
    for (const [host, port] of [
      [b.ipv4, 9],
      [REMOTE4, 9],
    ] as const) {
      const socket = createSocket('udp4');
      const listening = once(socket, 'listening');
      socket.bind({
        fd: loadSockets().openSocket({ family: 4, type: 'datagram', netns: lab.net.path(a.namespace) }),
      });
      await listening;
      const connected = once(socket, 'connect');
      socket.connect(port, host);
      await connected;
      const refused = once(socket, 'error').then(([error]: { code?: string }[]) => error?.code);
      socket.send('x');
      assert.equal(await Promise.race([refused, delay(CONNECT_MS, 'silence')]), 'ECONNREFUSED', host);
      socket.close();
    }
    await setPolicy(a, [], OPEN);
  });

  it('drops packets in the name of others', async () => {
    await lab.net.ip('-n', a.namespace, 'address', 'add', '10.66.0.77/32', 'dev', 'eth0');
    const socket = await sockets.udp(a.namespace, '10.66.0.77');
    socket.send('x', 9, b.ipv4);
    await eventually('the drop', () => drops().includes(DropReason.invalidSip) || undefined);
    await lab.net.ip('-n', a.namespace, 'address', 'delete', '10.66.0.77/32', 'dev', 'eth0');
  });

  it('goes on enforcing while nobody is there, and is taken over without a gap under traffic', async () => {
    await setPolicy(b, [
      allow('ingress', a.endpoint.identity, 6, 80),
      allow('ingress', a.endpoint.identity, 17),
    ]);
    await sockets.serve(b.namespace, b.ipv4, 80);
    const stream = await sockets.connect(a.namespace, b.ipv4, 80);
    const server = await sockets.udp(b.namespace, b.ipv4, 5353);
    const client = await sockets.udp(a.namespace, a.ipv4);
    let received = 0;
    let sent = 0;
    server.on('message', () => received++);
    assert.ok(stream && (await echoes(stream)));
    const beat = setInterval(() => {
      client.send('x', 5353, b.ipv4);
      sent++;
    }, 1);
    try {
      await lab.datapath.stop();
      assert.ok(await echoes(stream), 'allowed while stopped');
      assert.equal(await sockets.connect(a.namespace, b.ipv4, 81), undefined, 'denied while stopped');
      for (let round = 0; round < 3; round++) {
        lab.datapath = lab.createDatapath();
        const { adopted, endpoints } = await lab.datapath.start(lab.nodeFacts);
        assert.ok(adopted);
        assert.deepEqual(endpoints.map(({ id }) => id).sort(), [10, 11]);
        assert.deepEqual(
          endpoints.find(({ id }) => id === 11),
          b.endpoint,
        );
        assert.equal((await lab.datapath.readPolicy(11)).size, 2);
        if (round < 2) await lab.datapath.stop();
      }
    } finally {
      clearInterval(beat);
    }
    await eventually('every datagram', () => received === sent || undefined, { timeoutMs: 2000 });
    assert.ok(sent > 100);
    assert.ok(await echoes(stream), 'the stream lives on');
    assert.equal(await sockets.connect(a.namespace, b.ipv4, 81), undefined, 'denied as before');
  });

  it('counts the connections of a rule also while nobody is there', async () => {
    await setPolicy(b, [allow('ingress', a.endpoint.identity, 6, 80)]);
    await sockets.serve(b.namespace, b.ipv4, 80);
    const before = (await lab.datapath.readRuleConnections()).get(7)?.allowed ?? 0;
    await sockets.connect(a.namespace, b.ipv4, 80);
    await lab.datapath.stop();
    await sockets.connect(a.namespace, b.ipv4, 80);
    lab.datapath = lab.createDatapath();
    await lab.datapath.start(lab.nodeFacts);
    assert.equal((await lab.datapath.readRuleConnections()).get(7)?.allowed, before + 2);
  });

  it('shows to a reader without agent what the kernel holds', async () => {
    await setPolicy(b, [allow('ingress', a.endpoint.identity, 6, 80)]);
    await sockets.serve(b.namespace, b.ipv4, 80);
    await sockets.connect(a.namespace, b.ipv4, 80);
    const reader = openMapReader(lab.bpfDir);
    try {
      assert.deepEqual([...reader.endpoints()].map(({ endpoint }) => endpoint.ifname).sort(), [
        'lxc10',
        'lxc11',
      ]);
      const [row] = [...reader.policy(b.endpoint.id)];
      assert.deepEqual(row?.key, allow('ingress', 1000, 6, 80).key);
      assert.ok(row && row.packets >= 1n);
      assert.deepEqual(
        [...reader.ipcache()].map(({ identity }) => identity),
        [6, 6],
      );
      const flow = [...reader.conntrack(4)].find(
        ({ responder, initiator, protocol }) =>
          protocol === 6 && responder.port === 80 && !responder.closing && !initiator.closing,
      );
      assert.ok(flow?.seenReply);
      assert.deepEqual([flow.initiator.identity, flow.responder.identity], [1000, 2000]);
      assert.ok(flow.expiresInSeconds > 7000 && flow.expiresInSeconds < 8100, String(flow.expiresInSeconds));
      assert.ok(reader.counters().some(({ reason }) => reason === 0));
    } finally {
      reader.close();
    }
  });

  it('locks an endpoint whose policy does not fit, and says so', async () => {
    await setPolicy(b, [allow('ingress', a.endpoint.identity)]);
    assert.ok(await lab.ping(a.namespace, b.ipv4));
    const state = stateOf(Array.from({ length: 16_400 }, (_, i) => allow('ingress', 5000 + i)));
    const failed = lab.datapath.applyPolicy(b.endpoint.id, state, INGRESS);
    await assert.rejects(failed, { code: 'POLICY_WRITE' });
    assert.equal(await lab.ping(a.namespace, b.ipv4), false);
    const usage = await lab.datapath.readMapUsage();
    assert.ok(usage.some(({ errors }) => errors > 0));
    await setPolicy(b, [allow('ingress', a.endpoint.identity)]);
    assert.ok(await lab.ping(a.namespace, b.ipv4));
  });

  it('forgets an endpoint whose device is gone, and leaves nothing behind when destroyed', async () => {
    await lab.datapath.stop();
    await lab.net.ip('-n', lab.node, 'link', 'delete', b.endpoint.ifname);
    lab.datapath = lab.createDatapath();
    const { endpoints } = await lab.datapath.start(lab.nodeFacts);
    assert.deepEqual(
      endpoints.map(({ id }) => id),
      [10],
    );
    assert.deepEqual(readdirSync(join(lab.bpfDir, 'links')).length, 3);
    await lab.datapath.detachEndpoint(10);
    assert.deepEqual(readdirSync(join(lab.bpfDir, 'links')).length, 3, 'its device stays guarded');
    await lab.net.ip('-n', lab.node, 'link', 'delete', a.endpoint.ifname);
    await lab.datapath.collectGarbage();
    assert.deepEqual(readdirSync(join(lab.bpfDir, 'links')).length, 1);
    await lab.datapath.destroy();
    // The kernel itself puts two files into every bpffs.
    const left = readdirSync(join(lab.bpfDir, '..')).filter((name) => !name.endsWith('.debug'));
    assert.deepEqual(left, []);
  });
});
