import type { RowNote } from '../../model/health.ts';
import {
  CellArena,
  type CellSpan,
  emptyCell,
  faultChanged,
  type PackedCell,
  saysNothing,
} from './cell-arena.ts';
import type { NodeDirectory } from './node-directory.ts';

/** Peer, version at which it changed, states of IPv4 and of IPv6, round trip (ns), sent, lost. */
export const CELL_WIDTH = 7;

/**
 * News of one row. It holds all cells that changed after `base` up to `version`, so that whoever has `base` has `version`
 * after it. Whoever has less takes the cells and stays at its version: the rest comes with the next pull.
 */
export interface RowPatch {
  /** Of the node whose row it is. */
  readonly slot: number;
  readonly incarnation: number;
  readonly base: number;
  readonly version: number;
  readonly atMs: number;
  /** `CELL_WIDTH` numbers a cell. */
  readonly cells: readonly number[];
  /** Version at which the notes changed, and the notes; undefined: not since `base`. */
  readonly notes: { readonly version: number; readonly notes: readonly RowNote[] } | undefined;
}

export interface StoredRow {
  readonly slot: number;
  incarnation: number;
  /** All changes up to it are here; 0: only some cells. */
  version: number;
  /** Grows with whatever changes in it here, and is not told. */
  revision: number;
  /** Newest that was heard of. */
  heard: number;
  atMs: number;
  /** By our monotonic clock. */
  takenMs: number;
  /** It came from its own node. */
  direct: boolean;
  notesVersion: number;
  /** Monotonic ms, when they were taken. */
  notesTakenMs: number;
  notes: readonly RowNote[];
  readonly span: CellSpan;
}

export type RowRefusal = 'future' | 'ours' | 'unknown-node';

export interface Taken {
  /** `old`: nothing in it was news. */
  readonly kind: 'taken' | 'old' | RowRefusal;
  /** Cells of which a fault came or went, `CELL_WIDTH` numbers each. */
  readonly changed: readonly number[];
  /** The same of those that lost more than before. */
  readonly lossier: readonly number[];
}

export interface TakeContext {
  /** Monotonic and realtime ms. */
  readonly nowMs: number;
  readonly wallMs: number;
  /** Node at whose address it came in: what a node says of itself beats what others relay. */
  readonly fromSlot: number | undefined;
}

/** A row may not be from a later time than this, lest a wrong clock or a liar fix it for ever. */
const FUTURE_MS = 24 * 3600 * 1000;
const NO_CELLS: Pick<Taken, 'changed' | 'lossier'> = { changed: [], lossier: [] };

/**
 * The rows of all nodes. In steps, when a patch is taken:
 *
 * 1. a row of a node that is not listed, of a time to come, or of our own node is refused;
 * 2. an older incarnation is nothing new, a newer one takes the place of all that is here;
 * 3. each cell stands for itself: the one that was told at the greater version stays;
 * 4. the row is at the patch's version if it was at its base before.
 *
 * So patches may come twice, out of order, and with others missing; all nodes end with the same rows.
 */
export class RowStore {
  readonly #directory: NodeDirectory;
  readonly #rows: (StoredRow | undefined)[] = [];
  readonly #arena = new CellArena();
  readonly #cell = emptyCell();
  readonly #incoming = emptyCell();
  #contradicted = 0;

  constructor(directory: NodeDirectory) {
    this.#directory = directory;
    directory.onLeave((slots) => this.#forget(slots));
  }

  #forget(slots: ReadonlySet<number>): void {
    for (const slot of slots) {
      const row = this.#rows[slot];
      if (row !== undefined) this.#arena.drop(row.span);
      this.#rows[slot] = undefined;
    }
    this.#arena.removePeers(slots);
  }

  row(slot: number): StoredRow | undefined {
    return this.#rows[slot];
  }

