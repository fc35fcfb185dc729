import { formatIp } from '../base/ip.ts';

export const ETHERNET_BYTES = 14;
/** Extension headers of IPv6 that are stepped over: hop-by-hop, routing, fragment, authentication, destination options. */
export const IPV6_EXTENSIONS: ReadonlySet<number> = new Set([0, 43, 44, 51, 60]);
/** More of them than this are looked at by nobody: a packet must not keep a reader busy. */
export const MAX_EXTENSIONS = 6;

/** TCP flags by their bit, in the order in which they are told. */
const TCP_FLAGS = [
  [0x02, 'SYN'],
  [0x01, 'FIN'],
  [0x04, 'RST'],
  [0x08, 'PSH'],
  [0x10, 'ACK'],
  [0x20, 'URG'],
] as const;

/** Names of the flags that are set in a TCP header's 14th byte. */
export function tcpFlagNames(bits: number): readonly string[] {
  return TCP_FLAGS.filter(([bit]) => (bits & bit) !== 0).map(([, flag]) => flag);
}

export interface EthernetHeader {
  readonly kind: 'ethernet';
  /** `02:00:00:00:00:01`. */
  readonly source: string;
  readonly destination: string;
  readonly ethertype: number;
}

export interface ArpHeader {
  readonly kind: 'arp';
  /** 1 request, 2 reply. */
  readonly operation: number;
  readonly senderMac: string;
  readonly senderIp: string;
  readonly targetIp: string;
}

export interface IpHeader {
  readonly kind: 'ipv4' | 'ipv6';
  readonly source: string;
  readonly destination: string;
  /** Of the transport, behind IPv6's extensions. */
  readonly protocol: number;
  /** TTL or hop limit. */
  readonly hops: number;
  /** Bytes of the whole packet (IPv4) or of what follows the header (IPv6), as it says itself. */
  readonly lengthBytes: number;
  /** Traffic class: DSCP and ECN. */
  readonly trafficClass: number;
  readonly dontFragment: boolean;
  /** Undefined when it is whole. */
  readonly fragment:
    | { readonly id: number; readonly offsetBytes: number; readonly more: boolean }
    | undefined;
}

export interface TcpHeader {
  readonly kind: 'tcp';
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly window: number;
  readonly flags: readonly string[];
}

export interface UdpHeader {
  readonly kind: 'udp';
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly lengthBytes: number;
}

export interface IcmpHeader {
  readonly kind: 'icmp' | 'icmpv6';
  readonly type: number;
  readonly code: number;
  /** Of an echo; undefined for others. */
  readonly echo: { readonly id: number; readonly sequence: number } | undefined;
}

export type PacketHeader = EthernetHeader | ArpHeader | IpHeader | TcpHeader | UdpHeader | IcmpHeader;

/** Headers of a packet from the outside in, as far as the capture holds them whole, and what is left of it. */
export interface DissectedPacket {
  readonly headers: readonly PacketHeader[];
  /** Captured bytes behind the last header. */
  readonly restBytes: number;
}

interface Step<T> {
  readonly header: T;
  /** Where the next header begins. */
  readonly next: number;
}

