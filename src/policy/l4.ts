import { Protocol } from '../model/map-state.ts';
import type { PortRule, PortSpec } from './rule.ts';

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
  /** `TCP`, `UDP`, `SCTP`, or `ANY` for every protocol. */
  readonly protocolName: string;
  /** Host order; 0 is every port. */
  readonly port: number;
  readonly endPort: number | undefined;
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

function matchesOfPort({ port, endPort, protocol }: PortSpec): L4Match[] {
  if (typeof port === 'string') return [];
  const prefixes = port === 0 ? ALL_L4.prefixes : portPrefixes(port, endPort ?? port);
  return PROTOCOLS[protocol].map(({ name, number }) => ({
    protocol: number,
    protocolName: name,
    port,
    endPort,
    prefixes,
  }));
}

/** What an item's `toPorts` allows; everything when it has none. */
export function l4Matches(ports: readonly PortRule[] | undefined): readonly L4Match[] {
  if (ports === undefined) return [ALL_L4];
  return ports.flatMap((rule) => rule.ports.flatMap(matchesOfPort));
}
