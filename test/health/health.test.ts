import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, it } from 'node:test';
import type { HealthStatusResponse, NodeElement } from '../../src/api/schema.ts';
import { silentLog } from '../../src/base/log.ts';
import {
  createHealth,
  createHealthMetrics,
  type Health,
  type HealthMetrics,
  RequestProber,
} from '../../src/health/index.ts';
import { NodeStates } from '../../src/health/state/node-states.ts';
import { element, FakeNodes, FakeProbe, lost, refused, reply } from './fakes.ts';
import { VirtualClock } from './virtual-clock.ts';

interface Bench {
  readonly clock: VirtualClock;
  readonly nodes: FakeNodes;
  readonly icmp: FakeProbe;
  readonly http: FakeProbe;
  readonly health: Health;
  readonly metrics: HealthMetrics;
}

const running: Health[] = [];

function bench(nodes: readonly NodeElement[], start?: number): Bench {
  const clock = new VirtualClock(start);
  const list = new FakeNodes('n1', nodes);
  const icmp = new FakeProbe('icmp', () => reply(20_000));
  const http = new FakeProbe('http', () => reply(300_000));
  const metrics = createHealthMetrics({
    health: () => health,
    engine: () => undefined,
    clock,
  });
  const health: Health = createHealth(
    { interval: { kind: 'fixed', ms: 1000 } },
    {
      nodes: list,
      probers: [
        new RequestProber({ responder: 'icmp', probes: { host: icmp }, clock, random: () => 0 }),
        new RequestProber({ responder: 'http', probes: { host: http }, clock, random: () => 0 }),
      ],
      clock,
      log: silentLog,
    },
  );
  running.push(health);
  return { clock, nodes: list, icmp, http, health, metrics };
}

const two = [element('n1', '10.0.0.1', '10.1.0.1'), element('n2', '10.0.0.2', '10.1.0.2')];

function pathOf(status: HealthStatusResponse, name: string) {
  return status.nodes?.find((node) => node.name === name)?.host?.['primary-address'];
}

/** The status, which must be the same as object and as text. */
function told(health: Health): HealthStatusResponse {
  const status = health.status();
  assert.deepEqual(JSON.parse(health.statusText().toString()), status);
  return status;
}

function metric(text: string, line: string): number {
  const found = text.split('\n').find((candidate) => candidate.startsWith(`${line} `));
  assert.ok(found, `no ${line} in\n${text}`);
  return Number(found.split(' ').at(-1));
}

function count(health: Health, kind: 'node' | 'endpoint') {
  return new NodeStates(health.trackers()).count(health.nodes().nodes, kind);
}

