import { formatCidr, parseCidr } from '../base/ip.ts';
import { MAX_DNS_PATTERN_LENGTH } from '../model/dns-pattern.ts';
import { reservedIdentityNames } from '../model/identity.ts';
import { isLabelSourceText, LABEL_SOURCES, splitLabelKey } from '../model/labels.ts';
import {
  type LabelSelector,
  labelKeyProblem,
  labelValueProblem,
  type MatchExpression,
  type MatchLabel,
  makeSelector,
  SELECTOR_OPERATORS,
  type SelectorKey,
  type SelectorOperator,
  selectorKeyText,
} from '../model/selector.ts';
import { type Decoder, type Field, quote, suggestion } from './decoder.ts';
import { EXPRESSION_FIELDS, SELECTOR_FIELDS } from './fields.ts';
import { contradictoryKey } from './selector-contradiction.ts';

/** What a selector picks from: endpoints and nodes by any label, CIDR groups by their own, pods as a NetworkPolicy does. */
export type SelectorScope = 'any' | 'group' | 'kubernetes';

/** Source of keys that name none. */
const DEFAULT_SOURCE: Record<SelectorScope, string> = { any: 'any', group: 'cidrgroup', kubernetes: 'k8s' };

/** Those that labels of endpoints and nodes have. */
const SOURCES = LABEL_SOURCES.filter((source) => source !== 'cilium-generated');

/** What is wrong with a key; `idle`: Cilium takes it, and nothing has such a label. */
interface KeyProblem {
  readonly reason: string;
  readonly hint?: string | undefined;
  readonly idle?: boolean;
}

function idle(text: string, hint: string | undefined): KeyProblem {
  return { reason: `nothing has the label ${quote(text)}`, hint, idle: true };
}

function reservedProblem(key: string): KeyProblem | undefined {
  const names = reservedIdentityNames().filter((name) => name !== 'unknown');
  return names.includes(key) ? undefined : idle(`reserved:${key}`, suggestion(key, names));
}

function cidrProblem(key: string): KeyProblem | undefined {
  return isCidr(key) ? undefined : idle(`cidr:${key}`, 'write cidr:192.0.2.0/24');
}

function plainProblem(key: string, text: string): KeyProblem | undefined {
  const problem = labelKeyProblem(key);
  return problem === undefined
    ? undefined
    : {
        reason: `${quote(text)} is not a label key: ${problem}`,
        hint: 'write it as app, k8s:app or example.org/app',
      };
}

function fqdnProblem(key: string): KeyProblem | undefined {
  const fits = key.length <= MAX_DNS_PATTERN_LENGTH && /^[-a-z0-9_.*]+$/.test(key);
  return fits ? undefined : idle(`fqdn:${key}`, 'names of DNS are in lower case here');
}

function isCidr(text: string): boolean {
  const slash = text.indexOf('/');
  try {
    return slash > 0 && formatCidr(parseCidr(text)) === text;
  } catch {
    return false;
  }
}

/** What keys of sources with a form of their own must be like. */
const BY_SOURCE: Readonly<Record<string, (key: string) => KeyProblem | undefined>> = {
  reserved: reservedProblem,
  cidr: cidrProblem,
  fqdn: fqdnProblem,
};

function sourceProblem({ source }: SelectorKey): KeyProblem | undefined {
  if ((SOURCES as readonly string[]).includes(source)) return undefined;
  const hint = suggestion(source, SOURCES);
  if (!isLabelSourceText(source)) return { reason: `${quote(source)} is not a label source`, hint };
  return { reason: `nothing has labels of the source ${quote(source)}`, hint, idle: true };
}

function keyProblem(key: SelectorKey, text: string, scope: SelectorScope): KeyProblem | undefined {
  if (scope !== 'any' && key.source !== DEFAULT_SOURCE[scope])
    return {
      reason: `${quote(text)} has a label source: here keys have none`,
      hint: `write ${quote(key.key)}`,
    };
  const source = sourceProblem(key);
  if (source !== undefined && source.idle !== true) return source;
  const own = BY_SOURCE[key.source]?.(key.key);
  if (Object.hasOwn(BY_SOURCE, key.source) && own === undefined) return undefined;
  return plainProblem(key.key, text) ?? own ?? source;
}

/** Cilium writes `-` for `:` in labels of IPv6 prefixes, since `:` ends the source; we take both. */
function canonicalKey(key: SelectorKey): SelectorKey {
  const dashed = key.source === 'cidr' && !key.key.includes(':') && key.key.includes('-');
  return dashed ? { ...key, key: key.key.replaceAll('-', ':') } : key;
}

/** Reads and checks a selector's key that stands at `at`. */
function decodeKey(place: KeyPlace, text: string): SelectorKey | undefined {
  const { decoder, at, path, scope } = place;
  const key = canonicalKey(splitLabelKey(text, DEFAULT_SOURCE[scope]));
  const problem = keyProblem(key, text, scope);
  if (problem === undefined) return key;
  if (problem.idle !== true) return decoder.reportAt(at, path, 'VALUE', problem.reason, problem.hint);
  decoder.warnAt(at, path, problem.reason, problem.hint);
  return key;
}

