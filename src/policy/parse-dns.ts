import { DnsPatternError, parseDnsName, parseDnsPattern } from '../model/dns-pattern.ts';
import type { DnsPattern } from '../model/l7.ts';
import type { Decoder, Field } from './decoder.ts';
import { DNS_FIELDS } from './fields.ts';

function decodePattern(
  decoder: Decoder,
  field: Field | undefined,
  parse: (text: string) => DnsPattern,
): DnsPattern | undefined {
  const text = field && decoder.text(field);
  if (field === undefined || text === undefined) return undefined;
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof DnsPatternError)) throw error;
    return decoder.report(field, 'VALUE', error.message, error.hint);
  }
}

/** Reads an entry of `rules.dns`: a name, a pattern, or both, and then either will do. */
export function decodeDnsRules(decoder: Decoder, field: Field): DnsPattern[] {
  const fields = decoder.fields(field, DNS_FIELDS);
  if (fields === undefined) return [];
  if (fields.size === 0) decoder.missing(field, 'matchName', 'write matchName or matchPattern');
  const name = decodePattern(decoder, fields.get('matchName'), parseDnsName);
  const pattern = decodePattern(decoder, fields.get('matchPattern'), parseDnsPattern);
  return [name, pattern].filter((part) => part !== undefined);
}

/** Reads an entry of `toFQDNs`: a name or a pattern. */
export function decodeFqdn(decoder: Decoder, field: Field): DnsPattern | undefined {
  const [first, second] = decodeDnsRules(decoder, field);
  if (second === undefined) return first;
  const reason = 'matchName and matchPattern cannot stand in one entry of toFQDNs';
  return decoder.report(field, 'CONFLICT', reason, 'make two entries of it');
}
