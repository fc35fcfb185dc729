import { atOnce, type Slices } from '../../base/slices.ts';
import { PROBE_KINDS, type ProbePath, probeKindIndex, probePathKey } from '../../model/health.ts';
import type { HealthNode, PathTarget } from '../targets.ts';
import { observedPeers } from './observers.ts';

export interface PlanOptions {
  /** From one probe of an address to the next, where every address can have it. */
  readonly periodMs: number;
  /** Addresses that are all watched; more are left to observers and a sweep. Default 2,000. */
  readonly fullMeshAddresses?: number | undefined;
  /** Peers that each node watches then. Default 20. */
  readonly observers?: number | undefined;
  /** Probes a second of the sweep over all others. Default 100. */
  readonly sweepPerSecond?: number | undefined;
  /** HTTP probes a second at most: each costs a hundred times an echo. Default 20. */
  readonly httpPerSecond?: number | undefined;
}

/** One path with its pace. */
export interface PlannedPath {
  readonly path: ProbePath;
  readonly periodMs: number;
}

/** Which kinds of paths can be probed from here. */
export type KindFilter = (path: ProbePath) => boolean;

const FULL_MESH_ADDRESSES = 2000;
const OBSERVERS = 20;
const SWEEP_PER_SECOND = 100;
const HTTP_PER_SECOND = 20;
/** Kinds that say the same as a faster one, but from further up. */
const SLOWER = 10;
/** From host to host, whether the peer's agent lives. */
const AGENT = probeKindIndex('host-host/http');
/** Planned in one slice: some 2 ms. */
const PATHS_A_SLICE = 1000;
/** Part of the budget of HTTP for those, where there are others besides. */
const AGENTS_SHARE = 0.5;

/**
 * What is probed, and how often: a function of the node list, the same at every node. In steps:
 *
 * 1. every address of every node gives the paths of the kinds that can be probed here;
 * 2. echoes of the kernel from the host have the full pace, and requests from host to host that of their budget, all other
 *    kinds a tenth of it: every peer has a kernel and an agent;
 * 3. with more addresses than a full mesh may have, only the peers that this node observes keep their pace; all others
 *    are swept slowly, so that a path that nobody observes is seen at last;
 * 4. HTTP has a budget of its own, half of it for the agents of watched peers, and is slower where it does not suffice.
 *
 * Those of watched peers come first.
 */
export function planPaths(...of: Parameters<typeof planSlices>): ReadonlyMap<string, PlannedPath> {
  return atOnce(planSlices(...of));
}

/** The same slice by slice. */
export function* planSlices(
  nodes: readonly HealthNode[],
  self: string | undefined,
  options: PlanOptions,
  canProbe: KindFilter,
): Slices<ReadonlyMap<string, PlannedPath>> {
  const asked = (path: ProbePath): boolean => canProbe(path) && !(path.peer === self && isEcho(path));
  const watched = new Set(watchedPeers(nodes, self, options));
  const paths: ProbePath[] = [];
  let slices = 1;
  for (const node of [
    ...nodes.filter(({ name }) => watched.has(name)),
    ...nodes.filter(({ name }) => !watched.has(name)),
  ]) {
    for (const target of node.targets) for (const path of pathsTo(target)) if (asked(path)) paths.push(path);
    if (paths.length < slices * PATHS_A_SLICE) continue;
    slices++;
    yield;
  }
  const pace = paceOf(nodes, self, watched, options);
  const asksAgent = (path: ProbePath): boolean =>
    path.kind === AGENT && path.primary && path.peer !== self && watched.has(path.peer);
  const http = httpPeriods(paths, asksAgent, options);
  const plan = new Map<string, PlannedPath>();
  for (const path of paths) {
    if (plan.size > 0 && plan.size % PATHS_A_SLICE === 0) yield;
    const kind = PROBE_KINDS[path.kind];
    const isFast = asksAgent(path) || (kind?.responder === 'icmp' && kind.from === 'host');
    const leastMs = kind?.responder !== 'http' ? 0 : isFast ? http.agentsMs : http.restMs;
    plan.set(probePathKey(path), {
      path,
      periodMs: Math.max(pace(path.peer) * (isFast ? 1 : SLOWER), leastMs),
    });
  }
  return plan;
}

/** What a node sends to itself passes no device, where programs would answer. */
function isEcho({ kind }: ProbePath): boolean {
  return PROBE_KINDS[kind]?.responder === 'echo';
}

/** All paths that end at an address. */
export function pathsTo(target: PathTarget): ProbePath[] {
  const to = target.kind === 'node' ? 'host' : 'endpoint';
  const { node: peer, family, address, primary } = target;
  return PROBE_KINDS.flatMap((kind, i) =>
    kind.to === to ? [{ peer, kind: i, family, address, primary }] : [],
  );
}

function addressesOf(nodes: readonly HealthNode[]): number {
  return nodes.reduce((count, node) => count + node.targets.length, 0);
}

function isFullMesh(addresses: number, { fullMeshAddresses = FULL_MESH_ADDRESSES }: PlanOptions): boolean {
  return addresses <= fullMeshAddresses;
}

/** The peers that this node watches at full pace. */
export function watchedPeers(
  nodes: readonly HealthNode[],
  self: string | undefined,
  options: PlanOptions,
): readonly string[] {
  const names = nodes.map(({ name }) => name);
  if (isFullMesh(addressesOf(nodes), options)) return names;
  return [...observedPeers(self ?? '', names, options.observers ?? OBSERVERS)];
}

function paceOf(
  nodes: readonly HealthNode[],
  self: string | undefined,
  watched: ReadonlySet<string>,
  options: PlanOptions,
): (peer: string) => number {
  const { periodMs } = options;
  const addresses = addressesOf(nodes);
  if (isFullMesh(addresses, options)) return () => periodMs;
  const sweepMs = Math.max(periodMs, (addresses * 1000) / (options.sweepPerSecond ?? SWEEP_PER_SECOND));
  return (peer) => (peer === self || watched.has(peer) ? periodMs : sweepMs);
}

/** Least periods of requests to the agents of watched peers, and of all others, so that both together keep the budget. */
function httpPeriods(
  paths: readonly ProbePath[],
  asksAgent: (path: ProbePath) => boolean,
  { periodMs, httpPerSecond = HTTP_PER_SECOND }: PlanOptions,
): { readonly agentsMs: number; readonly restMs: number } {
  const requests = paths.filter(({ kind }) => PROBE_KINDS[kind]?.responder === 'http');
  const agents = requests.filter(asksAgent).length;
  const rest = requests.length - agents;
  const share = rest === 0 ? 1 : AGENTS_SHARE;
  const agentsMs = Math.max(periodMs, (agents * 1000) / (share * httpPerSecond));
  const left = httpPerSecond - (agents * 1000) / agentsMs;
  return { agentsMs, restMs: rest === 0 ? 0 : (rest * 1000) / left };
}
