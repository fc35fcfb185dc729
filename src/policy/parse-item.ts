import type { LabelSelector } from '../model/selector.ts';
import { type Decoder, type Field, quote, suggestion } from './decoder.ts';
import { AUTHENTICATION_FIELDS, ITEM_FIELDS } from './fields.ts';
import { decodeIcmps } from './parse-icmp.ts';
import { decodePeers } from './parse-peers.ts';
import { type DecodedPorts, decodePortRules } from './parse-ports.ts';
import { decodeSelector } from './parse-selector.ts';
import type { Peers, RuleItem } from './rule.ts';

export type Section = keyof typeof ITEM_FIELDS;

const NOBODY: Peers = { kind: 'endpoints', selectors: [] };

const listLength = (field: Field | undefined): number =>
  field?.node.kind === 'list' ? field.node.items.length : 0;

/** `authentication: {mode: disabled}` is what there is without it; every other mode is refused. */
function checkAuthentication(decoder: Decoder, field: Field): void {
  const mode = decoder.fields(field, AUTHENTICATION_FIELDS)?.get('mode');
  const text = mode && decoder.text(mode);
  if (mode === undefined || text === undefined || text === 'disabled') return;
  if (text === 'required' || text === 'test-always-fail') {
    const hint = 'leave the whole rule out: it would let peers in whose identity nobody proved';
    decoder.report(mode, 'UNSUPPORTED', 'mutual authentication is not supported', hint);
  } else {
    const hint = suggestion(text, ['disabled', 'required']);
    decoder.report(mode, 'VALUE', `${quote(text)} is not a mode of authentication`, hint);
  }
}

function decodeRequires(decoder: Decoder, field: Field | undefined): LabelSelector[] {
  const items = field === undefined ? [] : (decoder.items(field) ?? []);
  return items.map((item) => decodeSelector(decoder, item)).filter((selector) => selector !== undefined);
}

/** An empty list restricts nothing in either version of Cilium. */
function warnEmpty(decoder: Decoder, field: Field | undefined, name: string): void {
  if (field?.node.kind !== 'list' || field.node.items.length > 0) return;
  decoder.warn(field, `an empty ${name} restricts nothing`, 'leave it out, or name what is meant');
}

interface L4Part {
  readonly ports: DecodedPorts | undefined;
  readonly icmps: RuleItem['icmps'];
}

function decodeL4(decoder: Decoder, fields: ReadonlyMap<string, Field>, deny: boolean): L4Part {
  const portsField = fields.get('toPorts');
  const icmpsField = fields.get('icmps');
  warnEmpty(decoder, portsField, 'toPorts');
  warnEmpty(decoder, icmpsField, 'icmps');
  if (listLength(portsField) > 0 && listLength(icmpsField) > 0 && icmpsField !== undefined)
    decoder.report(
      icmpsField,
      'CONFLICT',
      'icmps and toPorts cannot stand in one item',
      'make two items of it',
    );
  const ports = portsField && decodePortRules(decoder, portsField, deny);
  const icmps = icmpsField && decodeIcmps(decoder, icmpsField);
  return {
    ports: listLength(portsField) > 0 ? ports : undefined,
    icmps: listLength(icmpsField) > 0 ? icmps : undefined,
  };
}

/** The items that an item of the text stands for: two if its `toPorts` name ports and types of ICMP. */
function itemsOf(base: Omit<RuleItem, 'ports' | 'icmps'>, { ports, icmps }: L4Part): RuleItem[] {
  if (ports === undefined && icmps === undefined) return [{ ...base, ports: undefined }];
  const types = [...(icmps ?? []), ...(ports?.icmps ?? [])];
  const items: RuleItem[] = [];
  if (ports !== undefined && ports.ports.length > 0) items.push({ ...base, ports: ports.ports });
  if (types.length > 0) items.push({ ...base, ports: undefined, icmps: types });
  // Entries of toPorts or icmps that name no port and no type are for nothing: the item allows nobody.
  return items.length > 0 ? items : [{ ...base, peers: NOBODY, ports: undefined }];
}

/** Reads an item of a section. */
export function decodeItem(decoder: Decoder, field: Field, section: Section): RuleItem[] {
  const fields = decoder.fields(field, ITEM_FIELDS[section]);
  if (fields === undefined) return [];
  const prefix = section.startsWith('ingress') ? 'from' : 'to';
  const authentication = fields.get('authentication');
  if (authentication !== undefined) checkAuthentication(decoder, authentication);
  const requires = decodeRequires(decoder, fields.get(`${prefix}Requires`));
  const peers = decodePeers(decoder, fields, prefix);
  const l4 = decodeL4(decoder, fields, section.endsWith('Deny'));
  return itemsOf({ peers, ...(requires.length > 0 && { requires }) }, l4);
}
