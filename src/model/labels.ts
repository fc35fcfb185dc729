import { createHash } from 'node:crypto';
import { UsageError } from '../base/errors.ts';

/** One label, `source:key=value`; the value may be empty. */
export interface Label {
  readonly source: string;
  readonly key: string;
  readonly value: string;
}

/** Sources a label may have. `any` stands for every source and appears only in selectors and filters. */
export const LABEL_SOURCES = [
  'any',
  'cidr',
  'cidrgroup',
  'cilium-generated',
  'container',
  'directory',
  'fqdn',
  'k8s',
  'node',
  'reserved',
  'unspec',
] as const;

/** Keys of the labels that Kubernetes objects get; all with source `k8s`. */
export const LabelKey = {
  podNamespace: 'io.kubernetes.pod.namespace',
  namespaceLabelPrefix: 'io.cilium.k8s.namespace.labels.',
  serviceAccount: 'io.cilium.k8s.policy.serviceaccount',
  cluster: 'io.cilium.k8s.policy.cluster',
  policyName: 'io.cilium.k8s.policy.name',
  policyNamespace: 'io.cilium.k8s.policy.namespace',
  policyDerivedFrom: 'io.cilium.k8s.policy.derived-from',
} as const;

const MAX_KEY_LENGTH = 512;
const MAX_VALUE_LENGTH = 512;

/** A label's text cannot be read, or a set of labels contradicts itself. Codes LABEL_INVALID, LABEL_SOURCE_UNKNOWN, LABEL_DUPLICATE. */
export class LabelError extends UsageError {}

export function isLabelSource(source: string): boolean {
  return (LABEL_SOURCES as readonly string[]).includes(source);
}

/** Splits `source:key` at the first colon; without one, or with nothing before it, the source is `defaultSource`. */
export function splitLabelKey(text: string, defaultSource: string): { source: string; key: string } {
  const colon = text.indexOf(':');
  if (colon < 0) return { source: defaultSource, key: text };
  const source = text.slice(0, colon);
  return { source: source === '' ? defaultSource : source, key: text.slice(colon + 1) };
}

