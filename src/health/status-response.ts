import type { ProbeReadiness } from '../../probes/types.ts';
import type { ConnectivityStatus, HealthStatusResponse, NodeStatus, PathStatus } from '../api/schema.ts';
import type { IpFamily } from '../base/ip.ts';
import { formatDuration } from '../view/duration.ts';
import type { NodeView } from './node-view.ts';
import type { PathBook, PathRecord, ProtocolState } from './path-book.ts';
import type { HealthNode } from './targets.ts';

export interface StatusInput {
  readonly view: NodeView;
  readonly book: PathBook;
  /** Start of the present round, realtime ms. */
  readonly roundMs: number;
  readonly intervalMs: number;
  readonly icmp: Readonly<Record<IpFamily, ProbeReadiness>>;
}

/** RFC 3339 with whole seconds, as Cilium writes it. */
export function rfc3339(wallMs: number): string {
  return `${new Date(wallMs).toISOString().slice(0, 19)}Z`;
}

/** Absent: unknown. A latency of a reply that could not be timed is absent, and the probe all the same in order. */
function connectivity(state: ProtocolState): ConnectivityStatus | undefined {
  if (state.reachability === 'unknown' || state.lastProbedMs === undefined) return undefined;
  return {
    ...(state.latencyNs === undefined ? {} : { latency: Math.round(state.latencyNs) }),
    ...(state.reachability === 'unreachable' ? { status: state.reason ?? 'unreachable' } : {}),
    lastProbed: rfc3339(state.lastProbedMs),
  };
}

function pathStatus({ target, icmp, http }: PathRecord): PathStatus {
  const [icmpStatus, httpStatus] = [connectivity(icmp), connectivity(http)];
  return {
    ip: target.address,
    ...(icmpStatus === undefined ? {} : { icmp: icmpStatus }),
    ...(httpStatus === undefined ? {} : { http: httpStatus }),
  };
}

function nodeStatus(node: HealthNode, book: PathBook): NodeStatus {
  const [host, ...hostMore] = book.of(node, 'node').map(pathStatus);
  const [endpoint, ...endpointMore] = book.of(node, 'endpoint').map(pathStatus);
  return {
    name: node.name,
    host: { ...(host === undefined ? {} : { 'primary-address': host }), 'secondary-addresses': hostMore },
    ...(endpoint === undefined
      ? {}
      : {
          'health-endpoint': { 'primary-address': endpoint, 'secondary-addresses': endpointMore },
          endpoint,
        }),
  };
}

function modeText(ready: ProbeReadiness): string {
  return ready.ready ? ready.mode : `off: ${ready.reason}`;
}

/** The results in the form of Cilium's `GET /v1beta/status`; every node is there, probed or not. */
export function statusResponse(input: StatusInput): HealthStatusResponse {
  const { view, book, roundMs, intervalMs, icmp } = input;
  const nodes = [...book.nodes].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  const { stale } = view;
  return {
    timestamp: rfc3339(roundMs),
    probeInterval: formatDuration(BigInt(Math.round(intervalMs * 1e6))),
    ...(view.self === undefined ? {} : { local: { name: view.self } }),
    nodes: nodes.map((node) => nodeStatus(node, book)),
    'icmp-modes': { ipv4: modeText(icmp[4]), ipv6: modeText(icmp[6]) },
    ...(stale === undefined
      ? {}
      : { 'nodes-stale': { since: rfc3339(stale.sinceMs), reason: stale.reason } }),
  };
}
