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

/**
 * The peers of one rule item. An empty list selects nobody. Which field of the text holds them follows from the
 * direction: `fromEndpoints`, `toEntities` ...
 */
export type Peers =
  | { readonly kind: 'endpoints'; readonly selectors: readonly LabelSelector[] }
  | { readonly kind: 'entities'; readonly entities: readonly Entity[] };

/** A destination port or range, host order. */
export interface PortSpec {
  /** 0 (every port of the protocol) .. 65535. */
  readonly port: number;
  /** Last port of a range, > `port`. */
  readonly endPort: number | undefined;
  /** ANY is TCP, UDP and SCTP. */
  readonly protocol: RuleProtocol;
}

/** One entry of `toPorts`: its ports are alternatives, 1..40 of them. */
export interface PortRule {
  readonly ports: readonly PortSpec[];
}

/**
 * One allow item of a direction. Without peers and with ports it allows every peer; without either it allows nobody;
 * without ports it allows every protocol, ICMP included.
 */
export interface RuleItem {
  readonly peers: Peers | undefined;
  /** Never empty. */
  readonly ports: readonly PortRule[] | undefined;
}

/** One rule after sanitisation: keys have their source, a policy object's namespace is in the selectors. */
export interface Rule {
  readonly subject: LabelSelector;
  /** Items of the direction; undefined or empty leaves the direction alone, one item of any kind enforces it. */
  readonly ingress: readonly RuleItem[] | undefined;
  readonly egress: readonly RuleItem[] | undefined;
  readonly labels: readonly Label[];
  readonly description: string | undefined;
}
