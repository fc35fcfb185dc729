import type { L7Rules } from '../../src/model/l7.ts';
import type { Peers, Rule, RuleItem } from '../../src/policy/rule.ts';
import type { LanguageRequests } from './l7-language.ts';
import type { LanguageCase } from './policy-language.ts';

/*
 * Makes a failing case small, greedily: of all that one step can take away it takes what still fails, until no step
 * does. Steps take away packets, rules, sections, items, peers, ports, L7 rules and their parts, requests and options.
 */

function* without<T>(list: readonly T[]): Generator<readonly T[]> {
  if (list.length > 2) {
    const half = list.length >> 1;
    yield list.slice(0, half);
    yield list.slice(half);
  }
  for (let i = 0; i < list.length; i++) yield [...list.slice(0, i), ...list.slice(i + 1)];
}

/** The list with each element in turn replaced by each of its smaller forms. */
function* withSmaller<T>(list: readonly T[], smaller: (item: T) => Iterable<T>): Generator<readonly T[]> {
  for (const [i, item] of list.entries()) {
    for (const other of smaller(item)) yield [...list.slice(0, i), other, ...list.slice(i + 1)];
  }
}

const LIST_OF: Readonly<Record<Peers['kind'], string>> = {
  endpoints: 'selectors',
  entities: 'entities',
  cidrs: 'cidrs',
  'cidr-sets': 'sets',
  services: 'services',
  fqdns: 'names',
  nodes: 'selectors',
};

function* smallerPeers(peers: Peers): Generator<Peers> {
  const field = LIST_OF[peers.kind];
  const list = (peers as unknown as Record<string, readonly unknown[]>)[field] ?? [];
  for (const fewer of without(list)) yield { ...peers, [field]: fewer } as Peers;
}

/** With fewer rules, and with rules of fewer parts. */
function* smallerL7(l7: L7Rules): Generator<L7Rules> {
  const rules: readonly (object | string)[] = l7.rules;
  for (const fewer of without(rules)) yield { ...l7, rules: fewer } as L7Rules;
  for (const plainer of withSmaller(rules, smallerParts)) yield { ...l7, rules: plainer } as L7Rules;
}

function* smallerParts(rule: object | string): Generator<object | string> {
  if (typeof rule === 'string' || 'kind' in rule) return;
  for (const [part, value] of Object.entries(rule)) {
    if (Array.isArray(value)) for (const fewer of without(value)) yield { ...rule, [part]: fewer };
    else if (value !== undefined) yield { ...rule, [part]: undefined };
  }
}

const REQUESTS = ['http', 'kafka', 'dns', 'tls'] as const;

function* smallerRequests(requests: LanguageRequests): Generator<LanguageRequests> {
  for (const kind of REQUESTS)
    for (const fewer of without<unknown>(requests[kind] ?? [])) yield { ...requests, [kind]: fewer };
}

function* smallerItem(item: RuleItem): Generator<RuleItem> {
  const { peers, ports, icmps, requires } = item;
  if (peers !== undefined) {
    yield { ...item, peers: undefined };
    for (const fewer of smallerPeers(peers)) yield { ...item, peers: fewer };
  }
  if (requires !== undefined) yield { ...item, requires: undefined };
  if (icmps !== undefined) yield { ...item, icmps: undefined };
  if (ports === undefined) return;
  yield { ...item, ports: undefined };
  for (const fewer of without(ports)) if (fewer.length > 0) yield { ...item, ports: fewer };
  const smallerRule = function* (rule: (typeof ports)[number]): Generator<(typeof ports)[number]> {
    if (rule.l7 !== undefined) {
      yield { ports: rule.ports };
      for (const l7 of smallerL7(rule.l7)) yield { ...rule, l7 };
    }
    for (const fewer of without(rule.ports)) if (fewer.length > 0) yield { ...rule, ports: fewer };
  };
  for (const smaller of withSmaller(ports, smallerRule)) yield { ...item, ports: smaller };
}

const SECTIONS = ['ingress', 'egress', 'ingressDeny', 'egressDeny'] as const;

function* smallerRule(rule: Rule): Generator<Rule> {
  for (const section of SECTIONS) {
    const items = rule[section];
    if (items === undefined) continue;
    yield { ...rule, [section]: undefined };
    for (const fewer of without(items)) yield { ...rule, [section]: fewer };
    for (const smaller of withSmaller(items, smallerItem)) yield { ...rule, [section]: smaller };
  }
  if (rule.enableDefaultDeny !== undefined) yield { ...rule, enableDefaultDeny: undefined };
  const { matchLabels, matchExpressions } = rule.subject;
  for (const fewer of without(matchLabels))
    yield { ...rule, subject: { matchLabels: fewer, matchExpressions } };
  for (const fewer of without(matchExpressions))
    yield { ...rule, subject: { matchLabels, matchExpressions: fewer } };
}

function* smallerCase(policyCase: LanguageCase): Generator<LanguageCase> {
  const { rules, packets, options, requests } = policyCase;
  for (const fewer of without(packets)) if (fewer.length > 0) yield { ...policyCase, packets: fewer };
  for (const fewer of without(rules)) yield { ...policyCase, rules: fewer };
  if (options.mode !== 'default') yield { ...policyCase, options: { ...options, mode: 'default' } };
  for (const smaller of withSmaller(rules, smallerRule)) yield { ...policyCase, rules: smaller };
  if (requests === undefined) return;
  yield { ...policyCase, requests: undefined };
  for (const smaller of smallerRequests(requests)) yield { ...policyCase, requests: smaller };
}

/**
 * The smallest case that the search finds to fail still.
 * @param fails whether a case fails; the one given does
 * @param tries how many cases are tried at most
 */
export async function shrinkCase(
  policyCase: LanguageCase,
  fails: (smaller: LanguageCase) => boolean | Promise<boolean>,
  tries = 3000,
): Promise<LanguageCase> {
  let smallest = policyCase;
  let left = tries;
  for (let found = true; found && left > 0; ) {
    found = false;
    for (const candidate of smallerCase(smallest)) {
      if (left-- <= 0) break;
      if (!(await fails(candidate))) continue;
      smallest = candidate;
      found = true;
      break;
    }
  }
  return smallest;
}

/** A case as JSON: addresses are texts like `ip 20010db8...`, in hexadecimal. */
export function caseText(policyCase: LanguageCase): string {
  const replacer = (_: string, value: unknown): unknown =>
    value instanceof Uint8Array ? `ip ${Buffer.from(value).toString('hex')}` : value;
  return `${JSON.stringify(policyCase, replacer, 1)}\n`;
}

/** Reads what `caseText` gave. */
export function parseCase(text: string): LanguageCase {
  const reviver = (_: string, value: unknown): unknown =>
    typeof value === 'string' && value.startsWith('ip ')
      ? Uint8Array.from(Buffer.from(value.slice(3), 'hex'))
      : value;
  return JSON.parse(text, reviver) as LanguageCase;
}
