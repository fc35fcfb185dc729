import type { L7Rules } from '../model/l7.ts';
import { isPortName } from '../model/named-port.ts';
import { parseServerName, ServerNameError } from '../model/server-name.ts';
import { type Decoder, type Field, quote, suggestion } from './decoder.ts';
import { PORT_DENY_RULE_FIELDS, PORT_FIELDS, PORT_RULE_FIELDS } from './fields.ts';
import { decodeL7Rules } from './parse-l7.ts';
import { type IcmpSpec, type PortRule, type PortSpec, RULE_PROTOCOLS, type RuleProtocol } from './rule.ts';

/** Ports that one entry of `toPorts` may list, as in Cilium. */
export const MAX_PORTS = 40;
const MAX_PORT = 65535;
const MAX_ICMP_TYPE = 255;

const ICMP_FAMILIES: Readonly<Record<string, 4 | 6>> = { ICMP: 4, ICMPV6: 6 };
const PORTLESS: readonly string[] = ['VRRP', 'IGMP'];

/** The ports and the types of ICMP that `toPorts` names. */
export interface DecodedPorts {
  readonly ports: readonly PortRule[];
  /** Of entries whose protocol is ICMP or ICMPv6: their port is a type. */
  readonly icmps: readonly IcmpSpec[];
}

/** A port with its place; `family` is set when its protocol is ICMP. */
interface DecodedPort {
  readonly field: Field;
  readonly port: number | string;
  readonly endPort: number | undefined;
  readonly protocol: RuleProtocol;
  readonly family: 4 | 6 | undefined;
  /** A protocol without ports, which the datapath does not pass on. */
  readonly portless?: string | undefined;
}

/** What Go reads as a number of 16 bits: decimal, octal after a leading 0, digits grouped by `_`. */
function portNumber(text: string): number | undefined {
  if (!/^\d+(_\d+)*$/.test(text)) return undefined;
  const digits = text.replaceAll('_', '');
  if (!/^0./.test(digits)) return Number(digits);
  return /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : undefined;
}

function decodePortValue(decoder: Decoder, field: Field): number | string | undefined {
  const text = decoder.text(field);
  if (text === undefined) return undefined;
  if (isPortName(text)) return text.toLowerCase();
  const port = portNumber(text);
  if (port !== undefined && port <= MAX_PORT) {
    if (/^0./.test(text)) decoder.warn(field, `${quote(text)} is octal: port ${port}`, `write "${port}"`);
    return port;
  }
  if (text === '') return decoder.report(field, 'VALUE', 'the port is empty', 'write "0" for every port');
  if (port !== undefined)
    return decoder.report(
      field,
      'VALUE',
      `port ${quote(text)} is greater than ${MAX_PORT}`,
      `ports go from 1 to ${MAX_PORT}`,
    );
  if (/^0\d+$/.test(text)) {
    const reason = `${quote(text)} is not a port number: with a leading 0 it would be octal`;
    return decoder.report(field, 'VALUE', reason, 'leave the 0 out');
  }
  const range = /^\d+\s*[-:]\s*\d+$/.test(text);
  const hint = range
    ? 'write a range with port and endPort'
    : 'a name has letters, digits and single dashes, at least one letter, at most 15 characters';
  return decoder.report(field, 'VALUE', `${quote(text)} is not a port number or name`, hint);
}

function decodeProtocol(
  decoder: Decoder,
  field: Field | undefined,
): Pick<DecodedPort, 'protocol' | 'family' | 'portless'> | undefined {
  const text = field === undefined ? '' : decoder.text(field);
  if (field === undefined || text === '') return { protocol: 'ANY', family: undefined };
  if (text === undefined) return undefined;
  const upper = text.toUpperCase();
  const protocol = RULE_PROTOCOLS.find((known) => known === upper);
  if (protocol !== undefined) return { protocol, family: undefined };
  const family = Object.hasOwn(ICMP_FAMILIES, upper) ? ICMP_FAMILIES[upper] : undefined;
  if (family !== undefined) return { protocol: 'ANY', family };
  if (PORTLESS.includes(upper)) {
    const reason = `packets of protocol ${upper} are dropped whatever rules say, as Cilium does by default`;
    decoder.warn(field, reason, 'remove the entry');
    return { protocol: 'ANY', family: undefined, portless: upper };
  }
  const hint = suggestion(text, [...RULE_PROTOCOLS, 'ICMP', 'ICMPv6']);
  return decoder.report(field, 'VALUE', `${quote(text)} is not a known protocol`, hint);
}

