import { type Decoder, type Field, quote, suggestion } from './decoder.ts';
import { ICMP_FIELDS, ICMP_RULE_FIELDS } from './fields.ts';
import type { IcmpSpec } from './rule.ts';

/** Fields that one entry of `icmps` may list, as in Cilium. */
export const MAX_ICMP_FIELDS = 40;
const MAX_TYPE = 255;

/** Names of types as Cilium spells them (IANA "ICMP Type Numbers", without the retired ones). */
const TYPES_V4: Readonly<Record<string, number>> = {
  EchoReply: 0,
  DestinationUnreachable: 3,
  Redirect: 5,
  Echo: 8,
  EchoRequest: 8,
  RouterAdvertisement: 9,
  RouterSelection: 10,
  RouterSolicitation: 10,
  TimeExceeded: 11,
  ParameterProblem: 12,
  Timestamp: 13,
  TimestampReply: 14,
  Photuris: 40,
  ExtendedEchoRequest: 42,
  ExtendedEchoReply: 43,
};

/** IANA "ICMPv6 type Numbers". */
const TYPES_V6: Readonly<Record<string, number>> = {
  DestinationUnreachable: 1,
  PacketTooBig: 2,
  TimeExceeded: 3,
  ParameterProblem: 4,
  EchoRequest: 128,
  EchoReply: 129,
  MulticastListenerQuery: 130,
  MulticastListenerReport: 131,
  MulticastListenerDone: 132,
  RouterSolicitation: 133,
  RouterAdvertisement: 134,
  NeighborSolicitation: 135,
  NeighborAdvertisement: 136,
  RedirectMessage: 137,
  RouterRenumbering: 138,
  ICMPNodeInformationQuery: 139,
  ICMPNodeInformationResponse: 140,
  InverseNeighborDiscoverySolicitation: 141,
  InverseNeighborDiscoveryAdvertisement: 142,
  HomeAgentAddressDiscoveryRequest: 144,
  HomeAgentAddressDiscoveryReply: 145,
  MobilePrefixSolicitation: 146,
  MobilePrefixAdvertisement: 147,
  DuplicateAddressRequestCodeSuffix: 157,
  DuplicateAddressConfirmationCodeSuffix: 158,
  ExtendedEchoRequest: 160,
  ExtendedEchoReply: 161,
};

const TYPES = { 4: TYPES_V4, 6: TYPES_V6 } as const;

function decodeFamily(decoder: Decoder, field: Field | undefined): 4 | 6 | undefined {
  const text = field === undefined ? '' : decoder.text(field);
  if (text === '' || text === 'IPv4') return 4;
  if (text === 'IPv6') return 6;
  if (field === undefined || text === undefined) return undefined;
  const hint = suggestion(text, ['IPv4', 'IPv6']);
  return decoder.report(field, 'VALUE', `${quote(text)} is not a family of addresses`, hint);
}

/** A type's number, as number or text, or its name. */
function decodeType(decoder: Decoder, field: Field, family: 4 | 6): number | undefined {
  if (field.node.kind === 'number') return decoder.integer(field, 0, MAX_TYPE);
  const text = decoder.text(field);
  if (text === undefined) return undefined;
  if (/^\d{1,3}$/.test(text) && Number(text) <= MAX_TYPE) return Number(text);
  const names = TYPES[family];
  if (Object.hasOwn(names, text)) return names[text];
  const reason = `${quote(text)} is not a type of ICMP${family === 6 ? 'v6' : ''}`;
  const hint =
    suggestion(text, Object.keys(names)) ?? `a number from 0 to ${MAX_TYPE}, or a name like EchoRequest`;
  return decoder.report(field, 'VALUE', reason, hint);
}

function decodeIcmp(decoder: Decoder, field: Field): IcmpSpec | undefined {
  const fields = decoder.fields(field, ICMP_FIELDS);
  if (fields === undefined) return undefined;
  const family = decodeFamily(decoder, fields.get('family'));
  const typeField = fields.get('type');
  if (typeField === undefined) return decoder.missing(field, 'type', 'a number, or a name like EchoRequest');
  const type = family === undefined ? undefined : decodeType(decoder, typeField, family);
  return family === undefined || type === undefined ? undefined : { family, type };
}

/** Reads `icmps`: the fields of all its entries are alternatives. */
export function decodeIcmps(decoder: Decoder, field: Field): IcmpSpec[] {
  const specs: IcmpSpec[] = [];
  for (const entry of decoder.items(field) ?? []) {
    const list = decoder.fields(entry, ICMP_RULE_FIELDS)?.get('fields');
    const items = list === undefined ? [] : (decoder.items(list) ?? []);
    if (list !== undefined && items.length > MAX_ICMP_FIELDS) {
      const reason = `${items.length} fields, at most ${MAX_ICMP_FIELDS} are allowed`;
      decoder.report(list, 'LIMIT', reason, 'make a further entry of icmps');
    }
    for (const item of items) {
      const spec = decodeIcmp(decoder, item);
      if (spec !== undefined) specs.push(spec);
    }
  }
  return specs;
}
