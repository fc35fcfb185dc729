import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { after, afterEach, before, describe, it } from 'node:test';
import { PathRecord, RECORDS_A_BLOCK } from '../../probes/engine/constants.ts';
import {
  createProbeEngine,
  type EngineEvent,
  type EngineOptions,
  type ProbeEngine,
} from '../../probes/engine/index.ts';
import { NetnsLab } from '../support/netns.ts';
import { rootOrSkip } from '../support/privilege.ts';
import { until } from '../support/until.ts';

/** Maps of records that this process holds. */
function recordMaps(): number {
  const maps = new Set<string | undefined>();
  for (const fd of readdirSync('/proc/self/fdinfo')) {
    let text = '';
    try {
      text = readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8');
    } catch (error) {
      // The descriptor that the list itself was read by.
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    }
    if (text.includes(`value_size:\t${PathRecord.words * 4}\nmax_entries:\t${RECORDS_A_BLOCK}\n`))
      maps.add(/map_id:\t(\d+)/.exec(text)?.[1]);
  }
  return maps.size;
}

/** Its index in every namespace. */
const LOOPBACK = 1;
const HERE = ['10.1.0.1', 'fd01::1'];
const THERE = ['10.1.0.2', 'fd01::2'];

describe('probe engine with programs on the devices', { skip: rootOrSkip() }, () => {
  const lab = new NetnsLab('p');
  let names: [string, string] = ['', ''];
  const nodes: { readonly netnsFd: number; readonly devices: readonly number[] }[] = [];
  const engines: ProbeEngine[] = [];
  const events: EngineEvent[] = [];

  before(async () => {
    names = [await lab.namespace('a'), await lab.namespace('b')];
    await lab.veth(
      { name: 'eth0', netns: names[0], addresses: HERE.map((ip, i) => `${ip}/${i === 0 ? 24 : 64}`) },
      { name: 'eth0', netns: names[1], addresses: THERE.map((ip, i) => `${ip}/${i === 0 ? 24 : 64}`) },
    );
    for (const name of names) {
      const links = JSON.parse(await lab.ip('-n', name, '-json', 'link', 'show', 'dev', 'eth0')) as {
        ifindex: number;
      }[];
      nodes.push({ netnsFd: openSync(lab.path(name), 'r'), devices: links.map(({ ifindex }) => ifindex) });
    }
  });

  afterEach(async () => {
    for (const engine of engines.splice(0)) await engine.stop();
    events.length = 0;
  });

  after(async () => {
    for (const { netnsFd } of nodes) closeSync(netnsFd);
    await lab.cleanUp();
  });

  async function start(node: 0 | 1, options: Partial<EngineOptions> = {}): Promise<ProbeEngine> {
    const origin = nodes[node];
    assert.ok(origin !== undefined);
    const engine = createProbeEngine({ origins: [origin], mode: 'bpf', pathsMax: 1024, ...options });
    engines.push(engine);
    await engine.start();
    if (node === 0) engine.onEvents((list) => events.push(...list));
    return engine;
  }

  for (const [i, address] of THERE.entries()) {
    it(`times answers of the stack at ${address}, and takes them off the wire`, async () => {
      const engine = await start(0);
      const path = engine.open({ address, responder: 'icmp', origin: 0, periodMs: 20 });
      // What is told of it comes at the soft deadline.
      await until(() => engine.counts(path).answered >= 10 && events.length > 0);
      const { lost, unstamped, echoed, rttLastNs, rttMaxNs, hopLimitLast } = engine.counts(path);
      assert.equal(lost + unstamped + echoed, 0);
      assert.ok(rttLastNs > 0 && rttLastNs <= rttMaxNs);
      assert.equal(hopLimitLast, 64);
      assert.deepEqual(engine.self().mode[4], { ready: true, mode: 'bpf' });
      assert.deepEqual(
        events.map(({ kind }) => kind),
        ['answer'],
      );
    });

    it(`gets echoes of the programs at ${address}, with how long they were held, from every port in turn`, async () => {
      const engine = await start(0);
      const peer = await start(1);
      peer.setPeers([HERE[i] ?? ''], [address]);
      const path = engine.open({ address, responder: 'echo', origin: 0, periodMs: 20, rotate: true });
      await until(() => engine.counts(path).answered >= 20);
      const { sent, lost, failed, echoed, answered, rttSumNs, residenceSumNs } = engine.counts(path);
      assert.equal(lost + failed, 0, `${sent} sent`);
      assert.ok(echoed >= 20 && echoed <= answered + 1);
      assert.ok(residenceSumNs > 0 && residenceSumNs < rttSumNs, `${residenceSumNs} of ${rttSumNs}`);
      assert.ok(peer.self().echoes >= 20);
    });
  }

  for (const [i, address] of THERE.entries()) {
    for (const responder of ['icmp', 'echo'] as const) {
      it(`begins ${responder} probes of ${address} at the device once the kernel has shown the way, and asks it again`, async () => {
        const engine = await start(0);
        const peer = await start(1);
        peer.setPeers([HERE[i] ?? ''], [address]);
        const path = engine.open({ address, responder, origin: 0, periodMs: 20, rotate: true });
        await until(() => engine.self().shortCuts >= 20);
        const { sent, lost, failed, unstamped, duplicate } = engine.counts(path);
        assert.equal(lost + failed + unstamped + duplicate, 0);
        // One in eight at least takes the whole way.
        assert.ok(engine.self().shortCuts <= sent * (7 / 8) + 7, `${engine.self().shortCuts} of ${sent}`);
      });
    }
  }

  for (const address of HERE) {
    it(`loses none to ${address}, its own: what begins at the loopback would be dropped there`, async () => {
      const [origin] = nodes;
      assert.ok(origin !== undefined);
      const engine = await start(0, { origins: [{ ...origin, devices: [LOOPBACK, ...origin.devices] }] });
      const path = engine.open({ address, responder: 'icmp', origin: 0, periodMs: 10 });
      await until(() => engine.counts(path).answered >= 60);
      const { lost, failed, unstamped } = engine.counts(path);
      assert.deepEqual([lost + failed + unstamped, engine.self().shortCuts], [0, 0]);
    });
  }

  it('has records of so many paths as there are, in the memory of programs all of them', async () => {
    const wanted = { timeoutMs: 5000, softTimeoutMs: 4000, packetsPerSecond: 100_000 };
    const engine = await start(0, { pathsMax: 4 * RECORDS_A_BLOCK, ...wanted });
    const open = (): number =>
      engine.open({ address: '10.1.0.2', responder: 'icmp', origin: 0, periodMs: 0 });
    assert.equal(recordMaps(), 1);
    const paths = [open()];
    assert.equal(recordMaps(), 1);
    while (paths.length < 2.5 * RECORDS_A_BLOCK) paths.push(open());
    assert.equal(recordMaps(), 3);
    for (let probes = 1; probes <= 2; probes++) {
      for (const path of paths) engine.burst(path, 1, 1);
      await until(() => paths.every((path) => engine.counts(path).answered === probes));
    }
    assert.ok(paths.every((path) => engine.counts(path).unstamped === 0));
    for (const path of paths) engine.close(path);
    open();
    assert.equal(recordMaps(), 3);
    await engine.stop();
    assert.equal(recordMaps(), 0);
  });

  it('hears at once that a route is gone, though it knew the way', async () => {
    const engine = await start(0);
    await lab.ip('-n', names[1], 'address', 'add', '10.5.0.1/32', 'dev', 'lo');
    await lab.ip('-n', names[0], 'route', 'add', '10.5.0.1/32', 'via', '10.1.0.2');
    const path = engine.open({ address: '10.5.0.1', responder: 'icmp', origin: 0, periodMs: 20 });
    await until(() => engine.self().shortCuts >= 3);
    await lab.ip('-n', names[0], 'route', 'del', '10.5.0.1/32');
    // The counts are read out of shared memory, ahead of what is told.
    await until(() => engine.counts(path).failed >= 1 && events.some(({ kind }) => kind === 'error'));
    assert.equal(engine.counts(path).lost, 0);
    assert.equal(events.find(({ kind }) => kind === 'error')?.errno, constants.errno.ENETUNREACH);
  });

  it('calls no peer silent because its address on the link changed under the known way', async () => {
    // Until the change is made on both sides, nothing is to be missed.
    const engine = await start(0, { timeoutMs: 3000, softTimeoutMs: 2000 });
    const path = engine.open({ address: '10.1.0.2', responder: 'icmp', origin: 0, periodMs: 1000 });
    await until(() => engine.self().shortCuts >= 1);
    await lab.ip('-n', names[1], 'link', 'set', 'eth0', 'address', '02:00:00:00:00:77');
    const neighbour = ['10.1.0.2', 'lladdr', '02:00:00:00:00:77', 'dev', 'eth0', 'nud', 'reachable'];
    await lab.ip('-n', names[0], 'neigh', 'replace', ...neighbour);
    await until(() => events.some(({ kind }) => kind === 'suspect'));
    const { answered } = engine.counts(path);
    await until(() => engine.counts(path).answered >= answered + 3);
    assert.ok(events.every(({ kind }) => kind !== 'silent'));
  });

  it('goes the whole way when its programs are off the device', async () => {
    const engine = await start(0);
    const path = engine.open({ address: '10.1.0.2', responder: 'icmp', origin: 0, periodMs: 20 });
    await until(() => engine.self().shortCuts >= 3);
    engine.setDevices(0, []);
    const { answered } = engine.counts(path);
    await until(() => engine.counts(path).answered >= answered + 10);
    const counts = engine.counts(path);
    assert.equal(counts.lost + counts.failed, 0);
    assert.ok(counts.unstamped >= 1);
  });

  it('is no reflector: an address that is no node gets no echo, and hears that the port is closed', async () => {
    const engine = await start(0);
    const peer = await start(1);
    peer.setPeers(['10.1.0.9'], [THERE[0] ?? '']);
    const path = engine.open({ address: '10.1.0.2', responder: 'echo', origin: 0, periodMs: 20 });
    await until(() => engine.counts(path).failed >= 3 && events.length > 0);
    assert.equal(engine.counts(path).answered, 0);
    assert.equal(events[0]?.errno, constants.errno.ECONNREFUSED);
    assert.equal(peer.self().echoes, 0);
    assert.ok(peer.self().echoesRefused >= 3);
  });

  it('answers a node no more than its share', async () => {
    const engine = await start(0, { packetsPerSecond: 10_000 });
    const peer = await start(1, { echoesPerSecond: 50 });
    peer.setPeers([HERE[0] ?? ''], [THERE[0] ?? '']);
    const path = engine.open({ address: '10.1.0.2', responder: 'echo', origin: 0, periodMs: 0 });
    engine.burst(path, 400, 1);
    await until(() => engine.counts(path).sent === 400);
    await until(() => peer.self().echoes + peer.self().echoesRefused >= 400);
    // 400 probes take at least 0.4 s: two or three windows of a second at most on a slow machine.
    assert.ok(peer.self().echoes <= 50 * 8, `${peer.self().echoes} echoes`);
    assert.ok(peer.self().echoesRefused > 0);
  });

  it("leaves other probers' answers alone", async () => {
    const engine = await start(0);
    const other = await start(0, { mode: 'raw' });
    const path = engine.open({ address: '10.1.0.2', responder: 'icmp', origin: 0, periodMs: 20 });
    const its = other.open({ address: '10.1.0.2', responder: 'icmp', origin: 0, periodMs: 20 });
    await until(() => engine.counts(path).answered >= 10 && other.counts(its).answered >= 10);
    for (const { lost, duplicate, unstamped } of [engine.counts(path), other.counts(its)]) {
      assert.equal(lost + duplicate + unstamped, 0);
    }
  });

  it('leaves nothing on the devices when it stops', async () => {
    const engine = await start(0);
    await engine.stop();
    const { loadBpf, BpfAttachType } = await import('../../bpf/addon/index.ts');
    const ifindex = nodes[0]?.devices[0] ?? 0;
    for (const hook of [BpfAttachType.tcxIngress, BpfAttachType.tcxEgress]) {
      assert.deepEqual(loadBpf().queryTcx(ifindex, hook, lab.path(names[0])), []);
    }
  });
});