function mac(head: Buffer, at: number): string {
  return Array.from(head.subarray(at, at + 6), (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

function readArp(head: Buffer, at: number): Step<ArpHeader> | undefined {
  if (head.length < at + 28) return undefined;
  const header: ArpHeader = {
    kind: 'arp',
    operation: head.readUInt16BE(at + 6),
    senderMac: mac(head, at + 8),
    senderIp: formatIp(head.subarray(at + 14, at + 18)),
    targetIp: formatIp(head.subarray(at + 24, at + 28)),
  };
  return { header, next: at + 28 };
}

function readIpv4(head: Buffer, at: number): Step<IpHeader> | undefined {
  if (head.length < at + 20) return undefined;
  const bits = head.readUInt16BE(at + 6);
  const offsetBytes = (bits & 0x1fff) * 8;
  const more = (bits & 0x2000) !== 0;
  const header: IpHeader = {
    kind: 'ipv4',
    source: formatIp(head.subarray(at + 12, at + 16)),
    destination: formatIp(head.subarray(at + 16, at + 20)),
    protocol: head.readUInt8(at + 9),
    hops: head.readUInt8(at + 8),
    lengthBytes: head.readUInt16BE(at + 2),
    trafficClass: head.readUInt8(at + 1),
    dontFragment: (bits & 0x4000) !== 0,
    fragment: more || offsetBytes > 0 ? { id: head.readUInt16BE(at + 4), offsetBytes, more } : undefined,
  };
  return { header, next: at + (head.readUInt8(at) & 0x0f) * 4 };
}

function readIpv6(head: Buffer, at: number): Step<IpHeader> | undefined {
  if (head.length < at + 40) return undefined;
  let protocol = head.readUInt8(at + 6);
  let next = at + 40;
  let fragment: IpHeader['fragment'];
  for (let i = 0; i < MAX_EXTENSIONS && IPV6_EXTENSIONS.has(protocol) && head.length >= next + 8; i++) {
    const length = head.readUInt8(next + 1);
    if (protocol === 44) {
      const bits = head.readUInt16BE(next + 2);
      fragment = { id: head.readUInt32BE(next + 4), offsetBytes: bits & 0xfff8, more: (bits & 1) !== 0 };
    }
    const skip = protocol === 44 ? 8 : protocol === 51 ? (length + 2) * 4 : (length + 1) * 8;
    protocol = head.readUInt8(next);
    next += skip;
  }
  const header: IpHeader = {
    kind: 'ipv6',
    source: formatIp(head.subarray(at + 8, at + 24)),
    destination: formatIp(head.subarray(at + 24, at + 40)),
    protocol,
    hops: head.readUInt8(at + 7),
    lengthBytes: head.readUInt16BE(at + 4),
    trafficClass: (head.readUInt16BE(at) >> 4) & 0xff,
    dontFragment: true,
    fragment,
  };
  return { header, next };
}

function readTcp(head: Buffer, at: number): Step<TcpHeader> | undefined {
  if (head.length < at + 20) return undefined;
  const header: TcpHeader = {
    kind: 'tcp',
    sourcePort: head.readUInt16BE(at),
    destinationPort: head.readUInt16BE(at + 2),
    sequence: head.readUInt32BE(at + 4),
    acknowledgement: head.readUInt32BE(at + 8),
    window: head.readUInt16BE(at + 14),
    flags: tcpFlagNames(head.readUInt8(at + 13)),
  };
  return { header, next: at + (head.readUInt8(at + 12) >> 4) * 4 };
}

function readUdp(head: Buffer, at: number): Step<UdpHeader> | undefined {
  if (head.length < at + 8) return undefined;
  const header: UdpHeader = {
    kind: 'udp',
    sourcePort: head.readUInt16BE(at),
    destinationPort: head.readUInt16BE(at + 2),
    lengthBytes: head.readUInt16BE(at + 4),
  };
  return { header, next: at + 8 };
}

const ECHO_TYPES: Readonly<Record<IcmpHeader['kind'], readonly number[]>> = {
  icmp: [0, 8],
  icmpv6: [128, 129],
};

function readIcmp(kind: IcmpHeader['kind'], head: Buffer, at: number): Step<IcmpHeader> | undefined {
  if (head.length < at + 8) return undefined;
  const type = head.readUInt8(at);
  const echo = ECHO_TYPES[kind].includes(type)
    ? { id: head.readUInt16BE(at + 4), sequence: head.readUInt16BE(at + 6) }
    : undefined;
  return { header: { kind, type, code: head.readUInt8(at + 1), echo }, next: at + 8 };
}

function readTransport(ip: IpHeader, head: Buffer, at: number): Step<PacketHeader> | undefined {
  if ((ip.fragment?.offsetBytes ?? 0) > 0) return undefined;
  switch (ip.protocol) {
    case 1:
      return readIcmp('icmp', head, at);
    case 6:
      return readTcp(head, at);
    case 17:
      return readUdp(head, at);
    case 58:
      return readIcmp('icmpv6', head, at);
    default:
      return undefined;
  }
}

/**
 * Reads the headers of a packet that begins with an Ethernet header. A header that the capture cuts is left out; its
 * bytes count as rest. Never throws, whatever the bytes.
 */
export function parsePacket(packet: Uint8Array): DissectedPacket {
  const head = Buffer.from(packet.buffer, packet.byteOffset, packet.byteLength);
  if (head.length < ETHERNET_BYTES) return { headers: [], restBytes: head.length };
  const ethertype = head.readUInt16BE(12);
  const headers: PacketHeader[] = [
    { kind: 'ethernet', source: mac(head, 6), destination: mac(head, 0), ethertype },
  ];
  let next = ETHERNET_BYTES;
  const take = <T extends PacketHeader>(step: Step<T> | undefined): T | undefined => {
    if (step === undefined) return undefined;
    headers.push(step.header);
    next = step.next;
    return step.header;
  };
  if (ethertype === 0x0806) take(readArp(head, next));
  const ip =
    ethertype === 0x0800
      ? take(readIpv4(head, next))
      : ethertype === 0x86dd
        ? take(readIpv6(head, next))
        : undefined;
  if (ip !== undefined) take(readTransport(ip, head, next));
  return { headers, restBytes: Math.max(0, head.length - next) };
}
