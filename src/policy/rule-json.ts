import type { Label } from '../model/labels.ts';
import type { Direction } from '../model/map-state.ts';
import { type SelectorJson, selectorJson } from '../model/selector.ts';
import type { Peers, PortSpec, Rule, RuleItem } from './rule.ts';

interface PortJson {
  readonly port: string;
  readonly endPort?: number;
  readonly protocol: string;
}

interface ItemJson {
  readonly fromEndpoints?: readonly SelectorJson[];
  readonly toEndpoints?: readonly SelectorJson[];
  readonly toPorts?: readonly { readonly ports: readonly PortJson[] }[];
  readonly fromEntities?: readonly string[];
  readonly toEntities?: readonly string[];
}

/** A rule in the form of `policy get`; reading it again gives the same rule. */
export interface RuleJson {
  readonly endpointSelector: SelectorJson;
  readonly ingress?: readonly ItemJson[];
  readonly egress?: readonly ItemJson[];
  readonly labels?: readonly { readonly key: string; readonly value: string; readonly source: string }[];
  readonly description?: string;
}

function portJson(port: PortSpec): PortJson {
  return {
    port: String(port.port),
    ...(port.endPort !== undefined && { endPort: port.endPort }),
    protocol: port.protocol,
  };
}

/** How each kind of peers is written: `fromEndpoints` stands before `toPorts`, the others after it. */
const PEER_FIELDS: Record<Peers['kind'], { readonly suffix: string; readonly first: boolean }> = {
  endpoints: { suffix: 'Endpoints', first: true },
  entities: { suffix: 'Entities', first: false },
  cidrs: { suffix: 'CIDR', first: false },
  'cidr-sets': { suffix: 'CIDRSet', first: false },
  services: { suffix: 'Services', first: false },
  fqdns: { suffix: 'FQDNs', first: false },
  nodes: { suffix: 'Nodes', first: false },
};

function peersJson(peers: Peers, direction: Direction): ItemJson {
  const name = `${direction === 'ingress' ? 'from' : 'to'}${PEER_FIELDS[peers.kind].suffix}`;
  switch (peers.kind) {
    case 'endpoints':
      return { [name]: peers.selectors.map(selectorJson) };
    case 'entities':
      return { [name]: peers.entities };
    default:
      return {};
  }
}

function itemJson({ peers, ports }: RuleItem, direction: Direction): ItemJson {
  const peersPart = peers === undefined ? {} : peersJson(peers, direction);
  const portsPart =
    ports === undefined ? {} : { toPorts: ports.map((rule) => ({ ports: rule.ports.map(portJson) })) };
  const peersFirst = peers !== undefined && PEER_FIELDS[peers.kind].first;
  return peersFirst ? { ...peersPart, ...portsPart } : { ...portsPart, ...peersPart };
}

function labelJson({ key, value, source }: Label): { key: string; value: string; source: string } {
  return { key, value, source };
}

export function ruleJson(rule: Rule): RuleJson {
  const { ingress, egress, labels, description } = rule;
  return {
    endpointSelector: selectorJson(rule.subject),
    ...(ingress !== undefined && { ingress: ingress.map((item) => itemJson(item, 'ingress')) }),
    ...(egress !== undefined && { egress: egress.map((item) => itemJson(item, 'egress')) }),
    ...(labels.length > 0 && { labels: labels.map(labelJson) }),
    ...(description !== undefined && description !== '' && { description }),
  };
}

/** The text of `policy get`: a JSON list, two spaces a level; `[]` without rules. */
export function rulesText(rules: readonly Rule[]): string {
  return JSON.stringify(rules.map(ruleJson), undefined, 2);
}
