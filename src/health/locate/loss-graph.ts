/**
 * Who observed whom, and how much of it was lost: rows of edges one behind the other (compressed sparse rows), so that a
 * full mesh and twenty peers a node have the same form.
 */
export interface LossGraph {
  /** At most 65,535. */
  readonly nodes: number;
  /** Edges of observer i are those from `starts[i]` to `starts[i + 1]`; `nodes + 1` entries. */
  readonly starts: Uint32Array;
  /** Observed node of each edge. */
  readonly targets: Uint16Array;
  readonly sent: Uint16Array;
  /** At most `sent`. */
  readonly lost: Uint16Array;
}

export interface LossEdge {
  readonly from: number;
  readonly to: number;
  readonly sent: number;
  readonly lost: number;
}

/** A graph of edges in any order; edges of a node to itself and empty ones are left out. */
export function lossGraph(nodes: number, edges: readonly LossEdge[]): LossGraph {
  const kept = edges.filter(({ from, to, sent }) => from !== to && sent > 0);
  const starts = new Uint32Array(nodes + 1);
  for (const { from } of kept) starts[from + 1] = (starts[from + 1] ?? 0) + 1;
  for (let i = 0; i < nodes; i++) starts[i + 1] = (starts[i + 1] ?? 0) + (starts[i] ?? 0);
  const next = starts.slice();
  const targets = new Uint16Array(kept.length);
  const sent = new Uint16Array(kept.length);
  const lost = new Uint16Array(kept.length);
  for (const edge of kept) {
    const at = next[edge.from] ?? 0;
    next[edge.from] = at + 1;
    targets[at] = edge.to;
    sent[at] = edge.sent;
    lost[at] = edge.lost;
  }
  return { nodes, starts, targets, sent, lost };
}
