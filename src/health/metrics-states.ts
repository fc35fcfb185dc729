import type { Registry } from 'prom-client';
import { PathStates } from '../model/health.ts';
import type { Health } from './health.ts';
import { addFamily, addNumber, type Sample } from './metrics-family.ts';
import { NodeStates, type Reachability } from './state/node-states.ts';

const TYPES = ['node', 'endpoint'] as const;
const STATUSES: readonly Reachability[] = ['reachable', 'unreachable', 'unknown'];

export type TypeCounts = Readonly<Record<(typeof TYPES)[number], Readonly<Record<Reachability, number>>>>;

/** Nodes and health endpoints in each state, by this moment. */
export function countTypes(health: Health): TypeCounts {
  const states = new NodeStates(health.trackers());
  const { nodes } = health.nodes();
  return { node: states.count(nodes, 'node'), endpoint: states.count(nodes, 'endpoint') };
}

/** Cilium's gauge since 1.17. */
export function addStatus(registry: Registry, counts: () => TypeCounts | undefined): void {
  addFamily(registry, {
    name: 'cilium_node_health_connectivity_status',
    help: 'Nodes and health endpoints by the worst state of their paths from this node',
    type: 'gauge',
    read: () => {
      const now = counts();
      if (now === undefined) return [];
      return TYPES.flatMap((type) =>
        STATUSES.map((status): Sample => ({ labels: { type, status }, value: now[type][status] })),
      );
    },
  });
}

export interface StateSources {
  readonly health: () => Health | undefined;
  readonly counts: () => TypeCounts | undefined;
  readonly wallMs: () => number;
}

/** States that have no names of Cilium's eras, or the same in all. */
export function addStates(registry: Registry, { health, counts, wallMs }: StateSources): void {
  const gauge = (name: string, help: string, read: () => number | undefined): void =>
    addNumber(registry, { name, help, type: 'gauge', read });
  gauge('cilium_unreachable_nodes', 'Nodes with an unreachable address', () => counts()?.node.unreachable);
  gauge('cilium_unreachable_health_endpoints', 'Health endpoints with an unreachable address', () => {
    return counts()?.endpoint.unreachable;
  });
  gauge('ciliate_health_probe_interval_seconds', 'Length of one round over all addresses', () => {
    const now = health();
    return now === undefined ? undefined : now.intervalMs() / 1000;
  });
  gauge('ciliate_health_node_list_stale_seconds', 'How long the node list could not be renewed', () => {
    const now = health();
    if (now === undefined) return undefined;
    const { stale } = now.nodes();
    return stale === undefined ? 0 : Math.max(0, wallMs() - stale.sinceMs) / 1000;
  });
  gauge('ciliate_health_paths_unprobed', 'Paths that are not probed, for there is no room for them', () => {
    return health()?.unprobed();
  });
  addFamily(registry, {
    name: 'ciliate_health_paths',
    help: 'Paths of this node by state',
    type: 'gauge',
    read: () => {
      const trackers = health()?.trackers();
      if (trackers === undefined) return [];
      return Object.keys(PathStates).map((state) => {
        return { labels: { state }, value: trackers.filter((one) => one.state === state).length };
      });
    },
  });
}