  /** All rows that are there. */
  *rows(): IterableIterator<StoredRow> {
    for (const row of this.#rows) if (row !== undefined) yield row;
  }

  /** Goes back to before a version, so that what changed since comes again. */
  rollBack(slot: number, version: number): void {
    const row = this.#rows[slot];
    if (row !== undefined) row.version = Math.min(row.version, Math.max(0, version - 1));
  }

  /** Bytes of all cells. */
  get bytes(): number {
    return this.#arena.bytes;
  }

  /** An incarnation that our node must exceed, because somebody holds a row of it that it did not make; 0: none. */
  get contradicted(): number {
    return this.#contradicted;
  }

  /** Somebody has this version of our own row. */
  heardOfOwn(own: number, incarnation: number, version: number, wallMs: number): void {
    const row = this.#rows[own];
    if (row === undefined || incarnation > wallMs + FUTURE_MS) return;
    if (incarnation < row.incarnation || (incarnation === row.incarnation && version <= row.version)) return;
    this.#contradicted = Math.max(this.#contradicted, incarnation);
  }

  /** Begins a row anew, without cells. */
  begin(slot: number, incarnation: number, nowMs: number): StoredRow {
    const span = this.#rows[slot]?.span ?? this.#arena.newSpan();
    this.#arena.clear(span);
    const row: StoredRow = {
      slot,
      incarnation,
      version: 0,
      revision: (this.#rows[slot]?.revision ?? 0) + 1,
      heard: 0,
      atMs: 0,
      takenMs: nowMs,
      direct: false,
      notesVersion: 0,
      notesTakenMs: nowMs,
      notes: [],
      span,
    };
    this.#rows[slot] = row;
    return row;
  }

  /** Takes a patch of another node's row. `own`: slot of our node, whose row nobody else makes. */
  take(patch: RowPatch, own: number | undefined, context: TakeContext): Taken {
    const { nowMs, wallMs, fromSlot } = context;
    if (this.#directory.node(patch.slot) === undefined) return { kind: 'unknown-node', ...NO_CELLS };
    if (patch.incarnation > wallMs + FUTURE_MS || patch.atMs > wallMs + FUTURE_MS) {
      return { kind: 'future', ...NO_CELLS };
    }
    if (patch.slot === own) {
      this.heardOfOwn(own, patch.incarnation, patch.version, wallMs);
      return { kind: 'ours', ...NO_CELLS };
    }
    let row = this.#rows[patch.slot];
    if (row !== undefined && patch.incarnation < row.incarnation) return { kind: 'old', ...NO_CELLS };
    const direct = fromSlot === patch.slot;
    const anew = row === undefined || patch.incarnation > row.incarnation || contradicts(row, patch, direct);
    if (row === undefined || anew) row = this.begin(patch.slot, patch.incarnation, nowMs);
    return this.#merge(row, patch, direct, nowMs);
  }

  #merge(row: StoredRow, patch: RowPatch, direct: boolean, nowMs: number): Taken {
    const told = { changed: [] as number[], lossier: [] as number[] };
    let news = this.#mergeCells(row, patch.cells, told);
    if (patch.notes !== undefined && patch.notes.version > row.notesVersion) {
      row.notesVersion = patch.notes.version;
      row.notes = patch.notes.notes;
      row.notesTakenMs = nowMs;
      news = true;
    }
    const advances = patch.base <= row.version && patch.version > row.version;
    if (advances) {
      row.version = patch.version;
      row.direct = direct;
    }
    if (patch.version > row.heard || advances) {
      row.heard = Math.max(row.heard, patch.version);
      row.atMs = patch.atMs;
      row.takenMs = nowMs;
      news = true;
    }
    if (news) row.revision++;
    return { kind: news ? 'taken' : 'old', ...told };
  }

  #mergeCells(
    row: StoredRow,
    cells: readonly number[],
    told: { readonly changed: number[]; readonly lossier: number[] },
  ): boolean {
    const incoming = this.#incoming;
    let news = false;
    for (let i = 0; i + CELL_WIDTH <= cells.length; i += CELL_WIDTH) {
      unpack(cells, i, incoming);
      const at = this.#arena.find(row.span, incoming.peer);
      if (at !== undefined && this.#arena.changedAt(at) >= incoming.changed) continue;
      news = true;
      const before = at === undefined ? undefined : this.#arena.read(at, this.#cell);
      const isLossier = before !== undefined && incoming.lost > before.lost;
      const list = faultChanged(before, incoming) ? told.changed : isLossier ? told.lossier : undefined;
      for (let k = 0; list !== undefined && k < CELL_WIDTH; k++) list.push(cells[i + k] as number);
      this.#arena.write(row.span, incoming);
    }
    return news;
  }

  /** Writes a cell of our own row. */
  writeCell(row: StoredRow, cell: PackedCell): void {
    row.revision++;
    this.#arena.write(row.span, cell);
  }

  /** Reads a peer's cell of a row into `cell`; undefined: it has none. */
  readCell(row: StoredRow, peer: number, cell: PackedCell): PackedCell | undefined {
    const at = this.#arena.find(row.span, peer);
    return at === undefined ? undefined : this.#arena.read(at, cell);
  }

  /** Calls back with each cell of a row that says something; the object is the same each time. */
  eachCell(row: StoredRow, visit: (cell: PackedCell) => void): void {
    const cell = this.#cell;
    const end = row.span.start + row.span.count;
    for (let at = row.span.start; at < end; at++) {
      if (!saysNothing(this.#arena.read(at, cell))) visit(cell);
    }
  }

  /**
   * What somebody with that version of a row lacks; undefined: nothing, or nothing whole is here.
   * @param have undefined: it has nothing
   */
  patchFor(
    slot: number,
    have: { readonly incarnation: number; readonly version: number } | undefined,
  ): RowPatch | undefined {
    const row = this.#rows[slot];
    if (row === undefined || row.version === 0) return undefined;
    if (have !== undefined && have.incarnation > row.incarnation) return undefined;
    const base = have?.incarnation === row.incarnation ? have.version : 0;
    if (base >= row.version) return undefined;
    return this.patchSince(row, base);
  }

  /** All of a row that changed after a version. */
  patchSince(row: StoredRow, base: number): RowPatch {
    const cells: number[] = [];
    const cell = this.#cell;
    const end = row.span.start + row.span.count;
    for (let at = row.span.start; at < end; at++) {
      const changed = this.#arena.changedAt(at);
      // What is newer than the row came ahead of the rest, and goes with it.
      if (changed > base && changed <= row.version) pack(this.#arena.read(at, cell), cells);
    }
    const { slot, incarnation, version, atMs, notesVersion, notes } = row;
    // So do notes: before that, whoever gets them with an earlier version takes the patch for malformed.
    const isTold = notesVersion > base && notesVersion <= version;
    const newNotes = isTold ? { version: notesVersion, notes } : undefined;
    return { slot, incarnation, base, version, atMs, cells, notes: newNotes };
  }
}

/** What a node says of itself against another's word of the same version. */
function contradicts(row: StoredRow, patch: RowPatch, direct: boolean): boolean {
  return direct && !row.direct && patch.base === 0 && patch.version === row.version;
}

function pack(cell: PackedCell, into: number[]): void {
  const { peer, changed, states4, states6, rttNs, sent, lost } = cell;
  into.push(peer, changed, states4, states6, rttNs, sent, lost);
}

function unpack(cells: readonly number[], i: number, cell: PackedCell): void {
  cell.peer = cells[i] as number;
  cell.changed = cells[i + 1] as number;
  cell.states4 = cells[i + 2] as number;
  cell.states6 = cells[i + 3] as number;
  cell.rttNs = cells[i + 4] as number;
  cell.sent = cells[i + 5] as number;
  cell.lost = cells[i + 6] as number;
}
