import { formatLabel, type Label, LabelKey, splitLabelKey } from './labels.ts';

/** Key of a selector: `source` is `any` when the author named none, and then labels of every source match. */
export interface SelectorKey {
  readonly source: string;
  readonly key: string;
}

export interface MatchLabel extends SelectorKey {
  readonly value: string;
}

export const SELECTOR_OPERATORS = ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const;
export type SelectorOperator = (typeof SELECTOR_OPERATORS)[number];

export interface MatchExpression extends SelectorKey {
  readonly operator: SelectorOperator;
  /** At least one for In and NotIn, none for the others. */
  readonly values: readonly string[];
}

/** Every part must hold; without parts the selector matches every label set. */
export interface LabelSelector {
  /** Sorted by `source:key`, each key once. */
  readonly matchLabels: readonly MatchLabel[];
  readonly matchExpressions: readonly MatchExpression[];
}

export const EMPTY_SELECTOR: LabelSelector = { matchLabels: [], matchExpressions: [] };

/** Reads `key` or `source:key`; without a source it is `any`. The key is not checked. */
export function parseSelectorKey(text: string): SelectorKey {
  return splitLabelKey(text, 'any');
}

/** `source:key`. */
export function selectorKeyText(key: SelectorKey): string {
  return `${key.source}:${key.key}`;
}

/** Builds a selector in its canonical order. */
export function makeSelector(
  matchLabels: readonly MatchLabel[],
  matchExpressions: readonly MatchExpression[] = [],
): LabelSelector {
  const byKey = (a: MatchLabel, b: MatchLabel): number => (selectorKeyText(a) < selectorKeyText(b) ? -1 : 1);
  return { matchLabels: [...matchLabels].sort(byKey), matchExpressions };
}

export function isEmptySelector(selector: LabelSelector): boolean {
  return selector.matchLabels.length === 0 && selector.matchExpressions.length === 0;
}

function someLabel(
  labels: readonly Label[],
  wanted: SelectorKey,
  accepts: (value: string) => boolean,
): boolean {
  for (const label of labels) {
    const sameKey = label.key === wanted.key && (wanted.source === 'any' || wanted.source === label.source);
    if (sameKey && accepts(label.value)) return true;
  }
  return false;
}

const EVALUATE: Record<SelectorOperator, (labels: readonly Label[], part: MatchExpression) => boolean> = {
  In: (labels, part) => someLabel(labels, part, (value) => part.values.includes(value)),
  NotIn: (labels, part) => !someLabel(labels, part, (value) => part.values.includes(value)),
  Exists: (labels, part) => someLabel(labels, part, () => true),
  DoesNotExist: (labels, part) => !someLabel(labels, part, () => true),
};

/**
 * Whether the label set satisfies every part. NotIn and DoesNotExist hold when the key is absent. A key of source
 * `any` sees the labels of all sources: In holds if one of them has a listed value, NotIn if none has.
 */
export function matchesSelector(selector: LabelSelector, labels: readonly Label[]): boolean {
  return (
    selector.matchLabels.every((part) => someLabel(labels, part, (value) => value === part.value)) &&
    selector.matchExpressions.every((part) => EVALUATE[part.operator](labels, part))
  );
}

function expressionText(part: MatchExpression): string {
  const key = selectorKeyText(part);
  return part.values.length === 0
    ? `${key} ${part.operator}`
    : `${key} ${part.operator} (${[...part.values].sort().join(',')})`;
}

/** Text that two selectors share exactly when they consist of the same parts: `any:app=web,k8s:tier In (a,b)`. */
export function selectorText(selector: LabelSelector): string {
  const labels = selector.matchLabels.map((part) => formatLabel(part));
  const expressions = selector.matchExpressions.map(expressionText).sort();
  return [...labels, ...expressions].join(',');
}

/** A selector in the form of a rule's JSON, keys with their source. */
export interface SelectorJson {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: SelectorOperator;
    readonly values?: readonly string[];
  }[];
}

export function selectorJson(selector: LabelSelector): SelectorJson {
  const { matchLabels, matchExpressions } = selector;
  return {
    ...(matchLabels.length > 0 && {
      matchLabels: Object.fromEntries(matchLabels.map((part) => [selectorKeyText(part), part.value])),
    }),
    ...(matchExpressions.length > 0 && {
      matchExpressions: matchExpressions.map((part) => ({
        key: selectorKeyText(part),
        operator: part.operator,
        ...(part.values.length > 0 && { values: part.values }),
      })),
    }),
  };
}

/** The text by which the API of Cilium 1.19 names a selector: `&LabelSelector{MatchLabels:map[string]string{...},...}`. */
export function goSelectorText(selector: LabelSelector): string {
  const dotted = (key: SelectorKey): string => `${key.source}.${key.key}`;
  const labels = [...selector.matchLabels]
    .map((part) => `${dotted(part)}: ${part.value},`)
    .sort()
    .join('');
  const expressions = selector.matchExpressions
    .map(
      (part) =>
        `LabelSelectorRequirement{Key:${dotted(part)},Operator:${part.operator},Values:[${part.values.join(' ')}],},`,
    )
    .join('');
  const map = labels === '' ? 'map[string]string{}' : `map[string]string{${labels}}`;
  return `&LabelSelector{MatchLabels:${map},MatchExpressions:[]LabelSelectorRequirement{${expressions}},}`;
}

const NAME = /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/**
 * Why `key` is not a label key of Kubernetes (`[prefix/]name`), or undefined when it is one. The prefix that
 * Cilium puts before a namespace's labels does not count.
 */
export function labelKeyProblem(key: string): string | undefined {
  const bare = key.startsWith(LabelKey.namespaceLabelPrefix)
    ? key.slice(LabelKey.namespaceLabelPrefix.length)
    : key;
  const slash = bare.indexOf('/');
  const prefix = slash < 0 ? undefined : bare.slice(0, slash);
  const name = bare.slice(slash + 1);
  if (name === '') return 'the key is empty';
  if (name.length > 63) return `the name part has ${name.length} characters, at most 63 are allowed`;
  if (!NAME.test(name)) {
    return 'a key consists of letters, digits, "-", "_" and "." and begins and ends with a letter or digit';
  }
  if (prefix === undefined) return undefined;
  if (prefix.length > 253 || !SUBDOMAIN.test(prefix)) {
    return 'the part before "/" must be a DNS name in lower case of at most 253 characters';
  }
  return undefined;
}

const MAX_VALUE_LENGTH = 253;

/** Why `value` cannot be a label's value, or undefined. 253 characters, not 63: names of service accounts are values too. */
export function labelValueProblem(value: string): string | undefined {
  if (value === '') return undefined;
  if (value.length > MAX_VALUE_LENGTH) {
    return `the value has ${value.length} characters, at most ${MAX_VALUE_LENGTH} are allowed`;
  }
  if (!NAME.test(value)) {
    return 'a value consists of letters, digits, "-", "_" and "." and begins and ends with a letter or digit';
  }
  return undefined;
}
