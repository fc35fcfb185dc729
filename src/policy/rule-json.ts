import { atOnce, type Slices } from '../base/slices.ts';
import type { HttpRule, KafkaRule, L7Rules, SecretName } from '../model/l7.ts';
import type { Label } from '../model/labels.ts';
import type { Direction } from '../model/map-state.ts';
import { type SelectorJson, selectorJson } from '../model/selector.ts';
import { MAX_ICMP_FIELDS } from './parse-icmp.ts';
import { dnsJson, peersJson } from './peer-json.ts';
import type { IcmpSpec, PortRule, PortSpec, Rule, RuleItem } from './rule.ts';

/** Put into words in one slice: some 5 ms. */
const RULES_A_SLICE = 1000;

interface PortJson {
  readonly port: string;
  readonly endPort?: number;
  readonly protocol: string;
}

interface PortRuleJson {
  readonly ports: readonly PortJson[];
  readonly rules?: object;
  readonly serverNames?: readonly string[];
}

/** Its peers stand under the name that their kind and the direction give them. */
interface ItemJson {
  readonly toPorts?: readonly PortRuleJson[];
  readonly icmps?: readonly {
    readonly fields: readonly { readonly family: string; readonly type: number }[];
  }[];
}

/** A rule in the form of `policy get`; reading it again gives the same rule. */
export interface RuleJson {
  readonly endpointSelector?: SelectorJson;
  readonly nodeSelector?: SelectorJson;
  readonly ingress?: readonly ItemJson[];
  readonly ingressDeny?: readonly ItemJson[];
  readonly egress?: readonly ItemJson[];
  readonly egressDeny?: readonly ItemJson[];
  readonly enableDefaultDeny?: { readonly ingress?: boolean; readonly egress?: boolean };
  readonly labels?: readonly { readonly key: string; readonly value: string; readonly source: string }[];
  readonly description?: string;
  readonly log?: { readonly value: string };
}

function portJson(port: PortSpec): PortJson {
  return {
    port: String(port.port),
    ...(port.endPort !== undefined && { endPort: port.endPort }),
    protocol: port.protocol,
  };
}

function secretJson({ namespace, name }: SecretName): object {
  return namespace === '' ? { name } : { namespace, name };
}

function httpJson({ path, method, host, headers, headerMatches }: HttpRule): object {
  const matches = headerMatches.map(({ name, value, secret, mismatch }) => ({
    name,
    ...(value !== undefined && { value }),
    ...(secret !== undefined && { secret: secretJson(secret) }),
    ...(mismatch !== undefined && { mismatch }),
  }));
  return {
    ...(path !== undefined && { path }),
    ...(method !== undefined && { method }),
    ...(host !== undefined && { host }),
    ...(headers.length > 0 && { headers }),
    ...(matches.length > 0 && { headerMatches: matches }),
  };
}

function kafkaJson({ role, apiKey, apiVersion, clientId, topic }: KafkaRule): object {
  return {
    ...(role !== undefined && { role }),
    ...(apiKey !== undefined && { apiKey }),
    ...(apiVersion !== undefined && { apiVersion: String(apiVersion) }),
    ...(clientId !== undefined && { clientID: clientId }),
    ...(topic !== undefined && { topic }),
  };
}

/** `{"http":[...]}`, as in `rules` of `toPorts`. */
export function l7Json(l7: L7Rules): Readonly<Record<string, string | readonly object[]>> {
  switch (l7.kind) {
    case 'http':
      return { http: l7.rules.map(httpJson) };
    case 'kafka':
      return { kafka: l7.rules.map(kafkaJson) };
    case 'dns':
      return { dns: l7.rules.map(dnsJson) };
    case 'tls':
      return { serverNames: l7.rules.map((name) => ({ name })) };
    case 'memcache':
    case 'cassandra':
    case 'r2d2':
      return { l7proto: l7.kind, l7: l7.rules };
    case 'other':
      return { l7proto: l7.protocol, l7: l7.rules };
  }
}

function portRuleJson({ ports, l7, serverNames }: PortRule): PortRuleJson {
  return {
    ports: ports.map(portJson),
    ...(l7 !== undefined && { rules: l7Json(l7) }),
    ...(serverNames !== undefined && { serverNames }),
  };
}

function icmpsJson(icmps: readonly IcmpSpec[]): NonNullable<ItemJson['icmps']> {
  const fields = icmps.map(({ family, type }) => ({ family: `IPv${family}`, type }));
  const entries = Math.ceil(fields.length / MAX_ICMP_FIELDS);
  return Array.from({ length: entries }, (_, i) => ({
    fields: fields.slice(i * MAX_ICMP_FIELDS, (i + 1) * MAX_ICMP_FIELDS),
  }));
}

/** Selectors of peers stand before `toPorts`, other peers after it. */
function itemJson({ peers, ports, icmps, requires }: RuleItem, direction: Direction): ItemJson {
  const peersPart = peers === undefined ? {} : peersJson(peers, direction);
  const prefix = direction === 'ingress' ? 'from' : 'to';
  const rest = {
    ...(requires !== undefined && { [`${prefix}Requires`]: requires.map(selectorJson) }),
    ...(ports !== undefined && { toPorts: ports.map(portRuleJson) }),
    ...(icmps !== undefined && { icmps: icmpsJson(icmps) }),
  };
  return peers?.kind === 'endpoints' ? { ...peersPart, ...rest } : { ...rest, ...peersPart };
}

function itemsJson(items: readonly RuleItem[], direction: Direction): readonly ItemJson[] {
  return items.map((item) => itemJson(item, direction));
}

function defaultDenyJson({ ingress, egress }: NonNullable<Rule['enableDefaultDeny']>): object {
  return { ...(ingress !== undefined && { ingress }), ...(egress !== undefined && { egress }) };
}

function labelJson({ key, value, source }: Label): { key: string; value: string; source: string } {
  return { key, value, source };
}

export function ruleJson(rule: Rule): RuleJson {
  const { ingress, ingressDeny, egress, egressDeny, enableDefaultDeny, labels, description, log } = rule;
  return {
    [rule.subjectKind === 'node' ? 'nodeSelector' : 'endpointSelector']: selectorJson(rule.subject),
    ...(ingress !== undefined && { ingress: itemsJson(ingress, 'ingress') }),
    ...(ingressDeny !== undefined && { ingressDeny: itemsJson(ingressDeny, 'ingress') }),
    ...(egress !== undefined && { egress: itemsJson(egress, 'egress') }),
    ...(egressDeny !== undefined && { egressDeny: itemsJson(egressDeny, 'egress') }),
    ...(enableDefaultDeny !== undefined && { enableDefaultDeny: defaultDenyJson(enableDefaultDeny) }),
    ...(labels.length > 0 && { labels: labels.map(labelJson) }),
    ...(description !== undefined && description !== '' && { description }),
    ...(log !== undefined && { log: { value: log } }),
  };
}

/** The text of `policy get`: a JSON list, two spaces a level; `[]` without rules. */
export function rulesText(rules: readonly Rule[]): string {
  return atOnce(rulesTextSlices(rules));
}

/** The same slice by slice. */
export function* rulesTextSlices(rules: readonly Rule[]): Slices<string> {
  const texts: string[] = [];
  for (const rule of rules) {
    // A line end in a text is escaped: those that are left are of the layout.
    texts.push(JSON.stringify(ruleJson(rule), undefined, 2).replaceAll('\n', '\n  '));
    if (texts.length % RULES_A_SLICE === 0) yield;
  }
  return texts.length === 0 ? '[]' : `[\n  ${texts.join(',\n  ')}\n]`;
}
