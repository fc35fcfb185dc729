import type { PathState } from '../model/health.ts';
import type { GridCell, GridNode, HealthGrid } from './health-grid.ts';

export type MatrixMetric = 'rtt' | 'loss' | 'state';

/** 0 of no values. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

/** How much of a fault a cell shows, 0..1. */
type Weight = (cell: GridCell) => number;

const isState =
  (state: PathState): Weight =>
  (cell) =>
    cell.state === state ? 1 : 0;
const lossOf: Weight = ({ lossShare }) => lossShare ?? 0;

/**
 * What each node is to blame for. A cell counts for the one of its two ends whose cells show more of the fault: whoever
 * watches a dead node is not bad by that. Ends that are alike share it.
 */
function blame(grid: HealthGrid, weight: Weight): Float64Array {
  const share = new Float64Array(grid.nodes.length);
  for (const { index } of grid.nodes) {
    const cells = grid.cellsOf(index);
    share[index] = cells.reduce((sum, cell) => sum + weight(cell), 0) / Math.max(1, cells.length);
  }
  const blamed = new Float64Array(grid.nodes.length);
  for (const [from, to, cell] of grid.entries()) {
    const found = weight(cell);
    if (found === 0) continue;
    const [a = 0, b = 0] = [share[from], share[to]];
    if (a >= b) blamed[from] = (blamed[from] ?? 0) + found;
    if (b >= a) blamed[to] = (blamed[to] ?? 0) + found;
  }
  return blamed;
}

/** How bad each node is: the first number that differs says which of two is worse. */
function badness(grid: HealthGrid, metric: MatrixMetric): readonly Float64Array[] {
  const down = blame(grid, isState('unreachable'));
  const loss = blame(grid, lossOf);
  if (metric === 'loss') return [loss];
  if (metric === 'rtt') {
    const times = grid.nodes.map(({ index }) =>
      median(grid.cellsOf(index).flatMap(({ rttNs }) => rttNs ?? [])),
    );
    return [down, Float64Array.from(times)];
  }
  const silent = grid.nodes.map(({ ageMs }) => (ageMs === undefined ? 1 : 0));
  const degraded = blame(grid, isState('degraded'));
  return [down, degraded, Float64Array.from(silent), blame(grid, isState('unknown')), loss];
}

/** All nodes, the worst first; equals by name. */
export function worstFirst(grid: HealthGrid, metric: MatrixMetric): GridNode[] {
  const marks = badness(grid, metric);
  return [...grid.nodes].sort((a, b) => {
    for (const mark of marks) {
      const difference = (mark[b.index] ?? 0) - (mark[a.index] ?? 0);
      if (difference !== 0) return difference;
    }
    return a.name < b.name ? -1 : 1;
  });
}

/** Indices of the nodes that faults of cells are blamed on. */
export function blamedNodes(grid: HealthGrid): ReadonlySet<number> {
  const marks = [blame(grid, isState('unreachable')), blame(grid, isState('degraded'))];
  const indices = grid.nodes.map(({ index }) => index);
  return new Set(indices.filter((index) => marks.some((mark) => (mark[index] ?? 0) > 0)));
}
