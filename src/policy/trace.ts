import { type Label, LabelKey } from '../model/labels.ts';
import type { Direction } from '../model/map-state.ts';
import type { NamedPort } from '../model/named-port.ts';
import { isEmptySelector, type LabelSelector, matchesSelector } from '../model/selector.ts';
import { PortNames } from './named-ports.ts';
import type { EnforcementMode } from './resolve.ts';
import type { Rule, RuleItem } from './rule.ts';
import { ruleName } from './rule-name.ts';
import { decide } from './trace-decision.ts';
import { matchPeers, missingParts, type PeerContext } from './trace-peers.ts';
import { matchL4 } from './trace-ports.ts';
import type {
  TracedDirection,
  TracedItem,
  TracedRequest,
  TracedRule,
  TraceL4,
  TraceParty,
  TraceResult,
} from './trace-types.ts';

/*
 * What the rules say of one kind of traffic, and why: rule by rule and item by item, like evaluate-naive.ts, but with
 * every reason. For the egress of the source and the ingress of the destination:
 * 1. The party is no workload of this cluster and not this node, or nothing is enforced (mode never): allowed.
 * 2. A deny item of a rule that selects it matches, or it fails the requirements of one: denied.
 * 3. Allow items match: allowed; where one of them has L7 rules, through the proxy, which passes a request that any of
 *    them allows.
 * 4. The peer is the node itself, on ingress, where localhost is always allowed: allowed.
 * 5. Otherwise denied if one of the rules that select it denies by default, or the mode or `reserved:init` does.
 */

export interface TraceRule {
  readonly rule: Rule;
  /** Number in policy maps and events, where it is known. */
  readonly id?: number | undefined;
  /** `rule1.yaml:3`, or its place in `policy get`. */
  readonly place: string;
}

export interface TraceOptions extends PeerContext {
  readonly mode: EnforcementMode;
  readonly allowLocalhost: 'always' | 'policy';
  /** Named ports of the whole cluster, by which egress rules go; undefined: those of the destination. */
  readonly clusterPorts?: readonly NamedPort[] | undefined;
  /** The request that is traced; undefined: none is. */
  readonly request?: TracedRequest | undefined;
  /** Whether the request is a connection by TLS, which nothing but names of servers lets pass. */
  readonly speaksTls?: boolean | undefined;
}

export interface TraceQuery {
  readonly source: TraceParty;
  readonly destination: TraceParty;
  readonly l4: TraceL4;
}

const SECTIONS = {
  ingress: [
    ['ingressDeny', 'deny'],
    ['ingress', 'allow'],
  ],
  egress: [
    ['egressDeny', 'deny'],
    ['egress', 'allow'],
  ],
} as const;

interface Judgement {
  readonly direction: Direction;
  readonly subject: TraceParty;
  readonly peer: TraceParty;
  readonly query: TraceQuery;
  readonly options: TraceOptions;
}

function isReserved(party: TraceParty, name: string): boolean {
  return party.labels.some(({ source, key }) => source === 'reserved' && key === name);
}

function traceItem(item: RuleItem, field: string, effect: 'allow' | 'deny', judged: Judgement): TracedItem {
  const { query, options, peer } = judged;
  const nobody = item.peers === undefined && item.ports === undefined && item.icmps === undefined;
  if (nobody) return { field, effect, matches: false, reasons: ['{} selects nobody'], l7: [], open: false };
  const peers = matchPeers(item.peers, peer, options);
  const own = query.destination.namedPorts ?? [];
  const named = judged.direction === 'egress' ? (options.clusterPorts ?? own) : own;
  const l4 = matchL4(item, query.l4, new PortNames(named));
  const matches = peers.matches && l4.matches;
  // Of an item that does not match only what failed is of interest.
  const reasons = [peers, l4].filter((part) => part.matches === matches).map(({ reason }) => reason);
  if (!matches) return { field, effect, matches, reasons, l7: [], open: false };
  const open = l4.l7.includes(undefined);
  const l7 = l4.l7.filter((rules) => rules !== undefined);
  const { request } = options;
  const requestAllowed =
    request === undefined ? undefined : open || l7.some((rules) => request.isAllowedBy(rules));
  return { field, effect, matches, reasons, l7, open, requestAllowed };
}

function failedRequirements(rule: Rule, { direction, peer }: Judgement): string | undefined {
  const all = (rule[direction] ?? []).flatMap((item) => item.requires ?? []);
  const met = (selector: LabelSelector): boolean =>
    isEmptySelector(selector) || (peer.identity !== 0 && matchesSelector(selector, peer.labels));
  const failed = all.filter((selector) => !met(selector));
  if (failed.length === 0) return undefined;
  return failed.map((selector) => missingParts(selector, peer.labels)).join(', ');
}

