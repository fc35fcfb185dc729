import type { Cidr } from '../base/ip.ts';
import { type L7Rules, NO_PROXY_PORTS, type ProxyPorts } from '../model/l7.ts';
import type { Label } from '../model/labels.ts';
import { type Direction, type MapStateVerdict, Protocol } from '../model/map-state.ts';
import { type LabelSelector, selectorText } from '../model/selector.ts';
import { ALL_L4, icmpMatches, type L4Match, l4Matches } from './l4.ts';
import { EVERY_PEER, labelsPeer, type PeerSelector, peerSelectors, prefixesInUse } from './peer-selector.ts';
import type { StoredRule } from './repository.ts';
import type { PortRule, Rule, RuleItem } from './rule.ts';
import { namesSecrets, type RuleContext } from './rule-context.ts';

/** One selector of peers with what a rule grants it; an item of a rule makes one for each of its selectors. */
export interface Grant {
  readonly direction: Direction;
  readonly peer: PeerSelector;
  readonly l4: readonly L4Match[];
  readonly verdict: MapStateVerdict;
  /** What requests must look like; undefined: anything. Only with a redirect. */
  readonly l7?: L7Rules | undefined;
  /** The rule opens nothing else up: requests that `l7` does not allow pass all the same. */
  readonly l7Open?: boolean | undefined;
  /** 0 for what no rule made. */
  readonly ruleId: number;
  /** Labels of the rule. */
  readonly derivedFrom: readonly Label[];
  /** `log.value` of the rule. */
  readonly log?: string | undefined;
  /** `grantMeaning` of it, worked out once. */
  readonly meaning?: string | undefined;
}

/** A text that two grants share exactly when they make the same entries but for the rule. */
export function grantMeaning({ direction, peer, verdict, l4, l7 }: Grant): string {
  const ports = l4.map(({ protocol, prefixes }) => {
    const all = prefixes.map(({ port, portPrefixLength }) => `${port}/${portPrefixLength}`);
    return `${protocol}:${all.join(',')}`;
  });
  const proxyPort = verdict.kind === 'redirect' ? verdict.proxyPort : 0;
  const yields = l7?.kind === 'tls';
  return JSON.stringify([direction, peer.kind, peer.text, verdict.kind, proxyPort, yields, ports.join(' ')]);
}

type ByDirection<T> = Readonly<Record<Direction, T>>;

/** A rule worked out as far as it goes without knowing identities. */
export interface CompiledRule {
  readonly subject: LabelSelector;
  readonly subjectKind: 'endpoint' | 'node';
  /** A text that two rules share exactly when they select the same subjects by the same words. */
  readonly subjectText: string;
  /** Whether the rule has items of the direction. */
  readonly names: ByDirection<boolean>;
  /** Whether what nothing allows is dropped. */
  readonly enforces: ByDirection<boolean>;
  readonly grants: ByDirection<readonly Grant[]>;
  /** What every peer of the subject must match. */
  readonly requires: ByDirection<readonly PeerSelector[]>;
  /** Whether ports are named. */
  readonly namedPorts: ByDirection<boolean>;
}

export interface CompileOptions {
  readonly context: RuleContext;
  readonly proxyPorts?: ProxyPorts | undefined;
}

const ALLOW: MapStateVerdict = { kind: 'allow' };
const DENY: MapStateVerdict = { kind: 'deny' };

/** What an item says of protocols and ports; each part with requests to judge stands for itself. */
interface Part {
  readonly l4: readonly L4Match[];
  readonly verdict: MapStateVerdict;
  readonly l7?: L7Rules | undefined;
}

/** Protocols over which each kind of requests can be judged. */
const L7_PROTOCOLS: Readonly<Record<L7Rules['kind'], readonly number[]>> = {
  http: [Protocol.tcp],
  kafka: [Protocol.tcp],
  dns: [Protocol.tcp, Protocol.udp],
  tls: [Protocol.tcp],
  memcache: [Protocol.tcp],
  cassandra: [Protocol.tcp],
  r2d2: [Protocol.tcp],
  other: [Protocol.tcp],
};

/** What is judged of the connections that an entry is for: requests, or the server that TLS asks for. */
function rulesToJudge({ l7, serverNames }: PortRule): L7Rules | undefined {
  if (l7 !== undefined || serverNames === undefined || serverNames.length === 0) return l7;
  return { kind: 'tls', rules: serverNames };
}

/** Nobody reads the requests of an unknown protocol: what may pass only by them does not pass. */
function judgedPart(rule: PortRule, l7: L7Rules, direction: Direction, options: CompileOptions): Part {
  const ports = options.proxyPorts ?? NO_PROXY_PORTS;
  const protocols = L7_PROTOCOLS[l7.kind];
  const l4 = l4Matches([rule]).filter(({ protocol }) => protocols.includes(protocol));
  const proxyPort = l7.kind === 'other' ? 0 : ports[`${l7.kind}-${direction}`];
  return { l4, verdict: { kind: 'redirect', proxyPort }, l7: options.context.withSecrets(l7) };
}

