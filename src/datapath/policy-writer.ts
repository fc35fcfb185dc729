import type { BpfMap } from '../../bpf/addon/index.ts';
import type {
  MapState,
  MapStateDiff,
  MapStateEntry,
  MapStateKey,
  MapStateVerdict,
} from '../model/map-state.ts';
import { mapStateKeyText } from '../model/map-state.ts';
import { policyEntryLayout, policyKeyLayout } from './map-layouts.ts';
import { decodePolicyEntry, decodePolicyKey, encodePolicyEntry, encodePolicyKey } from './policy-codec.ts';

type Kind = MapStateVerdict['kind'];
type Upsert = { readonly key: MapStateKey; readonly entry: MapStateEntry };
type Step =
  | { readonly kind: 'upsert'; readonly entries: readonly Upsert[] }
  | { readonly kind: 'delete'; readonly keys: readonly MapStateKey[] };

const BATCH = 1024;

export interface PolicyCount {
  readonly entries: number;
  /** Of these, entries that deny or redirect. */
  readonly restricting: number;
}

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

/** What the map holds at exactly this key: a lookup alone finds shorter prefixes too. */
function existingKind(map: BpfMap, key: MapStateKey): Kind | undefined {
  const value = map.lookup(encodePolicyKey(key));
  if (value === undefined) return undefined;
  const bits = key.protocol === 0 ? 0 : 8 + key.portPrefixLength;
  return policyEntryLayout.decode(value).l4Bits === bits ? decodePolicyEntry(value).verdict.kind : undefined;
}

/**
 * The order in which a difference is written. Where every entry allows, old or new, a packet judged in between passes
 * only by an entry of the old policy or of the new: all upserts come before all deletes, and no new flow fails that
 * both policies allow. Entries that deny or redirect have no such order (one that goes may uncover an allow, one that
 * comes may hide a deny of another length): the caller holds the endpoint meanwhile, and deletes come first.
 */
function orderedSteps(diff: MapStateDiff, deletes: readonly MapStateKey[], restricts: boolean): Step[] {
  const steps: Step[] = [
    { kind: 'upsert', entries: diff.upserts },
    { kind: 'delete', keys: deletes },
  ];
  return restricts ? steps.reverse() : steps;
}

async function writeStep(map: BpfMap, step: Step, pause: () => Promise<void>): Promise<void> {
  const total = step.kind === 'upsert' ? step.entries.length : step.keys.length;
  for (let at = 0; at < total; at += BATCH) {
    if (at > 0) await pause();
    if (step.kind === 'upsert') {
      const part = step.entries.slice(at, at + BATCH);
      const keys = Buffer.concat(part.map(({ key }) => encodePolicyKey(key)));
      const values = Buffer.concat(part.map(({ key, entry }) => encodePolicyEntry(key, entry)));
      map.updateBatch(keys, values, part.length);
    } else {
      const part = step.keys.slice(at, at + BATCH);
      map.deleteBatch(Buffer.concat(part.map(encodePolicyKey)), part.length);
    }
  }
}

/**
 * Writes a difference in the order of {@link orderedSteps}. Does not move the epoch.
 * @param hold called before the first write if entries deny or redirect: nothing new may be judged from then on
 * @returns what the map holds afterwards
 * @throws BpfError (E2BIG, ENOSPC, ENOMEM) with part of the difference written
 */
export async function writePolicyDiff(
  map: BpfMap,
  diff: MapStateDiff,
  before: PolicyCount,
  pause: () => Promise<void>,
  hold?: () => void | Promise<void>,
): Promise<PolicyCount> {
  const oldKinds = new Map<MapStateKey, Kind>();
  for (const key of [...diff.deletes, ...diff.upserts.map((upsert) => upsert.key)]) {
    const kind = existingKind(map, key);
    if (kind !== undefined) oldKinds.set(key, kind);
  }
  const restricting = diff.upserts.filter(({ entry }) => entry.verdict.kind !== 'allow').length;
  const restricts = before.restricting + restricting > 0;
  if (restricts) await hold?.();
  const deletes = diff.deletes.filter((key) => oldKinds.has(key));
  for (const step of orderedSteps(diff, deletes, restricts)) {
    await writeStep(map, step, pause);
  }
  const gone = [...oldKinds.values()];
  return {
    entries: before.entries + diff.upserts.length - gone.length,
    restricting: before.restricting + restricting - gone.filter((kind) => kind !== 'allow').length,
  };
}

export function countPolicy(state: MapState): PolicyCount {
  let restricting = 0;
  for (const { entry } of state.values()) if (entry.verdict.kind !== 'allow') restricting++;
  return { entries: state.size, restricting };
}
