import { formatIp } from '../base/ip.ts';
import { ETHERNET_BYTES, IPV6_EXTENSIONS, MAX_EXTENSIONS, tcpFlagNames } from '../model/packet.ts';

const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd } as const;

const ICMP_NAMES: Readonly<Record<number, string>> = {
  0: 'EchoReply',
  3: 'DestinationUnreachable',
  4: 'SourceQuench',
  5: 'Redirect',
  8: 'EchoRequest',
  11: 'TimeExceeded',
  12: 'ParameterProblem',
  13: 'TimestampRequest',
  14: 'TimestampReply',
};

const ICMPV6_NAMES: Readonly<Record<number, string>> = {
  1: 'DestinationUnreachable',
  2: 'PacketTooBig',
  3: 'TimeExceeded',
  4: 'ParameterProblem',
  128: 'EchoRequest',
  129: 'EchoReply',
  133: 'RouterSolicitation',
  134: 'RouterAdvertisement',
  135: 'NeighborSolicitation',
  136: 'NeighborAdvertisement',
  143: 'MLDv2MulticastListenerReportMessageV2',
};

/** Where the transport header lies, as far as the capture tells. */
interface Network {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly offset: number;
  readonly laterFragment: boolean;
}

function networkV4(head: Buffer, at: number): Network | undefined {
  if (head.length < at + 20) return undefined;
  return {
    source: formatIp(head.subarray(at + 12, at + 16)),
    destination: formatIp(head.subarray(at + 16, at + 20)),
    protocol: head.readUInt8(at + 9),
    offset: at + (head.readUInt8(at) & 0x0f) * 4,
    laterFragment: (head.readUInt16BE(at + 6) & 0x1fff) !== 0,
  };
}

function networkV6(head: Buffer, at: number): Network | undefined {
  if (head.length < at + 40) return undefined;
  const source = formatIp(head.subarray(at + 8, at + 24));
  const destination = formatIp(head.subarray(at + 24, at + 40));
  let protocol = head.readUInt8(at + 6);
  let offset = at + 40;
  let laterFragment = false;
  for (let i = 0; i < MAX_EXTENSIONS && IPV6_EXTENSIONS.has(protocol) && head.length >= offset + 8; i++) {
    const length = head.readUInt8(offset + 1);
    if (protocol === 44 && (head.readUInt16BE(offset + 2) & 0xfff8) !== 0) laterFragment = true;
    const skip = protocol === 44 ? 8 : protocol === 51 ? (length + 2) * 4 : (length + 1) * 8;
    protocol = head.readUInt8(offset);
    offset += skip;
  }
  return { source, destination, protocol, offset, laterFragment };
}

function withPort(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function transport(head: Buffer, network: Network): string {
  const { source, destination, protocol, offset, laterFragment } = network;
  const plain = `${source} -> ${destination}`;
  const names: Readonly<Record<number, string>> = { 6: 'tcp', 17: 'udp', 132: 'sctp' };
  const name = names[protocol];
  if (laterFragment) return `${plain} ${name ?? `protocol ${protocol}`} fragment`;
  if ((protocol === 1 || protocol === 58) && head.length > offset) {
    const type = head.readUInt8(offset);
    const table = protocol === 1 ? ICMP_NAMES : ICMPV6_NAMES;
    const text = table[type] ?? `type ${type}`;
    return `${plain} ${protocol === 1 ? 'icmp' : 'icmpv6'} ${text}`;
  }
  if (name === undefined || head.length < offset + 4) return `${plain} ${name ?? `protocol ${protocol}`}`;
  const from = withPort(source, head.readUInt16BE(offset));
  const to = withPort(destination, head.readUInt16BE(offset + 2));
  if (protocol !== 6 || head.length < offset + 14) return `${from} -> ${to} ${name}`;
  const bits = head.readUInt8(offset + 13);
  return `${from} -> ${to} tcp ${tcpFlagNames(bits).join(', ')}`.trimEnd();
}

function arp(head: Buffer, at: number): string {
  if (head.length < at + 28) return 'arp';
  const sender = formatIp(head.subarray(at + 14, at + 18));
  const target = formatIp(head.subarray(at + 24, at + 28));
  return `${sender} -> ${target} arp ${head.readUInt16BE(at + 6) === 1 ? 'request' : 'reply'}`;
}

/**
 * One line for a packet that begins with an Ethernet header, as far as it was captured:
 * `10.1.2.3:4 -> 10.1.2.5:80 tcp SYN`, `10.1.2.3 -> 10.1.2.5 icmp EchoRequest`, `[fd00::1]:53 -> [fd00::2]:80 udp`.
 */
export function dissectPacket(packet: Uint8Array): string {
  const head = Buffer.from(packet.buffer, packet.byteOffset, packet.byteLength);
  if (head.length < ETHERNET_BYTES) return `${head.length} bytes`;
  const ethertype = head.readUInt16BE(12);
  if (ethertype === ETHERTYPE.arp) return arp(head, ETHERNET_BYTES);
  const network =
    ethertype === ETHERTYPE.ipv4
      ? networkV4(head, ETHERNET_BYTES)
      : ethertype === ETHERTYPE.ipv6
        ? networkV6(head, ETHERNET_BYTES)
        : undefined;
  if (network === undefined) return `ethertype 0x${ethertype.toString(16).padStart(4, '0')}`;
  return transport(head, network);
}
