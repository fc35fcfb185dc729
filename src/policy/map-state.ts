import type { NumericIdentity } from '../model/identity.ts';
import {
  type Direction,
  type MapState,
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
const VERDICT_RANK: Record<MapStateVerdict['kind'], number> = { allow: 1, redirect: 3, deny: 255 };
/** Of a redirect to the judge of server names: a judge of requests beats it, whether anybody listens there or not. */
const SERVER_NAMES_RANK = 2;

/** Whom a redirect is for, as far as precedence goes. */
export type RedirectTo = 'requests' | 'server-names';

function rankOf(verdict: MapStateVerdict, to: RedirectTo): number {
  const yields = verdict.kind === 'redirect' && to === 'server-names';
  return yields ? SERVER_NAMES_RANK : VERDICT_RANK[verdict.kind];
}
const MAX_PRIORITY = 0xffffff;

/**
 * The precedence of a verdict as an unsigned 32-bit number: 24 bits of inverted priority, then the verdict's rank.
 * The greatest, 0xffffffff, is a deny of priority 0.
 * @param priority 0 (strongest) .. 2^24-1
 */
export function precedenceOf(verdict: MapStateVerdict, priority = 0, to: RedirectTo = 'requests'): number {
  return (MAX_PRIORITY - priority) * 256 + rankOf(verdict, to);
}

export function makeEntry(verdict: MapStateVerdict, ruleId: number, to?: RedirectTo): MapStateEntry {
  return { verdict, precedence: precedenceOf(verdict, 0, to), ruleId };
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

/** Lengths of a key's protocol and port: 0 for every protocol, else 1 and the bits of the port. */
function lengthOf(key: MapStateKey): number {
  return key.protocol === 0 ? 0 : 1 + key.portPrefixLength;
}

/** The key of the same peer and direction and the given length that also matches whatever `key` matches. */
function broaderKey(key: MapStateKey, length: number): MapStateKey {
  if (length === 0) return { ...key, protocol: 0, port: 0, portPrefixLength: 0 };
  return { ...key, port: maskPort(key.port, length - 1), portPrefixLength: length - 1 };
}

/** By length of the key, the greatest precedence of the entries that have it; 0 for none. */
function strongestByLength(items: ReadonlyMap<string, MapStateItem>): readonly number[] {
  const strongest = Array<number>(18).fill(0);
  for (const { key, entry } of items.values()) {
    const length = lengthOf(key);
    strongest[length] = Math.max(strongest[length] ?? 0, entry.precedence);
  }
  return strongest;
}

/**
 * Removes the entries that a broader one of the same peer beats. The datapath looks up the longest prefix only, so
 * after this the entry that it finds is the strongest of those that match.
 */
export function pruneShadowed(items: Map<string, MapStateItem>): void {
  const strongest = strongestByLength(items);
  const shadowed: string[] = [];
  for (const [text, { key, entry }] of items) {
    for (let length = lengthOf(key) - 1; length >= 0; length--) {
      // Most lengths have no entry that could beat this one: that costs no look-up.
      if ((strongest[length] ?? 0) <= entry.precedence) continue;
      const other = items.get(mapStateKeyText(broaderKey(key, length)));
      if (other === undefined || other.entry.precedence <= entry.precedence) continue;
      shadowed.push(text);
      break;
    }
  }
  for (const text of shadowed) items.delete(text);
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
