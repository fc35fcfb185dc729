import type { HeaderMatch, HttpRule } from '../model/l7.ts';
import { type Decoder, type Field, quote, suggestion } from './decoder.ts';
import { HEADER_MATCH_FIELDS, HTTP_FIELDS } from './fields.ts';
import { regexProblem } from './regex.ts';

const MISMATCH_ACTIONS = ['LOG', 'ADD', 'DELETE', 'REPLACE'] as const;

/** Name of a header (RFC 9110 §5.1, `token`). */
const TOKEN = /^[-!#$%&'*+.^_`|~0-9A-Za-z]+$/;
/** What a header's value cannot hold (RFC 9110 §5.5). */
const NO_VALUE = /[\0\r\n]/;

/** Reads a regular expression; an empty one is none. */
function decodeRegex(decoder: Decoder, field: Field | undefined): string | undefined {
  const text = field && decoder.text(field);
  if (field === undefined || text === undefined || text === '') return undefined;
  const problem = regexProblem(text);
  if (problem === undefined) return text;
  const hint = 'the syntax is that of RE2: no look-ahead, no look-behind, no back-references';
  return decoder.report(field, 'VALUE', `${quote(text)} is not a regular expression: ${problem}`, hint);
}

function checkName(decoder: Decoder, field: Field, name: string): string | undefined {
  if (TOKEN.test(name)) return name;
  const reason =
    name === '' ? 'the name of the header is empty' : `${quote(name)} is not the name of a header`;
  return decoder.report(field, 'VALUE', reason, 'write "Name: value", or "Name" for any value');
}

function checkValue(decoder: Decoder, field: Field, value: string): string | undefined {
  if (!NO_VALUE.test(value)) return value;
  return decoder.report(field, 'VALUE', 'the value of a header holds no line break and no NUL');
}

/** Reads `Name: value` or `Name`; blanks around the value do not count, as in requests. */
function decodeHeader(decoder: Decoder, field: Field): string | undefined {
  const text = decoder.text(field)?.trim();
  if (text === undefined) return undefined;
  const blank = `${text} `.indexOf(' ');
  const name = checkName(decoder, field, text.slice(0, blank).replace(/:$/, ''));
  const value = checkValue(decoder, field, text.slice(blank).trim());
  if (name === undefined || value === undefined) return undefined;
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

function decodeHeaderMatch(decoder: Decoder, field: Field): HeaderMatch | undefined {
  const fields = decoder.fields(field, HEADER_MATCH_FIELDS);
  if (fields === undefined) return undefined;
  const nameField = fields.get('name');
  const valueField = fields.get('value');
  const nameText = nameField === undefined ? decoder.missing(field, 'name') : decoder.text(nameField);
  const valueText = valueField && decoder.text(valueField);
  const value =
    valueField === undefined || valueText === undefined
      ? undefined
      : checkValue(decoder, valueField, valueText.trim());
  const mismatch = decodeMismatch(decoder, fields.get('mismatch'));
  const name = nameField && nameText !== undefined ? checkName(decoder, nameField, nameText) : undefined;
  if (name === undefined) return undefined;
  return { name, value: value === '' ? undefined : value, ...(mismatch !== undefined && { mismatch }) };
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
    path: decodeRegex(decoder, fields.get('path')),
    method: decodeRegex(decoder, fields.get('method')),
    host: decodeRegex(decoder, fields.get('host')),
    headers: decodeList(decoder, fields.get('headers'), (item) => decodeHeader(decoder, item)),
    headerMatches: decodeList(decoder, fields.get('headerMatches'), (item) =>
      decodeHeaderMatch(decoder, item),
    ),
  };
}
