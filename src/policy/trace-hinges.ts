import { formatLabels, type Label, labelSet } from '../model/labels.ts';
import { type LabelSelector, matchesSelector, type SelectorKey } from '../model/selector.ts';
import type { Rule, RuleItem } from './rule.ts';
import { ruleName } from './rule-name.ts';
import { type TraceOptions, type TraceQuery, type TraceRule, tracePolicy } from './trace.ts';
import type { TraceParty, TraceVerdict } from './trace-types.ts';

/*
 * A label that was not given is one that the party does not have: so the trace says, as Cilium's does. Who left out a label
 * that rules ask for is told something of an endpoint that there is not. Therefore:
 * 1. of the selectors that could be for a party, those are taken that hang on keys which it does not have at all;
 * 2. with the labels that each of them asks for (or must not see) the traffic is traced once more;
 * 3. where that makes another verdict, the first hangs on these labels.
 */

/** Most sets of labels that are tried at each end: each is a trace. */
const MOST_TRIED = 32;

/** Labels with which the verdict would be another one. */
export interface TraceHinge {
  readonly end: 'source' | 'destination';
  readonly labels: readonly string[];
  readonly verdict: TraceVerdict;
  /** The rule that asks for them. */
  readonly rule: string;
}

interface Attempt {
  readonly labels: readonly Label[];
  readonly rule: string;
}

const isAbsent = ({ source, key }: SelectorKey, labels: readonly Label[]): boolean =>
  !labels.some((label) => label.key === key && (source === 'any' || source === label.source));

const labelOf = ({ source, key }: SelectorKey, value: string): Label => ({
  source: source === 'any' ? 'k8s' : source,
  key,
  value,
});

/** Nobody is given what only the agent gives. */
const isOwn = ({ source }: SelectorKey): boolean => source !== 'reserved';

/** The labels that a selector still asks for; undefined when one that is there speaks against it. */
function lacking(selector: LabelSelector, labels: readonly Label[]): readonly Label[] | undefined {
  const found: Label[] = [];
  const parts = [
    ...selector.matchLabels.map((part) => ({ ...part, operator: 'In' as const, values: [part.value] })),
    ...selector.matchExpressions,
  ];
  for (const part of parts) {
    const single = { matchLabels: [], matchExpressions: [part] };
    if (matchesSelector(single, labels)) continue;
    if (!isOwn(part) || !isAbsent(part, labels)) return undefined;
    found.push(labelOf(part, part.values[0] ?? ''));
  }
  return found;
}

/** A label that would make a selector fail which holds only since the party lacks a key. */
function breaking(selector: LabelSelector, labels: readonly Label[]): readonly Label[] {
  const part = selector.matchExpressions.find(
    (one) =>
      (one.operator === 'NotIn' || one.operator === 'DoesNotExist') && isOwn(one) && isAbsent(one, labels),
  );
  return part === undefined ? [] : [labelOf(part, part.values[0] ?? '')];
}

/** Labels that change whether a selector holds; none when nothing that is absent decides it. */
function turning(selector: LabelSelector, labels: readonly Label[]): readonly Label[] {
  return matchesSelector(selector, labels) ? breaking(selector, labels) : (lacking(selector, labels) ?? []);
}

function peerSelectors(items: readonly RuleItem[] | undefined): readonly LabelSelector[] {
  return (items ?? []).flatMap(({ peers, requires }) => [
    ...(peers?.kind === 'endpoints' ? peers.selectors : []),
    ...(requires ?? []),
  ]);
}

/** Selectors of a rule that may be for one end of the traffic. */
function selectorsFor(rule: Rule, end: TraceHinge['end']): readonly LabelSelector[] {
  const peers = end === 'source' ? [rule.ingress, rule.ingressDeny] : [rule.egress, rule.egressDeny];
  const own = end === 'source' ? [rule.egress, rule.egressDeny] : [rule.ingress, rule.ingressDeny];
  const isSubject = rule.subjectKind !== 'node' && own.some((items) => (items ?? []).length > 0);
  return [...(isSubject ? [rule.subject] : []), ...peers.flatMap(peerSelectors)];
}

function attempts(
  rules: readonly TraceRule[],
  party: TraceParty,
  end: TraceHinge['end'],
): readonly Attempt[] {
  // Labels that nobody carries yet are all that may be incomplete.
  if (party.identity !== undefined || party.prefix !== undefined) return [];
  const found = new Map<string, Attempt>();
  for (const { rule, place } of rules) {
    for (const selector of selectorsFor(rule, end)) {
      const labels = turning(selector, party.labels);
      const text = formatLabels(labels).join();
      if (labels.length === 0 || found.has(text)) continue;
      found.set(text, { labels, rule: ruleName(rule.labels) || place });
      if (found.size === MOST_TRIED) return [...found.values()];
    }
  }
  return [...found.values()];
}

const passes = (verdict: TraceVerdict): boolean => verdict !== 'denied';

/** What would turn the verdict: labels that rules ask for and that neither end was said to have or not to have. */
export function traceHinges(
  rules: readonly TraceRule[],
  query: TraceQuery,
  options: TraceOptions,
): readonly TraceHinge[] {
  const before = passes(tracePolicy(rules, query, options).verdict);
  return (['source', 'destination'] as const).flatMap((end) => {
    const party = query[end];
    return attempts(rules, party, end).flatMap(({ labels, rule }) => {
      const changed = { ...party, labels: labelSet([...party.labels, ...labels]) };
      const { verdict } = tracePolicy(rules, { ...query, [end]: changed }, options);
      return passes(verdict) === before ? [] : [{ end, labels: formatLabels(labels), verdict, rule }];
    });
  });
}
