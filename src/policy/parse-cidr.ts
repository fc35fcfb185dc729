import { type Cidr, cidrContains, formatCidr, parseCidr, parseIp } from '../base/ip.ts';
import type { LabelSelector } from '../model/selector.ts';
import { type Decoder, type Field, quote } from './decoder.ts';
import { CIDR_SET_FIELDS } from './fields.ts';
import { decodeSelector } from './parse-selector.ts';
import type { CidrSpec } from './rule.ts';

/** Addresses of IPv4 as sockets of IPv6 write them: on the wire they are of IPv4. */
const MAPPED = parseCidr('::ffff:0:0/96');

function mappedHint({ bytes, length }: Cidr): string {
  return `write ${formatCidr({ family: 4, bytes: bytes.subarray(12), length: length - 96 })}`;
}

function prefixWithin(inner: Cidr, outer: Cidr): boolean {
  return inner.family === outer.family && inner.length >= outer.length && cidrContains(outer, inner.bytes);
}

/** A prefix, and its address before the bits behind the prefix were dropped. */
interface WrittenCidr {
  readonly cidr: Cidr;
  readonly address: Uint8Array;
}

function whyNoCidr(text: string, bare: boolean): { reason: string; hint: string } {
  const reason = `${quote(text)} is not a prefix`;
  const [, suffix] = text.split('/');
  if (text === '') return { reason: 'the prefix is empty', hint: 'write it as 192.0.2.0/24' };
  if (suffix?.includes('.') === true || suffix?.includes(':') === true)
    return { reason, hint: 'write the length of the prefix in bits, not its mask' };
  if (suffix === undefined && !bare) return { reason, hint: 'write the length too: /32 for one address' };
  return { reason, hint: 'write it as 192.0.2.0/24 or 2001:db8::/32' };
}

function parseWritten(text: string, bare: boolean): WrittenCidr | undefined {
  const [address = '', length] = text.split('/');
  if (length === undefined ? !bare : !/^(0|[1-9]\d*)$/.test(length)) return undefined;
  try {
    return { cidr: parseCidr(text), address: parseIp(address) };
  } catch {
    return undefined;
  }
}

function decodeWritten(decoder: Decoder, field: Field, bare: boolean): WrittenCidr | undefined {
  const text = decoder.text(field);
  if (text === undefined) return undefined;
  const written = parseWritten(text, bare);
  if (written !== undefined) {
    if (prefixWithin(written.cidr, MAPPED))
      decoder.warn(
        field,
        `no packet has an address of ${quote(text)}: IPv4 within IPv6`,
        mappedHint(written.cidr),
      );
    return written;
  }
  const { reason, hint } = whyNoCidr(text, bare);
  return decoder.report(field, 'VALUE', reason, hint);
}

/** Reads an entry of `fromCIDR`: a prefix, or one address. */
export function decodeCidr(decoder: Decoder, field: Field): Cidr | undefined {
  return decodeWritten(decoder, field, true)?.cidr;
}

/** An exception within `around`; one that is wider takes all of it. */
function decodeException(decoder: Decoder, field: Field, around: Cidr | undefined): Cidr | undefined {
  const written = decodeWritten(decoder, field, false);
  if (written === undefined || around === undefined) return written?.cidr;
  if (cidrContains(around, written.address))
    return written.cidr.length < around.length ? around : written.cidr;
  const other = written.cidr.family !== around.family;
  const reason = other
    ? 'the exception is of the other family of addresses'
    : 'the exception does not lie in the prefix';
  return decoder.report(field, 'VALUE', reason, 'make an entry of its own for another prefix');
}

function decodeExceptions(decoder: Decoder, field: Field | undefined, around: Cidr | undefined): Cidr[] {
  const items = field === undefined ? [] : (decoder.items(field) ?? []);
  return items.map((item) => decodeException(decoder, item, around)).filter((cidr) => cidr !== undefined);
}

const BASES = ['cidr', 'cidrGroupRef', 'cidrGroupSelector'] as const;

function decodeGroupSelector(decoder: Decoder, field: Field): LabelSelector | undefined {
  return decodeSelector(decoder, field, 'group');
}

/** Reads an entry of `fromCIDRSet`, or `ipBlock` of a NetworkPolicy, whose fields were checked before. */
export function decodeCidrSpec(
  decoder: Decoder,
  field: Field,
  fields = decoder.fields(field, CIDR_SET_FIELDS),
): CidrSpec | undefined {
  if (fields === undefined) return undefined;
  const [base, second] = BASES.filter((name) => fields.has(name));
  const baseField = base && fields.get(base);
  if (base === undefined || baseField === undefined)
    return decoder.missing(field, 'cidr', 'write cidr, cidrGroupRef or cidrGroupSelector');
  const secondField = second && fields.get(second);
  if (secondField !== undefined) {
    const reason = `${base} and ${second} cannot stand in one entry`;
    decoder.report(secondField, 'CONFLICT', reason, 'make two entries of it');
  }
  const exceptField = fields.get('except');
  if (base === 'cidr') {
    const cidr = decodeWritten(decoder, baseField, false)?.cidr;
    const except = decodeExceptions(decoder, exceptField, cidr);
    return cidr && { kind: 'cidr', cidr, except };
  }
  const except = decodeExceptions(decoder, exceptField, undefined);
  if (base === 'cidrGroupSelector') {
    const selector = decodeGroupSelector(decoder, baseField);
    return selector && { kind: 'group-selector', selector, except };
  }
  const name = decoder.text(baseField);
  if (name === '') return decoder.report(baseField, 'VALUE', 'the name of the group is empty');
  return name === undefined ? undefined : { kind: 'group', name, except };
}
