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

function peersJson(peers: Peers): readonly (SelectorJson | string)[] {
  switch (peers.kind) {
    case 'endpoints':
      return peers.selectors.map(selectorJson);
    case 'entities':
      return peers.entities;
  }
}

/** Keys in the order endpoints, ports, entities: the one users know from Cilium. */
function itemJson(item: RuleItem, direction: Direction): ItemJson {
  const prefix = direction === 'ingress' ? 'from' : 'to';
  const { peers, ports } = item;
  return {
    ...(peers?.kind === 'endpoints' && { [`${prefix}Endpoints`]: peersJson(peers) }),
    ...(ports !== undefined && { toPorts: ports.map((rule) => ({ ports: rule.ports.map(portJson) })) }),
    ...(peers?.kind === 'entities' && { [`${prefix}Entities`]: peersJson(peers) }),
  };
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
