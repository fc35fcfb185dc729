import type { L7Rules } from '../model/l7.ts';
import type { Decoder, Field } from './decoder.ts';
import { L7_FIELDS } from './fields.ts';
import { decodeDnsRules } from './parse-dns.ts';
import { decodeHttpRule } from './parse-http.ts';
import { decodeKafkaRule } from './parse-kafka.ts';

const OWN_KINDS = ['http', 'kafka', 'dns'] as const;

function refuseOwnProtocol(decoder: Decoder, fields: ReadonlyMap<string, Field>): void {
  const protocol = fields.get('l7proto');
  const name = protocol && decoder.text(protocol);
  const pairs = fields.get('l7');
  if (protocol !== undefined && name !== undefined && name !== '') {
    const reason = `there is no parser for ${JSON.stringify(name.slice(0, 60))}`;
    decoder.report(protocol, 'UNSUPPORTED', reason, `parsers: ${OWN_KINDS.join(', ')}`);
  } else if (pairs !== undefined) {
    decoder.report(pairs, 'CONFLICT', 'l7 needs l7proto, which names its parser', 'write http, kafka or dns');
  }
}

/** Rules of each kind that the field has; `undefined` when there is none, or more than one. */
function onlyKind(
  decoder: Decoder,
  fields: ReadonlyMap<string, Field>,
): (typeof OWN_KINDS)[number] | undefined {
  const kinds = OWN_KINDS.filter((kind) => fields.has(kind));
  const [first, second] = kinds;
  if (first === undefined || second === undefined) return first;
  const field = fields.get(second);
  if (field === undefined) return undefined;
  const reason = `${first} and ${second} cannot stand in one entry: a port has one parser`;
  return decoder.report(field, 'CONFLICT', reason, 'make two entries of toPorts with ports of their own');
}

/**
 * Reads `rules` of an entry of `toPorts`. An empty list of rules restricts nothing, in both versions of Cilium: it is
 * as if it were not there.
 */
export function decodeL7Rules(decoder: Decoder, field: Field): L7Rules | undefined {
  const fields = decoder.fields(field, L7_FIELDS);
  if (fields === undefined) return undefined;
  refuseOwnProtocol(decoder, fields);
  const kind = onlyKind(decoder, fields);
  const list = kind === undefined ? undefined : fields.get(kind);
  const items = list && decoder.items(list);
  if (kind === undefined || list === undefined || items === undefined) return undefined;
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
