import type { BpfMap } from '../../bpf/addon/index.ts';
import type { MapState, MapStateDiff, MapStateEntry, MapStateKey } from '../model/map-state.ts';
import { mapStateKeyText } from '../model/map-state.ts';
import { policyEntryLayout, policyKeyLayout } from './map-layouts.ts';
import { decodePolicyEntry, decodePolicyKey, encodePolicyEntry, encodePolicyKey } from './policy-codec.ts';

type Upsert = { readonly key: MapStateKey; readonly entry: MapStateEntry };

const BATCH = 1024;

/** The whole policy map of one endpoint. */
export function readPolicyMap(map: BpfMap): MapState {
  const state = new Map<string, Upsert>();
  for (const { keys, values, count } of map.batches(BATCH)) {
    for (let i = 0; i < count; i++) {
      const key = decodePolicyKey(keys, i * policyKeyLayout.bytes);
      state.set(mapStateKeyText(key), { key, entry: decodePolicyEntry(values, i * policyEntryLayout.bytes) });
    }
  }
  return state;
}

/** Whether the map holds exactly this key: a lookup alone finds shorter prefixes too. */
function holds(map: BpfMap, key: MapStateKey): boolean {
  const value = map.lookup(encodePolicyKey(key));
  if (value === undefined) return false;
  return policyEntryLayout.decode(value).l4Bits === (key.protocol === 0 ? 0 : 8 + key.portPrefixLength);
}

/** By how much a difference to what the map holds changes the number of its entries. */
export function countChange(map: BpfMap, diff: MapStateDiff): number {
  if (diff.growth !== undefined) return diff.growth;
  const added = diff.upserts.filter(({ key }) => !holds(map, key)).length;
  return added - diff.deletes.filter((key) => holds(map, key)).length;
}

/** One difference that does what `first` and then `second` do. */
export function mergeDiffs(first: MapStateDiff, second: MapStateDiff): MapStateDiff {
  const upserts = new Map<string, Upsert>();
  const deletes = new Map<string, MapStateKey>();
  for (const diff of [first, second]) {
    for (const key of diff.deletes) {
      const text = mapStateKeyText(key);
      upserts.delete(text);
      deletes.set(text, key);
    }
    for (const upsert of diff.upserts) {
      const text = mapStateKeyText(upsert.key);
      deletes.delete(text);
      upserts.set(text, upsert);
    }
  }
  return { upserts: [...upserts.values()], deletes: [...deletes.values()] };
}

/** Parts of at most BATCH, with a pause between them in which the event loop goes on. */
async function inBatches<T>(items: readonly T[], write: (part: readonly T[]) => void): Promise<void> {
  for (let at = 0; at < items.length; at += BATCH) {
    if (at > 0) await new Promise((resolve) => setImmediate(resolve));
    write(items.slice(at, at + BATCH));
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
