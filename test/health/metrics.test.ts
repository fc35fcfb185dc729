import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import type { EngineSelf } from '../../probes/engine/index.ts';
import type { NodeElement } from '../../src/api/schema.ts';
import { silentLog } from '../../src/base/log.ts';
import { run } from '../../src/base/run.ts';
import {
  createHealth,
  createHealthMetrics,
  type Health,
  type HealthMetrics,
} from '../../src/health/index.ts';
import type { RowTransport } from '../../src/health/mesh/index.ts';
import type { HealthMetricsOptions } from '../../src/health/metrics.ts';
import type { HealthDiagnosis, HealthVerdict, MatrixView } from '../../src/model/health.ts';
import { tool } from '../support/tools.ts';
import { FakeNodes } from './fakes.ts';
import { engineSelf, FakeProber, wantsAnswer } from './metrics-fakes.ts';
import { VirtualClock } from './virtual-clock.ts';

const SERIES_MAX = 150;
const LATENCY = 'cilium_node_health_connectivity_latency_seconds';

interface Bench {
  readonly clock: VirtualClock;
  readonly nodes: FakeNodes;
  readonly prober: FakeProber;
  readonly health: Health;
  readonly metrics: HealthMetrics;
  engine: EngineSelf | undefined;
}

const running: Health[] = [];

/** Both families, a health endpoint: a node with all that it can have; of many, the rest has one address: 24 paths less. */
function node(i: number): NodeElement {
  const [high, low] = [i >> 8, i & 255];
  const ip = (text: string) => ({ enabled: true, ip: text });
  if (i > 100) return { name: `c1/n${i}`, 'primary-address': { ipv4: ip(`10.0.${high}.${low}`) } };
  return {
    name: `c1/n${i}`,
    'primary-address': { ipv4: ip(`10.0.${high}.${low}`), ipv6: ip(`fd00::${i.toString(16)}`) },
    'health-endpoint-address': { ipv4: ip(`10.1.${high}.${low}`), ipv6: ip(`fd01::${i.toString(16)}`) },
  };
}

const verdict: HealthVerdict = {
  fault: 'node-down',
  place: { kind: 'node', node: 'c1/n2', direction: 'both' },
  kinds: [],
  families: [],
  lossPoint: undefined,
  sinceMs: 0,
  confidence: 1,
  evidence: { observers: 1, sent: 1, lost: 1, against: 0 },
};

const nobodyAnswers: RowTransport = {
  send: () => Promise.reject(new Error('no answer')),
  stop: () => Promise.resolve(),
};

function bench(count: number, options: HealthMetricsOptions = {}): Bench {
  const clock = new VirtualClock();
  const nodes = new FakeNodes(
    'c1/n1',
    Array.from({ length: count }, (_, i) => node(i + 1)),
  );
  const prober = new FakeProber();
  const health = createHealth(
    { interval: { kind: 'fixed', ms: 1000 } },
    { nodes, probers: [prober], clock, log: silentLog, rows: nobodyAnswers },
  );
  const diagnosis: HealthDiagnosis = {
    state: 'broken',
    verdicts: [verdict, verdict],
    silent: [{ node: 'c1/n2', ageMs: 9000 }],
    atMs: 0,
  };
  const matrix: MatrixView = {
    self: 'c1/n1',
    nodes: nodes.view().nodes.map(({ name }) => ({ name, zone: undefined })),
    row: () => undefined,
    ageMs: (name) => (name === 'c1/n2' ? 9000 : 100),
  };
  const one: Bench = { clock, nodes, prober, health, engine: engineSelf, metrics: undefined as never };
  const metrics = createHealthMetrics(
    {
      health: () => health,
      engine: () => one.engine,
      diagnosis: () => diagnosis,
      matrix: () => matrix,
      followersCut: () => 0,
      clock,
    },
    { packetsPerSecond: 20_000, ...options },
  );
  running.push(health);
  return Object.assign(one, { metrics });
}

function series(text: string): string[] {
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

function value(text: string, name: string): number {
  const found = series(text).find((line) => line.startsWith(`${name} `));
  assert.ok(found, `no ${name} in\n${text}`);
  return Number(found.slice(name.length + 1));
}

function peers(text: string): string[] {
  return series(text)
    .filter((line) => line.startsWith('ciliate_health_worst_peer_score{'))
    .map((line) => /peer="([^"]*)"/.exec(line)?.[1] ?? '');
}