function partsOf(item: RuleItem, direction: Direction, options: CompileOptions): readonly Part[] {
  if (item.icmps !== undefined) return [{ l4: icmpMatches(item.icmps), verdict: ALLOW }];
  if (item.ports === undefined) return [{ l4: [ALL_L4], verdict: ALLOW }];
  const plain = item.ports.filter((rule) => rulesToJudge(rule) === undefined);
  const judged = item.ports.flatMap((rule) => {
    const l7 = rulesToJudge(rule);
    return l7 === undefined ? [] : [judgedPart(rule, l7, direction, options)];
  });
  return plain.length === 0 ? judged : [{ l4: l4Matches(plain), verdict: ALLOW }, ...judged];
}

/** Without peers an item with ports is for every peer, and one without ports for nobody. */
function selectorsOfItem(item: RuleItem, context: RuleContext): readonly PeerSelector[] {
  if (item.peers !== undefined) return peerSelectors(item.peers, context);
  return item.ports === undefined && item.icmps === undefined ? [] : [EVERY_PEER];
}

const DENY_SECTION = { ingress: 'ingressDeny', egress: 'egressDeny' } as const;

function grantsOfRule({ id, rule }: StoredRule, direction: Direction, options: CompileOptions): Grant[] {
  const common = { direction, ruleId: id, derivedFrom: rule.labels, log: rule.log };
  const l7Open = rule.enableDefaultDeny?.[direction] === false;
  const grantsOf = (item: RuleItem, part: Part): Grant[] =>
    selectorsOfItem(item, options.context).map((peer) => ({
      ...common,
      ...part,
      peer,
      ...(part.l7 !== undefined && { l7Open }),
    }));
  const denied = (rule[DENY_SECTION[direction]] ?? []).flatMap((item) =>
    partsOf(item, direction, options).flatMap((part) => grantsOf(item, { l4: part.l4, verdict: DENY })),
  );
  const allowed = (rule[direction] ?? []).flatMap((item) =>
    partsOf(item, direction, options).flatMap((part) => grantsOf(item, part)),
  );
  return [...denied, ...allowed].map((grant) => ({ ...grant, meaning: grantMeaning(grant) }));
}

function hasItems(rule: Rule, direction: Direction): boolean {
  return (rule[direction]?.length ?? 0) + (rule[DENY_SECTION[direction]]?.length ?? 0) > 0;
}

function eachDirection<T>(of: (direction: Direction) => T): ByDirection<T> {
  return { ingress: of('ingress'), egress: of('egress') };
}

export function compileRule(stored: StoredRule, options: CompileOptions): CompiledRule {
  const { rule } = stored;
  const names = eachDirection((direction) => hasItems(rule, direction));
  const grants = eachDirection((direction) => grantsOfRule(stored, direction, options));
  return {
    subject: rule.subject,
    subjectKind: rule.subjectKind ?? 'endpoint',
    subjectText: `${rule.subjectKind ?? 'endpoint'} ${selectorText(rule.subject)}`,
    names,
    enforces: eachDirection((direction) => names[direction] && rule.enableDefaultDeny?.[direction] !== false),
    grants,
    requires: eachDirection((direction) =>
      (rule[direction] ?? []).flatMap((item) => (item.requires ?? []).map(labelsPeer)),
    ),
    namedPorts: eachDirection((direction) =>
      grants[direction].some(({ l4 }) => l4.some(({ portName }) => portName !== undefined)),
    ),
  };
}

const DIRECTIONS = ['ingress', 'egress'] as const;

/** Every selector of peers of a rule, as often as it has it. */
export function peersOfRule(rule: CompiledRule): readonly PeerSelector[] {
  return DIRECTIONS.flatMap((direction) => [
    ...rule.grants[direction].map(({ peer }) => peer),
    ...rule.requires[direction],
  ]);
}

/** The prefixes that a rule needs identities for, as often as it names them. */
export function prefixesOfRule(rule: CompiledRule): readonly Cidr[] {
  return peersOfRule(rule).flatMap(prefixesInUse);
}

/** Whether what the rule means depends on CIDR groups, services or Secrets. */
export function usesInventory({ ingress, egress, ingressDeny, egressDeny }: Rule): boolean {
  const items = [ingress, egress, ingressDeny, egressDeny].flatMap((section) => section ?? []);
  return items.some(
    ({ peers, ports }) =>
      ports?.some(({ l7 }) => namesSecrets(l7)) === true ||
      peers?.kind === 'services' ||
      (peers?.kind === 'cidr-sets' && peers.sets.some(({ kind }) => kind !== 'cidr')),
  );
}
