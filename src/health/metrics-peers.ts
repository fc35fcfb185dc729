import type { Registry } from 'prom-client';
import type { Health } from './health.ts';
import { addFamily, addNumber, type Sample } from './metrics-family.ts';
import { NodeStates } from './state/node-states.ts';
import type { HealthNode, PathTarget } from './targets.ts';

/** Names that Cilium's users of one cluster know it by: `kind` of `kind/node1`. */
const DEFAULT_CLUSTER = 'default';

type Labels = Readonly<Record<string, string>>;

function named(name: string): { readonly cluster: string; readonly node: string } {
  const slash = name.indexOf('/');
  if (slash < 1) return { cluster: DEFAULT_CLUSTER, node: name };
  return { cluster: name.slice(0, slash), node: name.slice(slash + 1) };
}

function labelsOf(self: string | undefined, target: string): Labels {
  const [from, to] = [named(self ?? ''), named(target)];
  const near = from.cluster === to.cluster ? 'remote_intra_cluster' : 'remote_inter_cluster';
  return {
    source_cluster: from.cluster,
    source_node_name: from.node,
    target_cluster: to.cluster,
    target_node_name: to.node,
    target_node_type: self === target ? 'local_node' : near,
  };
}

/**
 * The names of Cilium 1.12 to 1.16: two to ten series a peer, so at most `peersMax` peers have them, the first by name; how
 * many were left out is told. A path that fails has no latency, where Cilium's first versions said -1.
 */
export function addPeers(registry: Registry, health: () => Health | undefined, peersMax: number): void {
  const peers = (now: Health): readonly HealthNode[] =>
    [...now.nodes().nodes].sort((a, b) => (a.name < b.name ? -1 : 1)).slice(0, peersMax);
  const read = (of: (node: HealthNode, states: NodeStates, labels: Labels) => readonly Sample[]) => () => {
    const now = health();
    if (now === undefined) return [];
    const states = new NodeStates(now.trackers());
    const { self } = now.nodes();
    return peers(now).flatMap((node) => of(node, states, labelsOf(self, node.name)));
  };
  addFamily(registry, {
    name: 'cilium_node_connectivity_status',
    help: 'Whether a node, or its health endpoint, answers: 1, or 0; without a series while it is unknown',
    type: 'gauge',
    read: read(statusOf),
  });
  addFamily(registry, {
    name: 'cilium_node_connectivity_latency_seconds',
    help: 'Last round-trip time to an address of a node',
    type: 'gauge',
    read: read((node, states, labels) => node.targets.flatMap((one) => latencyOf(one, states, labels))),
  });
  addNumber(registry, {
    name: 'ciliate_health_peers_left_out',
    help: 'Peers without a series of their own, beyond --metrics-peers-max',
    type: 'gauge',
    read: () => {
      const now = health();
      return now === undefined ? undefined : Math.max(0, now.nodes().nodes.length - peersMax);
    },
  });
}

function statusOf(node: HealthNode, states: NodeStates, labels: Labels): readonly Sample[] {
  return (['node', 'endpoint'] as const).flatMap((type) => {
    const state = states.node(node, type);
    if (state === undefined || state === 'unknown') return [];
    return [{ labels: { ...labels, type }, value: state === 'reachable' ? 1 : 0 }];
  });
}

function latencyOf(target: PathTarget, states: NodeStates, labels: Labels): readonly Sample[] {
  const found = states.of(target);
  return (['icmp', 'http'] as const).flatMap((protocol) => {
    const brief = found[protocol]?.brief();
    const fails = brief === undefined || brief.state === 'unreachable' || brief.state === 'unknown';
    if (fails || brief.rttLastNs === 0) return [];
    const more = { type: target.kind, protocol, address_type: target.primary ? 'primary' : 'secondary' };
    return [{ labels: { ...labels, target_node_ip: target.address, ...more }, value: brief.rttLastNs / 1e9 }];
  });
}
