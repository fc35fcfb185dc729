import { type L7Rules, PAIR_KINDS } from '../model/l7.ts';
import type { Decoder, Field } from './decoder.ts';
import { L7_FIELDS } from './fields.ts';
import { decodeDnsRules } from './parse-dns.ts';
import { decodeHttpRule } from './parse-http.ts';
import { decodeKafkaRule } from './parse-kafka.ts';
import { decodePairRules } from './parse-pairs.ts';

const KINDS = ['http', 'kafka', 'dns', 'l7proto'] as const;

/** The name of the field `l7proto`; undefined without one. `l7` alone is reported. */
function protocolName(decoder: Decoder, fields: ReadonlyMap<string, Field>): string | undefined {
  const field = fields.get('l7proto');
  const name = field && decoder.text(field);
  if (name !== undefined && name !== '') return name;
  const pairs = fields.get('l7');
  if (pairs !== undefined && (field === undefined || name === '')) {
    const reason = 'l7 needs l7proto, which names its protocol';
    decoder.report(pairs, 'CONFLICT', reason, `known: ${PAIR_KINDS.join(', ')}`);
  }
  return undefined;
}

type Kind = (typeof KINDS)[number];

/** The kinds of rules that the field has. More than one is reported. */
function kindsOf(
  decoder: Decoder,
  fields: ReadonlyMap<string, Field>,
  protocol: string | undefined,
): readonly Kind[] {
  const kinds = KINDS.filter((kind) => (kind === 'l7proto' ? protocol !== undefined : fields.has(kind)));
  const [first, second] = kinds;
  const field = second === undefined ? undefined : fields.get(second);
  if (field !== undefined) {
    const reason = `${first} and ${second} cannot stand in one entry: a port has one parser`;
    decoder.report(field, 'CONFLICT', reason, 'make two entries of toPorts with ports of their own');
  }
  return kinds;
}

/**
 * Reads `rules` of an entry of `toPorts`. An empty list of rules restricts nothing, in both versions of Cilium: it is
 * as if it were not there.
 */
export function decodeL7Rules(decoder: Decoder, field: Field): L7Rules | undefined {
  const fields = decoder.fields(field, L7_FIELDS);
  if (fields === undefined) return undefined;
  const name = protocolName(decoder, fields);
  // Where there are several, which is an error, the others are read for theirs.
  const [rules] = kindsOf(decoder, fields, name).map((kind) =>
    kind === 'l7proto' ? decodeProtocol(decoder, fields, name) : decodeList(decoder, kind, fields.get(kind)),
  );
  return rules;
}

function decodeProtocol(
  decoder: Decoder,
  fields: ReadonlyMap<string, Field>,
  name: string | undefined,
): L7Rules | undefined {
  const protocol = fields.get('l7proto');
  if (protocol === undefined || name === undefined) return undefined;
  return decodePairRules(decoder, { field: protocol, name, list: fields.get('l7') });
}

function decodeList(
  decoder: Decoder,
  kind: Exclude<Kind, 'l7proto'>,
  list: Field | undefined,
): L7Rules | undefined {
  const items = list && decoder.items(list);
  if (list === undefined || items === undefined) return undefined;
  if (items.length === 0) {
    decoder.warn(list, `an empty list of ${kind} rules restricts nothing`, 'leave it out, or write a rule');
    return undefined;
  }
  if (kind === 'http')
    return {
      kind,
      rules: items.map((item) => decodeHttpRule(decoder, item)).filter((rule) => rule !== undefined),
    };
  if (kind === 'kafka')
    return {
      kind,
      rules: items.map((item) => decodeKafkaRule(decoder, item)).filter((rule) => rule !== undefined),
    };
  return { kind, rules: items.flatMap((item) => decodeDnsRules(decoder, item)) };
}
