import { availableParallelism } from 'node:os';
import type * as Api from '../api/schema.ts';
import { formatCidr } from '../base/ip.ts';
import type { Datapath } from '../datapath/types.ts';
import { MAX_ALLOCATED_IDENTITY, MIN_ALLOCATED_IDENTITY } from '../model/identity.ts';
import { type ClusterNode, ZONE_LABEL } from '../model/node.ts';
import type { Store } from '../store/types.ts';
import { formatDuration } from '../view/duration.ts';
import type { ClusterSync } from './cluster-sync.ts';
import type { ControllerReport, Controllers } from './controllers.ts';
import type { EndpointManager } from './endpoint-manager.ts';
import type { HealthPart } from './health-part.ts';
import type { Ipam } from './ipam.ts';
import type { PolicyManager } from './policy-manager.ts';
import type { ProxyPart } from './proxy-part.ts';
import { proxyView } from './proxy-view.ts';
import type { ServiceManager } from './services/service-manager.ts';

/** The event ring and its losses. */
export interface MonitorFacts {
  readonly pages: number;
  readonly pageBytes: number;
  readonly lost: number;
}

export interface StatusDeps {
  readonly version: string;
  readonly devices: readonly string[];
  readonly datapath: Datapath;
  readonly store: Store;
  readonly ipam: Ipam;
  readonly controllers: Controllers;
  readonly manager: EndpointManager;
  readonly policy: PolicyManager;
  readonly cluster: ClusterSync;
  readonly health: HealthPart;
  readonly proxy: ProxyPart;
  readonly services: ServiceManager;
  readonly monitor: () => MonitorFacts;
  /** What a restart could not bring back. */
  readonly problems: () => readonly string[];
  /** Whether the agent has done everything once that it does at its start. */
  readonly started: () => boolean;
}

const NEVER = '0001-01-01T00:00:00.000Z';
const MS = 1_000_000n;

function controllerView(report: ControllerReport): Api.ControllerStatus {
  const interval =
    report.intervalMs === undefined ? {} : { interval: formatDuration(BigInt(report.intervalMs) * MS) };
  return {
    name: report.name,
    uuid: report.uuid,
    configuration: {
      ...interval,
      'error-retry': true,
      'error-retry-base': formatDuration(BigInt(report.retryBaseMs) * MS),
    },
    status: {
      'success-count': report.successes,
      'failure-count': report.failures,
      'consecutive-failure-count': report.consecutiveFailures,
      'last-success-timestamp': report.lastSuccess?.toISOString() ?? NEVER,
      'last-failure-timestamp': report.lastFailure?.toISOString() ?? NEVER,
      'last-failure-msg': report.lastFailureMessage,
    },
  };
}

function addressing(ip: string | undefined, range: string | undefined): Api.NodeAddressingElement {
  if (ip === undefined && range === undefined) return {};
  return { enabled: true, ip, ...(range !== undefined && { 'alloc-range': range }) };
}

/** A node as `node list` shows it. */
export function nodeView(node: ClusterNode, self: string): Api.NodeElement {
  const zone = node.labels?.[ZONE_LABEL] ?? '';
  return {
    name: node.name,
    ...(zone !== '' && { zone }),
    'primary-address': {
      ipv4: addressing(node.ipv4, node.ipv4AllocRange),
      ipv6: addressing(node.ipv6, node.ipv6AllocRange),
    },
    'secondary-addresses': [],
    'health-endpoint-address': {
      ipv4: addressing(node.ipv4HealthIp, undefined),
      ipv6: addressing(node.ipv6HealthIp, undefined),
    },
    source: node.name === self ? 'local' : 'kvstore',
  };
}

function ipamView(ipam: Ipam): Api.IPAMStatus {
  const of = (family: 4 | 6) => ipam.allocations(family);
  const allocations = Object.fromEntries([...of(4), ...of(6)].map(({ ip, owner }) => [ip, owner]));
  const families = ([4, 6] as const).flatMap((family) => {
    const range = ipam.range(family);
    if (range === undefined) return [];
    return [
      `IPv${family}: ${of(family).length}/${ipam.capacity(family)} allocated from ${formatCidr(range)}, `,
    ];
  });
  return {
    allocations,
    ipv4: of(4).map(({ ip }) => ip),
    ipv6: of(6).map(({ ip }) => ip),
    status: families.join(''),
  };
}

