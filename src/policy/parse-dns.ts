import {
  DnsPatternError,
  NO_DNS_NAME,
  parseDnsName,
  parseDnsPattern,
  parseDnsRegex,
} from '../model/dns-pattern.ts';
import type { DnsPattern } from '../model/l7.ts';
import { type Decoder, type Field, quote } from './decoder.ts';
import { DNS_FIELDS } from './fields.ts';

function decodePattern(
  decoder: Decoder,
  field: Field | undefined,
  parse: (text: string) => DnsPattern,
): DnsPattern | undefined {
  const text = field && decoder.text(field);
  if (field === undefined || text === undefined || text === '') return undefined;
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof DnsPatternError)) throw error;
    const regex = parse === parseDnsName ? parseDnsRegex(text) : undefined;
    if (regex === undefined)
      return decoder.report(
        field,
        'VALUE',
        error.message,
        error.hint ?? 'write www.example.org, *.example.org, **.example.org or *',
      );
    const reason = `${quote(text)} is a regular expression, as 2018 had them, held against whole names`;
    decoder.warn(field, reason, 'write matchPattern');
    return regex;
  }
}

/** Reads an entry of `rules.dns`: a name, a pattern, or both, and then either will do. One without either matches nothing. */
export function decodeDnsRules(decoder: Decoder, field: Field): DnsPattern[] {
  const fields = decoder.fields(field, DNS_FIELDS);
  if (fields === undefined) return [];
  const parts = [fields.get('matchName'), fields.get('matchPattern')];
  if (parts.every((part) => part === undefined || (part.node.kind === 'text' && part.node.value === ''))) {
    decoder.warn(field, 'without name and pattern no name matches', 'write matchName or matchPattern');
    return [NO_DNS_NAME];
  }
  const name = decodePattern(decoder, parts[0], parseDnsName);
  const pattern = decodePattern(decoder, parts[1], parseDnsPattern);
  return [name, pattern].filter((part) => part !== undefined);
}

/** Reads an entry of `toFQDNs`: a name or a pattern. */
export function decodeFqdn(decoder: Decoder, field: Field): DnsPattern | undefined {
  const [first, second] = decodeDnsRules(decoder, field);
  if (second === undefined) return first;
  const reason = 'matchName and matchPattern cannot stand in one entry of toFQDNs';
  return decoder.report(field, 'CONFLICT', reason, 'make two entries of it');
}
