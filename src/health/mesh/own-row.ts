import type { HealthCell, RowNote } from '../../model/health.ts';
import { ROW_NOTES_MAX } from '../../model/health.ts';
import type { Clock } from '../clock.ts';
import { emptyCell, FAULT_BITS, faultChanged, type PackedCell } from './cell-arena.ts';
import type { LossRoom } from './loss-room.ts';
import type { NodeDirectory } from './node-directory.ts';
import type { RowStore, StoredRow } from './row-store.ts';

export interface OwnRowDeps {
  readonly clock: Clock;
  readonly directory: NodeDirectory;
  readonly store: RowStore;
  /** What this node knows of a peer. */
  readonly cell: (peer: string) => HealthCell | undefined;
  /** What else it found out, the gravest first. */
  readonly notes: () => readonly RowNote[];
  /** What else goes out at once. */
  readonly lossRoom: LossRoom;
  /** A state came or went that the others must hear of at once: in what changed after version `base`. */
  readonly onNews: (row: StoredRow, base: number) => void;
}

/** A round trip that moved by this share and this much is told. */
const RTT_SHARE = 0.25;
const RTT_LEAST_NS = 20_000;
/** Not more often than this, for a round trip alone. */
const RTT_MS = 10_000;
/** A cell of which anything differs from what was told is told after so long. */
const REFRESH_MS = 30_000;
const SENT_SHARE = 0.25;
/** So many times the probes that were told, soon: of a peer that has just come little is told, which looks like old news. */
const GROWN_FACTOR = 4;
const GROWN_MS = 5000;
/** A row without news has a new version all the same: its age says that its node lives. */
const HEARTBEAT_MS = 5000;
const FAULTY_MAX = 64;
/** A fifth of the peers is looked at each second; those of a changed path at once. */
const SLICES = 5;

/**
 * Makes the row of our node. A cell is told anew when its states or its loss changed, when its round trip is known or moved, or when
 * it is old and differs: a quiet cluster tells next to nothing.
 */
export class OwnRow {
  readonly #deps: OwnRowDeps;
  readonly #told = new Map<number, number>();
  readonly #cell = emptyCell();
  #row: StoredRow | undefined;
  #peers: readonly string[] = [];
  #peerSet: ReadonlySet<string> = new Set();
  /** Peers that are only swept and had a fault, the latest last. */
  readonly #faulty = new Set<string>();
  #slice = 0;
  #toldMs = Number.NEGATIVE_INFINITY;
  #notesText = '[]';