/** The agent's own state: the first thing that is wrong, or its version. */
function agentState(deps: StatusDeps): Api.Status {
  if (!deps.started()) return { state: 'Warning', msg: 'starting' };
  const lost = deps.policy.lost;
  if (lost !== undefined) return { state: 'Failure', msg: `the rules are lost: ${lost}; import them again` };
  const version = `Ciliate ${deps.version}`;
  const datapath = deps.datapath.kind === 'none' ? ', no datapath: policy is NOT enforced' : '';
  const { damage } = deps.policy;
  const proxy = deps.proxy.status().message;
  const problems = [
    ...deps.problems(),
    ...(damage === undefined ? [] : [damage]),
    ...(proxy === '' ? [] : [proxy]),
    ...deps.services.problems,
  ];
  if (problems.length > 0) return { state: 'Warning', msg: `${version}${datapath}; ${problems.join('; ')}` };
  const failing = deps.manager.listAll().filter(({ failure }) => failure !== undefined);
  if (failing.length > 0) {
    const ids = failing.map(({ id }) => id).join(', ');
    return {
      state: 'Warning',
      msg: `${version}${datapath}; endpoints that could not be regenerated: ${ids}`,
    };
  }
  return { state: 'Ok', msg: `${version}${datapath}` };
}

/** Only the agent's own state and the cluster's health, from memory. */
export function briefStatus(deps: StatusDeps): Api.StatusResponse {
  const { state, message: msg } = deps.health.status();
  return { cilium: agentState(deps), cluster: { ciliumHealth: { state, msg } } };
}

export function monitorView(monitor: MonitorFacts): Api.MonitorStatus {
  const { pages: npages, pageBytes: pagesize, lost } = monitor;
  return { cpus: availableParallelism(), npages, pagesize, lost, unknown: 0 };
}

/** GET /healthz: every component. */
export async function fullStatus(deps: StatusDeps): Promise<Api.StatusResponse> {
  const enforcing = deps.datapath.kind === 'bpf';
  const store = deps.store.status();
  const nodes = deps.cluster.nodes();
  const self = nodes[0]?.name ?? '';
  const maps = await deps.datapath.readMapUsage();
  return {
    ...briefStatus(deps),
    kvstore: { state: store.state, msg: store.message },
    kubernetes: { state: 'Disabled', msg: '', 'k8s-api-versions': [] },
    'cni-file': { state: 'Disabled', msg: 'CNI configuration management disabled' },
    'cni-chaining': { mode: 'none' },
    'host-firewall': { mode: 'Disabled', devices: [...deps.devices] },
    'datapath-mode': enforcing ? 'veth' : 'none',
    'attach-mode': enforcing ? 'tcx' : 'none',
    'kube-proxy-replacement': { mode: 'False', devices: [...deps.devices] },
    ipam: ipamView(deps.ipam),
    ...(enforcing && { nodeMonitor: monitorView(deps.monitor()) }),
    cluster: {
      ciliumHealth: { state: deps.health.status().state, msg: deps.health.status().message },
      self,
      nodes: nodes.map((node) => nodeView(node, self)),
    },
    controllers: deps.controllers.reports().map(controllerView),
    ...proxyView(deps.proxy, deps.manager.list()),
    services: { count: deps.services.count, failed: [...deps.services.failed] },
    'identity-range': { 'min-identity': MIN_ALLOCATED_IDENTITY, 'max-identity': MAX_ALLOCATED_IDENTITY },
    masquerading: { enabled: false },
    ...(enforcing && { routing: { 'inter-host-routing-mode': 'Native', 'intra-host-routing-mode': 'BPF' } }),
    encryption: { mode: 'Disabled' },
    'bpf-maps': { maps: maps.map(({ name, maxEntries }) => ({ name, size: maxEntries })) },
    hubble: { state: 'Disabled' },
    'hubble-metrics': { state: 'Disabled' },
    'bandwidth-manager': { enabled: false, devices: [] },
    srv6: { enabled: false },
    'clock-source': { mode: 'ktime' },
  };
}
