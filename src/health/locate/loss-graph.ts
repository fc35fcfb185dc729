/**
 * What one node saw of others. Edges that are not its business have no place in it: twenty peers and a full mesh have
 * the same form.
 */
export interface EdgeRow {
  /** Observed nodes, ascending, each once, never the observer itself. */
  readonly targets: Uint16Array;
  /** By `packCounts`: one load an edge in the hot loop. */
  readonly counts: Uint32Array;
  /** Most that was lost of one edge. */
  readonly most: number;
}

/** So that the sums of 65,535 edges fit side by side in a double. */
const COUNT_MAX = 1023;

/** Probes sent and lost of an edge as one number; greater counts are made less, at the same rate. */
export function packCounts(sent: number, lost: number): number {
  const scale = sent > COUNT_MAX ? COUNT_MAX / sent : 1;
  return (Math.round(sent * scale) << 16) | Math.round(Math.min(lost, sent) * scale);
}

export const sentOf = (counts: number): number => counts >>> 16;
export const lostOf = (counts: number): number => counts & 0xffff;

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

export const EMPTY_ROW: EdgeRow = { targets: new Uint16Array(0), counts: new Uint32Array(0), most: 0 };

export function edgeRow(targets: Uint16Array, counts: Uint32Array): EdgeRow {
  return { targets, counts, most: counts.reduce((most, packed) => Math.max(most, lostOf(packed)), 0) };
}

/** A graph of edges in any order; edges of a node to itself and empty ones are left out. */
export function lossGraph(nodes: number, edges: readonly LossEdge[]): LossGraph {
  const byObserver = Array.from({ length: nodes }, (): LossEdge[] => []);
  for (const edge of edges) if (edge.from !== edge.to && edge.sent > 0) byObserver[edge.from]?.push(edge);
  const rows = byObserver.map((row) => {
    row.sort((a, b) => a.to - b.to);
    const targets = Uint16Array.from(row, ({ to }) => to);
    return edgeRow(
      targets,
      Uint32Array.from(row, ({ sent, lost }) => packCounts(sent, lost)),
    );
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
