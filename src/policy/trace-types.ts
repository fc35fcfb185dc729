import type { Cidr } from '../base/ip.ts';
import type { NumericIdentity } from '../model/identity.ts';
import type { L7Rules } from '../model/l7.ts';
import type { Label } from '../model/labels.ts';
import type { Direction } from '../model/map-state.ts';
import type { NamedPort } from '../model/named-port.ts';

/** One end of the traffic. */
export interface TraceParty {
  /** What people call it. */
  readonly title: string;
  readonly labels: readonly Label[];
  /** Undefined for labels that nobody carries yet; 0 for one that is not known. */
  readonly identity?: NumericIdentity | undefined;
  /** Local endpoint. */
  readonly endpoint?: number | undefined;
  /** Address or prefix of a peer outside the cluster; undefined for all others. */
  readonly prefix?: Cidr | undefined;
  /** Names under which the address was looked up; lower case, without the final dot. */
  readonly names?: readonly string[] | undefined;
  readonly namedPorts?: readonly NamedPort[] | undefined;
}

export type TraceL4 =
  /** Traffic of any kind: only what is allowed whole counts. */
  | { readonly kind: 'any' }
  /** IANA number, host order. */
  | { readonly kind: 'port'; readonly protocol: number; readonly port: number }
  | { readonly kind: 'icmp'; readonly family: 4 | 6; readonly type: number };

/** What a connection's requests must look like. */
export type TraceL7 = L7Rules;

/** A request that is traced, as the proxy would judge it. */
export interface TracedRequest {
  /** Whether L7 rules let it pass. */
  isAllowedBy(l7: TraceL7): boolean;
  /** How the proxy passes it on that judges by all these rules of its client, which let it pass. */
  leftBy(rules: readonly TraceL7[]): {
    readonly request: TracedRequest;
    /** What was changed, in words. */
    readonly changes: readonly string[];
  };
}

export interface TracedItem {
  /** `ingress[0]`, `egressDeny[2]`. */
  readonly field: string;
  readonly effect: 'allow' | 'deny';
  readonly matches: boolean;
  /** What matched, or what did not. */
  readonly reasons: readonly string[];
  /** What requests must look like; empty when anything goes or the item does not match. */
  readonly l7: readonly TraceL7[];
  /** Some of its ports let every request pass. */
  readonly open: boolean;
  /** Whether the item lets the traced request through; undefined without one, or when the item does not match. */
  readonly requestAllowed?: boolean | undefined;
}

export interface TracedRule {
  readonly index: number;
  readonly id?: number | undefined;
  readonly name: string;
  readonly place: string;
  readonly description?: string | undefined;
  /** One of its items, or its requirements, made the verdict. */
  readonly decides: boolean;
  readonly items: readonly TracedItem[];
  /** Which requirements the peer fails; undefined when it fails none. */
  readonly requires?: string | undefined;
}

export type TraceVerdict = 'allowed' | 'redirected' | 'denied';

export interface TracedDirection {
  readonly direction: Direction;
  readonly verdict: TraceVerdict;
  readonly reason: string;
  /** Whether what nothing allows is dropped. */
  readonly enforced: boolean;
  /** What the proxy changes of the request, in words; undefined when nothing. */
  readonly changes?: readonly string[] | undefined;
  /** Those that select the subject, in their order. */
  readonly rules: readonly TracedRule[];
  /** Rules that have items of the direction, and do not select it. */
  readonly others: readonly { readonly name: string; readonly place: string; readonly lacks: string }[];
}

export interface TraceResult {
  readonly verdict: TraceVerdict;
  readonly egress: TracedDirection;
  readonly ingress: TracedDirection;
}
