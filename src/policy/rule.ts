import type { Cidr } from '../base/ip.ts';
import type { DnsPattern, L7Rules } from '../model/l7.ts';
import type { Label } from '../model/labels.ts';
import type { LabelSelector } from '../model/selector.ts';

/** Names for groups of peers. */
export const ENTITIES = [
  'all',
  'world',
  'world-ipv4',
  'world-ipv6',
  'cluster',
  'host',
  'remote-node',
  'init',
  'health',
  'unmanaged',
  'kube-apiserver',
  'ingress',
  'none',
] as const;
export type Entity = (typeof ENTITIES)[number];

export const RULE_PROTOCOLS = ['TCP', 'UDP', 'SCTP', 'ANY'] as const;
export type RuleProtocol = (typeof RULE_PROTOCOLS)[number];

/** One entry of `fromCIDRSet`: a prefix, or the prefixes of CiliumCIDRGroup objects, without the excepted ones. */
export type CidrSpec =
  | { readonly kind: 'cidr'; readonly cidr: Cidr; readonly except: readonly Cidr[] }
  | { readonly kind: 'group'; readonly name: string; readonly except: readonly Cidr[] }
  | { readonly kind: 'group-selector'; readonly selector: LabelSelector; readonly except: readonly Cidr[] };

/** One entry of `toServices`. An empty namespace is every namespace for a selector, else that of the object. */
export type ServiceSpec =
  | { readonly kind: 'name'; readonly name: string; readonly namespace: string }
  | { readonly kind: 'selector'; readonly selector: LabelSelector; readonly namespace: string };

/**
 * The peers of one rule item. An empty list selects nobody. Which field of the text holds them follows from the
 * direction: `fromEndpoints`, `toEntities` ...
 */
export type Peers =
  | { readonly kind: 'endpoints'; readonly selectors: readonly LabelSelector[] }
  | { readonly kind: 'entities'; readonly entities: readonly Entity[] }
  /** `fromCIDR` */
  | { readonly kind: 'cidrs'; readonly cidrs: readonly Cidr[] }
  /** `fromCIDRSet` */
  | { readonly kind: 'cidr-sets'; readonly sets: readonly CidrSpec[] }
  /** Egress only. */
  | { readonly kind: 'services'; readonly services: readonly ServiceSpec[] }
  /** Egress only. */
  | { readonly kind: 'fqdns'; readonly names: readonly DnsPattern[] }
  /** `fromNodes`: labels of nodes. */
  | { readonly kind: 'nodes'; readonly selectors: readonly LabelSelector[] };

/** A destination port or range, host order, or a name that the endpoint which owns the port gives a number. */
export interface PortSpec {
  /** 0 (every port of the protocol) .. 65535, or the name of a port. */
  readonly port: number | string;
  /** Last port of a range, > `port`; only with a number. */
  readonly endPort: number | undefined;
  /** ANY is TCP, UDP and SCTP. */
  readonly protocol: RuleProtocol;
}

/** One entry of `toPorts`: its ports are alternatives, 1..40 of them. */
export interface PortRule {
  readonly ports: readonly PortSpec[];
  /** What requests on these ports must look like; undefined: anything. Never in a deny rule. */
  readonly l7?: L7Rules | undefined;
  /** TLS server names (SNI) that may be asked for; undefined: any. */
  readonly serverNames?: readonly string[] | undefined;
}

/** One field of `icmps`. */
export interface IcmpSpec {
  readonly family: 4 | 6;
  /** 0..255. */
  readonly type: number;
}

/**
 * One item of a direction. Without peers and with ports or icmps it is for every peer; without either it is for nobody;
 * without ports and icmps it is for every protocol, ICMP included. Ports and icmps exclude each other.
 */
export interface RuleItem {
  readonly peers: Peers | undefined;
  /** Never empty. */
  readonly ports: readonly PortRule[] | undefined;
  /** Never empty. */
  readonly icmps?: readonly IcmpSpec[] | undefined;
  /** `fromRequires`, `toRequires` (2018): peers of the subject must match all of them, whatever rule allows them. */
  readonly requires?: readonly LabelSelector[] | undefined;
}

/** One rule after sanitisation: keys have their source, a policy object's namespace is in the selectors. */
export interface Rule {
  /** Labels of endpoints, or of nodes when `subjectKind` is `node`. */
  readonly subject: LabelSelector;
  /** Default `endpoint`; `node` is a host policy (`nodeSelector`). */
  readonly subjectKind?: 'endpoint' | 'node' | undefined;
  /** Items of the direction; undefined or empty leaves the direction alone, one item of any kind enforces it. */
  readonly ingress: readonly RuleItem[] | undefined;
  readonly egress: readonly RuleItem[] | undefined;
  /** Items that deny, whatever any rule allows. */
  readonly ingressDeny?: readonly RuleItem[] | undefined;
  readonly egressDeny?: readonly RuleItem[] | undefined;
  /** Whether a direction with items drops what nothing allows; default true. */
  readonly enableDefaultDeny?:
    | { readonly ingress?: boolean | undefined; readonly egress?: boolean | undefined }
    | undefined;
  /** `log.value`: text that verdict events and access log records of the rule carry. */
  readonly log?: string | undefined;
  readonly labels: readonly Label[];
  readonly description: string | undefined;
}