interface KeyPlace {
  readonly decoder: Decoder;
  readonly at: number;
  readonly path: string;
  readonly scope: SelectorScope;
}

function decodeValue(decoder: Decoder, field: Field): string | undefined {
  const value = decoder.text(field);
  if (value === undefined) return undefined;
  const problem = labelValueProblem(value);
  if (problem === undefined) return value;
  return decoder.report(
    field,
    'VALUE',
    `${quote(value)} is not a label value: ${problem}`,
    'write the value as the label has it',
  );
}

function decodeMatchLabels(decoder: Decoder, field: Field, scope: SelectorScope): MatchLabel[] {
  const labels: MatchLabel[] = [];
  const seen = new Set<string>();
  for (const entry of decoder.entries(field) ?? []) {
    const key = decodeKey({ decoder, at: entry.keyAt, path: entry.value.path, scope }, entry.key);
    const value = decodeValue(decoder, entry.value);
    if (key === undefined || value === undefined) continue;
    const text = selectorKeyText(key);
    if (seen.has(text)) {
      decoder.reportAt(entry.keyAt, entry.value.path, 'CONFLICT', `${text} occurs twice`, 'keep one of them');
    }
    seen.add(text);
    labels.push({ ...key, value });
  }
  return labels;
}

function isOperator(text: string): text is SelectorOperator {
  return (SELECTOR_OPERATORS as readonly string[]).includes(text);
}

function decodeOperator(decoder: Decoder, field: Field): SelectorOperator | undefined {
  const text = decoder.text(field);
  if (text === undefined || isOperator(text)) return text;
  const hint = suggestion(text, SELECTOR_OPERATORS);
  return decoder.report(field, 'VALUE', `${quote(text)} is not an operator`, hint);
}

function decodeExpression(decoder: Decoder, field: Field, scope: SelectorScope): MatchExpression | undefined {
  const fields = decoder.fields(field, EXPRESSION_FIELDS);
  if (fields === undefined) return undefined;
  const keyField = fields.get('key');
  const operatorField = fields.get('operator');
  const valuesField = fields.get('values');
  if (keyField === undefined) decoder.missing(field, 'key');
  if (operatorField === undefined)
    decoder.missing(field, 'operator', 'one of In, NotIn, Exists, DoesNotExist');
  const keyText = keyField && decoder.text(keyField);
  const key =
    keyField && keyText !== undefined
      ? decodeKey({ decoder, at: keyField.node.at, path: keyField.path, scope }, keyText)
      : undefined;
  const operator = operatorField && decodeOperator(decoder, operatorField);
  const items = valuesField && decoder.items(valuesField);
  const values = (items ?? []).map((item) => decodeValue(decoder, item));
  if (key === undefined || operator === undefined || (valuesField !== undefined && items === undefined))
    return undefined;
  const wantsValues = operator === 'In' || operator === 'NotIn';
  if (wantsValues && values.length === 0) {
    return decoder.report(
      valuesField ?? field,
      'VALUE',
      `${operator} needs at least one value`,
      operator === 'In' ? 'name values, or use Exists' : 'name values, or use DoesNotExist',
    );
  }
  if (!wantsValues && values.length > 0 && valuesField !== undefined) {
    return decoder.report(valuesField, 'VALUE', `${operator} takes no values`, 'remove the values');
  }
  const known = values.filter((value) => value !== undefined);
  return known.length === values.length ? { ...key, operator, values: known } : undefined;
}

function warnOfContradiction(decoder: Decoder, field: Field, selector: LabelSelector): void {
  const key = contradictoryKey(selector);
  if (key === undefined) return;
  const reason = `selects nothing: what it asks of ${key} cannot all be so`;
  decoder.warn(field, reason, 'write a selector for each of the alternatives');
}

/** Reads a label selector; what is wrong in it is reported, and the answer then lacks that part. */
export function decodeSelector(
  decoder: Decoder,
  field: Field,
  scope: SelectorScope = 'any',
): LabelSelector | undefined {
  const fields = decoder.fields(field, SELECTOR_FIELDS);
  if (fields === undefined) return undefined;
  const labels = fields.get('matchLabels');
  const expressions = fields.get('matchExpressions');
  const matchLabels = labels === undefined ? [] : decodeMatchLabels(decoder, labels, scope);
  const items = expressions === undefined ? [] : (decoder.items(expressions) ?? []);
  const matchExpressions = items.map((item) => decodeExpression(decoder, item, scope));
  const selector = makeSelector(
    matchLabels,
    matchExpressions.filter((part) => part !== undefined),
  );
  warnOfContradiction(decoder, field, selector);
  return selector;
}
