import type { ProbeProtocol, ProbeResult } from '../../probes/types.ts';
import { type HealthNode, type PathKind, type PathTarget, pathKey } from './targets.ts';

export type Reachability = 'reachable' | 'unreachable' | 'unknown';

/** The last that is known of one protocol on one path. */
export interface ProtocolState {
  readonly reachability: Reachability;
  /** Of the last reply; undefined when the last probe failed or could not be timed. */
  readonly latencyNs: number | undefined;
  /** Why it is not reachable; undefined when it is, or was never probed. */
  readonly reason: string | undefined;
  /** Realtime ms; undefined: never probed. */
  readonly lastProbedMs: number | undefined;
  readonly sent: number;
  readonly lost: number;
}

export interface PathRecord {
  readonly target: PathTarget;
  readonly icmp: ProtocolState;
  readonly http: ProtocolState;
}

const NEVER: ProtocolState = {
  reachability: 'unknown',
  latencyNs: undefined,
  reason: undefined,
  lastProbedMs: undefined,
  sent: 0,
  lost: 0,
};

/** A path is reachable when both probes answered, unreachable when one failed, else unknown: never counted as healthy. */
export function pathReachability({ icmp, http }: Pick<PathRecord, 'icmp' | 'http'>): Reachability {
  const states = [icmp.reachability, http.reachability];
  if (states.includes('unreachable')) return 'unreachable';
  return states.includes('unknown') ? 'unknown' : 'reachable';
}

/** The worst of several paths; undefined when there are none. */
export function worst(states: readonly Reachability[]): Reachability | undefined {
  if (states.includes('unreachable')) return 'unreachable';
  if (states.includes('unknown')) return 'unknown';
  return states.length === 0 ? undefined : 'reachable';
}

export interface StateChange {
  readonly target: PathTarget;
  readonly protocol: ProbeProtocol;
  readonly from: Reachability;
  readonly to: Reachability;
  readonly reason: string | undefined;
}

function nextState(before: ProtocolState, result: ProbeResult, atMs: number, losses: number): ProtocolState {
  switch (result.kind) {
    case 'reply':
      return {
        reachability: 'reachable',
        latencyNs: result.latencyNs,
        reason: undefined,
        lastProbedMs: atMs,
        sent: before.sent + 1 + losses,
        lost: before.lost + losses,
      };
    case 'failure':
      return {
        reachability: 'unreachable',
        latencyNs: undefined,
        reason: result.failure.text,
        lastProbedMs: atMs,
        sent: before.sent + 1 + losses,
        lost: before.lost + losses + (result.failure.kind === 'timeout' ? 1 : 0),
      };
    case 'not-probed':
      // Nothing was sent: what was known is not known any more, but not disproved either.
      return { ...before, reachability: 'unknown', latencyNs: undefined, reason: result.reason };
  }
}

/** What is known of every path of the present nodes. A node that goes is forgotten; one that stays keeps its results. */
export class PathBook {
  #records = new Map<string, PathRecord>();
  #nodes: readonly HealthNode[] = [];

  get nodes(): readonly HealthNode[] {
    return this.#nodes;
  }

  /** Takes over a new node list. */
  setNodes(nodes: readonly HealthNode[]): void {
    const records = new Map<string, PathRecord>();
    for (const target of nodes.flatMap((node) => node.targets)) {
      const key = pathKey(target);
      const before = this.#records.get(key);
      records.set(key, { target, icmp: before?.icmp ?? NEVER, http: before?.http ?? NEVER });
    }
    this.#records = records;
    this.#nodes = nodes;
  }

  keys(): readonly string[] {
    return [...this.#records.keys()];
  }

  get(key: string): PathRecord | undefined {
    return this.#records.get(key);
  }

  /**
   * Notes the outcome of a probe; of a path that is gone, nothing.
   * @param outcome `losses`: probes of the same attempt that went unanswered before the one that decided it
   * @returns the change of state, if it was one
   */
  note(
    key: string,
    protocol: ProbeProtocol,
    outcome: { readonly result: ProbeResult; readonly atMs: number; readonly losses: number },
  ): StateChange | undefined {
    const record = this.#records.get(key);
    if (record === undefined) return undefined;
    const before = record[protocol];
    const after = nextState(before, outcome.result, outcome.atMs, outcome.losses);
    this.#records.set(key, { ...record, [protocol]: after });
    if (before.reachability === after.reachability) return undefined;
    const { target } = record;
    return { target, protocol, from: before.reachability, to: after.reachability, reason: after.reason };
  }

  /** Records of a node or of its health endpoint, the primary address first. */
  of(node: HealthNode, kind: PathKind): PathRecord[] {
    return node.targets
      .filter((target) => target.kind === kind)
      .map((target) => this.#records.get(pathKey(target)))
      .filter((record) => record !== undefined);
  }

  /** State of a node or of its health endpoint: its worst path; undefined when it has none. */
  state(node: HealthNode, kind: PathKind): Reachability | undefined {
    return worst(this.of(node, kind).map(pathReachability));
  }

  /** How many nodes (or health endpoints) are in each state. */
  count(kind: PathKind): Record<Reachability, number> {
    const counts = { reachable: 0, unreachable: 0, unknown: 0 };
    for (const node of this.#nodes) {
      const state = this.state(node, kind);
      if (state !== undefined) counts[state]++;
    }
    return counts;
  }
}
