import { type Label, LabelError, makeLabel, parseLabel } from '../model/labels.ts';
import type { Direction } from '../model/map-state.ts';
import type { LabelSelector } from '../model/selector.ts';
import { type Decoder, type Field, quote, suggestion } from './decoder.ts';
import {
  EGRESS_FIELDS,
  INGRESS_FIELDS,
  LABEL_FIELDS,
  PORT_FIELDS,
  PORT_RULE_FIELDS,
  RULE_FIELDS,
} from './fields.ts';
import { decodeSelector } from './parse-selector.ts';
import {
  ENTITIES,
  type Entity,
  type Peers,
  type PortRule,
  type PortSpec,
  RULE_PROTOCOLS,
  type Rule,
  type RuleItem,
  type RuleProtocol,
} from './rule.ts';

/** Ports that one entry of `toPorts` may list, as in Cilium. */
export const MAX_PORTS = 40;
const MAX_PORT = 65535;

const REFUSED_PROTOCOLS = ['ICMP', 'ICMPV6', 'VRRP', 'IGMP'] as const;

function decodePortNumber(decoder: Decoder, field: Field): number | undefined {
  const text = decoder.text(field);
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text)) {
    const port = Number(text);
    if (port <= MAX_PORT) return port;
    return decoder.report(field, 'VALUE', `port ${quote(text)} is greater than ${MAX_PORT}`);
  }
  if (text === '') return decoder.report(field, 'VALUE', 'the port is empty', 'write "0" for every port');
  if (/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/i.test(text) && /[a-z]/i.test(text)) {
    const hint = 'write the number';
    return decoder.report(
      field,
      'UNSUPPORTED',
      `named ports (${quote(text)}) are not supported by this version`,
      hint,
    );
  }
  const hint = /^\d+\s*[-:]\s*\d+$/.test(text) ? 'write a range with port and endPort' : undefined;
  return decoder.report(field, 'VALUE', `${quote(text)} is not a port number`, hint);
}

function decodeProtocol(decoder: Decoder, field: Field): RuleProtocol | undefined {
  const text = decoder.text(field);
  if (text === undefined) return undefined;
  const upper = text.toUpperCase();
  const known = RULE_PROTOCOLS.find((protocol) => protocol === upper);
  if (known !== undefined) return known;
  if ((REFUSED_PROTOCOLS as readonly string[]).includes(upper)) {
    return decoder.report(field, 'UNSUPPORTED', `protocol ${upper} is not supported by this version`);
  }
  const hint = suggestion(text, RULE_PROTOCOLS);
  return decoder.report(field, 'VALUE', `${quote(text)} is not a known protocol`, hint);
}

function decodeEndPort(decoder: Decoder, field: Field, port: number): number | undefined {
  const endPort = decoder.integer(field, 0, MAX_PORT);
  if (endPort === undefined || endPort === 0 || endPort === port) return undefined;
  if (port === 0) return decoder.report(field, 'CONFLICT', 'port "0" is every port: it begins no range');
  if (endPort < port) {
    return decoder.report(field, 'VALUE', `endPort ${endPort} is less than port ${port}`, 'swap them');
  }
  return endPort;
}

function decodePort(decoder: Decoder, field: Field): PortSpec | undefined {
  const fields = decoder.fields(field, PORT_FIELDS);
  if (fields === undefined) return undefined;
  const portField = fields.get('port');
  const endField = fields.get('endPort');
  const protocolField = fields.get('protocol');
  if (portField === undefined) decoder.missing(field, 'port', 'write "0" for every port of the protocol');
  const port = portField && decodePortNumber(decoder, portField);
  const protocol = protocolField === undefined ? 'ANY' : decodeProtocol(decoder, protocolField);
  if (port === undefined || protocol === undefined) return undefined;
  return { port, endPort: endField && decodeEndPort(decoder, endField, port), protocol };
}

/** Reads a list that may not be empty, because an empty one would say neither "all" nor "none" clearly. */
function filledItems(decoder: Decoder, field: Field, hint: string): Field[] {
  const items = decoder.items(field) ?? [];
  if (field.node.kind === 'list' && items.length === 0)
    decoder.report(field, 'VALUE', 'the list is empty', hint);
  return items;
}

function decodePortRule(decoder: Decoder, field: Field): PortRule | undefined {
  const fields = decoder.fields(field, PORT_RULE_FIELDS);
  if (fields === undefined) return undefined;
  const portsField = fields.get('ports');
  if (portsField === undefined) return decoder.missing(field, 'ports');
  const items = filledItems(decoder, portsField, 'name at least one port');
  if (items.length > MAX_PORTS) {
    decoder.report(
      portsField,
      'LIMIT',
      `${items.length} ports, at most ${MAX_PORTS} are allowed`,
      'use ranges or another entry',
    );
  }
  const ports = items.map((item) => decodePort(decoder, item));
  return { ports: ports.filter((port) => port !== undefined) };
}

function decodeEntity(decoder: Decoder, field: Field): Entity | undefined {
  const text = decoder.text(field);
  if (text === undefined) return undefined;
  const known = ENTITIES.find((entity) => entity === text);
  if (known !== undefined) return known;
  return decoder.report(
    field,
    'VALUE',
    `${quote(text)} is not a known entity`,
    suggestion(text, ENTITIES) ?? `known: ${ENTITIES.join(', ')}`,
  );
}

