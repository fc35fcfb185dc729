import type { NumericIdentity } from '../model/identity.ts';
import {
  type Direction,
  type MapState,
  type MapStateDiff,
  type MapStateEntry,
  type MapStateKey,
  type MapStateVerdict,
  mapStateKeyText,
} from '../model/map-state.ts';

export interface MapStateItem {
  readonly key: MapStateKey;
  readonly entry: MapStateEntry;
}

/** Precedence of the verdicts at one priority: deny beats redirect beats allow. */
const VERDICT_RANK: Record<MapStateVerdict['kind'], number> = { allow: 1, redirect: 2, deny: 255 };
const MAX_PRIORITY = 0xffffff;

/**
 * The precedence of a verdict as an unsigned 32-bit number: 24 bits of inverted priority, then the verdict's rank.
 * The greatest, 0xffffffff, is a deny of priority 0.
 * @param priority 0 (strongest) .. 2^24-1
 */
export function precedenceOf(verdict: MapStateVerdict, priority = 0): number {
  return (MAX_PRIORITY - priority) * 256 + VERDICT_RANK[verdict.kind];
}

export function makeEntry(verdict: MapStateVerdict, ruleId: number): MapStateEntry {
  return { verdict, precedence: precedenceOf(verdict), ruleId };
}

/** The entry that stands when two claim one key: the greater precedence, then the older rule. */
export function strongerEntry(a: MapStateEntry, b: MapStateEntry): MapStateEntry {
  if (a.precedence !== b.precedence) return a.precedence > b.precedence ? a : b;
  return b.ruleId < a.ruleId ? b : a;
}

/** The port with the bits beyond `length` cleared. */
function maskPort(port: number, length: number): number {
  return port & (0xffff << (16 - length)) & 0xffff;
}

/** The keys of the same peer and direction that also match whatever `key` matches, nearest first. */
function* broaderKeys(key: MapStateKey): Generator<MapStateKey> {
  for (let length = key.portPrefixLength - 1; length >= 0; length--) {
    yield { ...key, port: maskPort(key.port, length), portPrefixLength: length };
  }
  if (key.protocol !== 0) yield { ...key, protocol: 0, port: 0, portPrefixLength: 0 };
}

/**
 * Removes the entries that a broader one of the same peer beats. The datapath looks up the longest prefix only, so
 * after this the entry that it finds is the strongest of those that match.
 */
export function pruneShadowed(items: Map<string, MapStateItem>): void {
  const first = items.values().next().value;
  if (first === undefined) return;
  let mixed = false;
  for (const { entry } of items.values()) mixed ||= entry.precedence !== first.entry.precedence;
  if (!mixed) return;
  const shadowed: string[] = [];
  for (const [text, { key, entry }] of items) {
    for (const broader of broaderKeys(key)) {
      const other = items.get(mapStateKeyText(broader));
      if (other !== undefined && other.entry.precedence > entry.precedence) {
        shadowed.push(text);
        break;
      }
    }
  }
  for (const text of shadowed) items.delete(text);
}

function sameVerdict(a: MapStateVerdict, b: MapStateVerdict): boolean {
  if (a.kind === 'redirect' && b.kind === 'redirect') return a.proxyPort === b.proxyPort;
  return a.kind === b.kind;
}

export function sameEntry(a: MapStateEntry, b: MapStateEntry): boolean {
  return (
    a === b || (a.precedence === b.precedence && a.ruleId === b.ruleId && sameVerdict(a.verdict, b.verdict))
  );
}

/** What turns `old` into `next`: entries that are new or changed, and keys that are gone. */
export function diffMapState(old: MapState, next: MapState): MapStateDiff {
  if (old === next) return { upserts: [], deletes: [] };
  const upserts: MapStateItem[] = [];
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

/** The peers of a direction with a verdict of this kind on every protocol and port, ascending; 0 is everybody. */
export function identitiesWithVerdict(
  mapState: MapState,
  direction: Direction,
  kind: MapStateVerdict['kind'],
): readonly NumericIdentity[] {
  const found: NumericIdentity[] = [];
  for (const { key, entry } of mapState.values()) {
    if (key.direction === direction && key.protocol === 0 && entry.verdict.kind === kind)
      found.push(key.identity);
  }
  return found.sort((a, b) => a - b);
}