/** The last port of a range; one that is not above the first leaves that port alone, as in Cilium. */
function decodeEndPort(decoder: Decoder, field: Field, port: number | string): number | undefined {
  const endPort = decoder.integer(field, 0, MAX_PORT);
  if (endPort === undefined || endPort === 0 || endPort === port) return undefined;
  if (typeof port === 'string') {
    decoder.warn(field, `endPort has no effect: ${quote(port)} is one port by its name`, 'remove it');
    return undefined;
  }
  if (endPort > port) return endPort;
  const reason = `endPort ${endPort} is less than port ${port}: only port ${port} is meant`;
  decoder.warn(field, reason, 'swap them, or remove endPort');
  return undefined;
}

function decodePort(decoder: Decoder, field: Field): DecodedPort | undefined {
  const fields = decoder.fields(field, PORT_FIELDS);
  if (fields === undefined) return undefined;
  const portField = fields.get('port');
  const endField = fields.get('endPort');
  if (portField === undefined) decoder.missing(field, 'port', 'write "0" for every port of the protocol');
  const port = portField && decodePortValue(decoder, portField);
  const protocol = decodeProtocol(decoder, fields.get('protocol'));
  if (portField === undefined || port === undefined || protocol === undefined) return undefined;
  const endPort = endField && decodeEndPort(decoder, endField, port);
  const last = endPort ?? port;
  if (protocol.portless !== undefined && last !== 0) {
    const reason = `protocol ${protocol.portless} has no ports`;
    return decoder.report(portField, 'VALUE', reason, 'write port: "0"');
  }
  if (protocol.family !== undefined && (typeof last === 'string' || last > MAX_ICMP_TYPE)) {
    const reason = `the port of protocol ICMP is a type: a number from 0 to ${MAX_ICMP_TYPE}`;
    return decoder.report(portField, 'VALUE', reason, 'write icmps, which takes names of types too');
  }
  return { field, port, endPort, ...protocol };
}

/** Port 0 is every port, a range from 0 begins at 1: no packet has port 0. */
function portSpec({ port, endPort, protocol }: DecodedPort): PortSpec {
  const from0 = port === 0 && endPort !== undefined;
  if (!from0) return { port, endPort, protocol };
  if (endPort === MAX_PORT) return { port: 0, endPort: undefined, protocol };
  return { port: 1, endPort: endPort === 1 ? undefined : endPort, protocol };
}

/** Types that an entry with protocol ICMP stands for; port 0 alone is every type, as it is every port. */
function icmpSpecs({ port, endPort, family }: DecodedPort): IcmpSpec[] {
  if (family === undefined || typeof port === 'string') return [];
  const last = endPort ?? (port === 0 ? MAX_ICMP_TYPE : port);
  return Array.from({ length: last - port + 1 }, (_, i) => ({ family, type: port + i }));
}

function checkL7Port(decoder: Decoder, decoded: DecodedPort, l7: L7Rules): void {
  const { field, port, endPort, family, portless } = decoded;
  const protocol = portless ?? decoded.protocol;
  if (family !== undefined || (l7.kind !== 'dns' && protocol !== 'TCP')) {
    const shown = family === undefined ? protocol : 'ICMP';
    decoder.report(
      field,
      'CONFLICT',
      `${l7.kind} rules need protocol TCP, found ${shown}`,
      'write protocol: TCP',
    );
  } else if (l7.kind === 'dns' && protocol === 'SCTP') {
    decoder.report(field, 'CONFLICT', 'dns rules need protocol UDP, TCP or ANY, found SCTP');
  }
  if (port === 0) {
    decoder.report(field, 'CONFLICT', `${l7.kind} rules cannot be used with port "0"`, 'name the ports');
  } else if (l7.kind === 'dns' && endPort !== undefined) {
    decoder.report(
      field,
      'CONFLICT',
      'dns rules cannot be used with a range of ports',
      'name the ports one by one',
    );
  }
}

