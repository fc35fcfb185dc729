import { Counter, collectDefaultMetrics, type Gauge, Histogram, Registry } from 'prom-client';
import { reservedIdentityName } from '../model/identity.ts';
import type { Controllers } from './controllers.ts';
import { addDatapathMetrics, type DatapathMetricsDeps } from './datapath-metrics.ts';
import type { Endpoint } from './endpoint.ts';
import { ENDPOINT_STATES } from './endpoint-state.ts';
import type { Ipam } from './ipam.ts';
import { MetricSet } from './metric-set.ts';
import { addPolicyMetrics, type PolicyMetricsDeps } from './policy-metrics.ts';
import { addProxyMetrics, type ProxyMetricsDeps } from './proxy-metrics.ts';
import type { ServiceManager } from './services/service-manager.ts';

/** A finished call of the REST API. */
export interface ApiCall {
  readonly method: string;
  /** Template of the path. */
  readonly path: string;
  readonly status: number;
  readonly durationMs: number;
}

export interface AgentMetricsDeps extends PolicyMetricsDeps, ProxyMetricsDeps, DatapathMetricsDeps {
  readonly version: string;
  readonly ipam: Ipam;
  readonly controllers: Controllers;
  readonly services: Pick<ServiceManager, 'events'>;
  /** Identities that the cluster has. */
  readonly identityCount: () => Promise<number>;
  readonly nodeCount: () => number;
  /** Events lost since the start, by where. */
  readonly eventsLost: () => Readonly<Record<'ring' | 'listener', number>>;
}

const REGENERATION_BUCKETS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];
const IMPLEMENTATION_BUCKETS_S = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 100,
];
const API_BUCKETS_S = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30];
/** `nodejs_active_*_total` are gauges with the name of a counter: promtool refuses them. */
const MISNAMED = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
];
/** The agent's metrics in Prometheus form. Gauges and datapath counters are read when they are asked for. */
export class AgentMetrics {
  readonly #deps: AgentMetricsDeps;
  readonly #registry = new Registry();
  readonly #regenerations: Counter;
  readonly #regenerationTime: Histogram;
  readonly #implementationDelay: Histogram;
  readonly #apiTime: Histogram;
  readonly #apiCalls: Counter;

