import type { BpfMap } from '../../bpf/addon/index.ts';
import { indexKey, readIndex } from './struct-layout.ts';

/** The slot that stands for everything that is not an endpoint of this node. */
export const REMOTE_SLOT = 0;

/** Voids every cached verdict that rests on `slot`. Always the last step of a change. */
export function moveEpoch(epochs: BpfMap, slot: number): void {
  const key = indexKey(slot);
  const value = epochs.lookup(key);
  epochs.update(key, indexKey(((value === undefined ? 0 : readIndex(value)) + 1) >>> 0));
}