function decodeServerName(decoder: Decoder, item: Field, name: string): string | undefined {
  try {
    return parseServerName(name);
  } catch (error) {
    if (!(error instanceof ServerNameError)) throw error;
    return decoder.report(
      item,
      'VALUE',
      error.message,
      'write www.example.org, *.example.org or **.example.org',
    );
  }
}

function decodeServerNames(decoder: Decoder, field: Field, l7: L7Rules | undefined): string[] {
  const names = (decoder.items(field) ?? []).map((item) => {
    const name = decoder.text(item);
    return name === undefined ? undefined : decodeServerName(decoder, item, name);
  });
  if (names.length > 0 && l7 !== undefined) {
    const reason = `serverNames and ${l7.kind} rules cannot stand in one entry: TLS is not opened on its way`;
    decoder.report(field, 'CONFLICT', reason, 'make two entries of toPorts');
  }
  return names.filter((name) => name !== undefined);
}

/** Ports where nobody asks for a server by its name. */
function warnOfSilentPorts(decoder: Decoder, ports: readonly DecodedPort[]): void {
  for (const { field, protocol, family } of ports) {
    if (family === undefined && (protocol === 'TCP' || protocol === 'ANY')) continue;
    const reason = 'names of servers are read in TLS over TCP: this port lets nothing pass';
    decoder.warn(field, reason, 'write protocol: TCP, or make an entry without serverNames for it');
  }
}

function checkL7(decoder: Decoder, field: Field, ports: readonly DecodedPort[], l7: L7Rules): void {
  if (l7.kind === 'dns' && ports.length === 0)
    decoder.report(field, 'MISSING', 'dns rules need a port', 'write ports: [{port: "53", protocol: ANY}]');
  for (const port of ports) checkL7Port(decoder, port, l7);
}

function decodePortList(decoder: Decoder, field: Field | undefined): DecodedPort[] {
  const items = field === undefined ? [] : (decoder.items(field) ?? []);
  if (field !== undefined && items.length > MAX_PORTS) {
    const reason = `${items.length} ports, at most ${MAX_PORTS} are allowed`;
    decoder.report(field, 'LIMIT', reason, 'use ranges or another entry');
  }
  return items.map((item) => decodePort(decoder, item)).filter((port) => port !== undefined);
}

function decodePortRule(decoder: Decoder, field: Field, deny: boolean): DecodedPorts | undefined {
  const fields = decoder.fields(field, deny ? PORT_DENY_RULE_FIELDS : PORT_RULE_FIELDS);
  if (fields === undefined) return undefined;
  const portsField = fields.get('ports');
  const decoded = decodePortList(decoder, portsField);
  const rulesField = fields.get('rules');
  const l7 = rulesField && decodeL7Rules(decoder, rulesField);
  if (l7 !== undefined) checkL7(decoder, rulesField ?? field, decoded, l7);
  const namesField = fields.get('serverNames');
  const serverNames = namesField === undefined ? [] : decodeServerNames(decoder, namesField, l7);
  if (serverNames.length > 0) warnOfSilentPorts(decoder, decoded);
  const written = portsField?.node.kind === 'list' ? portsField.node.items.length : 0;
  if (written === 0 && (portsField === undefined || portsField.node.kind === 'list'))
    decoder.warn(
      portsField ?? field,
      'without ports this entry is for no port at all',
      'name at least one port',
    );
  const specs = decoded
    .filter(({ family, portless }) => family === undefined && portless === undefined)
    .map(portSpec);
  const rule = {
    ports: specs,
    ...(l7 !== undefined && { l7 }),
    ...(serverNames.length > 0 && { serverNames }),
  };
  return { ports: specs.length === 0 ? [] : [rule], icmps: decoded.flatMap(icmpSpecs) };
}

/** Reads `toPorts`. */
export function decodePortRules(decoder: Decoder, field: Field, deny: boolean): DecodedPorts {
  const rules = (decoder.items(field) ?? []).map((item) => decodePortRule(decoder, item, deny));
  const known = rules.filter((rule) => rule !== undefined);
  return { ports: known.flatMap(({ ports }) => ports), icmps: known.flatMap(({ icmps }) => icmps) };
}
