/**
 * What one node saw of others. Edges that are not its business have no place in it: twenty peers and a full mesh have
 * the same form.
 */
export interface EdgeRow {
  /** Observed nodes, ascending, each once, never the observer itself. */
  readonly targets: Uint16Array;
  /** By `packCounts`: one load an edge in the hot loop. */
  readonly counts: Uint32Array;
  /** Indices of the edges of which `LOSSY_LEAST` probes or more were lost. */
  readonly lossy: Uint16Array;
  /** Most that was lost of one edge. */
  readonly most: number;
}

/** Of one edge with fewer lost probes nothing follows, however seldom any are lost. */
export const LOSSY_LEAST = 2;

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

export const EMPTY_ROW: EdgeRow = {
  targets: new Uint16Array(0),
  counts: new Uint32Array(0),
  lossy: new Uint16Array(0),
  most: 0,
};

export function edgeRow(targets: Uint16Array, counts: Uint32Array): EdgeRow {
  let [most, length] = [0, 0];
  for (let i = 0; i < counts.length; i++) {
    const lost = lostOf(counts[i] as number);
    most = Math.max(most, lost);
    if (lost >= LOSSY_LEAST) length++;
  }
  const lossy = new Uint16Array(length);
  for (let i = counts.length; length > 0; )
    if (lostOf(counts[--i] as number) >= LOSSY_LEAST) lossy[--length] = i;
  return { targets, counts, lossy, most };
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
export function indexOfTarget({ targets }: Pick<EdgeRow, 'targets'>, target: number): number {
  // Who observes all observes each at its own number, or at the one before, for itself is not among them.
  if (targets[target] === target) return target;
  if (targets[target - 1] === target) return target - 1;
  let [low, high] = [0, targets.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((targets[middle] ?? 0) < target) low = middle + 1;
    else high = middle;
  }
  return targets[low] === target ? low : -1;
}
