import type { MapState, MapStateDiff, MapStateEntry, MapStateKey, MapStateVerdict } from './map-state.ts';

function sameVerdict(a: MapStateVerdict, b: MapStateVerdict): boolean {
  if (a.kind === 'redirect' && b.kind === 'redirect') return a.proxyPort === b.proxyPort;
  return a.kind === b.kind;
}

export function sameEntry(a: MapStateEntry, b: MapStateEntry): boolean {
  return (
    a === b || (a.precedence === b.precedence && a.ruleId === b.ruleId && sameVerdict(a.verdict, b.verdict))
  );
}

/** Whether two states have the same entries. */
export function sameMapState(a: MapState, b: MapState): boolean {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  for (const [text, { entry }] of a) {
    const other = b.get(text);
    if (other === undefined || !sameEntry(entry, other.entry)) return false;
  }
  return true;
}

/** What turns `old` into `next`: entries that are new or changed, and keys that are gone. */
export function diffMapState(old: MapState, next: MapState): MapStateDiff {
  if (old === next) return { upserts: [], deletes: [] };
  const upserts: MapStateDiff['upserts'][number][] = [];
  const deletes: MapStateKey[] = [];
  for (const [text, item] of next) {
    const before = old.get(text);
    if (before === undefined || !sameEntry(before.entry, item.entry)) upserts.push(item);
  }
  for (const [text, item] of old) if (!next.has(text)) deletes.push(item.key);
  return { upserts, deletes };
}

/** Whether a difference changes nothing. */
export function isEmptyDiff(diff: MapStateDiff): boolean {
  return diff.upserts.length === 0 && diff.deletes.length === 0;
}
