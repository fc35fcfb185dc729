import { Protocol } from '../model/map-state.ts';
import type { PortNames } from './named-ports.ts';
import type { IcmpSpec, PortRule, PortSpec } from './rule.ts';

/** A run of ports that share their first bits. */
export interface PortPrefix {
  /** Host order; the bits beyond `portPrefixLength` are zero. */
  readonly port: number;
  readonly portPrefixLength: number;
}

/** One protocol with a port or a range, and the prefixes that cover exactly it. */
export interface L4Match {
  /** IANA number; 0 is every protocol. */
  readonly protocol: number;
  /** `TCP`, `UDP`, `SCTP`, `ICMP`, `ICMPv6`, or `ANY` for every protocol. */
  readonly protocolName: string;
  /** Host order; 0 is every port. Of ICMP the type. */
  readonly port: number;
  readonly endPort: number | undefined;
  /** The name by which the rule has the port. */
  readonly portName: string | undefined;
  /** None for a name that has no number, or none yet. */
  readonly prefixes: readonly PortPrefix[];
}

const PORT_BITS = 16;

/**
 * The fewest prefixes that together hold exactly the ports from `first` to `last`, ascending.
 * @param first 0..65535, host order
 * @param last `first`..65535, host order
 */
export function portPrefixes(first: number, last: number): PortPrefix[] {
  const prefixes: PortPrefix[] = [];
  for (let port = first; port <= last; ) {
    let bits = 0;
    while (bits < PORT_BITS && port % 2 ** (bits + 1) === 0 && port + 2 ** (bits + 1) - 1 <= last) bits++;
    prefixes.push({ port, portPrefixLength: PORT_BITS - bits });
    port += 2 ** bits;
  }
  return prefixes;
}

/** Every protocol, ICMP included. */
export const ALL_L4: L4Match = {
  protocol: Protocol.any,
  protocolName: 'ANY',
  port: 0,
  endPort: undefined,
  portName: undefined,
  prefixes: [{ port: 0, portPrefixLength: 0 }],
};

const PROTOCOLS: Record<PortSpec['protocol'], readonly { readonly name: string; readonly number: number }[]> =
  {
    TCP: [{ name: 'TCP', number: Protocol.tcp }],
    UDP: [{ name: 'UDP', number: Protocol.udp }],
    SCTP: [{ name: 'SCTP', number: Protocol.sctp }],
    ANY: [
      { name: 'TCP', number: Protocol.tcp },
      { name: 'UDP', number: Protocol.udp },
      { name: 'SCTP', number: Protocol.sctp },
    ],
  };

function prefixesOf({ port, endPort }: PortSpec): readonly PortPrefix[] {
  if (typeof port === 'string') return [];
  return port === 0 ? ALL_L4.prefixes : portPrefixes(port, endPort ?? port);
}

function matchesOfPort(spec: PortSpec): L4Match[] {
  const isName = typeof spec.port === 'string';
  const prefixes = prefixesOf(spec);
  return PROTOCOLS[spec.protocol].map(({ name, number }) => ({
    protocol: number,
    protocolName: name,
    port: isName ? 0 : Number(spec.port),
    endPort: isName ? undefined : spec.endPort,
    portName: isName ? String(spec.port) : undefined,
    prefixes,
  }));
}

/** What an item's `toPorts` allows; everything when it has none. */
export function l4Matches(ports: readonly PortRule[] | undefined): readonly L4Match[] {
  if (ports === undefined) return [ALL_L4];
  return ports.flatMap((rule) => rule.ports.flatMap(matchesOfPort));
}

/** What an item's `icmps` allows: the type stands where the port would. */
export function icmpMatches(icmps: readonly IcmpSpec[]): readonly L4Match[] {
  return icmps.map(({ family, type }) => ({
    protocol: family === 4 ? Protocol.icmp : Protocol.icmpv6,
    protocolName: family === 4 ? 'ICMP' : 'ICMPv6',
    port: type,
    endPort: undefined,
    portName: undefined,
    prefixes: [{ port: type, portPrefixLength: PORT_BITS }],
  }));
}

/** The match with its name replaced by the number that it stands for. */
export function withPortNumber(match: L4Match, names: PortNames): L4Match {
  if (match.portName === undefined) return match;
  const port = names.number(match.portName, match.protocol);
  if (port === undefined) return match;
  return { ...match, port, prefixes: [{ port, portPrefixLength: PORT_BITS }] };
}

/** The first and last port of a match that has prefixes. */
export function portRange({ prefixes }: L4Match): { readonly first: number; readonly last: number } {
  const end = prefixes.at(-1) ?? { port: 0, portPrefixLength: 0 };
  return { first: prefixes[0]?.port ?? 0, last: end.port + 2 ** (PORT_BITS - end.portPrefixLength) - 1 };
}
