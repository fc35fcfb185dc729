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

function ofKind(upserts: readonly Upsert[], kind: Kind): Step {
  return { kind: 'upsert', entries: upserts.filter(({ entry }) => entry.verdict.kind === kind) };
}

/**
 * The order in which a difference is written, so that a packet judged in between gets its old verdict, its new one,
 * or is dropped; never one that both forbid:
 *
 * 1. If neither the old nor the new entries restrict (deny or redirect), what matches any entry is allowed, so
 *    first all upserts, then all deletes: whatever passes then passes by the old entries or by the new.
 * 2. Else the strict order: new denies; delete allows, then redirects; write redirects, then allows; delete denies.
 *    Up to the last allow of step "delete", what passes passes an old allow with all old denies still there: it
 *    passed before. From then on every remaining allow is a final one, every final deny is in place, and old
 *    denies can only drop: it passes afterwards. Redirects stand between: they go after the allows that would
 *    hide their absence, and come before those that would run past them.
 *
 * A deny that becomes an allow on the same key is written with the allows. The argument needs that a deny outranks
 * every allow and redirect that matches the same packet, as the compiled map state has it.
 */
function orderedSteps(
  diff: MapStateDiff,
  oldKinds: ReadonlyMap<MapStateKey, Kind>,
  restricts: boolean,
): Step[] {
  const deletes = (kind: Kind): Step => ({
    kind: 'delete',
    keys: diff.deletes.filter((key) => oldKinds.get(key) === kind),
  });
  if (!restricts) return [{ kind: 'upsert', entries: diff.upserts }, deletes('allow')];
  return [
    ofKind(diff.upserts, 'deny'),
    deletes('allow'),
    deletes('redirect'),
    ofKind(diff.upserts, 'redirect'),
    ofKind(diff.upserts, 'allow'),
    deletes('deny'),
  ];
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
 * @returns what the map holds afterwards
 * @throws BpfError (E2BIG, ENOSPC, ENOMEM) with part of the difference written
 */
export async function writePolicyDiff(
  map: BpfMap,
  diff: MapStateDiff,
  before: PolicyCount,
  pause: () => Promise<void>,
): Promise<PolicyCount> {
  const oldKinds = new Map<MapStateKey, Kind>();
  for (const key of [...diff.deletes, ...diff.upserts.map((upsert) => upsert.key)]) {
    const kind = existingKind(map, key);
    if (kind !== undefined) oldKinds.set(key, kind);
  }
  const restricting = diff.upserts.filter(({ entry }) => entry.verdict.kind !== 'allow').length;
  for (const step of orderedSteps(diff, oldKinds, before.restricting + restricting > 0)) {
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
