/** One cell, its peer as a slot; `changed` is the version of the row at which it was told last. */
export interface PackedCell {
  peer: number;
  changed: number;
  states4: number;
  states6: number;
  rttNs: number;
  sent: number;
  lost: number;
}

/** The cells of one row within the arena, by peer, rising. */
export interface CellSpan {
  start: number;
  count: number;
  room: number;
}

const FIRST_CELLS = 64;
const GROWTH = 1.5;
const CELL_BYTES = 22;

/**
 * The cells of all rows in seven arrays, 22 bytes a cell: a million cells as objects would be a hundred times that, and
 * work for the collector. Each row has a span; one that outgrows its room moves to the end; when half of the arrays is
 * left behind they are written anew.
 */
export class CellArena {
  #peer = new Uint16Array(FIRST_CELLS);
  #changed = new Uint32Array(FIRST_CELLS);
  #states4 = new Uint32Array(FIRST_CELLS);
  #states6 = new Uint32Array(FIRST_CELLS);
  #rttNs = new Uint32Array(FIRST_CELLS);
  #sent = new Uint16Array(FIRST_CELLS);
  #lost = new Uint16Array(FIRST_CELLS);
  readonly #spans = new Set<CellSpan>();
  #end = 0;
  #wasted = 0;

  newSpan(): CellSpan {
    const span = { start: this.#end, count: 0, room: 0 };
    this.#spans.add(span);
    return span;
  }

  drop(span: CellSpan): void {
    if (this.#spans.delete(span)) this.#wasted += span.room;
  }

  /** Of all arrays. */
  get bytes(): number {
    return this.#peer.length * CELL_BYTES;
  }

  /** Index of a peer's cell in the arena; undefined: the row has none. */
  find(span: CellSpan, peer: number): number | undefined {
    const at = this.#lowerBound(span, peer);
    return at < span.start + span.count && this.#peer[at] === peer ? at : undefined;
  }

  #lowerBound({ start, count }: CellSpan, peer: number): number {
    let [low, high] = [start, start + count];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#peer[middle] ?? 0) < peer) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Reads a cell of the arena into `cell`. */
  read(at: number, cell: PackedCell): PackedCell {
    cell.peer = this.#peer[at] as number;
    cell.changed = this.#changed[at] as number;
    cell.states4 = this.#states4[at] as number;
    cell.states6 = this.#states6[at] as number;
    cell.rttNs = this.#rttNs[at] as number;
    cell.sent = this.#sent[at] as number;
    cell.lost = this.#lost[at] as number;
    return cell;
  }

  changedAt(at: number): number {
    return this.#changed[at] as number;
  }

  /** Replaces the cell of that peer, or adds it. */
  write(span: CellSpan, cell: PackedCell): void {
    let at = this.#lowerBound(span, cell.peer);
    if (at === span.start + span.count || this.#peer[at] !== cell.peer) at = this.#insert(span, at);
    this.#peer[at] = cell.peer;
    this.#changed[at] = cell.changed;
    this.#states4[at] = cell.states4;
    this.#states6[at] = cell.states6;
    this.#rttNs[at] = cell.rttNs;
    this.#sent[at] = cell.sent;
    this.#lost[at] = cell.lost;
  }

  #insert(span: CellSpan, at: number): number {
    const offset = at - span.start;
    if (span.count === span.room) this.#grow(span);
    const place = span.start + offset;
    const end = span.start + span.count;
    for (const array of this.#arrays()) array.copyWithin(place + 1, place, end);
    span.count++;
    return place;
  }

  /** Moves a span to the end, with more room. */
  #grow(span: CellSpan): void {
    const room = Math.max(4, Math.ceil(span.room * GROWTH));
    if (this.#wasted > this.#end / 2 && this.#end > FIRST_CELLS) this.#compact();
    this.#reserve(this.#end + room);
    for (const array of this.#arrays()) array.copyWithin(this.#end, span.start, span.start + span.count);
    this.#wasted += span.room;
    span.start = this.#end;
    span.room = room;
    this.#end += room;
  }

  #reserve(cells: number): void {
    if (cells <= this.#peer.length) return;
    this.#move(Math.ceil(cells * GROWTH), [{ from: 0, to: 0, count: this.#end }]);
  }

  /** Takes the rows out of which a peer has gone: `peers` holds its slot. */
  removePeers(peers: ReadonlySet<number>): void {
    for (const span of this.#spans) {
      let kept = span.start;
      const end = span.start + span.count;
      for (let at = span.start; at < end; at++) {
        if (peers.has(this.#peer[at] as number)) continue;
        if (kept !== at) for (const array of this.#arrays()) array.copyWithin(kept, at, at + 1);
        kept++;
      }
      span.count = kept - span.start;
    }
  }

  clear(span: CellSpan): void {
    span.count = 0;
  }

  #compact(): void {
    const moves: { from: number; to: number; count: number }[] = [];
    let to = 0;
    for (const span of this.#spans) {
      moves.push({ from: span.start, to, count: span.count });
      span.start = to;
      to += span.room;
    }
    this.#move(Math.max(FIRST_CELLS, Math.ceil(to * GROWTH)), moves);
    this.#end = to;
    this.#wasted = 0;
  }

  #move(length: number, moves: readonly { from: number; to: number; count: number }[]): void {
    const moved = <A extends Uint16Array | Uint32Array>(from: A, to: A): A => {
      for (const move of moves) to.set(from.subarray(move.from, move.from + move.count), move.to);
      return to;
    };
    this.#peer = moved(this.#peer, new Uint16Array(length));
    this.#changed = moved(this.#changed, new Uint32Array(length));
    this.#states4 = moved(this.#states4, new Uint32Array(length));
    this.#states6 = moved(this.#states6, new Uint32Array(length));
    this.#rttNs = moved(this.#rttNs, new Uint32Array(length));
    this.#sent = moved(this.#sent, new Uint16Array(length));
    this.#lost = moved(this.#lost, new Uint16Array(length));
  }

  #arrays(): readonly (Uint16Array | Uint32Array)[] {
    return [this.#peer, this.#changed, this.#states4, this.#states6, this.#rttNs, this.#sent, this.#lost];
  }
}

export function emptyCell(): PackedCell {
  return { peer: 0, changed: 0, states4: 0, states6: 0, rttNs: 0, sent: 0, lost: 0 };
}

/** A cell that says nothing: what a node tells of a peer that it does not observe any more. */
export function saysNothing(cell: PackedCell): boolean {
  return cell.states4 === 0 && cell.states6 === 0 && cell.sent === 0 && cell.rttNs === 0;
}

/** Upper bit of each kind's state: degraded or unreachable. */
export const FAULT_BITS = 0xaaaa_aaaa;

/** Whether a fault came or went: not when a path is only known now. @param before undefined: nothing was told */
export function faultChanged(before: PackedCell | undefined, now: PackedCell): boolean {
  const [before4, before6] = [before?.states4 ?? 0, before?.states6 ?? 0];
  if (before4 === now.states4 && before6 === now.states6) return false;
  return ((before4 | before6 | now.states4 | now.states6) & FAULT_BITS) !== 0;
}
