/** Real packets against the datapath while things go wrong around it. */
import assert from 'node:assert/strict';
import { readdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { BpfMapType, loadBpf } from '../../bpf/addon/index.ts';
import { createIcmpProbe } from '../../probes/icmp/index.ts';
import { CiliateError } from '../../src/base/errors.ts';
import { DropReason, MapName } from '../../src/model/constants.gen.ts';
import { ReservedIdentity } from '../../src/model/identity.ts';
import { boundDatagrams, DatagramStream } from '../support/datagram-stream.ts';
import {
  allow,
  DatapathLab,
  deny,
  NODE4,
  NODE6,
  type Pod,
  REMOTE4,
  stateOf,
} from '../support/datapath-lab.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { eventually, startProcess } from '../support/process.ts';
import type { ChurnOrders } from './churn-child.ts';

const OPEN = { ingress: false, egress: false };
const INGRESS = { ingress: true, egress: false };
const EGRESS = { ingress: false, egress: true };
const BOTH = { ingress: true, egress: true };
const CHILD = fileURLToPath(new URL('./churn-child.ts', import.meta.url));
/** `KILL_ROUNDS=60` for a long run. */
const KILL_ROUNDS = Number(process.env.KILL_ROUNDS ?? 6);
const POLICY_CHANGES = Number(process.env.POLICY_CHANGES ?? 200);

describe('attacks on the datapath in network namespaces', { skip: bpfOrSkip(), timeout: 180_000 }, () => {
  const lab = new DatapathLab('N');
  let a: Pod;
  let b: Pod;
  let c: Pod;

  before(async () => {
    await lab.start();
    a = await lab.pod(10, 1000);
    b = await lab.pod(11, 2000);
    c = await lab.pod(12, 3000);
    for (const pod of [a, b, c]) {
      await lab.datapath.attachEndpoint(pod.endpoint);
      await setPolicy(pod, []);
    }
  });
  after(() => lab.cleanUp());

  async function setPolicy(
    pod: Pod,
    entries: readonly ReturnType<typeof allow>[],
    enforcement = OPEN,
  ): Promise<void> {
    await lab.datapath.applyPolicy(pod.endpoint.id, stateOf(entries), enforcement);
  }

  async function restart(): Promise<void> {
    await lab.datapath.stop();
    lab.datapath = lab.createDatapath();
    await lab.datapath.start(lab.nodeFacts);
  }

  /** Whether one of several datagrams from a pod reaches a socket on the node. */
  async function reachesNode(pod: Pod, address: string, port: number): Promise<boolean> {
    const family = address.includes(':') ? '::' : '0.0.0.0';
    const node = await boundDatagrams(lab, lab.node, family, port);
    const sender = await boundDatagrams(lab, pod.namespace, family, 0);
    let heard = false;
    node.on('message', () => {
      heard = true;
    });
    if (family === '0.0.0.0') sender.setBroadcast(true);
    for (let i = 0; i < 3; i++) {
      await new Promise((resolve) => sender.send('x', port, address, resolve));
      await delay(30);
    }
    node.close();
    sender.close();
    return heard;
  }

  it('counts every address at which the node itself answers as the host', async () => {
    await lab.net.ip('-n', lab.node, 'address', 'add', '172.31.99.1/24', 'dev', 'lo');
    await lab.net.ip('-n', lab.node, 'address', 'add', 'fd31::1/128', 'dev', 'lo', 'nodad');
    const unlisted = [
      '172.31.99.1',
      '172.31.99.255',
      '192.168.66.255',
      'fd31::1',
      'ff02::1%eth0',
      '224.0.0.1',
    ];
    await setPolicy(a, [allow('egress', ReservedIdentity.world)], EGRESS);
    for (const address of [...unlisted, NODE4, NODE6]) {
      assert.equal(await reachesNode(a, address, 7071), false, address);
    }
    await setPolicy(
      a,
      [allow('egress', ReservedIdentity.world), allow('egress', ReservedIdentity.host)],
      EGRESS,
    );
    for (const address of [unlisted[0] ?? '', unlisted[3] ?? '', NODE4]) {
      assert.equal(await reachesNode(a, address, 7072), true, address);
    }
    await setPolicy(a, []);
  });

  it('leaves a pod whose endpoint was deleted without any way out', async () => {
    const stream = await DatagramStream.open(lab, c.namespace, lab.remote, REMOTE4, 7080);
    await eventually('the first datagrams', () => stream.received > 5 || undefined, { timeoutMs: 2000 });
    await lab.datapath.detachEndpoint(c.endpoint.id);
    await delay(50);
    const before = stream.received;
    await restart();
    await lab.datapath.collectGarbage();
    await delay(100);
    await stream.end();
    assert.equal(stream.received, before);
    assert.equal(await lab.ping(c.namespace, NODE4), false);
    assert.equal(await lab.ping(lab.remote, c.ipv4), false);
    await lab.datapath.attachEndpoint(c.endpoint);
    await setPolicy(c, []);
    assert.ok(await lab.ping(c.namespace, b.ipv4));
  });

  it('puts programs back that somebody took off, with the policy they had', async () => {
    await setPolicy(b, [], INGRESS);
    await setPolicy(c, [], EGRESS);
    await lab.datapath.stop();
    for (const name of readdirSync(join(lab.bpfDir, 'links'))) {
      if (!name.endsWith('_from_netdev')) unlinkSync(join(lab.bpfDir, 'links', name));
    }
    await delay(20);
    await lab.net.ip('-n', lab.node, 'link', 'set', c.endpoint.ifname, 'down');
    lab.datapath = lab.createDatapath();
    const { endpoints } = await lab.datapath.start(lab.nodeFacts);
    await lab.net.ip('-n', lab.node, 'link', 'set', c.endpoint.ifname, 'up');
    await lab.net.ip('-n', lab.node, 'route', 'replace', c.ipv4, 'dev', c.endpoint.ifname, 'src', NODE4);
    await lab.net.ip('-n', lab.node, 'route', 'replace', c.ipv6, 'dev', c.endpoint.ifname, 'src', NODE6);
    assert.deepEqual(endpoints.map(({ id }) => id).sort(), [10, 11, 12]);
    assert.equal(await lab.ping(a.namespace, b.ipv4), false, 'denied as before');
    assert.equal(await lab.ping(c.namespace, REMOTE4), false, 'denied as before');
    assert.ok(await lab.ping(b.namespace, a.ipv4), 'allowed as before');
    await setPolicy(b, []);
    await setPolicy(c, []);
  });

  it('goes on guarding a device that was renamed', async () => {
    const { ifname } = c.endpoint;
    const ip = (...words: string[]): Promise<string> => lab.net.ip('-n', lab.node, ...words);
    await setPolicy(c, [], BOTH);
    await ip('link', 'set', ifname, 'down');
    await ip('link', 'set', ifname, 'name', 'renamed');
    await ip('link', 'set', 'renamed', 'up');
    await ip('route', 'replace', c.ipv4, 'dev', 'renamed', 'src', NODE4);
    await restart();
    assert.equal(await lab.ping(c.namespace, REMOTE4), false);
    // What an agent does that no longer finds the name.
    await lab.datapath.detachEndpoint(c.endpoint.id);
    assert.equal(await lab.ping(c.namespace, REMOTE4), false);
    await ip('link', 'set', 'renamed', 'down');
    await ip('link', 'set', 'renamed', 'name', ifname);
    await ip('link', 'set', ifname, 'up');
    await ip('route', 'replace', c.ipv4, 'dev', ifname, 'src', NODE4);
    await ip('route', 'replace', c.ipv6, 'dev', ifname, 'src', NODE6);
    await lab.datapath.attachEndpoint(c.endpoint);
    await setPolicy(c, []);
    assert.ok(await lab.ping(c.namespace, REMOTE4));
  });

  it('does not take tagged frames for those of the same flow without a tag', async (t) => {
    const made = await lab.net.exec(a.namespace, [
      ...['ip', 'link', 'add', 'link', 'eth0', 'name', 'tagged', 'type', 'vlan', 'id', '5'],
    ]);
    if (made.exitCode !== 0) return t.skip(`this kernel has no VLAN devices: ${made.stderr.trim()}`);
    const stream = await DatagramStream.open(lab, a.namespace, b.namespace, b.ipv4, 7090);
    await eventually('the first datagrams', () => stream.received > 5 || undefined, { timeoutMs: 2000 });
    lab.events.length = 0;
    const inPod = (...words: string[]): Promise<string> => lab.net.ip('-n', a.namespace, ...words);
    await inPod('link', 'set', 'tagged', 'up');
    await inPod(
      'neigh',
      'replace',
      b.ipv4,
      'lladdr',
      '02:00:00:00:00:01',
      'dev',
      'tagged',
      'nud',
      'permanent',
    );
    await inPod('route', 'add', b.ipv4, 'dev', 'tagged', 'src', a.ipv4);
    await delay(100);
    const reasons = (): number[] =>
      lab.events.flatMap((event) => (event.kind === 'drop' ? [event.reason] : []));
    await eventually('their drops', () => reasons().includes(DropReason.vlanFiltered) || undefined, {
      timeoutMs: 2000,
    });
    await inPod('link', 'delete', 'tagged');
    await stream.end();
    assert.ok(stream.received < stream.sent);
  });

  it('ends a probe of the node that a policy drops as refused, and sends the others', async () => {
    // A packet that waits for its neighbour is dropped too late to be refused.
    assert.ok(await lab.ping(lab.node, b.ipv4));
    await setPolicy(b, [], INGRESS);
    const probe = createIcmpProbe({ netns: lab.net.path(lab.node), timeoutMs: 1500 });
    await probe.start();
    try {
      const begun = performance.now();
      const results = await Promise.all(
        [a.ipv4, b.ipv4, a.ipv4, b.ipv4, b.ipv4, a.ipv4].map((address) => probe.probe(address)),
      );
      const kinds = results.map((result) => (result.kind === 'failure' ? result.failure.kind : result.kind));
      assert.deepEqual(kinds, ['reply', 'send-failed', 'reply', 'send-failed', 'send-failed', 'reply']);
      assert.ok(performance.now() - begun < 1000);
      const { failed, lost } = probe.counters();
      assert.deepEqual([failed, lost], [3, 0]);
    } finally {
      await probe.stop();
      await setPolicy(b, []);
    }
  });

  it('neither opens nor closes while its policy changes under load', async () => {
    const always = allow('ingress', a.endpoint.identity, 17, 7100);
    const variants = [
      [always, deny('ingress', a.endpoint.identity, 17, 7101)],
      [always, deny('ingress', a.endpoint.identity, 17, 7102), allow('ingress', 0, 17, 7999)],
      [always],
      [always, ...Array.from({ length: 30 }, (_, i) => allow('ingress', 8000 + i))],
      [always, deny('ingress', a.endpoint.identity, 17), allow('ingress', a.endpoint.identity)].slice(0, 1),
    ];
    await setPolicy(b, variants[0] ?? [], INGRESS);
    const allowed = await DatagramStream.open(lab, a.namespace, b.namespace, b.ipv4, 7100);
    const denied = await Promise.all([
      DatagramStream.open(lab, a.namespace, b.namespace, b.ipv4, 7101),
      DatagramStream.open(lab, c.namespace, b.namespace, b.ipv4, 7103),
      DatagramStream.open(lab, lab.remote, b.namespace, b.ipv6, 7104),
    ]);
    await eventually('the first datagrams', () => allowed.received > 5 || undefined, { timeoutMs: 2000 });
    try {
      for (let i = 0; i < POLICY_CHANGES; i++) {
        const enforcement = i % 2 === 0 ? INGRESS : BOTH;
        await setPolicy(b, variants[i % variants.length] ?? [], enforcement);
        if (i % 8 === 0) await delay(1);
      }
    } finally {
      for (const stream of [allowed, ...denied]) await stream.end();
    }
    assert.deepEqual(
      denied.map(({ received }) => received),
      [0, 0, 0],
    );
    assert.equal(allowed.received, allowed.sent, 'allowed before, between and after');
    assert.ok(allowed.sent > 50);
    await setPolicy(b, []);
  });

  it('completes an endpoint whose agent died before its device and addresses led to it', async () => {
    const bpf = loadBpf();
    await lab.datapath.stop();
    for (const name of [MapName.devices, MapName.addresses]) {
      const map = bpf.openPinnedMap(join(lab.bpfDir, 'maps', name));
      assert.ok(map);
      for (let key = map.nextKey(undefined); key !== undefined; key = map.nextKey(undefined)) map.delete(key);
      map.close();
    }
    assert.equal(await lab.ping(c.namespace, b.ipv4), false, 'closed meanwhile');
    lab.datapath = lab.createDatapath();
    await lab.datapath.start(lab.nodeFacts);
    assert.ok(await lab.ping(c.namespace, b.ipv4));
    assert.ok(await lab.ping(lab.remote, c.ipv6));
  });

  it('leaves what another version pinned alone, and says how to go on', async () => {
    const bpf = loadBpf();
    const path = join(lab.bpfDir, 'maps', MapName.devices);
    await setPolicy(b, [], INGRESS);
    await lab.datapath.stop();
    const ours = bpf.openPinnedMap(path);
    assert.ok(ours);
    const other = bpf.createMap({
      type: BpfMapType.hash,
      name: 'other',
      keySize: 8,
      valueSize: 8,
      maxEntries: 16,
    });
    try {
      unlinkSync(path);
      other.pin(path);
      const late = lab.createDatapath();
      await assert.rejects(late.start(lab.nodeFacts), (error: unknown) => {
        assert.ok(error instanceof CiliateError);
        assert.equal(error.code, 'DATAPATH_OTHER_VERSION');
        assert.match(error.hint ?? '', /ciliate cleanup/);
        return true;
      });
      assert.equal(await lab.ping(a.namespace, b.ipv4), false, 'denied as before');
      assert.ok(await lab.ping(b.namespace, a.ipv4), 'allowed as before');
    } finally {
      unlinkSync(path);
      ours.pin(path);
      ours.close();
      other.close();
      lab.datapath = lab.createDatapath();
      await lab.datapath.start(lab.nodeFacts);
    }
    await setPolicy(b, []);
  });

  for (const denies of [false, true]) {
    const promise = denies
      ? 'passes nothing that is denied'
      : 'passes nothing that is denied, loses nothing that is allowed,';
    it(`${promise} while its agent is killed again and again${denies ? ' among denying entries' : ''}`, async (t) => {
      const seed = Math.trunc(Math.random() * 1e6);
      t.diagnostic(`seed ${seed}`);
      const { allowed, denied } = await killAgents(seed, denies);
      assert.deepEqual(
        denied.map(({ received }) => received),
        denied.map(() => 0),
      );
      if (!denies) assert.equal(allowed.received, allowed.sent);
      await lab.datapath.attachEndpoint(c.endpoint);
      for (const pod of [b, c]) await setPolicy(pod, []);
      assert.ok(await lab.ping(c.namespace, b.ipv4));
    });
  }

  /** Streams through KILL_ROUNDS lives of an agent; afterwards the datapath is the test's again. */
  async function killAgents(
    seed: number,
    denies: boolean,
  ): Promise<{ readonly allowed: DatagramStream; readonly denied: readonly DatagramStream[] }> {
    let state = seed;
    const random = (): number => {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
      return state / 2 ** 31;
    };
    await setPolicy(b, [allow('ingress', a.endpoint.identity, 17, 7200)], INGRESS);
    await lab.datapath.attachEndpoint(c.endpoint);
    await lab.datapath.stop();
    const allowed = await DatagramStream.open(lab, a.namespace, b.namespace, b.ipv4, 7200);
    await eventually('the first datagrams', () => allowed.received > 5 || undefined, { timeoutMs: 2000 });
    const denied = await Promise.all([
      DatagramStream.open(lab, a.namespace, b.namespace, b.ipv4, 7201),
      DatagramStream.open(lab, c.namespace, b.namespace, b.ipv4, 7202),
      DatagramStream.open(lab, c.namespace, lab.remote, REMOTE4, 7203),
      DatagramStream.open(lab, lab.remote, c.namespace, c.ipv4, 7204),
      DatagramStream.open(lab, lab.node, c.namespace, c.ipv4, 7205),
    ]);
    const text = JSON.stringify(ordersFor(denies), (_, value: unknown) =>
      value instanceof Uint8Array ? [...value] : value,
    );
    try {
      for (let round = 0; round < KILL_ROUNDS; round++) {
        const argv = [process.execPath, CHILD, lab.bpfDir, lab.net.path(lab.node), text];
        const child = await startProcess(argv);
        if (round % 3 !== 2) await child.waitForLine(/^started/);
        await delay(random() * 300);
        await child.stop('SIGKILL');
        assert.ok(!child.output().includes('Error'), child.output());
      }
    } finally {
      for (const stream of [allowed, ...denied]) await stream.end();
    }
    lab.datapath = lab.createDatapath();
    await lab.datapath.start(lab.nodeFacts);
    return { allowed, denied };
  }

  function ordersFor(denies: boolean): ChurnOrders {
    return {
      node: { addresses: [NODE4, NODE6], podCidrs: ['10.66.0.0/16', 'fd66::/64'] },
      server: b.endpoint.id,
      serverPort: 7200,
      client: a.endpoint.identity,
      denies,
      outcast: c.endpoint,
    };
  }
});