  constructor(deps: AgentMetricsDeps) {
    this.#deps = deps;
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    for (const name of MISNAMED) this.#registry.removeSingleMetric(name);
    this.#regenerations = new Counter({
      name: 'cilium_endpoint_regenerations_total',
      help: 'Endpoint regenerations by outcome',
      labelNames: ['outcome'],
      registers,
    });
    this.#regenerationTime = new Histogram({
      name: 'cilium_endpoint_regeneration_time_stats_seconds',
      help: 'Duration of endpoint regenerations by scope and status',
      labelNames: ['scope', 'status'],
      buckets: REGENERATION_BUCKETS_S,
      registers,
    });
    this.#implementationDelay = new Histogram({
      name: 'cilium_policy_implementation_delay',
      help: 'Seconds from a change of the rules until the datapath enforces it',
      labelNames: ['source'],
      buckets: IMPLEMENTATION_BUCKETS_S,
      registers,
    });
    this.#implementationDelay.zero({ source: 'api' });
    this.#apiTime = new Histogram({
      name: 'cilium_agent_api_process_time_seconds',
      help: 'Duration of API calls by method, path and return code',
      labelNames: ['method', 'path', 'return_code'],
      buckets: API_BUCKETS_S,
      registers,
    });
    this.#apiCalls = new Counter({
      name: 'ciliate_api_calls_total',
      help: 'API calls by method, path and return code',
      labelNames: ['method', 'path', 'return_code'],
      registers,
    });
    for (const outcome of ['success', 'fail']) this.#regenerations.inc({ outcome }, 0);
    const set = new MetricSet(this.#registry);
    this.#addGauges(set);
    addDatapathMetrics(set, deps);
    addPolicyMetrics(set, deps);
    addProxyMetrics(set, deps);
  }

  regenerated(durationMs: number, failed: boolean): void {
    this.#regenerations.inc({ outcome: failed ? 'fail' : 'success' });
    this.#regenerationTime.observe(
      { scope: 'total', status: failed ? 'failure' : 'success' },
      durationMs / 1000,
    );
  }

  /** A change of the rules is in force. */
  implemented(durationMs: number): void {
    this.#implementationDelay.observe({ source: 'api' }, durationMs / 1000);
  }

  apiCall(call: ApiCall): void {
    const labels = { method: call.method, path: call.path, return_code: String(call.status) };
    this.#apiTime.observe(labels, call.durationMs / 1000);
    this.#apiCalls.inc(labels);
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #addGauges(set: MetricSet): void {
    const { manager, ipam, controllers } = this.#deps;
    set.gauge(
      'cilium_version',
      'Version of the agent',
      (gauge) => gauge.set({ version: this.#deps.version }, 1),
      ['version'],
    );
    set.gauge('cilium_endpoint', 'Endpoints of this node', (gauge) => gauge.set(manager.list().length));
    set.gauge('cilium_endpoint_state', 'Endpoints by state', (gauge) => stateGauge(gauge, manager.list()), [
      'endpoint_state',
    ]);
    set.gauge(
      'cilium_policy_endpoint_enforcement_status',
      'Endpoints by enforcement',
      (gauge) => enforcementGauge(gauge, manager.list(), this.#deps.datapath.kind === 'bpf'),
      ['enforcement'],
    );
    set.gauge(
      'cilium_identity',
      'Identities by type',
      async (gauge) => {
        gauge.set({ type: 'cluster_local' }, await this.#deps.identityCount());
        gauge.set({ type: 'reserved' }, reservedInUse(manager.list()));
      },
      ['type'],
    );
    set.gauge(
      'cilium_ip_addresses',
      'Allocated addresses by family',
      (gauge) => {
        gauge.set({ family: 'ipv4' }, ipam.allocations(4).length);
        gauge.set({ family: 'ipv6' }, ipam.allocations(6).length);
      },
      ['family'],
    );
    set.gauge('cilium_nodes_all_num', 'Nodes of the cluster', (gauge) => gauge.set(this.#deps.nodeCount()));
    set.counter('cilium_services_events_total', 'Writes of services by action', ['action'], (counter) => {
      for (const [action, count] of Object.entries(this.#deps.services.events))
        counter.inc({ action }, count);
    });
    set.gauge('cilium_controllers_failing', 'Controllers whose last run failed', (gauge) =>
      gauge.set(controllers.reports().filter(({ consecutiveFailures }) => consecutiveFailures > 0).length),
    );
    set.counter('cilium_controllers_runs_total', 'Runs of controllers by outcome', ['status'], (counter) => {
      const reports = controllers.reports();
      counter.inc(
        { status: 'success' },
        reports.reduce((sum, { successes }) => sum + successes, 0),
      );
      counter.inc(
        { status: 'failure' },
        reports.reduce((sum, { failures }) => sum + failures, 0),
      );
    });
    set.counter(
      'ciliate_events_lost_total',
      'Datapath events that were lost, by where',
      ['where'],
      (counter) => {
        for (const [where, count] of Object.entries(this.#deps.eventsLost())) counter.inc({ where }, count);
      },
    );
  }
}

function stateGauge(gauge: Gauge, endpoints: readonly Endpoint[]): void {
  for (const state of ENDPOINT_STATES) {
    gauge.set({ endpoint_state: state }, endpoints.filter((endpoint) => endpoint.state === state).length);
  }
}

function enforcementGauge(gauge: Gauge, endpoints: readonly Endpoint[], enforcing: boolean): void {
  const counts = { none: 0, ingress: 0, egress: 0, both: 0 };
  for (const { realized } of endpoints) {
    const { ingress, egress } = realized?.policy.enforcement ?? { ingress: false, egress: false };
    const name =
      !enforcing || (!ingress && !egress)
        ? 'none'
        : ingress && egress
          ? 'both'
          : ingress
            ? 'ingress'
            : 'egress';
    counts[name]++;
  }
  for (const [enforcement, count] of Object.entries(counts)) gauge.set({ enforcement }, count);
}

function reservedInUse(endpoints: readonly Endpoint[]): number {
  const ids = endpoints.map(({ identity }) => identity?.id).filter((id) => id !== undefined);
  return new Set(ids.filter((id) => reservedIdentityName(id) !== undefined)).size;
}