function traceRule(traced: TraceRule, index: number, judged: Judgement): TracedRule {
  const { rule, id, place } = traced;
  const items = SECTIONS[judged.direction].flatMap(([section, effect]) =>
    (rule[section] ?? []).map((item, i) => traceItem(item, `${section}[${i}]`, effect, judged)),
  );
  const name = ruleName(rule.labels);
  const requires = failedRequirements(rule, judged);
  return { index, id, name, place, description: rule.description, decides: false, items, requires };
}

/** Whether a rule has items of a direction. */
export function namesDirection(rule: Rule, direction: Direction): boolean {
  return SECTIONS[direction].some(([section]) => (rule[section]?.length ?? 0) > 0);
}

function deniesByDefault(rule: Rule, direction: Direction): boolean {
  return rule.enableDefaultDeny?.[direction] !== false;
}

/** Why no policy is enforced at a party at all; undefined where it is. */
function unpoliced(party: TraceParty, mode: EnforcementMode): string | undefined {
  if (mode === 'never') return 'policy enforcement is switched off';
  if (party.prefix !== undefined) return 'outside the cluster: no policy is enforced there';
  const reserved = party.labels.find(({ source, key }) => source === 'reserved' && key !== 'init');
  const isPoliced = reserved === undefined || ['health', 'host'].includes(reserved.key);
  return isPoliced ? undefined : `${reserved.key} is no endpoint: no policy is enforced there`;
}

function lacksOf(rule: Rule, subject: TraceParty): string {
  return rule.subjectKind === 'node'
    ? 'it is for nodes'
    : `endpoint lacks ${missingParts(rule.subject, subject.labels)}`;
}

interface Traced {
  readonly traced: TracedDirection;
  /** The request as it goes on, where it is changed. */
  readonly left?: TracedRequest | undefined;
}

function traceDirection(rules: readonly TraceRule[], judged: Judgement): Traced {
  const { direction, subject, peer, options } = judged;
  const reason = unpoliced(subject, options.mode);
  if (reason !== undefined) {
    return { traced: { direction, verdict: 'allowed', reason, enforced: false, rules: [], others: [] } };
  }
  const ofDirection = rules
    .map((traced, index) => ({ traced, index }))
    .filter(({ traced }) => namesDirection(traced.rule, direction));
  const isHost = isReserved(subject, 'host');
  const selects = ({ rule }: TraceRule): boolean =>
    isHost === (rule.subjectKind === 'node') && matchesSelector(rule.subject, subject.labels);
  const selecting = ofDirection.filter(({ traced }) => selects(traced));
  const traced = selecting.map((one) => traceRule(one.traced, one.index, judged));
  const always = options.mode === 'always' || isReserved(subject, 'init');
  const enforced = always || selecting.some((one) => deniesByDefault(one.traced.rule, direction));
  const decision = decide(traced, {
    direction,
    enforced,
    fromOwnNode: direction === 'ingress' && isReserved(peer, 'host') && options.allowLocalhost === 'always',
    request: options.request,
    speaksTls: options.speaksTls === true,
  });
  const others = ofDirection
    .filter((one) => !selects(one.traced))
    .map((one) => ({
      name: ruleName(one.traced.rule.labels),
      place: one.traced.place,
      lacks: lacksOf(one.traced.rule, subject),
    }));
  const { verdict, reason: why, changes, left, by } = decision;
  return {
    traced: {
      direction,
      verdict,
      reason: why,
      enforced,
      ...(changes !== undefined && { changes }),
      rules: traced.map((rule) => ({ ...rule, decides: by(rule) })),
      others,
    },
    left,
  };
}

/**
 * What the rules say of this traffic, in both directions, with every reason. The destination's rules see a request as the
 * source's leave it.
 */
export function tracePolicy(
  rules: readonly TraceRule[],
  query: TraceQuery,
  options: TraceOptions,
): TraceResult {
  const { source, destination } = query;
  const { traced: egress, left } = traceDirection(rules, {
    direction: 'egress',
    subject: source,
    peer: destination,
    query,
    options,
  });
  const { traced: ingress } = traceDirection(rules, {
    direction: 'ingress',
    subject: destination,
    peer: source,
    query,
    options: left === undefined ? options : { ...options, request: left },
  });
  const verdicts = [egress.verdict, ingress.verdict];
  const verdict = (['denied', 'redirected'] as const).find((one) => verdicts.includes(one)) ?? 'allowed';
  return { verdict, egress, ingress };
}

/** Whether labels name neither a namespace nor a reserved identity while rules select by namespace: an easy slip. */
export function lacksNamespace(labels: readonly Label[], rules: readonly TraceRule[]): boolean {
  const named = labels.some(({ source, key }) => source === 'reserved' || key === LabelKey.podNamespace);
  return (
    !named &&
    rules.some(({ rule }) => rule.subject.matchLabels.some(({ key }) => key === LabelKey.podNamespace))
  );
}
