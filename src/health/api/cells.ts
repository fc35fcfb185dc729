import {
  cellState,
  type HealthCell,
  type MatrixView,
  type PathState,
  PathStates,
  PROBE_KINDS,
} from '../../model/health.ts';

const FAMILIES = [4, 6] as const;

/** The worst state of a cell's paths; kinds that are not probed say nothing. */
export function worstState(cell: HealthCell): PathState {
  let worst: PathState = 'unknown';
  for (const family of FAMILIES) {
    for (let kind = 0; kind < PROBE_KINDS.length; kind++) {
      const state = cellState(cell, family, kind);
      if (PathStates[state] > PathStates[worst]) worst = state;
    }
  }
  return worst;
}

/**
 * Whether one node reaches another at all: `yes` when any path that should answer does, `no` when some are unreachable and
 * none answers, else `unknown`.
 */
export function reaches(cell: HealthCell | undefined): 'yes' | 'no' | 'unknown' {
  if (cell === undefined) return 'unknown';
  let silent = false;
  for (const family of FAMILIES) {
    for (let kind = 0; kind < PROBE_KINDS.length; kind++) {
      if (PROBE_KINDS[kind]?.expects !== 'answer') continue;
      const state = cellState(cell, family, kind);
      if (state === 'reachable' || state === 'degraded') return 'yes';
      if (state === 'unreachable') silent = true;
    }
  }
  return silent ? 'no' : 'unknown';
}

/** Cells of others about a node, by observer. */
export function columnOf(view: MatrixView, node: string): ReadonlyMap<string, HealthCell> {
  const column = new Map<string, HealthCell>();
  for (const { name } of view.nodes) {
    const cell = name === node ? undefined : view.row(name)?.cells.get(node);
    if (cell !== undefined) column.set(name, cell);
  }
  return column;
}
