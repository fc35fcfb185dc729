import type { HealthCell, HealthRow, MatrixView } from '../../model/health.ts';
import { emptyCell, type PackedCell, saysNothing } from './cell-arena.ts';
import type { NodeDirectory } from './node-directory.ts';
import type { RowStore, StoredRow } from './row-store.ts';

/** `MatrixView` with a way to go over all cells that makes no object a cell. */
export interface PackedMatrix extends MatrixView {
  /** Calls back with each cell of a node's row; `cell.peer` is the index of the peer in `nodes`; the object is the same each time. */
  eachCell(node: string, visit: (cell: Readonly<PackedCell>) => void): void;
  /** Differs whenever anything in a node's cells does: a row is told in parts that have one version. */
  revision(node: string): number;
}

export interface MatrixSource {
  readonly directory: NodeDirectory;
  readonly store: RowStore;
  readonly self: string;
  nowMs(): number;
}

/** The rows as they are now and as they change: to be read at once, not to be kept. */
export function matrixView(source: MatrixSource): PackedMatrix {
  const { directory, store, self, nowMs } = source;
  const found = (name: string): StoredRow | undefined => {
    const slot = directory.slotOf(name);
    return slot === undefined ? undefined : store.row(slot);
  };
  let indexes: Uint16Array | undefined;
  return {
    nodes: directory.listed(),
    self,
    row: (name) => {
      const row = found(name);
      return row === undefined ? undefined : rowView(source, name, row);
    },
    ageMs: (name) => {
      const row = found(name);
      if (row === undefined) return undefined;
      return name === self ? 0 : Math.max(0, nowMs() - row.takenMs);
    },
    revision: (name) => found(name)?.revision ?? 0,
    eachCell: (name, visit) => {
      const row = found(name);
      if (row === undefined) return;
      indexes ??= indexOfSlots(directory.sorted());
      const to = indexes;
      store.eachCell(row, (cell) => {
        cell.peer = to[cell.peer] ?? 0;
        visit(cell);
      });
    },
  };
}

function indexOfSlots(sorted: readonly { readonly slot: number }[]): Uint16Array {
  const indexes = new Uint16Array(sorted.reduce((most, { slot }) => Math.max(most, slot + 1), 0));
  sorted.forEach(({ slot }, i) => {
    indexes[slot] = i;
  });
  return indexes;
}

function rowView(source: MatrixSource, node: string, row: StoredRow): HealthRow {
  return {
    node,
    incarnation: row.incarnation,
    version: row.version,
    atMs: row.atMs,
    cells: new CellsView(source, row),
    notes: row.notes,
    notesAgeMs: node === source.self ? undefined : Math.max(0, source.nowMs() - row.notesTakenMs),
  };
}

function cellOf(peer: string, { states4, states6, rttNs, sent, lost }: PackedCell): HealthCell {
  return { peer, states: { 4: states4, 6: states6 }, rttNs, sent, lost };
}

/** A row's cells as a map whose values are made when they are asked for. */
class CellsView implements ReadonlyMap<string, HealthCell> {
  readonly #source: MatrixSource;
  readonly #row: StoredRow;

  constructor(source: MatrixSource, row: StoredRow) {
    this.#source = source;
    this.#row = row;
  }

  get size(): number {
    let count = 0;
    this.#source.store.eachCell(this.#row, () => {
      count++;
    });
    return count;
  }

  get(peer: string): HealthCell | undefined {
    const { directory, store } = this.#source;
    const slot = directory.slotOf(peer);
    if (slot === undefined) return undefined;
    const cell = store.readCell(this.#row, slot, emptyCell());
    return cell === undefined || saysNothing(cell) ? undefined : cellOf(peer, cell);
  }

  has(peer: string): boolean {
    return this.get(peer) !== undefined;
  }

  #all(): [string, HealthCell][] {
    const { directory, store } = this.#source;
    const all: [string, HealthCell][] = [];
    store.eachCell(this.#row, (cell) => {
      const name = directory.node(cell.peer)?.name;
      if (name !== undefined) all.push([name, cellOf(name, cell)]);
    });
    return all;
  }

  forEach(act: (cell: HealthCell, peer: string, map: ReadonlyMap<string, HealthCell>) => void): void {
    for (const [peer, cell] of this.#all()) act(cell, peer, this);
  }

  entries(): MapIterator<[string, HealthCell]> {
    return new Map(this.#all()).entries();
  }

  keys(): MapIterator<string> {
    return new Map(this.#all()).keys();
  }

  values(): MapIterator<HealthCell> {
    return new Map(this.#all()).values();
  }

  [Symbol.iterator](): MapIterator<[string, HealthCell]> {
    return this.entries();
  }
}