/** A second with answers of all but the peers named, which have fallen silent. */
async function second({ clock, prober }: Bench, silent: readonly string[] = []): Promise<void> {
  prober.happen((path) => wantsAnswer(path) && !silent.includes(path.peer), { answers: 1 });
  prober.happen((path) => wantsAnswer(path) && silent.includes(path.peer), { lost: 1 });
  await clock.pass(1000);
}

describe('the metrics of the health agent', () => {
  afterEach(async () => {
    await Promise.all(running.splice(0).map((health) => health.stop()));
  });

  it(`are as many series with 2, 100 and 5,000 nodes, and ${SERIES_MAX} at most with all that a node can have`, async () => {
    const counts: number[] = [];
    for (const count of [2, 100, 5000]) {
      const one = bench(count);
      await one.health.start();
      one.prober.tell(wantsAnswer, 'answer');
      await second(one);
      // Every peer but ourselves fails: all places of the worst are taken, where there are so many.
      one.prober.tell((path) => wantsAnswer(path) && path.peer !== 'c1/n1', 'silent');
      await second(one);
      const text = await one.metrics.text();
      assert.equal(peers(text).length, Math.min(6, count - 1));
      const all = series(text);
      counts.push(all.filter((line) => !line.includes('worst_peer')).length);
      assert.ok(all.some((line) => line.startsWith('ciliate_health_row_bytes_total')));
      assert.ok(all.length <= SERIES_MAX, `${all.length} series with ${count} nodes`);
      await one.health.stop();
    }
    assert.equal(new Set(counts).size, 1, String(counts));
  });

  it('of the names of Cilium 1.12 to 1.16 come on top: ten a peer with both families and a health endpoint, and one that says how many peers have none', async () => {
    const count = async (options: HealthMetricsOptions): Promise<number> => {
      const one = bench(100, options);
      await one.health.start();
      one.prober.tell(wantsAnswer, 'answer');
      // Requests to new addresses come a few a second.
      for (let i = 0; i < 40; i++) await second(one);
      const { length } = series(await one.metrics.text());
      await one.health.stop();
      return length;
    };
    const alone = await count({ names: '1.17' });
    for (const peersMax of [0, 1, 100]) {
      assert.equal(
        (await count({ names: 'both', peersMax })) - alone,
        10 * peersMax + 1,
        `${peersMax} peers`,
      );
    }
    assert.equal(
      await count({ names: 'both' }),
      await count({ names: 'both', peersMax: 100 }),
      'the default',
    );
  });

  it('pass promtool check metrics, with the names of every era', async (t) => {
    const promtool = tool('promtool');
    if (promtool === undefined) return t.skip('no promtool');
    for (const names of ['1.17', '1.16', 'both'] as const) {
      const one = bench(4, { names });
      await one.health.start();
      one.prober.tell(wantsAnswer, 'answer');
      await second(one, ['c1/n2']);
      one.prober.tell(({ peer }) => peer === 'c1/n2', 'silent');
      const input = await one.metrics.text();
      const checked = await run([promtool, 'check', 'metrics'], { timeoutMs: 30_000, input });
      assert.deepEqual([checked.exitCode, checked.stdout + checked.stderr], [0, '']);
    }
  });

  it('lose nothing of a path that ends between two scrapes, and never fall', async () => {
    const one = bench(3);
    const { prober, nodes, metrics } = one;
    const answered = 'ciliate_health_probes_total{path="host-host",protocol="icmp",result="answered"}';
    const histogram = `${LATENCY}_count{type="node",protocol="icmp",address_type="primary"}`;
    await one.health.start();
    await second(one);
    assert.equal(value(await metrics.text(), answered), 6);
    // After the last tick, and gone before the next.
    prober.happen(({ peer }) => peer === 'c1/n3', { answers: 5 });
    nodes.set([node(1), node(2)]);
    await one.clock.pass(500);
    assert.equal(value(await metrics.text(), answered), 6 + 10);
    assert.equal(value(await metrics.text(), histogram), 3 + 5);
    // It comes back and begins at nothing: the sums go on.
    nodes.set([node(1), node(2), node(3)]);
    await second(one);
    assert.equal(value(await metrics.text(), answered), 16 + 6);
    nodes.set([]);
    await one.clock.pass(500);
    assert.equal(value(await metrics.text(), answered), 22);
  });

  it('put each answer under its bounds, from 10 us, and no failure anywhere', async () => {
    const one = bench(2);
    await one.health.start();
    const only = (rttNs: number) =>
      one.prober.happen(({ peer, kind }) => peer === 'c1/n2' && kind === 1, { answers: 1, rttNs });
    for (const rttNs of [8000, 25_000, 80_000, 2_000_000]) only(rttNs);
    one.prober.happen(wantsAnswer, { lost: 7 });
    await one.clock.pass(1000);
    const text = await one.metrics.text();
    const bucket = (le: string) =>
      value(text, `${LATENCY}_bucket{type="node",protocol="icmp",address_type="primary",le="${le}"}`);
    assert.deepEqual(
      ['0.00001', '0.00003', '0.0001', '0.001', '0.003', '+Inf'].map(bucket),
      [1, 2, 3, 3, 4, 4],
    );
    const labels = '{type="node",protocol="icmp",address_type="primary"}';
    assert.equal(value(text, `${LATENCY}_sum${labels}`).toFixed(6), '0.002113');
    assert.equal(value(text, `ciliate_health_family_lost_total{family="ipv6"}`) > 0, true);
  });

  it('tell the faults of the cluster, and how old its rows are', async () => {
    const one = bench(2);
    await one.health.start();
    const text = await one.metrics.text();
    assert.equal(value(text, 'ciliate_health_verdicts{fault="node-down"}'), 2);
    assert.equal(value(text, 'ciliate_health_verdicts{fault="canary-open"}'), 0);
    assert.equal(value(text, 'ciliate_health_cluster_state'), 3);
    assert.equal(value(text, 'ciliate_health_rows_silent'), 1);
    assert.equal(value(text, 'ciliate_health_row_age_max_seconds'), 9);
  });

  it("tell the engine's cost, its longest lag of a minute, and nothing that falls when it begins anew", async () => {
    const one = bench(2);
    await one.health.start();
    const cpu = 'ciliate_health_engine_cpu_seconds_total{part="thread"}';
    assert.equal(value(await one.metrics.text(), cpu), 0.005);
    one.engine = { ...engineSelf, cpuNs: 0, lagMaxNs: 0 };
    await one.clock.pass(30_000);
    const text = await one.metrics.text();
    assert.equal(value(text, cpu), 0.005);
    assert.equal(value(text, 'ciliate_health_engine_lag_seconds'), 0.007);
    assert.equal(value(text, 'ciliate_health_engine_mode{mode="bpf"}'), 1);
    await one.clock.pass(60_000);
    assert.equal(value(await one.metrics.text(), 'ciliate_health_engine_lag_seconds'), 0);
  });

  it('name peers as Cilium 1.16 did when asked, as many as allowed, failures not as latencies', async () => {
    const one = bench(5, { names: '1.16', peersMax: 3 });
    await one.health.start();
    one.prober.tell(wantsAnswer, 'answer');
    await second(one, ['c1/n2']);
    one.prober.tell(({ peer }) => peer === 'c1/n2', 'silent');
    await second(one, ['c1/n2']);
    const text = await one.metrics.text();
    assert.ok(!text.includes('cilium_node_health_connectivity_'));
    const status = series(text).filter((line) => line.startsWith('cilium_node_connectivity_status{'));
    assert.deepEqual(status.slice(0, 4), [
      'cilium_node_connectivity_status{source_cluster="c1",source_node_name="n1",target_cluster="c1",target_node_name="n1",target_node_type="local_node",type="node"} 1',
      'cilium_node_connectivity_status{source_cluster="c1",source_node_name="n1",target_cluster="c1",target_node_name="n1",target_node_type="local_node",type="endpoint"} 1',
      'cilium_node_connectivity_status{source_cluster="c1",source_node_name="n1",target_cluster="c1",target_node_name="n2",target_node_type="remote_intra_cluster",type="node"} 0',
      'cilium_node_connectivity_status{source_cluster="c1",source_node_name="n1",target_cluster="c1",target_node_name="n2",target_node_type="remote_intra_cluster",type="endpoint"} 0',
    ]);
    assert.equal(status.length, 6);
    const latencies = series(text).filter((line) =>
      line.startsWith('cilium_node_connectivity_latency_seconds{'),
    );
    assert.deepEqual(
      new Set(latencies.map((line) => /target_node_name="(\w+)"/.exec(line)?.[1])),
      new Set(['n1', 'n3']),
    );
    assert.ok(
      latencies.some((line) =>
        line.includes('target_node_ip="fd00::3",type="node",protocol="icmp",address_type="secondary"'),
      ),
    );
    assert.equal(value(text, 'ciliate_health_peers_left_out'), 2);
  });
});