describe('the health agent', () => {
  afterEach(async () => {
    await Promise.all(running.splice(0).map((health) => health.stop()));
  });

  it('lists every node as unknown, never as healthy, before the first probe', async () => {
    const { health, metrics } = bench(two);
    await health.start();
    const status = told(health);
    assert.deepEqual(pathOf(status, 'n2'), { ip: '10.0.0.2' });
    assert.equal(status.probeInterval, '1s');
    const text = await metrics.text();
    assert.equal(metric(text, 'cilium_node_health_connectivity_status{type="node",status="unknown"}'), 2);
    assert.equal(metric(text, 'cilium_node_health_connectivity_status{type="node",status="reachable"}'), 0);
  });

  it('knows every path within two seconds and measures both protocols', async () => {
    const { clock, health } = bench(two);
    await health.start();
    await clock.pass(2000);
    const status = told(health);
    assert.equal(pathOf(status, 'n2')?.icmp?.latency, 20_000);
    assert.equal(pathOf(status, 'n2')?.http?.latency, 300_000);
    assert.match(pathOf(status, 'n2')?.icmp?.lastProbed ?? '', /^2026-01-01T00:00:0\dZ$/);
    assert.deepEqual(count(health, 'node'), { reachable: 2, unreachable: 0, unknown: 0 });
    assert.deepEqual(count(health, 'endpoint'), { reachable: 2, unreachable: 0, unknown: 0 });
  });

  it('never makes a latency of a failure, and counts it apart', async () => {
    const { clock, health, metrics, icmp, http } = bench([element('n2', '10.0.0.2')]);
    icmp.answer = () => lost;
    http.answer = () => refused;
    await health.start();
    await clock.pass(900);
    const text = await metrics.text();
    for (const protocol of ['icmp', 'http']) {
      const labels = `{type="node",protocol="${protocol}",address_type="primary"}`;
      assert.equal(metric(text, `cilium_node_health_connectivity_latency_seconds_count${labels}`), 0);
      assert.equal(
        metric(text, `ciliate_health_probes_total{path="host-host",protocol="${protocol}",result="lost"}`),
        3,
      );
    }
    assert.equal(metric(text, 'ciliate_health_refused_total'), 3);
    assert.equal(metric(text, 'cilium_unreachable_nodes'), 1);
    assert.deepEqual(Object.keys(pathOf(told(health), 'n2')?.icmp ?? {}), ['status', 'lastProbed']);
    assert.equal(pathOf(told(health), 'n2')?.http?.status, 'connection refused');
  });

  it('tells no loss of an outage that is over, even of what is heard of only after it', async () => {
    const { clock, health, icmp, http } = bench([element('n2', '10.0.0.2')]);
    await health.start();
    await clock.pass(30_000);
    icmp.answer = () => lost;
    http.answer = () => new Promise((resolve) => void clock.after(4000, () => resolve(lost)));
    await clock.pass(6000);
    assert.ok((health.cell('n2')?.lost ?? 0) > 0);
    icmp.answer = () => reply(20_000);
    await clock.pass(1500);
    http.answer = () => reply(300_000);
    for (let seconds = 0; seconds < 60; seconds++) {
      await clock.pass(1000);
      assert.equal(health.cell('n2')?.lost, 0, `after ${seconds + 2} s`);
    }
    assert.ok(health.reports('n2').every(({ state }) => state === 'reachable'));
  });

  it('calls no path unreachable for probes that were sent before its peer came back', async () => {
    const { clock, health, icmp, http } = bench([element('n2', '10.0.0.2')]);
    await health.start();
    await clock.pass(30_000);
    const begunMs = clock.wallMs();
    icmp.answer = () => lost;
    http.answer = () => new Promise((resolve) => void clock.after(1000, () => resolve(lost)));
    // The third of its probes in a row is under way when ICMP answers again.
    await clock.pass(3300);
    icmp.answer = () => reply(20_000);
    await clock.pass(1000);
    http.answer = () => reply(300_000);
    await clock.pass(15_000);
    const ofHttp = health.history(begunMs).filter(({ path }) => path.kind === 2);
    assert.ok(
      ofHttp.every(({ to, atMs }) => to !== 'unreachable' || atMs < begunMs + 3000),
      JSON.stringify(ofHttp.map(({ to, atMs }) => [to, atMs - begunMs])),
    );
    assert.ok(health.reports('n2').every(({ state }) => state === 'reachable'));
  });

  it('calls no path unreachable for one lost packet, but counts the loss', async () => {
    const { clock, health, metrics, icmp } = bench([element('n2', '10.0.0.2')]);
    icmp.answer = () => (icmp.asked.length === 1 ? lost : reply(10_000));
    await health.start();
    await clock.pass(900);
    assert.equal(count(health, 'node').reachable, 1);
    const text = await metrics.text();
    const of = 'ciliate_health_probes_total{path="host-host",protocol="icmp"';
    assert.equal(metric(text, `${of},result="lost"}`), 1);
    assert.equal(metric(text, `${of},result="answered"}`), 1);
  });

  it('keeps a path unknown, not unreachable, where ICMP is not permitted, and says so', async () => {
    const { clock, health, icmp } = bench([element('n2', '10.0.0.2')]);
    icmp.ready = false;
    await health.start();
    await clock.pass(900);
    const status = told(health);
    assert.equal(pathOf(status, 'n2')?.icmp, undefined);
    assert.equal(pathOf(status, 'n2')?.http?.latency, 300_000);
    assert.deepEqual(count(health, 'node'), { reachable: 0, unreachable: 0, unknown: 1 });
    assert.equal(status['icmp-modes']?.ipv4, 'off: not permitted');
  });

  it('keeps results of nodes that stay, probes new ones at once, forgets those that went', async () => {
    const { clock, health, nodes } = bench(two);
    await health.start();
    await clock.pass(2000);
    const before = pathOf(told(health), 'n1');
    nodes.set([...two.slice(0, 1), element('n3', '10.0.0.3')]);
    assert.deepEqual(pathOf(told(health), 'n1'), before);
    assert.equal(pathOf(told(health), 'n2'), undefined);
    assert.deepEqual(pathOf(told(health), 'n3'), { ip: '10.0.0.3' });
    await clock.pass(100);
    assert.equal(pathOf(told(health), 'n3')?.icmp?.latency, 20_000);
  });

  it('calls an address down when it falls silent, and filtered once it has answered by other means since', async () => {
    const { clock, health, metrics, icmp } = bench([element('n2', '10.0.0.2')]);
    await health.start();
    await clock.pass(15_000);
    icmp.answer = () => lost;
    await clock.pass(2000);
    assert.deepEqual(count(health, 'node'), { reachable: 0, unreachable: 1, unknown: 0 });
    await clock.pass(20_000);
    assert.deepEqual(count(health, 'node'), { reachable: 1, unreachable: 0, unknown: 0 });
    const { icmp: said } = pathOf(told(health), 'n2') ?? {};
    assert.deepEqual(
      [said?.status, said?.filtered],
      ['filtered: no answer to ICMP, though HTTP answers', true],
    );
    const text = await metrics.text();
    assert.equal(metric(text, 'cilium_unreachable_nodes'), 0);
    assert.ok(metric(text, 'ciliate_health_worst_peer_score{peer="n2"}') < 90);
    icmp.answer = () => reply(10_000);
    await clock.pass(15_000);
    assert.equal(pathOf(told(health), 'n2')?.icmp?.filtered, undefined);
  });

  it('calls HTTP filtered where no connection comes about, not where it is refused or hangs', async () => {
    const { clock, health, http } = bench([element('n2', '10.0.0.2')]);
    const silence = (text: string) => ({ kind: 'failure', failure: { kind: 'timeout', text } }) as const;
    await health.start();
    http.answer = () => silence('no connection within 1000 ms');
    await clock.pass(40_000);
    assert.equal(count(health, 'node').reachable, 1);
    http.answer = () => silence('connected, but no answer within 1000 ms');
    await clock.pass(40_000);
    assert.equal(count(health, 'node').unreachable, 1);
    http.answer = () => refused;
    await clock.pass(40_000);
    assert.equal(count(health, 'node').unreachable, 1);
  });

  it('takes a node list that changes thousands of times in a second a few times, and the last of it', async () => {
    const { clock, nodes, health } = bench(two);
    let taken = 0;
    await health.start();
    await clock.pass(1000);
    const view = nodes.view.bind(nodes);
    nodes.view = () => {
      taken++;
      return view();
    };
    for (let i = 0; i < 2000; i++) {
      nodes.set([...two, element(`n${3 + (i % 50)}`, `10.0.1.${1 + (i % 50)}`)]);
      if (i % 2 === 0) await clock.pass(1);
    }
    await clock.pass(300);
    const read = taken;
    assert.ok(read <= 12, `${read} plans in a second`);
    assert.ok(pathOf(told(health), 'n52') !== undefined);
    assert.equal(health.reports('n51').length, 0);
    assert.ok(health.reports('n52').length > 0);
  });

  it('really probes on demand', async () => {
    const { clock, health, icmp } = bench(two);
    await health.start();
    await clock.pass(2000);
    icmp.answer = () => lost;
    const answer = health.probeNow();
    await clock.pass(1500);
    assert.equal(pathOf(await answer, 'n2')?.icmp?.status, 'no reply');
  });

  it('answers on demand within its bound, with what ended, when a peer hangs', async () => {
    const { clock, health, http } = bench(two);
    await health.start();
    await clock.pass(2000);
    http.answer = (address) => (address === '10.0.0.2' ? new Promise(() => undefined) : reply(1));
    let answered: HealthStatusResponse | undefined;
    void health.probeNow().then((status) => {
      answered = status;
    });
    await clock.pass(1400);
    assert.equal(answered, undefined);
    await clock.pass(200);
    assert.ok(answered);
    assert.equal(pathOf(answered, 'n1')?.http?.latency, 1);
    const { status, latency } = pathOf(answered, 'n2')?.http ?? {};
    assert.deepEqual([status, latency], ['no answer', undefined]);
    // The hung probe never ends: stop must not wait for it in this test.
    running.length = 0;
  });

  it('says since when the node list cannot be renewed', async () => {
    const { health, nodes } = bench(two);
    await health.start();
    nodes.stale = { sinceMs: Date.UTC(2026, 0, 1), reason: 'agent is away' };
    const status = told(health);
    assert.deepEqual(status['nodes-stale'], { since: '2026-01-01T00:00:00Z', reason: 'agent is away' });
    assert.equal(status.nodes?.length, 2);
  });

  it('answers in the form that Cilium 1.19 was recorded with', async () => {
    const fixtures = join(import.meta.dirname, '../fixtures/cilium-1.19-agent');
    const read = (name: string): unknown => JSON.parse(readFileSync(join(fixtures, name), 'utf8'));
    const recorded = read('healthapi-status.json') as HealthStatusResponse;
    const { 'nodes-added': added } = read('api-cluster_nodes.json') as { 'nodes-added': NodeElement[] };
    const { clock, health, nodes, icmp, http } = bench(added ?? []);
    const host = recorded.nodes?.[0]?.host?.['primary-address'];
    const endpoint = recorded.nodes?.[0]?.['health-endpoint']?.['primary-address'];
    const of = (address: string) => (address === host?.ip ? host : endpoint);
    icmp.answer = (address) => reply(of(address)?.icmp?.latency ?? 0);
    http.answer = (address) => reply(of(address)?.http?.latency ?? 0);
    await health.start();
    await clock.pass(2000);
    assert.ok(nodes.view().nodes.length === 1);
    const timeless = (value: unknown): unknown =>
      JSON.parse(JSON.stringify(value), (key, inner: unknown) =>
        ['lastProbed', 'timestamp', 'probeInterval'].includes(key) ? typeof inner : inner,
      );
    const { 'icmp-modes': _modes, ...ours } = told(health);
    assert.deepEqual(timeless({ ...ours, local: recorded.local }), timeless(recorded));
  });

  it('has metrics that promtool accepts', async (t) => {
    const { clock, health, metrics } = bench(two);
    await health.start();
    await clock.pass(2000);
    const text = await metrics.text();
    assert.match(text, /le="0.00001"/);
    const checked = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
    if (checked.error !== undefined) {
      t.skip('promtool is not installed (Debian package prometheus)');
      return;
    }
    assert.equal(checked.status, 0, checked.stdout + checked.stderr);
  });
});
