import type { BpfMap, SharedValues } from '../../bpf/addon/index.ts';
import { indexKey, indexKeys, readIndex } from './struct-layout.ts';

/** The slot that stands for everything that is not an endpoint of this node. */
export const REMOTE_SLOT = 0;

/** Slot -> epoch, as programs and as the proxy see them. */
export interface EpochMaps {
  readonly epochs: BpfMap;
  readonly shownEpochs: BpfMap;
}

/**
 * Voids every cached verdict that rests on `slot`. Always the last step of a change. For the proxy first: what it knows is
 * out of date before a program could find it to be right, and what it asks for in between is known to be.
 */
export function moveEpoch({ epochs, shownEpochs }: EpochMaps, slot: number): void {
  const key = indexKey(slot);
  const value = epochs.lookup(key);
  const next = indexKey(((value === undefined ? 0 : readIndex(value)) + 1) >>> 0);
  shownEpochs.update(key, next);
  epochs.update(key, next);
}

/** The epochs as the proxy sees them, read without a system call. */
export type ShownEpochs = SharedValues;

/** `moveEpoch` for several slots at once. */
export function moveEpochs(maps: EpochMaps, shown: ShownEpochs, slots: readonly number[]): void {
  const keys = indexKeys(slots);
  const next = indexKeys(slots.map((slot) => (shown.u32(slot) + 1) >>> 0));
  maps.shownEpochs.updateBatch(keys, next, slots.length);
  maps.epochs.updateBatch(keys, next, slots.length);
}

/** Shows the epochs that pinned maps have. */
export function showEpochs({ epochs, shownEpochs }: EpochMaps): void {
  for (const { keys, values, count } of epochs.batches()) shownEpochs.updateBatch(keys, values, count);
}
