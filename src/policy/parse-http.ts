import type { HeaderMatch, HttpRule, SecretName } from '../model/l7.ts';
import { type Decoder, type Field, quote, suggestion } from './decoder.ts';
import { HEADER_MATCH_FIELDS, HTTP_FIELDS, SECRET_FIELDS } from './fields.ts';
import { decodeNamespaceName, decodeObjectName } from './parse-context.ts';
import { MAX_REGEX_LENGTH, regexProblem } from './regex.ts';

const MISMATCH_ACTIONS = ['LOG', 'ADD', 'DELETE', 'REPLACE'] as const;

/** Name of a header (RFC 9110 §5.1, `token`). */
const TOKEN = /^[-!#$%&'*+.^_`|~0-9A-Za-z]+$/;
/** What a header's value cannot hold (RFC 9110 §5.5). */
const NO_VALUE = /[\0\r\n]/;

const RE2_HINT = 'the syntax is that of RE2: no look-ahead, no look-behind, no back-references';
const NOTHING = 'this rule allows nothing';

/**
 * Reads a regular expression; an empty one is none.
 * @param checked whether Cilium refuses what is none; else the rule that has it allows nothing
 */
function decodeRegex(decoder: Decoder, field: Field | undefined, checked: boolean): string | undefined {
  const text = field && decoder.text(field);
  if (field === undefined || text === undefined || text === '') return undefined;
  const problem = regexProblem(text);
  if (problem === undefined) return text;
  const reason = `${quote(text)} is not a regular expression: ${problem}`;
  if (checked || text.length > MAX_REGEX_LENGTH) return decoder.report(field, 'VALUE', reason, RE2_HINT);
  decoder.warn(field, `${reason}: ${NOTHING}`, RE2_HINT);
  return text;
}

const HEADER_HINT = 'write "Name: value", or "Name" for any value';

function checkName(decoder: Decoder, field: Field, name: string): void {
  if (TOKEN.test(name)) return;
  const reason = name === '' ? 'the name of the header is empty' : `${quote(name)} is no name of a header`;
  decoder.warn(field, `${reason}: ${NOTHING}`, HEADER_HINT);
}

function checkValue(decoder: Decoder, field: Field, value: string): void {
  if (NO_VALUE.test(value))
    decoder.warn(field, `the value of a header holds no line break and no NUL: ${NOTHING}`);
}

/** Reads `Name: value` or `Name`; blanks around the value do not count, as in requests. Cilium takes any text. */
function decodeHeader(decoder: Decoder, field: Field): string | undefined {
  const text = decoder.text(field)?.trim();
  if (text === undefined) return undefined;
  const blank = `${text} `.indexOf(' ');
  const name = text.slice(0, blank).replace(/:$/, '');
  const value = text.slice(blank).trim();
  checkName(decoder, field, name);
  checkValue(decoder, field, value);
  return value === '' ? name : `${name}: ${value}`;
}

function decodeMismatch(decoder: Decoder, field: Field | undefined): HeaderMatch['mismatch'] {
  const text = field && decoder.text(field);
  if (field === undefined || text === undefined || text === '') return undefined;
  const action = MISMATCH_ACTIONS.find((known) => known === text);
  if (action !== undefined) return action;
  const hint = suggestion(text, MISMATCH_ACTIONS);
  return decoder.report(field, 'VALUE', `${quote(text)} is not an action on mismatch`, hint);
}

/** Without a namespace it is the object's, which is filled in later. */
function decodeSecretName(decoder: Decoder, field: Field): SecretName | undefined {
  const fields = decoder.fields(field, SECRET_FIELDS);
  const nameField = fields?.get('name');
  const namespaceField = fields?.get('namespace');
  if (fields !== undefined && nameField === undefined) return decoder.missing(field, 'name');
  const name = nameField && decodeObjectName(decoder, nameField);
  const isNamed = namespaceField?.node.kind !== 'text' || namespaceField.node.value !== '';
  const namespace =
    namespaceField === undefined || !isNamed ? '' : decodeNamespaceName(decoder, namespaceField);
  return name === undefined || namespace === undefined ? undefined : { namespace, name };
}

function decodeHeaderMatch(decoder: Decoder, field: Field): HeaderMatch | undefined {
  const fields = decoder.fields(field, HEADER_MATCH_FIELDS);
  if (fields === undefined) return undefined;
  const nameField = fields.get('name');
  const valueField = fields.get('value');
  const nameText = nameField === undefined ? decoder.missing(field, 'name') : decoder.text(nameField);
  const value = (valueField && decoder.text(valueField)?.trim()) ?? '';
  if (valueField !== undefined) checkValue(decoder, valueField, value);
  const mismatch = decodeMismatch(decoder, fields.get('mismatch'));
  const secretField = fields.get('secret');
  const secret = secretField && decodeSecretName(decoder, secretField);
  if (nameField === undefined || nameText === undefined) return undefined;
  if (nameText === '') return decoder.report(nameField, 'VALUE', 'the name of the header is empty');
  checkName(decoder, nameField, nameText);
  return {
    name: nameText,
    value: value === '' ? undefined : value,
    ...(secret !== undefined && { secret }),
    ...(mismatch !== undefined && { mismatch }),
  };
}

function decodeList<T>(
  decoder: Decoder,
  field: Field | undefined,
  decode: (item: Field) => T | undefined,
): T[] {
  const items = field === undefined ? [] : (decoder.items(field) ?? []);
  return items.map(decode).filter((item) => item !== undefined);
}

/** Reads one entry of `rules.http`. */
export function decodeHttpRule(decoder: Decoder, field: Field): HttpRule | undefined {
  const fields = decoder.fields(field, HTTP_FIELDS);
  if (fields === undefined) return undefined;
  return {
    path: decodeRegex(decoder, fields.get('path'), true),
    method: decodeRegex(decoder, fields.get('method'), true),
    host: decodeRegex(decoder, fields.get('host'), false),
    headers: decodeList(decoder, fields.get('headers'), (item) => decodeHeader(decoder, item)),
    headerMatches: decodeList(decoder, fields.get('headerMatches'), (item) =>
      decodeHeaderMatch(decoder, item),
    ),
  };
}
