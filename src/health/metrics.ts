import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { ProbeCounters } from '../../probes/types.ts';
import type { Health, ProbeObservation } from './health.ts';

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

/** Totals of the ICMP sockets: name, help, and where the number is. */
const ICMP_TOTALS: readonly (readonly [string, string, keyof ProbeCounters])[] = [
  ['ciliate_health_icmp_sent_total', 'ICMP echo requests sent', 'sent'],
  ['ciliate_health_icmp_replies_total', 'ICMP echo replies in time', 'replies'],
  ['ciliate_health_icmp_lost_total', 'ICMP echo requests without a reply in time', 'lost'],
  ['ciliate_health_icmp_late_total', 'Genuine ICMP echo replies after their timeout', 'late'],
  ['ciliate_health_icmp_duplicate_total', 'Second and further replies to one echo request', 'duplicate'],
  [
    'ciliate_health_icmp_reordered_total',
    'Replies that came after one to a later request of the same path',
    'reordered',
  ],
  [
    'ciliate_health_icmp_foreign_total',
    'Replies that answer no request of ours, or come from another address',
    'foreign',
  ],
  ['ciliate_health_icmp_corrupt_total', 'Replies with a wrong checksum, length or filling', 'corrupt'],
  [
    'ciliate_health_own_drops_total',
    'Replies that this machine dropped because the receive buffer was full',
    'ownDrops',
  ],
  ['ciliate_health_unstamped_total', 'Replies timed without a kernel transmit stamp', 'unstamped'],
  ['ciliate_health_clock_steps_total', 'Steps of the wall clock seen between stamps', 'clockSteps'],
];

export interface HealthMetrics {
  /** Takes one outcome: `onProbe` of `createHealth`. */
  readonly observe: (observation: ProbeObservation) => void;
  /** Prometheus text of this moment. */
  readonly text: () => Promise<string>;
  readonly contentType: string;
}

export interface HealthMetricsDeps {
  /** Asked at each scrape; undefined while the health agent is not up. */
  readonly health: () => Health | undefined;
  readonly icmpCounters: () => ProbeCounters;
  readonly wallMs: () => number;
  /** CPU, memory and event loop of this process; off where several nodes live in one. Default true. */
  readonly processMetrics?: boolean | undefined;
}

/** Label of a probe's outcome. */
function resultLabel({ result }: ProbeObservation): string {
  return result.kind === 'failure' ? result.failure.kind : result.kind;
}

function addProbeMetrics(registry: Registry): HealthMetrics['observe'] {
  const latency = new Histogram({
    name: 'cilium_node_health_connectivity_latency_seconds',
    help: 'Round-trip time of health probes that were answered, by kind of target, protocol and address',
    labelNames: ['type', 'protocol', 'address_type'] as const,
    buckets: LATENCY_BUCKETS_SECONDS,
    registers: [registry],
  });
  const probes = new Counter({
    name: 'ciliate_health_probes_total',
    help: 'Health probes by outcome',
    labelNames: ['type', 'protocol', 'result'] as const,
    registers: [registry],
  });
  return (observation) => {
    const { target, protocol, result } = observation;
    probes.inc({ type: target.kind, protocol, result: resultLabel(observation) });
    if (result.kind !== 'reply' || result.latencyNs === undefined) return;
    const address_type = target.primary ? 'primary' : 'secondary';
    latency.observe({ type: target.kind, protocol, address_type }, result.latencyNs / 1e9);
  };
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
      for (const type of health === undefined ? [] : KINDS) {
        const counts = health?.book.count(type);
        for (const status of STATES) this.set({ type, status }, counts?.[status] ?? 0);
      }
    },
  });
  gauge('cilium_unreachable_nodes', 'Nodes with an unreachable address', ({ book }) => {
    return book.count('node').unreachable;
  });
  gauge('cilium_unreachable_health_endpoints', 'Health endpoints with an unreachable address', ({ book }) => {
    return book.count('endpoint').unreachable;
  });
  gauge('ciliate_health_probe_interval_seconds', 'Length of one round over all addresses', (health) => {
    return health.intervalMs() / 1000;
  });
  gauge('ciliate_health_node_list_stale_seconds', 'How long the node list could not be renewed', (health) => {
    const { stale } = health.nodes();
    return stale === undefined ? 0 : Math.max(0, deps.wallMs() - stale.sinceMs) / 1000;
  });
}

function addIcmpMetrics(registry: Registry, deps: HealthMetricsDeps): void {
  for (const [name, help, field] of ICMP_TOTALS) {
    const told = { value: 0 };
    new Counter({
      name,
      help,
      registers: [registry],
      collect() {
        const value = deps.icmpCounters()[field];
        this.inc(Math.max(0, value - told.value));
        told.value = Math.max(value, told.value);
      },
    });
  }
}

/** The health agent's Prometheus families. Series do not grow with the cluster. */
export function createHealthMetrics(deps: HealthMetricsDeps): HealthMetrics {
  const registry = new Registry();
  const observe = addProbeMetrics(registry);
  addStateMetrics(registry, deps);
  addIcmpMetrics(registry, deps);
  if (deps.processMetrics !== false) {
    collectDefaultMetrics({ register: registry });
    for (const name of MISNAMED) registry.removeSingleMetric(name);
  }
  return { observe, text: () => registry.metrics(), contentType: registry.contentType };
}
