import { type Cidr, formatCidr, type IpBytes, parseIp } from '../base/ip.ts';
import { type LabelSelector, makeSelector } from '../model/selector.ts';
import { type Decoder, type Field, quote } from './decoder.ts';
import { CIDR_GROUP_SPEC_FIELDS } from './fields.ts';
import { decodeCidr } from './parse-cidr.ts';
import { childOf, type ParseContext } from './parse-context.ts';
import { decodeMetadata, decodeObjectLabels } from './parse-metadata.ts';

/** Label of an EndpointSlice that names its service. */
const SLICE_SERVICE = 'kubernetes.io/service-name';

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

function decodeServiceSelector(decoder: Decoder, field: Field | undefined): LabelSelector | undefined {
  const entries = field === undefined ? [] : (decoder.entries(field) ?? []);
  const parts = entries.map(({ key, value }) => ({ source: 'k8s', key, value: decoder.text(value) ?? '' }));
  const selector = makeSelector(parts);
  return selector.matchLabels.length === 0 ? undefined : selector;
}

/** Reads a Service: its labels, and which pods serve it. */
export function decodeService(context: ParseContext, field: Field): void {
  const { decoder } = context;
  const metadata = decodeMetadata(context, field, { clusterwide: false });
  const labels = decodeObjectLabels(decoder, field, 'k8s');
  const spec = childOf(field, 'spec');
  const external = childOf(spec, 'type');
  // What an ExternalName stands for are names, not pods, whatever its selector says.
  const isExternal = external !== undefined && decoder.text(external) === 'ExternalName';
  const selector = decodeServiceSelector(decoder, childOf(spec, 'selector'));
  if (metadata === undefined) return;
  context.services.push({ ...metadata, labels, selector: isExternal ? undefined : selector });
}

function decodeAddress(decoder: Decoder, field: Field): IpBytes | undefined {
  const text = decoder.text(field);
  if (text === undefined) return undefined;
  try {
    return parseIp(text);
  } catch {
    return decoder.report(field, 'VALUE', `${quote(text)} is not an IP address`);
  }
}

function listItems(decoder: Decoder, field: Field | undefined): Field[] {
  return field === undefined ? [] : (decoder.items(field) ?? []);
}

/** Reads an Endpoints object: the addresses that are ready. */
export function decodeEndpoints(context: ParseContext, field: Field): void {
  const { decoder } = context;
  const metadata = decodeMetadata(context, field, { clusterwide: false });
  const addresses = listItems(decoder, childOf(field, 'subsets'))
    .flatMap((subset) => listItems(decoder, childOf(subset, 'addresses')))
    .map((item) => {
      const ip = childOf(item, 'ip');
      return ip === undefined ? decoder.missing(item, 'ip') : decodeAddress(decoder, ip);
    })
    .filter((address) => address !== undefined);
  if (metadata === undefined) return;
  context.addresses.push({ ...metadata, kind: 'endpoints', service: metadata.name, addresses });
}

function isReady(endpoint: Field): boolean {
  const ready = childOf(childOf(endpoint, 'conditions'), 'ready');
  return ready?.node.kind !== 'boolean' || ready.node.value;
}

/** Reads an EndpointSlice: the addresses that are ready, or of which nothing is known. */
export function decodeEndpointSlice(context: ParseContext, field: Field): void {
  const { decoder } = context;
  const metadata = decodeMetadata(context, field, { clusterwide: false });
  const label = childOf(childOf(childOf(field, 'metadata'), 'labels'), SLICE_SERVICE);
  const service = label && decoder.text(label);
  const type = childOf(field, 'addressType');
  if (metadata === undefined || service === undefined || (type && decoder.text(type) === 'FQDN')) return;
  const addresses = listItems(decoder, childOf(field, 'endpoints'))
    .filter(isReady)
    .flatMap((endpoint) => listItems(decoder, childOf(endpoint, 'addresses')))
    .map((item) => decodeAddress(decoder, item))
    .filter((address) => address !== undefined);
  context.addresses.push({ ...metadata, kind: 'slice', service, addresses });
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
