import { Counter, collectDefaultMetrics, Gauge, type Metric, Registry } from 'prom-client';
import type { EngineSelf } from '../../probes/engine/index.ts';
import type { Health } from './health.ts';
import { cumulative, PROBE_RESULTS, ProbeTotals } from './probe-totals.ts';
import { NodeStates } from './state/node-states.ts';

/** From 10 us: an ordinary round trip within a data centre lies far below Cilium's first bucket of 1 ms. */
const LATENCY_BUCKETS_SECONDS = [
  0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
  0.25, 0.5, 1, 2,
];

/** prom-client writes these as gauges named `_total`, which `promtool check metrics` refuses. */
const MISNAMED = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
];

const KINDS = ['node', 'endpoint'] as const;
const STATES = ['reachable', 'unreachable', 'unknown'] as const;

/** Totals of the probe engine: name, help, and where the number is. */
const ENGINE_TOTALS: readonly (readonly [string, string, (self: EngineSelf) => number])[] = [
  ['ciliate_health_packets_sent_total', 'Probe packets sent', ({ sent }) => sent],
  [
    'ciliate_health_foreign_total',
    'Answers to no probe of ours, or from another address',
    ({ foreign }) => foreign,
  ],
  ['ciliate_health_corrupt_total', 'Answers with a wrong checksum or length', ({ corrupt }) => corrupt],
  [
    'ciliate_health_own_drops_total',
    'Answers that this machine dropped because the receive buffer was full',
    ({ ownDrops }) => ownDrops,
  ],
  [
    'ciliate_health_deferred_total',
    'Turns that a probe waited because the budget was used up',
    ({ deferred }) => deferred,
  ],
  ['ciliate_health_echoes_total', 'Probes of others that our programs answered', ({ echoes }) => echoes],
  [
    'ciliate_health_echoes_refused_total',
    'Probes that they did not answer',
    ({ echoesRefused }) => echoesRefused,
  ],
  [
    'ciliate_health_clock_steps_total',
    'Steps of the wall clock seen between stamps',
    ({ clockSteps }) => clockSteps,
  ],
  [
    'ciliate_health_engine_cpu_seconds_total',
    'CPU time of the thread that sends and matches probes',
    ({ cpuNs }) => cpuNs / 1e9,
  ],
];

export interface HealthMetrics {
  /** Prometheus text of this moment. */
  readonly text: () => Promise<string>;
  readonly contentType: string;
}

export interface HealthMetricsDeps {
  /** Asked at each scrape; undefined while the health agent is not up. */
  readonly health: () => Health | undefined;
  /** What the engine costs and loses; undefined where none runs. */
  readonly engine: () => EngineSelf | undefined;
  readonly wallMs: () => number;
  /** CPU, memory and event loop of this process; off where several nodes live in one. Default true. */
  readonly processMetrics?: boolean | undefined;
}

/** A histogram whose buckets are counted elsewhere, in the form that prom-client's registry reads. */
function addLatency(registry: Registry, deps: HealthMetricsDeps, totals: ProbeTotals): void {
  const name = 'cilium_node_health_connectivity_latency_seconds';
  const metric = {
    name,
    help: 'Round-trip time of health probes that were answered, by kind of target, protocol and address',
    type: 'histogram',
    aggregator: 'sum',
    get() {
      totals.take(deps.health()?.trackers() ?? []);
      return { ...this, values: totals.all().flatMap((total) => latencySeries(name, total)) };
    },
    reset() {
      // Nothing is kept here.
    },
  };
  registry.registerMetric(metric as unknown as Metric);
}

