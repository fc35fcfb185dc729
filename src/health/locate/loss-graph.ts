/**
 * What one node saw of others. Edges that are not its business have no place in it: twenty peers and a full mesh have
 * the same form.
 */
export interface EdgeRow {
  /** Observed nodes, ascending, each once, never the observer itself. */
  readonly targets: Uint16Array;
  readonly sent: Uint16Array;
  /** At most `sent`. */
  readonly lost: Uint16Array;
}

/** Who observed whom, and how much of it was lost. */
export interface LossGraph {
  /** At most 65,535. */
  readonly nodes: number;
  /** `nodes` rows: that at index i is of observer i. */
  readonly rows: readonly EdgeRow[];
}

export interface LossEdge {
  readonly from: number;
  readonly to: number;
  readonly sent: number;
  readonly lost: number;
}

export const EMPTY_ROW: EdgeRow = {
  targets: new Uint16Array(0),
  sent: new Uint16Array(0),
  lost: new Uint16Array(0),
};

/** A graph of edges in any order; edges of a node to itself and empty ones are left out. */
export function lossGraph(nodes: number, edges: readonly LossEdge[]): LossGraph {
  const byObserver = Array.from({ length: nodes }, (): LossEdge[] => []);
  for (const edge of edges) if (edge.from !== edge.to && edge.sent > 0) byObserver[edge.from]?.push(edge);
  const rows = byObserver.map((row) => {
    row.sort((a, b) => a.to - b.to);
    return {
      targets: Uint16Array.from(row, ({ to }) => to),
      sent: Uint16Array.from(row, ({ sent }) => sent),
      lost: Uint16Array.from(row, ({ lost }) => lost),
    };
  });
  return { nodes, rows };
}

/** Index of a target in a row; -1: not observed. */
export function indexOfTarget({ targets }: EdgeRow, target: number): number {
  let [low, high] = [0, targets.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((targets[middle] ?? 0) < target) low = middle + 1;
    else high = middle;
  }
  return targets[low] === target ? low : -1;
}
