/** Reads packets that programs wrote, checksums verified. It shares nothing with the code under test. */
import assert from 'node:assert/strict';
import { formatIp } from '../../src/base/ip.ts';
import { internetChecksum } from './packets.ts';

const ETHERNET_BYTES = 14;
const FRAGMENT_HEADER = 44;

/** What a frame says; ports are 0 where there are none. */
export interface ReadPacket {
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly protocol: number;
  readonly ttl: number;
  /** The transport header and what follows. */
  readonly segment: Buffer;
}

interface NetworkPart {
  readonly source: Buffer;
  readonly destination: Buffer;
  readonly protocol: number;
  readonly ttl: number;
  readonly segment: Buffer;
  readonly isPiece: boolean;
}

function readIpv4(packet: Buffer): NetworkPart {
  const headerBytes = (packet.readUInt8(0) & 0xf) * 4;
  assert.equal(internetChecksum(packet.subarray(0, headerBytes)), 0, 'checksum of the IPv4 header');
  return {
    source: packet.subarray(12, 16),
    destination: packet.subarray(16, 20),
    protocol: packet.readUInt8(9),
    ttl: packet.readUInt8(8),
    segment: packet.subarray(headerBytes, packet.readUInt16BE(2)),
    isPiece: (packet.readUInt16BE(6) & 0x3fff) !== 0,
  };
}

function readIpv6(packet: Buffer): NetworkPart {
  const end = 40 + packet.readUInt16BE(4);
  const isPiece = packet.readUInt8(6) === FRAGMENT_HEADER;
  return {
    source: packet.subarray(8, 24),
    destination: packet.subarray(24, 40),
    protocol: packet.readUInt8(isPiece ? 40 : 6),
    ttl: packet.readUInt8(7),
    segment: packet.subarray(isPiece ? 48 : 40, end),
    isPiece,
  };
}

function assertChecksum({ source, destination, protocol, segment, isPiece }: NetworkPart): void {
  const none = protocol === 132 || (protocol === 17 && segment.readUInt16BE(6) === 0);
  if (isPiece || none) return;
  const tail = Buffer.alloc(8);
  tail.writeUInt32BE(segment.length, 0);
  tail.writeUInt32BE(protocol, 4);
  const pseudo = protocol === 1 ? [] : [source, destination, tail];
  assert.equal(internetChecksum(Buffer.concat([...pseudo, segment])), 0, `checksum of protocol ${protocol}`);
}

/** The network layer alone, as an ICMP error quotes it: its transport checksum need not fit. */
export function readQuote(packet: Buffer): Omit<ReadPacket, 'segment'> {
  const part = packet.readUInt8(0) >> 4 === 4 ? readIpv4(packet) : readIpv6(packet);
  return describeParts(part);
}

function describeParts({ source, destination, protocol, ttl, segment }: NetworkPart): ReadPacket {
  const hasPorts = protocol === 6 || protocol === 17 || protocol === 132;
  return {
    source: formatIp(source),
    destination: formatIp(destination),
    sourcePort: hasPorts ? segment.readUInt16BE(0) : 0,
    destinationPort: hasPorts ? segment.readUInt16BE(2) : 0,
    ...{ protocol, ttl, segment },
  };
}

/** A whole frame; its checksums must fit. Of a piece of a datagram the ports are not to be trusted. */
export function readPacket(frame: Buffer): ReadPacket {
  const packet = frame.subarray(ETHERNET_BYTES);
  const part = packet.readUInt8(0) >> 4 === 4 ? readIpv4(packet) : readIpv6(packet);
  assertChecksum(part);
  return describeParts(part);
}

/** `10.0.0.1:4000 > 10.0.7.7:80` */
export function pathOf({ source, sourcePort, destination, destinationPort }: ReadPacket): string {
  return `${source}:${sourcePort} > ${destination}:${destinationPort}`;
}
