import { type Cidr, formatCidr } from '../base/ip.ts';
import type { Decoder, Field } from './decoder.ts';
import { CIDR_GROUP_SPEC_FIELDS } from './fields.ts';
import { decodeCidr } from './parse-cidr.ts';
import { childOf, type ParseContext } from './parse-context.ts';
import { decodeMetadata, decodeObjectLabels } from './parse-metadata.ts';

function uniqueCidrs(cidrs: readonly Cidr[]): readonly Cidr[] {
  return [...new Map(cidrs.map((cidr) => [formatCidr(cidr), cidr])).values()];
}

/** Reads a CiliumCIDRGroup. */
export function decodeCidrGroup(context: ParseContext, field: Field): void {
  const { decoder } = context;
  const metadata = decodeMetadata(context, field, { clusterwide: true });
  const labels = decodeObjectLabels(decoder, field, 'cidrgroup');
  const spec = childOf(field, 'spec');
  const fields =
    spec === undefined ? decoder.missing(field, 'spec') : decoder.fields(spec, CIDR_GROUP_SPEC_FIELDS);
  const list = fields?.get('externalCIDRs');
  if (spec !== undefined && fields !== undefined && list === undefined)
    decoder.missing(spec, 'externalCIDRs', 'write [] for none');
  const items = list === undefined ? [] : (decoder.items(list) ?? []);
  const cidrs = items.map((item) => decodeCidr(decoder, item)).filter((cidr) => cidr !== undefined);
  if (metadata === undefined) return;
  context.cidrGroups.push({ name: metadata.name, labels, cidrs: uniqueCidrs(cidrs) });
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** The bytes of an entry of `data`; what is wrong with it is told without it. */
function decodeData(decoder: Decoder, field: Field): string | undefined {
  const text = decoder.text(field)?.replace(/[\r\n]/g, '');
  if (text === undefined) return undefined;
  if (BASE64.test(text)) return Buffer.from(text, 'base64').toString('latin1');
  return decoder.report(field, 'VALUE', 'is not base64', 'write the value plainly under stringData');
}

/** Reads a Secret. Rules can use the one that has a single entry, whatever its key. */
export function decodeSecret(context: ParseContext, field: Field): void {
  const { decoder } = context;
  const metadata = decodeMetadata(context, field, { clusterwide: false });
  const entries = new Map<string, string | undefined>();
  const data = childOf(field, 'data');
  const plain = childOf(field, 'stringData');
  for (const { key, value } of data === undefined ? [] : (decoder.entries(data) ?? []))
    entries.set(key, decodeData(decoder, value));
  for (const { key, value } of plain === undefined ? [] : (decoder.entries(plain) ?? []))
    entries.set(key, Buffer.from(decoder.text(value) ?? '').toString('latin1'));
  if (metadata === undefined) return;
  const [value] = entries.values();
  if (entries.size !== 1)
    decoder.warn(field, `has ${entries.size} entries: rules can use a Secret of one`, 'keep one of them');
  else if (value !== undefined && /[\0\r\n]/.test(value))
    decoder.warn(field, 'holds a line break or NUL, which no header can', 'encode it without');
  context.secrets.push({ ...metadata, value: entries.size === 1 ? value : undefined });
}
