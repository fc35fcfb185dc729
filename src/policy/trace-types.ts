import type { Cidr } from '../base/ip.ts';
import type { NumericIdentity } from '../model/identity.ts';
import type { L7Rules } from '../model/l7.ts';
import type { Label } from '../model/labels.ts';
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