  constructor(deps: OwnRowDeps) {
    this.#deps = deps;
    deps.directory.onLeave((slots) => {
      for (const slot of slots) this.#told.delete(slot);
      if (this.#row !== undefined && slots.has(this.#row.slot)) this.#row = undefined;
    });
  }

  /** Undefined until our node is in the node list. */
  get row(): StoredRow | undefined {
    return this.#row;
  }

  /** Who we are, once it is known, and of whom we tell. Cells of peers that are not among them any more are taken back. */
  follow(self: string, peers: readonly string[]): void {
    const { directory, store, clock } = this.#deps;
    const slot = directory.slotOf(self);
    if (slot === undefined) return;
    if (this.#row?.slot !== slot) this.#row = store.begin(slot, Math.floor(clock.wallMs()), clock.nowMs());
    const before = this.#peers;
    this.#peers = peers.filter((peer) => peer !== self);
    this.#peerSet = new Set(this.#peers);
    for (const peer of this.#peers) this.#faulty.delete(peer);
    const gone = before.filter((peer) => !this.#peerSet.has(peer));
    if (gone.length > 0) this.#tell(gone, silence);
  }

  /** Whether that peer is among those of whom we tell. */
  watches(peer: string): boolean {
    return this.#peerSet.has(peer);
  }

  /** Tells at once of peers of which a path changed its state. */
  tellNow(peers: Iterable<string>): void {
    const known = [...peers].filter((peer) => {
      return this.#deps.directory.slotOf(peer) !== this.#row?.slot && this.#isTold(peer);
    });
    this.#tell(known, this.#deps.cell);
  }

  /** Tells of peers to which more was lost: at once while that is rare. */
  tellLosses(peers: Iterable<string>): void {
    const known = [...peers].filter((peer) => this.#peerSet.has(peer));
    const { clock, lossRoom } = this.#deps;
    this.#tell(known, this.#deps.cell, (lossier) => lossier > 0 && lossRoom.takes(lossier, clock.nowMs()));
  }

  /** Tells at once what else was found out. @param anew also if it was told before. @returns whether anything was told */
  tellNotesNow(anew = false): boolean {
    const row = this.#row;
    if (row === undefined) return false;
    if (anew) this.#notesText = '';
    const { version } = row;
    this.#tellNotes(row);
    return row.version !== version;
  }

  /** Of a peer that is only swept is told when it has a fault, and from then on, but of few of them. */
  #isTold(peer: string): boolean {
    if (this.#peerSet.has(peer) || this.#faulty.has(peer)) return true;
    const cell = this.#deps.cell(peer);
    if (cell === undefined || ((cell.states[4] | cell.states[6]) & FAULT_BITS) === 0) return false;
    this.#faulty.add(peer);
    if (this.#faulty.size <= FAULTY_MAX) return true;
    const [oldest = ''] = this.#faulty;
    this.#faulty.delete(oldest);
    this.#tell([oldest], silence);
    return true;
  }

  /** Looks at a slice of the peers: about once a second. */
  tick(): void {
    const row = this.#row;
    if (row === undefined) return;
    this.#outdo(row);
    this.#slice = (this.#slice + 1) % SLICES;
    const peers = this.#peers.filter((_, i) => i % SLICES === this.#slice);
    this.#tell([...peers, ...this.#faulty], this.#deps.cell);
    if (this.#slice === 0) this.#tellNotes(row);
    if (this.#deps.clock.nowMs() - this.#toldMs >= HEARTBEAT_MS) this.#advance(row);
  }

  /** Somebody holds a row of ours that is not: a new incarnation ends it. */
  #outdo(row: StoredRow): void {
    const { store, clock } = this.#deps;
    if (store.contradicted < row.incarnation) return;
    this.#told.clear();
    this.#notesText = '[]';
    this.#row = store.begin(row.slot, store.contradicted + 1, clock.nowMs());
    this.#tell([...this.#peers, ...this.#faulty], this.#deps.cell);
  }

  #advance(row: StoredRow): void {
    const { clock } = this.#deps;
    row.version++;
    row.heard = row.version;
    row.atMs = clock.wallMs();
    row.takenMs = clock.nowMs();
    this.#toldMs = row.takenMs;
  }

  /** @param pushes whether so many cells that lost more than before are a reason to push */
  #tell(
    peers: readonly string[],
    cellOf: (peer: string) => HealthCell | undefined,
    pushes: (lossier: number) => boolean = () => false,
  ): void {
    const row = this.#row;
    if (row === undefined) return;
    const { directory, store, clock } = this.#deps;
    const nowMs = clock.nowMs();
    const base = row.version;
    const news: { readonly slot: number; readonly cell: HealthCell }[] = [];
    let [urgent, lossier] = [false, 0];
    for (const peer of peers) {
      const slot = directory.slotOf(peer);
      const cell = cellOf(peer);
      if (slot === undefined || cell === undefined || !this.#isNews(row, slot, cell, nowMs)) continue;
      urgent ||= this.#isUrgent(row, slot, cell);
      if (cell.lost > (store.readCell(row, slot, this.#cell)?.lost ?? cell.lost)) lossier++;
      news.push({ slot, cell });
    }
    if (news.length === 0) return;
    this.#advance(row);
    for (const { slot, cell } of news) {
      store.writeCell(row, packed(slot, row.version, cell));
      this.#told.set(slot, nowMs);
    }
    if (urgent || pushes(lossier)) this.#deps.onNews(row, base);
  }

  /** A fault came or went. */
  #isUrgent(row: StoredRow, slot: number, cell: HealthCell): boolean {
    const told = this.#deps.store.readCell(row, slot, this.#cell);
    return faultChanged(told, packed(slot, 0, cell));
  }

  #isNews(row: StoredRow, slot: number, cell: HealthCell, nowMs: number): boolean {
    const told = this.#deps.store.readCell(row, slot, this.#cell);
    if (told === undefined) return true;
    if (told.states4 !== cell.states[4] || told.states6 !== cell.states[6]) return true;
    if (cell.lost === 0 && told.lost > 0) return true;
    if (cell.lost > told.lost || (told.rttNs === 0 && cell.rttNs !== 0)) return true;
    const agoMs = nowMs - (this.#told.get(slot) ?? Number.NEGATIVE_INFINITY);
    const rttMoved =
      moved(told.rttNs, cell.rttNs, RTT_SHARE) && Math.abs(cell.rttNs - told.rttNs) > RTT_LEAST_NS;
    if (rttMoved && agoMs >= RTT_MS) return true;
    if (cell.sent >= GROWN_FACTOR * told.sent && cell.sent > 0 && agoMs >= GROWN_MS) return true;
    const differs = rttMoved || cell.lost !== told.lost || moved(told.sent, cell.sent, SENT_SHARE);
    return differs && agoMs >= REFRESH_MS;
  }

  #tellNotes(row: StoredRow): void {
    const notes = this.#deps.notes().slice(0, ROW_NOTES_MAX);
    const text = JSON.stringify(notes);
    if (text === this.#notesText) return;
    this.#notesText = text;
    this.#advance(row);
    row.notes = notes;
    row.notesVersion = row.version;
  }
}

function moved(before: number, now: number, share: number): boolean {
  return Math.abs(now - before) > share * Math.max(1, before);
}

function silence(peer: string): HealthCell {
  return { peer, states: { 4: 0, 6: 0 }, rttNs: 0, sent: 0, lost: 0 };
}

function packed(peer: number, changed: number, { states, rttNs, sent, lost }: HealthCell): PackedCell {
  return { peer, changed, states4: states[4], states6: states[6], rttNs, sent, lost };
}
