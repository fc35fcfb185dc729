import { type PacketHeader, parsePacket } from '../model/packet.ts';

const ETHERTYPES: Readonly<Record<number, string>> = { 2048: 'IPv4', 2054: 'ARP', 34525: 'IPv6' };
const PROTOCOLS: Readonly<Record<number, string>> = {
  1: 'ICMP',
  6: 'TCP',
  17: 'UDP',
  58: 'ICMPv6',
  132: 'SCTP',
};

type Lines = { readonly [K in PacketHeader['kind']]: (header: Extract<PacketHeader, { kind: K }>) => string };

function hex(value: number, digits: number): string {
  return `0x${value.toString(16).padStart(digits, '0')}`;
}

function ipLine(header: Extract<PacketHeader, { kind: 'ipv4' | 'ipv6' }>): string {
  const { source, destination, protocol, hops, lengthBytes, trafficClass, dontFragment, fragment } = header;
  const parts = [
    `${source} -> ${destination}`,
    `protocol ${PROTOCOLS[protocol] ?? protocol}`,
    `${header.kind === 'ipv4' ? 'TTL' : 'hop limit'} ${hops}`,
    `length ${lengthBytes}`,
  ];
  if (trafficClass !== 0) parts.push(`class ${hex(trafficClass, 2)}`);
  if (header.kind === 'ipv4' && dontFragment) parts.push('DF');
  if (fragment !== undefined) {
    const { id, offsetBytes, more } = fragment;
    parts.push(`fragment ${id} at byte ${offsetBytes}${more ? ', more follow' : ', last'}`);
  }
  return parts.join(', ');
}

function icmpLine({ type, code, echo }: Extract<PacketHeader, { kind: 'icmp' | 'icmpv6' }>): string {
  const what = `type ${type}, code ${code}`;
  return echo === undefined ? what : `${what}, id ${echo.id}, sequence ${echo.sequence}`;
}

const LINES: Lines = {
  ethernet: ({ source, destination, ethertype }) =>
    `${source} -> ${destination}, type ${ETHERTYPES[ethertype] ?? hex(ethertype, 4)}`,
  arp: ({ operation, senderMac, senderIp, targetIp }) =>
    operation === 1
      ? `who has ${targetIp}? ${senderIp} at ${senderMac} asks`
      : `${senderIp} is at ${senderMac}, told to ${targetIp}`,
  ipv4: ipLine,
  ipv6: ipLine,
  tcp: ({ sourcePort, destinationPort, sequence, acknowledgement, window, flags }) =>
    [
      `port ${sourcePort} -> ${destinationPort}`,
      flags.length === 0 ? 'no flags' : flags.join(' '),
      `sequence ${sequence}`,
      `acknowledges ${acknowledgement}`,
      `window ${window}`,
    ].join(', '),
  udp: ({ sourcePort, destinationPort, lengthBytes }) =>
    `port ${sourcePort} -> ${destinationPort}, length ${lengthBytes}`,
  icmp: icmpLine,
  icmpv6: icmpLine,
};

const NAMES: Readonly<Record<PacketHeader['kind'], string>> = {
  ethernet: 'Ethernet',
  arp: 'ARP',
  ipv4: 'IPv4',
  ipv6: 'IPv6',
  tcp: 'TCP',
  udp: 'UDP',
  icmp: 'ICMP',
  icmpv6: 'ICMPv6',
};

/** A header a line, from the outside in, then how many captured bytes follow; each line indented by two. */
export function packetLayersText(capture: Uint8Array): string {
  const { headers, restBytes } = parsePacket(capture);
  const lines = headers.map((header) => {
    const line = LINES[header.kind] as (header: PacketHeader) => string;
    return `  ${NAMES[header.kind].padEnd(8)}  ${line(header)}\n`;
  });
  if (restBytes > 0) lines.push(`  ${'Rest'.padEnd(8)}  ${restBytes} bytes captured\n`);
  return lines.join('');
}
