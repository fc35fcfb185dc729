import type { NodeDirectory } from './node-directory.ts';
import type { DecodedPatches, RowVersion } from './row-codec.ts';
import type { RowStore } from './row-store.ts';

const STRANGERS_MAX = 4096;

/**
 * What was told of nodes that are not in our list: lists differ for a while when nodes come. Their rows are not kept, but
 * which versions were offered is, so that they are not sent again and again; once a node is listed, its row, and the cells
 * of it in the rows of others, are asked for anew.
 */
export class Strangers {
  readonly #store: RowStore;
  readonly #rows = new Map<number, RowVersion>();
  /** By id of the peer: rows that have a cell of it, and when it changed there first. */
  readonly #peers = new Map<number, Map<number, number>>();

  constructor(directory: NodeDirectory, store: RowStore) {
    this.#store = store;
    directory.onJoin((ids) => this.#joined(ids));
    directory.onLeave((slots) => {
      for (const rows of this.#peers.values()) for (const slot of slots) rows.delete(slot);
    });
  }

  #joined(ids: ReadonlySet<number>): void {
    for (const id of ids) {
      this.#rows.delete(id);
      for (const [slot, changed] of this.#peers.get(id) ?? []) this.#store.rollBack(slot, changed);
      this.#peers.delete(id);
    }
  }

  take({ strangeRows, strangePeers }: DecodedPatches): void {
    for (const { id, incarnation, version } of strangeRows) {
      if (this.#rows.has(id) || this.#rows.size < STRANGERS_MAX) this.#rows.set(id, { incarnation, version });
    }
    for (const { id, slot, changed } of strangePeers) {
      const rows = this.#peers.get(id) ?? new Map<number, number>();
      if (rows.size === 0 && this.#peers.size >= STRANGERS_MAX) continue;
      rows.set(slot, Math.min(changed, rows.get(slot) ?? changed));
      this.#peers.set(id, rows);
    }
  }

  /** Versions that need not be offered again. */
  *versions(): IterableIterator<RowVersion & { readonly id: number }> {
    for (const [id, version] of this.#rows) yield { id, ...version };
  }
}