/** White space, control characters of both ranges, and those that turn the order of what a terminal shows. */
const CONTROL_OR_SPACE = /[\s\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/u;

/** Which sources a label may have: endpoints those that are known, rules any, as in Cilium. */
export type LabelSources = 'known' | 'any';

/** Text of a source that nobody knows. */
const SOURCE = /^[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;

/** Whether a text can be a source at all, known or not. */
export function isLabelSourceText(text: string): boolean {
  return SOURCE.test(text);
}

function checkLabel(text: string, label: Label, sources: LabelSources): void {
  const shown = JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text);
  const invalid = (reason: string): LabelError =>
    new LabelError(`${shown} is not a label: ${reason}`, {
      code: 'LABEL_INVALID',
      hint: 'write source:key=value, for example k8s:app=web',
    });
  if (sources === 'known' ? !isLabelSource(label.source) : !SOURCE.test(label.source)) {
    throw new LabelError(`${shown} has the unknown label source ${JSON.stringify(label.source)}`, {
      code: 'LABEL_SOURCE_UNKNOWN',
      hint: `known sources are ${LABEL_SOURCES.join(', ')}`,
    });
  }
  if (label.key === '') throw invalid('the key is empty');
  if (label.key.length > MAX_KEY_LENGTH) throw invalid(`the key is longer than ${MAX_KEY_LENGTH} characters`);
  if (label.value.length > MAX_VALUE_LENGTH)
    throw invalid(`the value is longer than ${MAX_VALUE_LENGTH} characters`);
  if (CONTROL_OR_SPACE.test(label.key)) throw invalid('the key holds white space or a control character');
  if (CONTROL_OR_SPACE.test(label.value)) throw invalid('the value holds white space or a control character');
}

/**
 * Reads `source:key=value`, `key=value` or `key`; the source ends at the first colon before the first `=`.
 * @param defaultSource the source when the text names none: `unspec` for labels, `any` for filters
 * @throws LabelError
 */
export function parseLabel(text: string, defaultSource = 'unspec', sources: LabelSources = 'known'): Label {
  const equals = text.indexOf('=');
  const left = equals < 0 ? text : text.slice(0, equals);
  const label = { ...splitLabelKey(left, defaultSource), value: equals < 0 ? '' : text.slice(equals + 1) };
  checkLabel(text, label, sources);
  return label;
}

/**
 * Checks a label that was given in parts.
 * @throws LabelError
 */
export function makeLabel(
  source: string,
  key: string,
  value: string,
  sources: LabelSources = 'known',
): Label {
  const label = { source, key, value };
  checkLabel(formatLabel(label), label, sources);
  return label;
}

/** `source:key=value`, without `=` when the value is empty. */
export function formatLabel(label: Label): string {
  return label.value === '' ? `${label.source}:${label.key}` : `${label.source}:${label.key}=${label.value}`;
}

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** Order by source, then key, then value, by UTF-16 code unit. */
export function compareLabels(a: Label, b: Label): number {
  return compareText(a.source, b.source) || compareText(a.key, b.key) || compareText(a.value, b.value);
}

/**
 * The canonical form of a label set: sorted by `compareLabels`, equal labels once.
 * @throws LabelError LABEL_DUPLICATE when one source:key has two values
 */
export function labelSet(labels: readonly Label[]): readonly Label[] {
  const sorted = [...labels].sort(compareLabels);
  const unique: Label[] = [];
  for (const label of sorted) {
    const last = unique.at(-1);
    if (last === undefined || last.source !== label.source || last.key !== label.key) unique.push(label);
    else if (last.value !== label.value) {
      throw new LabelError(`${formatLabel(last)} and ${formatLabel(label)} contradict each other`, {
        code: 'LABEL_DUPLICATE',
        hint: 'give each key one value',
      });
    }
  }
  return unique;
}

/**
 * Reads a label set; see `parseLabel` and `labelSet`.
 * @throws LabelError
 */
export function parseLabels(
  texts: readonly string[],
  defaultSource = 'unspec',
  sources: LabelSources = 'known',
): readonly Label[] {
  return labelSet(texts.map((text) => parseLabel(text, defaultSource, sources)));
}

/** The labels as text, in the order given. */
export function formatLabels(labels: readonly Label[]): string[] {
  return labels.map(formatLabel);
}

/** Keys and values may hold what separates them: unescaped, `a=x;k8s:b=y` would be one label and two. */
function escaped(text: string, what: RegExp): string {
  return text.replace(what, '\\$&');
}

/**
 * One string that two label sets share exactly when they are equal: each label as `source:key=value;`, sorted, with
 * a backslash before each backslash and `;` within key and value, and before each `=` within the key.
 */
export function labelSetText(labels: readonly Label[]): string {
  return [...labels]
    .sort(compareLabels)
    .map((label) => `${label.source}:${escaped(label.key, /[\\;=]/g)}=${escaped(label.value, /[\\;]/g)};`)
    .join('');
}

/** `labelsSHA256` of the API: SHA-512/256 in hexadecimal of the labels sorted by key, each as `source:key=value;`. */
export function labelsSha256(labels: readonly Label[]): string {
  const text = [...labels]
    .sort((a, b) => compareText(a.key, b.key) || compareLabels(a, b))
    .map((label) => `${label.source}:${label.key}=${label.value};`)
    .join('');
  return createHash('sha512-256').update(text).digest('hex');
}

/** Whether `wanted` (whose source may be `any`) is among `labels`. */
export function hasLabel(labels: readonly Label[], wanted: Label): boolean {
  return labels.some(
    (label) =>
      label.key === wanted.key &&
      label.value === wanted.value &&
      (wanted.source === 'any' || label.source === wanted.source),
  );
}

/** Whether every one of `wanted` is among `labels`; true for an empty `wanted`. */
export function hasLabels(labels: readonly Label[], wanted: readonly Label[]): boolean {
  return wanted.every((label) => hasLabel(labels, label));
}

/** Value of the first label with this source and key. */
export function labelValue(labels: readonly Label[], source: string, key: string): string | undefined {
  return labels.find((label) => label.source === source && label.key === key)?.value;
}
