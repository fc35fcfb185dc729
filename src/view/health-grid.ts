import type { HealthMatrix } from '../api/schema.ts';
import { type PathState, PROBE_KINDS } from '../model/health.ts';

/** What a cell comes to. */
export interface GridCell {
  readonly state: PathState;
  /** Median of the first kind that answers, ns; undefined: none answers. */
  readonly rttNs: number | undefined;
  /** Share of probes lost in the last minute, 0..1; undefined: none was sent. */
  readonly lossShare: number | undefined;
}

/** How many of the pairs that are probed are in each state. */
export type StateCounts = Readonly<Record<PathState, number>>;

export interface GridNode {
  readonly index: number;
  readonly name: string;
  /** Of its row; undefined: there is none. */
  readonly ageMs: number | undefined;
  /** Pairs from it, and to it. */
  readonly out: StateCounts;
  readonly in: StateCounts;
}

export const STATES: readonly PathState[] = ['unknown', 'reachable', 'degraded', 'unreachable'];
const CELL_NUMBERS = 6;

/** Whether the kinds of the answer, by number, must be answered; a kind of a newer agent is taken to. */
function answering(kinds: readonly string[]): readonly boolean[] {
  return kinds.map((name) => PROBE_KINDS.find((kind) => kind.name === name)?.expects !== 'silence');
}

/**
 * `unreachable`: paths that should answer do not, and none does; `degraded`: some are not as they should be.
 * @param words two bits a kind, a word a family
 */
export function cellStateOf(words: readonly number[], answers: readonly boolean[]): PathState {
  let [good, bad, silent] = [false, false, false];
  for (const word of words) {
    answers.forEach((mustAnswer, kind) => {
      const state = STATES[(word >>> (2 * kind)) & 3];
      if (state === 'degraded' || state === 'unreachable') bad = true;
      if (mustAnswer && state === 'unreachable') silent = true;
      if (mustAnswer && (state === 'reachable' || state === 'degraded')) good = true;
    });
  }
  if (silent && !good) return 'unreachable';
  if (bad) return 'degraded';
  return good ? 'reachable' : 'unknown';
}

/** A row that is older says nothing of now: six of its heartbeats are missing. */
export const ROW_OLD_MS = 30_000;

/** What is left of a cell whose row is old. */
const FORGOTTEN: GridCell = { state: 'unknown', rttNs: undefined, lossShare: undefined };

function noCounts(): Record<PathState, number> {
  return { unknown: 0, reachable: 0, degraded: 0, unreachable: 0 };
}

export function probedPairs(counts: StateCounts): number {
  return STATES.reduce((sum, state) => sum + counts[state], 0);
}

/** Pairs that are known to work, if not well. */
export function workingPairs(counts: StateCounts): number {
  return counts.reachable + counts.degraded;
}

/** A matrix unpacked. Pairs that are not probed have no cell. */
export class HealthGrid {
  readonly self: string;
  readonly nodes: readonly GridNode[];
  readonly counts: StateCounts;
  readonly #cells: readonly ReadonlyMap<number, GridCell>[];
  readonly #ofNode: readonly GridCell[][];

  constructor(matrix: HealthMatrix) {
    const answers = answering(matrix.kinds);
    const columns = matrix.nodes.map(noCounts);
    const total = noCounts();
    this.self = matrix.self;
    this.#cells = matrix.nodes.map(({ cells = [], 'age-ms': ageMs = 0 }, from) => {
      const row = unpack(cells, from, answers);
      return ageMs > ROW_OLD_MS ? new Map([...row.keys()].map((to) => [to, FORGOTTEN])) : row;
    });
    this.#ofNode = matrix.nodes.map(() => []);
    for (const [from, to, cell] of this.entries()) {
      this.#ofNode[from]?.push(cell);
      this.#ofNode[to]?.push(cell);
    }
    this.nodes = matrix.nodes.map(({ name, 'age-ms': ageMs }, index) => {
      const out = noCounts();
      for (const [to, { state }] of this.#cells[index] ?? []) {
        out[state]++;
        total[state]++;
        const column = columns[to];
        if (column !== undefined) column[state]++;
      }
      return { index, name, ageMs, out, in: columns[index] ?? noCounts() };
    });
    this.counts = total;
  }

  cell(from: number, to: number): GridCell | undefined {
    return this.#cells[from]?.get(to);
  }

  /** All cells from and to a node. */
  cellsOf(index: number): readonly GridCell[] {
    return this.#ofNode[index] ?? [];
  }

  /** Every cell with the indices of its ends. */
  *entries(): Generator<readonly [from: number, to: number, cell: GridCell]> {
    for (const [from, row] of this.#cells.entries()) for (const [to, cell] of row) yield [from, to, cell];
  }
}

function unpack(
  cells: readonly number[],
  from: number,
  answers: readonly boolean[],
): ReadonlyMap<number, GridCell> {
  const row = new Map<number, GridCell>();
  for (let at = 0; at + CELL_NUMBERS <= cells.length; at += CELL_NUMBERS) {
    const [to = 0, states4 = 0, states6 = 0, rttNs = 0, sent = 0, lost = 0] = cells.slice(
      at,
      at + CELL_NUMBERS,
    );
    if (to === from) continue;
    const state = cellStateOf([states4, states6], answers);
    row.set(to, {
      state,
      rttNs: rttNs === 0 || state === 'unreachable' ? undefined : rttNs,
      lossShare: sent === 0 ? undefined : lost / sent,
    });
  }
  return row;
}
