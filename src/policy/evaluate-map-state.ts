import { type NumericIdentity, ReservedIdentity } from '../model/identity.ts';
import {
  type Direction,
  type MapState,
  type MapStateEntry,
  type MapStateKey,
  mapStateKeyText,
} from '../model/map-state.ts';
import type { PolicyEnforcement } from './resolve.ts';

/** A new flow, as the policy of one of its endpoints sees it. */
export interface PolicyQuery {
  readonly direction: Direction;
  /** Identity of the other side; 0 when it is not known. */
  readonly identity: NumericIdentity;
  /** IANA number of the packet's protocol, not 0. */
  readonly protocol: number;
  /** Destination port, host order; 0 for protocols without ports. */
  readonly port: number;
}

/** Drop reasons as events carry them. */
export const DROP_POLICY = 133;
export const DROP_POLICY_DENY = 181;

export type PolicyVerdict =
  | { readonly kind: 'allow'; readonly entry: MapStateEntry | undefined; readonly match: number }
  | {
      readonly kind: 'redirect';
      readonly proxyPort: number;
      readonly entry: MapStateEntry;
      readonly match: number;
    }
  | {
      readonly kind: 'deny';
      /** `DROP_POLICY` when nothing allows the flow, `DROP_POLICY_DENY` when a rule denies it. */
      readonly reason: number;
      readonly entry: MapStateEntry | undefined;
      readonly match: number;
    };

interface Hit {
  readonly key: MapStateKey;
  readonly entry: MapStateEntry;
}

/** Bits of the key beyond identity and direction that an entry fixes: 0, 8, or 8 and the port's. */
function l4PrefixLength(key: MapStateKey): number {
  return key.protocol === 0 ? 0 : 8 + key.portPrefixLength;
}

function longestHit(mapState: MapState, query: PolicyQuery, identity: NumericIdentity): Hit | undefined {
  const { direction, protocol } = query;
  for (let length = 16; length >= 0; length--) {
    const port = query.port & (0xffff << (16 - length)) & 0xffff;
    const hit = mapState.get(
      mapStateKeyText({ direction, identity, protocol, port, portPrefixLength: length }),
    );
    if (hit !== undefined) return hit;
  }
  return mapState.get(mapStateKeyText({ direction, identity, protocol: 0, port: 0, portPrefixLength: 0 }));
}

/**
 * The choice of the datapath between the entry for the peer and the one for everybody:
 * 1. the greater precedence; 2. the longer prefix of protocol and port; 3. the peer's.
 */
function choose(own: Hit | undefined, every: Hit | undefined): Hit | undefined {
  if (own === undefined || every === undefined) return own ?? every;
  if (own.entry.precedence !== every.entry.precedence) {
    return own.entry.precedence > every.entry.precedence ? own : every;
  }
  return l4PrefixLength(every.key) > l4PrefixLength(own.key) ? every : own;
}

/** 1 L3-Only, 2 L3-L4, 3 L4-Only, 4 all, 5 L3-Proto, 6 Proto-Only. */
function matchType({ key }: Hit): number {
  const l3 = key.identity !== ReservedIdentity.unknown;
  if (key.protocol === 0) return l3 ? 1 : 4;
  if (key.portPrefixLength === 0) return l3 ? 5 : 6;
  return l3 ? 2 : 3;
}

/**
 * The verdict on a new flow, worked out from the map state as the datapath does it: two longest-prefix lookups, for
 * the peer and for everybody, and the choice between them.
 */
export function evaluateMapState(
  mapState: MapState,
  enforcement: PolicyEnforcement,
  query: PolicyQuery,
): PolicyVerdict {
  const own = longestHit(mapState, query, query.identity);
  const every = longestHit(mapState, query, ReservedIdentity.unknown);
  const hit = choose(own, every);
  if (hit === undefined) {
    return enforcement[query.direction]
      ? { kind: 'deny', reason: DROP_POLICY, entry: undefined, match: 0 }
      : { kind: 'allow', entry: undefined, match: 0 };
  }
  const { entry } = hit;
  const match = matchType(hit);
  switch (entry.verdict.kind) {
    case 'allow':
      return { kind: 'allow', entry, match };
    case 'deny':
      return { kind: 'deny', reason: DROP_POLICY_DENY, entry, match };
    case 'redirect':
      return { kind: 'redirect', proxyPort: entry.verdict.proxyPort, entry, match };
  }
}
