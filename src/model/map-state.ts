import type { NumericIdentity } from './identity.ts';

export type Direction = 'ingress' | 'egress';

/** IANA protocol numbers that a policy can name; 0 stands for every protocol. */
export const Protocol = { any: 0, icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;

/**
 * One key of an endpoint's map state: the user-space image of its BPF policy map (see `src/datapath` for the bytes).
 * A port range is cut into prefixes, as an LPM trie wants them.
 */
export interface MapStateKey {
  readonly direction: Direction;
  /** Remote identity; 0 matches every peer. */
  readonly identity: NumericIdentity;
  /** IANA number; 0 matches every protocol, and then the port prefix is 0 bits long. */
  readonly protocol: number;
  /** Destination port, host order; bits beyond `portPrefixLength` are zero. */
  readonly port: number;
  /** 0 (every port) .. 16 (exactly `port`). */
  readonly portPrefixLength: number;
}

export type MapStateVerdict =
  | { readonly kind: 'allow' }
  | { readonly kind: 'deny' }
  | { readonly kind: 'redirect' /** Host order. */; readonly proxyPort: number };

export interface MapStateEntry {
  readonly verdict: MapStateVerdict;
  /** Greater wins when the entry for the peer and the entry for identity 0 both match. */
  readonly precedence: number;
  /** Number of the rule (1..2^32-1) that made the entry, for events and counters; 0 is unknown. */
  readonly ruleId: number;
}

/** `mapStateKeyText(key)` -> key and entry. */
export type MapState = ReadonlyMap<string, { readonly key: MapStateKey; readonly entry: MapStateEntry }>;

/** The state without entries. */
export const EMPTY_MAP_STATE: MapState = new Map();

export interface MapStateDiff {
  readonly upserts: readonly { readonly key: MapStateKey; readonly entry: MapStateEntry }[];
  readonly deletes: readonly MapStateKey[];
}

/** A string that two keys share exactly when they are the same key: `ingress/1234/6/80/16`. */
export function mapStateKeyText(key: MapStateKey): string {
  return `${key.direction}/${key.identity}/${key.protocol}/${key.port}/${key.portPrefixLength}`;
}
