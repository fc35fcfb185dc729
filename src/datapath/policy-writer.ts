import type { BpfMap } from '../../bpf/addon/index.ts';
import type { MapState, MapStateDiff, MapStateEntry, MapStateKey } from '../model/map-state.ts';
import { mapStateKeyText } from '../model/map-state.ts';
import { policyEntryLayout, policyKeyLayout } from './map-layouts.ts';
import { decodePolicyEntry, decodePolicyKey, encodePolicyEntry, encodePolicyKey } from './policy-codec.ts';

const READ_BATCH = 1024;
/** The kernel may take 40 us to free an entry. */
const WRITE_BATCH = 128;

/** A whole policy map. */
export function readPolicyMap(map: BpfMap): MapState {
  const state = new Map<string, { readonly key: MapStateKey; readonly entry: MapStateEntry }>();
  for (const { keys, values, count } of map.batches(READ_BATCH)) {
    for (let i = 0; i < count; i++) {
      const key = decodePolicyKey(keys, i * policyKeyLayout.bytes);
      state.set(mapStateKeyText(key), { key, entry: decodePolicyEntry(values, i * policyEntryLayout.bytes) });
    }
  }
  return state;
}

/** Parts of at most WRITE_BATCH, with a pause between them in which the event loop goes on. */
async function inBatches<T>(items: readonly T[], write: (part: readonly T[]) => void): Promise<void> {
  for (let at = 0; at < items.length; at += WRITE_BATCH) {
    if (at > 0) await new Promise((resolve) => setImmediate(resolve));
    write(items.slice(at, at + WRITE_BATCH));
  }
}

/**
 * Writes a difference, deletes first so that the map never holds more than before or after. Nothing may be judged by the
 * map meanwhile. Keys to delete that it does not hold are passed over.
 * @throws BpfError (E2BIG, ENOSPC, ENOMEM) with part of the difference written
 */
export async function writePolicyDiff(map: BpfMap, { upserts, deletes }: MapStateDiff): Promise<void> {
  await inBatches(deletes, (part) => {
    map.deleteBatch(Buffer.concat(part.map(encodePolicyKey)), part.length);
  });
  await inBatches(upserts, (part) => {
    const keys = Buffer.concat(part.map(({ key }) => encodePolicyKey(key)));
    const values = Buffer.concat(part.map(({ key, entry }) => encodePolicyEntry(key, entry)));
    map.updateBatch(keys, values, part.length);
  });
}
