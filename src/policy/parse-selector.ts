import { reservedIdentityNames } from '../model/identity.ts';
import {
  type LabelSelector,
  labelKeyProblem,
  labelValueProblem,
  type MatchExpression,
  type MatchLabel,
  makeSelector,
  parseSelectorKey,
  SELECTOR_OPERATORS,
  type SelectorKey,
  type SelectorOperator,
  selectorKeyText,
} from '../model/selector.ts';
import { type Decoder, type Field, quote, suggestion } from './decoder.ts';
import { EXPRESSION_FIELDS, SELECTOR_FIELDS } from './fields.ts';

const SELECTOR_SOURCES = ['any', 'k8s', 'reserved', 'container', 'unspec'] as const;
const REFUSED_SOURCES = ['cidr', 'cidrgroup', 'fqdn', 'node', 'directory', 'cilium-generated'] as const;

function sourceProblem(source: string): { reason: string; hint: string | undefined } | undefined {
  if ((SELECTOR_SOURCES as readonly string[]).includes(source)) return undefined;
  if ((REFUSED_SOURCES as readonly string[]).includes(source)) {
    return {
      reason: `selecting labels of source ${source} is not supported by this version`,
      hint: undefined,
    };
  }
  return {
    reason: `${quote(source)} is not a known label source`,
    hint: suggestion(source, SELECTOR_SOURCES),
  };
}

/** Reads and checks a selector's key that stands at `at`. */
function decodeKey(decoder: Decoder, text: string, at: number, path: string): SelectorKey | undefined {
  const key = parseSelectorKey(text);
  const source = sourceProblem(key.source);
  if (source !== undefined) return decoder.reportAt(at, path, 'VALUE', source.reason, source.hint);
  if (key.source === 'reserved') {
    const names = reservedIdentityNames().filter((name) => name !== 'unknown');
    if (names.includes(key.key)) return key;
    const reason = `${quote(key.key)} is not a reserved label`;
    return decoder.reportAt(at, path, 'VALUE', reason, suggestion(key.key, names));
  }
  const problem = labelKeyProblem(key.key);
  if (problem !== undefined)
    return decoder.reportAt(at, path, 'VALUE', `${quote(text)} is not a label key: ${problem}`);
  return key;
}

function decodeValue(decoder: Decoder, field: Field): string | undefined {
  const value = decoder.text(field);
  if (value === undefined) return undefined;
  const problem = labelValueProblem(value);
  if (problem === undefined) return value;
  return decoder.report(field, 'VALUE', `${quote(value)} is not a label value: ${problem}`);
}

function decodeMatchLabels(decoder: Decoder, field: Field): MatchLabel[] {
  const labels: MatchLabel[] = [];
  const seen = new Set<string>();
  for (const entry of decoder.entries(field) ?? []) {
    const key = decodeKey(decoder, entry.key, entry.keyAt, entry.value.path);
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

function decodeExpression(decoder: Decoder, field: Field): MatchExpression | undefined {
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
      ? decodeKey(decoder, keyText, keyField.node.at, keyField.path)
      : undefined;
  const operator = operatorField && decodeOperator(decoder, operatorField);
  const items = valuesField && decoder.items(valuesField);
  const values = (items ?? []).map((item) => decodeValue(decoder, item));
  if (key === undefined || operator === undefined || (valuesField !== undefined && items === undefined))
    return undefined;
  const wantsValues = operator === 'In' || operator === 'NotIn';
  if (wantsValues && values.length === 0) {
    return decoder.report(valuesField ?? field, 'VALUE', `${operator} needs at least one value`);
  }
  if (!wantsValues && values.length > 0 && valuesField !== undefined) {
    return decoder.report(valuesField, 'VALUE', `${operator} takes no values`, 'remove the values');
  }
  const known = values.filter((value) => value !== undefined);
  return known.length === values.length ? { ...key, operator, values: known } : undefined;
}

/** Reads a label selector; what is wrong in it is reported, and the answer then lacks that part. */
export function decodeSelector(decoder: Decoder, field: Field): LabelSelector | undefined {
  const fields = decoder.fields(field, SELECTOR_FIELDS);
  if (fields === undefined) return undefined;
  const labels = fields.get('matchLabels');
  const expressions = fields.get('matchExpressions');
  const matchLabels = labels === undefined ? [] : decodeMatchLabels(decoder, labels);
  const items = expressions === undefined ? [] : (decoder.items(expressions) ?? []);
  const matchExpressions = items.map((item) => decodeExpression(decoder, item));
  return makeSelector(
    matchLabels,
    matchExpressions.filter((part) => part !== undefined),
  );
}
