import { CELL_WIDTH, type RowPatch } from './row-store.ts';

interface Pending {
  patch: Omit<RowPatch, 'cells'>;
  /** By peer. */
  readonly cells: Map<number, readonly number[]>;
}

/**
 * News that wait to be pushed, what belongs together put together. What does not go on whole claims no versions: who gets
 * it asks for the rest.
 */
export class Outbox {
  readonly #bySlot = new Map<number, Pending>();

  /** @param cells of the patch, those that are to go on */
  add(patch: RowPatch, cells: readonly number[]): void {
    const isWhole = cells.length === patch.cells.length;
    const pending = this.#pendingOf(isWhole ? patch : { ...patch, base: patch.version });
    if (pending === undefined) return;
    for (let i = 0; i < cells.length; i += CELL_WIDTH) {
      const peer = cells[i] as number;
      const before = pending.cells.get(peer);
      if (before !== undefined && (before[1] as number) >= (cells[i + 1] as number)) continue;
      pending.cells.set(peer, cells.slice(i, i + CELL_WIDTH));
    }
  }

  /** What is there of that row, with the versions that both span; undefined: the patch is of an older incarnation. */
  #pendingOf({ slot, incarnation, base, version, atMs, notes }: RowPatch): Pending | undefined {
    const fresh = { slot, incarnation, base, version, atMs, notes };
    const pending = this.#bySlot.get(slot);
    if (pending === undefined || pending.patch.incarnation < incarnation) {
      const made = { patch: fresh, cells: new Map<number, readonly number[]>() };
      this.#bySlot.set(slot, made);
      return made;
    }
    const { patch } = pending;
    if (patch.incarnation > incarnation) return undefined;
    const [older, newer] = patch.version <= version ? [patch, fresh] : [fresh, patch];
    // Only what joins without a gap may claim the earlier base.
    const joined = newer.base <= older.version ? Math.min(older.base, newer.base) : newer.base;
    pending.patch = { ...newer, base: joined, notes: newerNotes(patch.notes, notes) };
    return pending;
  }

  forget(slots: ReadonlySet<number>): void {
    for (const [slot, { cells }] of this.#bySlot) {
      if (slots.has(slot)) this.#bySlot.delete(slot);
      else for (const peer of slots) cells.delete(peer);
    }
  }

  /** Empties it. */
  take(): RowPatch[] {
    const patches = [...this.#bySlot.values()].map(({ patch, cells }): RowPatch => {
      return { ...patch, cells: [...cells.values()].flat() };
    });
    this.#bySlot.clear();
    return patches;
  }
}

function newerNotes(a: RowPatch['notes'], b: RowPatch['notes']): RowPatch['notes'] {
  return a !== undefined && (b === undefined || a.version > b.version) ? a : b;
}
