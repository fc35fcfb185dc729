import type { ProbeReadiness } from '../../probes/types.ts';
import type { ConnectivityStatus, HealthStatusResponse, NodeStatus, PathStatus } from '../api/schema.ts';
import type { IpFamily } from '../base/ip.ts';
import { formatDuration } from '../view/duration.ts';
import type { NodeView } from './node-view.ts';
import { FILTERED_TEXT, type Filtered, filteredOf } from './state/filtered.ts';
import { NodeStates } from './state/node-states.ts';
import type { PathTracker } from './state/path-tracker.ts';
import type { HealthNode, PathTarget } from './targets.ts';

/** What is told beside the nodes' paths. */
export interface StatusFrame {
  readonly view: NodeView;
  /** Start of the present round, realtime ms. */
  readonly roundMs: number;
  readonly intervalMs: number;
  readonly icmp: Readonly<Record<IpFamily, ProbeReadiness>>;
}

export interface StatusInput extends StatusFrame {
  readonly trackers: readonly PathTracker[];
}

/** RFC 3339 with whole seconds, as Cilium writes it. */
export function rfc3339(wallMs: number): string {
  return `${new Date(wallMs).toISOString().slice(0, 19)}Z`;
}

/** Times of one answer as text: most of its paths were probed within the same few seconds. */
export class SecondTexts {
  readonly #known = new Map<number, string>();

  of(wallMs: number): string {
    const second = Math.floor(wallMs / 1000);
    const known = this.#known.get(second) ?? rfc3339(wallMs);
    this.#known.set(second, known);
    return known;
  }
}

/** Absent: unknown. A latency of a reply that could not be timed is absent, and the probe all the same in order. */
function connectivity(
  tracker: PathTracker | undefined,
  filtered: Filtered | undefined,
  times: SecondTexts,
): ConnectivityStatus | undefined {
  const known = tracker?.brief();
  if (known === undefined || known.state === 'unknown' || known.lastProbedMs === undefined) return undefined;
  const failed = known.state === 'unreachable';
  return {
    ...(failed || known.rttLastNs === 0 ? {} : { latency: Math.round(known.rttLastNs) }),
    ...(failed
      ? { status: filtered === undefined ? (known.reason ?? 'unreachable') : FILTERED_TEXT[filtered] }
      : {}),
    ...(filtered === undefined ? {} : { filtered: true }),
    lastProbed: times.of(known.lastProbedMs),
  };
}

function pathStatus(target: PathTarget, states: NodeStates, times: SecondTexts): PathStatus {
  const { icmp, http } = states.of(target);
  const which = filteredOf({ icmp, http });
  const icmpStatus = connectivity(icmp, which === 'icmp' ? which : undefined, times);
  const httpStatus = connectivity(http, which === 'http' ? which : undefined, times);
  return {
    ip: target.address,
    ...(icmpStatus === undefined ? {} : { icmp: icmpStatus }),
    ...(httpStatus === undefined ? {} : { http: httpStatus }),
  };
}

/** A node's row of the status. */
export function nodeStatus(node: HealthNode, states: NodeStates, times: SecondTexts): NodeStatus {
  const of = (kind: PathTarget['kind']): PathStatus[] =>
    node.targets.filter((target) => target.kind === kind).map((target) => pathStatus(target, states, times));
  const [host, ...hostMore] = of('node');
  const [endpoint, ...endpointMore] = of('endpoint');
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
  if (!ready.ready) return `off: ${ready.reason}`;
  return ready.note === undefined ? ready.mode : `${ready.mode} (no programs: ${ready.note})`;
}

/** What stands around the rows of the nodes. */
export function statusFrame({
  view,
  roundMs,
  intervalMs,
  icmp,
}: StatusFrame): Omit<HealthStatusResponse, 'nodes'> {
  const { stale } = view;
  return {
    timestamp: rfc3339(roundMs),
    probeInterval: formatDuration(BigInt(Math.round(intervalMs * 1e6))),
    ...(view.self === undefined ? {} : { local: { name: view.self } }),
    'icmp-modes': { ipv4: modeText(icmp[4]), ipv6: modeText(icmp[6]) },
    ...(stale === undefined
      ? {}
      : { 'nodes-stale': { since: rfc3339(stale.sinceMs), reason: stale.reason } }),
  };
}

/** The nodes in the order of the status. */
export function statusNodes(view: NodeView): HealthNode[] {
  return [...view.nodes].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/** The results in the form of Cilium's `GET /v1beta/status`; every node is there, probed or not. */
export function statusResponse(input: StatusInput): HealthStatusResponse {
  const states = new NodeStates(input.trackers);
  const times = new SecondTexts();
  return {
    ...statusFrame(input),
    nodes: statusNodes(input.view).map((node) => nodeStatus(node, states, times)),
  };
}
