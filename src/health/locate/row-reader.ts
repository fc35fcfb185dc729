import type { HealthRow, MatrixView } from '../../model/health.ts';
import { type EdgeRow, EMPTY_ROW, edgeRow, packCounts, sentOf } from './loss-graph.ts';
import { SLOW, type SymptomTable } from './symptoms.ts';

/** A cell as it is read from a matrix; `peer` is the index in its `nodes`. */
export interface IndexedCell {
  readonly peer: number;
  readonly states4: number;
  readonly states6: number;
  readonly sent: number;
  readonly lost: number;
}

/** A matrix that hands out its cells without an object for each. */
export interface CellSource extends MatrixView {
  eachCell(node: string, visit: (cell: IndexedCell) => void): void;
  /** Differs whenever anything in a node's cells does. */
  revision(node: string): number;
}

/** One row as edges, with what its states come to. */
export interface StoredEdges extends EdgeRow {
  readonly states4: Uint32Array;
  readonly states6: Uint32Array;
  /** Symptoms of each edge, of both families. */
  readonly symptoms: Uint32Array;
  /** Symptoms that any edge has. */
  readonly any: number;
  /** Edges that were probed little beside the others: they are old news. */
  readonly slowPace: Uint8Array | undefined;
}

export const NO_EDGES: StoredEdges = {
  ...EMPTY_ROW,
  states4: new Uint32Array(0),
  states6: new Uint32Array(0),
  symptoms: new Uint32Array(0),
  any: 0,
  slowPace: undefined,
};

/** Edges with fewer probes than this part of the most of those that are well are old news: bursts go to the others. */
const SLOW_PACE = 1 / 8;
/** A path that is degraded and loses less than this is slow. */
const SLOW_LOSS = 0.03;

/** Reads rows of one matrix into edges. */
export class RowReader {
  readonly #matrix: MatrixView;
  readonly #names: readonly string[];
  readonly #table: SymptomTable;
  readonly #index = new Map<string, number>();
  /** Of the row that is read: one entry a cell, in the order of the matrix. */
  readonly #peers: Uint16Array;
  readonly #sent: Uint16Array;
  readonly #lost: Uint16Array;
  readonly #states4: Uint32Array;
  readonly #states6: Uint32Array;
  #length = 0;

  constructor(matrix: MatrixView, names: readonly string[], table: SymptomTable) {
    this.#table = table;
    const { length } = names;
    this.#matrix = matrix;
    this.#names = names;
    [this.#peers, this.#sent, this.#lost] = [
      new Uint16Array(length),
      new Uint16Array(length),
      new Uint16Array(length),
    ];
    [this.#states4, this.#states6] = [new Uint32Array(length), new Uint32Array(length)];
  }

  /** @param self index of the row's node */
  read(row: HealthRow, self: number): StoredEdges {
    this.#length = 0;
    const matrix = this.#matrix;
    if (isCellSource(matrix)) matrix.eachCell(row.node, (cell) => this.#take(cell, self));
    else this.#takeAll(row, self);
    return this.#pack(this.#order());
  }

  #takeAll({ cells }: HealthRow, self: number): void {
    if (this.#index.size === 0) this.#names.forEach((name, i) => void this.#index.set(name, i));
    for (const { peer: name, states, sent, lost } of cells.values()) {
      const peer = this.#index.get(name);
      if (peer !== undefined) this.#take({ peer, states4: states[4], states6: states[6], sent, lost }, self);
    }
  }

  #take(cell: IndexedCell, self: number): void {
    const saysNothing = cell.sent === 0 && cell.states4 === 0 && cell.states6 === 0;
    if (cell.peer === self || saysNothing || this.#length === this.#peers.length) return;
    const at = this.#length++;
    this.#peers[at] = cell.peer;
    this.#sent[at] = cell.sent;
    this.#lost[at] = cell.lost;
    this.#states4[at] = cell.states4;
    this.#states6[at] = cell.states6;
  }

  /** Places of the cells by peer, ascending; undefined where they are in that order already. */
  #order(): Uint16Array | undefined {
    const peers = this.#peers;
    let isRising = true;
    for (let i = 1; i < this.#length; i++) {
      if ((peers[i] as number) <= (peers[i - 1] as number)) isRising = false;
    }
    if (isRising) return undefined;
    const keys = new Uint32Array(this.#length);
    for (let i = 0; i < keys.length; i++) keys[i] = ((peers[i] as number) << 16) | i;
    return Uint16Array.from(keys.sort(), (key) => key & 0xffff);
  }

  #pack(order: Uint16Array | undefined): StoredEdges {
    const length = this.#length;
    const targets = new Uint16Array(length);
    const counts = new Uint32Array(length);
    const [states4, states6] = [new Uint32Array(length), new Uint32Array(length)];
    const symptoms = new Uint32Array(length);
    let [any, mostSent] = [0, 0];
    for (let i = 0; i < length; i++) {
      const at = order?.[i] ?? i;
      const [sent, lost] = [this.#sent[at] as number, this.#lost[at] as number];
      targets[i] = this.#peers[at] as number;
      counts[i] = packCounts(sent, lost);
      states4[i] = this.#states4[at] as number;
      states6[i] = this.#states6[at] as number;
      const shown = this.#table.of(states4[i] as number) | this.#table.of(states6[i] as number);
      symptoms[i] = (shown & SLOW) !== 0 && lost > SLOW_LOSS * sent ? shown & ~SLOW : shown;
      any |= symptoms[i] as number;
      if (shown === 0) mostSent = Math.max(mostSent, sentOf(counts[i] as number));
    }
    const slowPace = slowPaceOf(counts, mostSent);
    return { ...edgeRow(targets, counts), states4, states6, symptoms, any, slowPace };
  }
}

function slowPaceOf(counts: Uint32Array, mostSent: number): Uint8Array | undefined {
  const least = mostSent * SLOW_PACE;
  if (counts.every((packed) => packed >>> 16 >= least)) return undefined;
  return Uint8Array.from(counts, (packed) => (packed >>> 16 < least ? 1 : 0));
}

export function isCellSource(matrix: MatrixView): matrix is CellSource {
  return 'eachCell' in matrix;
}