function latencySeries(name: string, total: ReturnType<ProbeTotals['all']>[number]): object[] {
  const { type, protocol, addressType } = total.key;
  const labels = { type, protocol, address_type: addressType };
  const bounds = LATENCY_BUCKETS_SECONDS.map((seconds) => seconds * 1e9);
  const counts = cumulative(total.histogram, bounds);
  const count = total.histogram.reduce((sum, one) => sum + one, 0);
  if (count === 0) return [];
  return [
    ...LATENCY_BUCKETS_SECONDS.map((le, i) => ({
      metricName: `${name}_bucket`,
      labels: { ...labels, le },
      value: counts[i],
    })),
    { metricName: `${name}_bucket`, labels: { ...labels, le: '+Inf' }, value: count },
    { metricName: `${name}_sum`, labels, value: total.sumNs / 1e9 },
    { metricName: `${name}_count`, labels, value: count },
  ];
}

function addProbeMetrics(registry: Registry, deps: HealthMetricsDeps): void {
  const totals = new ProbeTotals();
  addLatency(registry, deps, totals);
  new Counter({
    name: 'ciliate_health_probes_total',
    help: 'Health probes by outcome; late answers are of lost probes, the rest after `failed` of answered ones',
    labelNames: ['type', 'protocol', 'result'] as const,
    registers: [registry],
    collect() {
      totals.take(deps.health()?.trackers() ?? []);
      this.reset();
      for (const { key, results } of totals.all()) {
        const { type, protocol } = key;
        for (const result of PROBE_RESULTS) this.inc({ type, protocol, result }, results[result]);
      }
    },
  });
}

function countOf(health: Health, kind: (typeof KINDS)[number]): ReturnType<NodeStates['count']> {
  return new NodeStates(health.trackers()).count(health.nodes().nodes, kind);
}

function addStateMetrics(registry: Registry, deps: HealthMetricsDeps): void {
  const gauge = (name: string, help: string, read: (health: Health) => number): void => {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        const health = deps.health();
        if (health !== undefined) this.set(read(health));
      },
    });
  };
  new Gauge({
    name: 'cilium_node_health_connectivity_status',
    help: 'Nodes and health endpoints by the worst state of their paths from this node',
    labelNames: ['type', 'status'] as const,
    registers: [registry],
    collect() {
      const health = deps.health();
      if (health === undefined) return;
      for (const type of KINDS) {
        const counts = countOf(health, type);
        for (const status of STATES) this.set({ type, status }, counts[status]);
      }
    },
  });
  gauge('cilium_unreachable_nodes', 'Nodes with an unreachable address', (health) => {
    return countOf(health, 'node').unreachable;
  });
  gauge('cilium_unreachable_health_endpoints', 'Health endpoints with an unreachable address', (health) => {
    return countOf(health, 'endpoint').unreachable;
  });
  gauge('ciliate_health_probe_interval_seconds', 'Length of one round over all addresses', (health) => {
    return health.intervalMs() / 1000;
  });
  gauge('ciliate_health_node_list_stale_seconds', 'How long the node list could not be renewed', (health) => {
    const { stale } = health.nodes();
    return stale === undefined ? 0 : Math.max(0, deps.wallMs() - stale.sinceMs) / 1000;
  });
}

function addEngineMetrics(registry: Registry, deps: HealthMetricsDeps): void {
  for (const [name, help, read] of ENGINE_TOTALS) {
    const told = { value: 0 };
    new Counter({
      name,
      help,
      registers: [registry],
      collect() {
        const self = deps.engine();
        const value = self === undefined ? 0 : read(self);
        this.inc(Math.max(0, value - told.value));
        told.value = Math.max(value, told.value);
      },
    });
  }
}

/** The health agent's Prometheus families. Series do not grow with the cluster. */
export function createHealthMetrics(deps: HealthMetricsDeps): HealthMetrics {
  const registry = new Registry();
  addProbeMetrics(registry, deps);
  addStateMetrics(registry, deps);
  addEngineMetrics(registry, deps);
  if (deps.processMetrics !== false) {
    collectDefaultMetrics({ register: registry });
    for (const name of MISNAMED) registry.removeSingleMetric(name);
  }
  return { text: () => registry.metrics(), contentType: registry.contentType };
}
