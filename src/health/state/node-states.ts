import { type PathState, PROBE_KINDS } from '../../model/health.ts';
import { type HealthNode, type PathKind, type PathTarget, pathKey } from '../targets.ts';
import { type AddressState, filteredOf } from './filtered.ts';
import type { PathTracker } from './path-tracker.ts';

/** Reachability as Cilium tells it: a path that answers is reachable, degraded or not. */
export type Reachability = 'reachable' | 'unreachable' | 'unknown';

export function reachability(state: PathState): Reachability {
  return state === 'degraded' ? 'reachable' : state;
}

/** The worst of several states; undefined when there are none. */
export function worst(states: readonly Reachability[]): Reachability | undefined {
  if (states.includes('unreachable')) return 'unreachable';
  if (states.includes('unknown')) return 'unknown';
  return states.length === 0 ? undefined : 'reachable';
}

/** The trackers from the host to each address, by responder: what Cilium's forms have room for. */
export class NodeStates {
  readonly #byTarget = new Map<string, { icmp?: PathTracker; http?: PathTracker }>();

  constructor(trackers: readonly PathTracker[]) {
    for (const tracker of trackers) {
      const { peer, address, kind: index } = tracker.path;
      const kind = PROBE_KINDS[index];
      if (kind?.from !== 'host' || (kind.responder !== 'icmp' && kind.responder !== 'http')) continue;
      const key = pathKey({ node: peer, kind: kind.to === 'host' ? 'node' : 'endpoint', address });
      const entry = this.#byTarget.get(key) ?? {};
      entry[kind.responder] = tracker;
      this.#byTarget.set(key, entry);
    }
  }

  of(target: PathTarget): AddressState {
    const { icmp, http } = this.#byTarget.get(pathKey(target)) ?? {};
    return { icmp, http };
  }

  /**
   * An address is reachable when both answer, unreachable when one does not, else unknown: never counted as healthy. One
   * that is only filtered is not down.
   */
  reachabilityOf(target: PathTarget): Reachability {
    const { icmp, http } = this.of(target);
    if (filteredOf({ icmp, http }) !== undefined) return 'reachable';
    const states = [icmp, http].map((tracker) => reachability(tracker?.state ?? 'unknown'));
    return worst(states) ?? 'unknown';
  }

  /** State of a node or of its health endpoint: its worst address; undefined when it has none. */
  node(node: HealthNode, kind: PathKind): Reachability | undefined {
    const targets = node.targets.filter((target) => target.kind === kind);
    return worst(targets.map((target) => this.reachabilityOf(target)));
  }

  /** How many nodes (or health endpoints) are in each state. */
  count(nodes: readonly HealthNode[], kind: PathKind): Record<Reachability, number> {
    const counts = { reachable: 0, unreachable: 0, unknown: 0 };
    for (const node of nodes) {
      const state = this.node(node, kind);
      if (state !== undefined) counts[state]++;
    }
    return counts;
  }
}
