import { DatapathLimit } from '../model/constants.gen.ts';
import type { NumericIdentity } from '../model/identity.ts';
import { type MapState, type MapStateDiff, type MapStateKey, mapStateKeyText } from '../model/map-state.ts';
import { sameEntry } from '../model/map-state-diff.ts';
import { mixesL7 } from './l7-conflict.ts';
import { type MapStateItem, pruneShadowed } from './map-state.ts';
import {
  addGrant,
  distinctGrants,
  exceedsDatapath,
  grantIdentities,
  type ResolvedPolicy,
} from './resolve.ts';
import type { SelectorCache } from './selector-cache.ts';

/** The most entries that these peers can have in the policy. */
function entriesOf({ grants }: ResolvedPolicy, peers: ReadonlySet<NumericIdentity>): number {
  let each = 0;
  for (const { l4 } of grants) for (const { prefixes } of l4) each += prefixes.length;
  return each * peers.size;
}

function notePresent(
  mapState: MapState,
  possible: ReadonlyMap<string, MapStateItem>,
  present: Map<string, MapStateItem>,
): void {
  for (const text of possible.keys()) {
    const item = mapState.get(text);
    if (item !== undefined) present.set(text, item);
  }
}

function patchMapState(
  old: ResolvedPolicy,
  peers: ReadonlySet<NumericIdentity>,
  cache: SelectorCache,
): { mapState: MapState; diff: MapStateDiff } {
  const wanted = new Map<string, MapStateItem>();
  const present = new Map<string, MapStateItem>();
  const grants = distinctGrants(old.grants).map((grant) => ({
    grant,
    identities: grantIdentities(grant, old.requirements, cache),
  }));
  for (const id of peers) {
    const items = new Map<string, MapStateItem>();
    for (const { grant, identities } of grants) {
      // What the policy has of the peer can only be what its grants make.
      const made = identities.has(id) ? items : new Map<string, MapStateItem>();
      addGrant(made, grant, id);
      if (made !== items) notePresent(old.mapState, made, present);
    }
    notePresent(old.mapState, items, present);
    pruneShadowed(items);
    for (const [text, item] of items) wanted.set(text, item);
  }
  return applyPatch(old.mapState, present, wanted);
}

function applyPatch(
  mapState: MapState,
  present: ReadonlyMap<string, MapStateItem>,
  wanted: ReadonlyMap<string, MapStateItem>,
): { mapState: MapState; diff: MapStateDiff } {
  const upserts: MapStateItem[] = [];
  const deletes: MapStateKey[] = [];
  const next = new Map(mapState);
  for (const [text, item] of present) {
    if (wanted.has(text)) continue;
    deletes.push(item.key);
    next.delete(text);
  }
  for (const [text, item] of wanted) {
    const before = mapState.get(mapStateKeyText(item.key));
    if (before !== undefined && sameEntry(before.entry, item.entry)) continue;
    upserts.push(item);
    next.set(text, item);
  }
  return { mapState: next, diff: { upserts, deletes } };
}

/**
 * The policy with the entries of some peers worked out anew; the same one when nothing of it changes.
 * @returns undefined when the whole policy must be resolved again instead
 */
export function patchPolicy(
  old: ResolvedPolicy,
  peers: ReadonlySet<NumericIdentity>,
  cache: SelectorCache,
): { readonly policy: ResolvedPolicy; readonly diff: MapStateDiff } | undefined {
  if (old.overflow || old.conflict !== undefined || mixesL7(old.grants)) return undefined;
  if (entriesOf(old, peers) > DatapathLimit.policyEntries) return undefined;
  const { mapState, diff } = patchMapState(old, peers, cache);
  if (diff.upserts.length === 0 && diff.deletes.length === 0) return { policy: old, diff };
  return exceedsDatapath(mapState) ? undefined : { policy: { ...old, mapState }, diff };
}
