import type { NodeDirectory } from './node-directory.ts';
import { CELL_WIDTH, type RowPatch, type RowStore } from './row-store.ts';

/** A patch that was taken, and its cells of which a fault came or went, `CELL_WIDTH` numbers each. */
export interface News {
  readonly patch: RowPatch;
  readonly changed: readonly number[];
}

/** Names of the peers that news are of. */
export function peersOf(news: readonly News[], directory: NodeDirectory): ReadonlySet<string> {
  const peers = new Set<string>();
  for (const { changed } of news) {
    for (let i = 0; i < changed.length; i += CELL_WIDTH) {
      const node = directory.node(changed[i] as number);
      if (node !== undefined) peers.add(node.name);
    }
  }
  return peers;
}

/**
 * Whether a node has newly said what is wrong with itself: what all others are about to conclude of it is not so.
 * @param before version of the notes in its row before it was taken
 */
export function isOfItself(
  { slot }: RowPatch,
  before: number,
  { directory, store }: { readonly directory: NodeDirectory; readonly store: RowStore },
): boolean {
  const { notes = [], notesVersion = 0 } = store.row(slot) ?? {};
  return notesVersion > before && notes.some(({ peer }) => peer === directory.node(slot)?.name);
}