function decodePeers(decoder: Decoder, fields: Map<string, Field>, prefix: 'from' | 'to'): Peers | undefined {
  const endpoints = fields.get(`${prefix}Endpoints`);
  const entities = fields.get(`${prefix}Entities`);
  if (endpoints !== undefined && entities !== undefined) {
    const reason = `${prefix}Endpoints and ${prefix}Entities cannot stand in one item`;
    decoder.report(entities, 'CONFLICT', reason, 'make two items of it');
  }
  if (endpoints !== undefined) {
    const selectors = (decoder.items(endpoints) ?? []).map((item) => decodeSelector(decoder, item));
    return { kind: 'endpoints', selectors: selectors.filter((selector) => selector !== undefined) };
  }
  if (entities === undefined) return undefined;
  const names = (decoder.items(entities) ?? []).map((item) => decodeEntity(decoder, item));
  return { kind: 'entities', entities: names.filter((name) => name !== undefined) };
}

function decodeItem(decoder: Decoder, field: Field, direction: Direction): RuleItem | undefined {
  const fields = decoder.fields(field, direction === 'ingress' ? INGRESS_FIELDS : EGRESS_FIELDS);
  if (fields === undefined) return undefined;
  const peers = decodePeers(decoder, fields, direction === 'ingress' ? 'from' : 'to');
  const portsField = fields.get('toPorts');
  if (portsField === undefined) return { peers, ports: undefined };
  const items = filledItems(decoder, portsField, 'leave toPorts out to allow every port');
  const ports = items.map((item) => decodePortRule(decoder, item));
  return { peers, ports: ports.filter((rule) => rule !== undefined) };
}

function decodeSection(
  decoder: Decoder,
  field: Field | undefined,
  direction: Direction,
): RuleItem[] | undefined {
  if (field === undefined) return undefined;
  const items = decoder.items(field);
  if (items === undefined) return undefined;
  if (items.length === 0) {
    decoder.warn(field, `an empty list leaves ${direction} alone`, 'write [{}] to deny all of it');
  }
  return items.map((item) => decodeItem(decoder, item, direction)).filter((item) => item !== undefined);
}

function labelOfParts(decoder: Decoder, field: Field): Label | undefined {
  const fields = decoder.fields(field, LABEL_FIELDS);
  if (fields === undefined) return undefined;
  const read = (name: string): string | undefined => {
    const part = fields.get(name);
    return part && decoder.text(part);
  };
  if (!fields.has('key')) return decoder.missing(field, 'key');
  const source = read('source');
  return makeLabel(
    source === undefined || source === '' ? 'unspec' : source,
    read('key') ?? '',
    read('value') ?? '',
  );
}

/** Reads a label of a rule: `"source:key=value"` or `{key, value, source}`. */
function decodeRuleLabel(decoder: Decoder, field: Field): Label | undefined {
  try {
    const label =
      field.node.kind === 'map' ? labelOfParts(decoder, field) : parseLabel(decoder.text(field) ?? 'x');
    if (label?.source !== 'cilium-generated') return label;
    return decoder.report(field, 'VALUE', 'labels of source cilium-generated cannot be given to a rule');
  } catch (error) {
    if (!(error instanceof LabelError)) throw error;
    return decoder.report(field, 'VALUE', error.message, error.hint);
  }
}

/** Reads the list of a rule's labels. */
export function decodeRuleLabels(decoder: Decoder, field: Field): Label[] {
  const labels = (decoder.items(field) ?? []).map((item) => decodeRuleLabel(decoder, item));
  return labels.filter((label) => label !== undefined);
}

function wrongSection(fields: ReadonlyMap<string, Field>): boolean {
  return ['ingress', 'egress'].some((name) => {
    const node = fields.get(name)?.node;
    return node !== undefined && (node.kind !== 'list' || node.items.length > 0);
  });
}

function decodeSubject(decoder: Decoder, parent: Field, field: Field | undefined): LabelSelector | undefined {
  if (field === undefined)
    return decoder.missing(parent, 'endpointSelector', 'write {} to select every endpoint');
  return decodeSelector(decoder, field);
}

/**
 * Reads one rule as it stands in the text, without the namespace of an object around it.
 * @returns undefined when it cannot be a rule at all; anything wrong is reported
 */
export function decodeRule(decoder: Decoder, field: Field): Rule | undefined {
  const fields = decoder.fields(field, RULE_FIELDS);
  if (fields === undefined) return undefined;
  const keys = field.node.kind === 'map' ? field.node.entries.map(({ key }) => key) : [];
  const nodeSelected = keys.includes('nodeSelector');
  const selectorField = fields.get('endpointSelector');
  const subject =
    selectorField === undefined && nodeSelected ? undefined : decodeSubject(decoder, field, selectorField);
  const ingress = decodeSection(decoder, fields.get('ingress'), 'ingress');
  const egress = decodeSection(decoder, fields.get('egress'), 'egress');
  // A key that is refused or misspelt may have been meant as a section: it has an error of its own.
  const clear = keys.every((key) => RULE_FIELDS[key] === 'read') && !wrongSection(fields);
  if (clear && (ingress?.length ?? 0) === 0 && (egress?.length ?? 0) === 0) {
    const hint = 'write ingress: [{}] to deny all ingress';
    decoder.report(field, 'MISSING', 'the rule has neither ingress nor egress items', hint);
  }
  const labelsField = fields.get('labels');
  const labels = labelsField === undefined ? [] : decodeRuleLabels(decoder, labelsField);
  const descriptionField = fields.get('description');
  const description = descriptionField && decoder.text(descriptionField);
  return subject && { subject, ingress, egress, labels, description };
}
