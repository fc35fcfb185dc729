/**
 * Builds packets byte by byte, checksums included, for BPF_PROG_TEST_RUN. An encoder of its own: it shares nothing
 * with the code under test.
 */
import { parseIp } from '../../src/base/ip.ts';

export const TcpFlag = { fin: 0x01, syn: 0x02, rst: 0x04, psh: 0x08, ack: 0x10 } as const;

export interface PacketOptions {
  readonly source: string;
  readonly destination: string;
  /** Transport header and payload, as the functions below make them. */
  readonly payload: L4;
  readonly sourceMac?: Uint8Array;
  readonly destinationMac?: Uint8Array;
  /** TTL or hop limit. */
  readonly ttl?: number;
  /** IPv4 options or IPv6 extension headers, with the protocol that they announce. */
  readonly extensions?: readonly Extension[];
  readonly fragment?: {
    readonly id: number /** Bytes, a multiple of 8. */;
    readonly offset: number;
    readonly more: boolean;
  };
  readonly ethertype?: number;
}

export interface Extension {
  readonly protocol: number;
  /** Whole header; its first byte is overwritten with the next protocol (IPv6). */
  readonly bytes: Uint8Array;
}

/** A transport segment; the checksum is filled when the addresses are known. */
export interface L4 {
  readonly protocol: number;
  readonly bytes: Buffer;
  /** Offset of the checksum; undefined leaves it. */
  readonly checksumAt?: number;
  /** ICMPv4 has no pseudo header. */
  readonly pseudoHeader: boolean;
}

export const ZERO_MAC = new Uint8Array(6);

export function internetChecksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

export function tcp(
  sourcePort: number,
  destinationPort: number,
  flags: number,
  payload: Uint8Array = new Uint8Array(),
  { sequence = 0, acknowledged = 0 } = {},
): L4 {
  const bytes = Buffer.alloc(20 + payload.length);
  bytes.writeUInt32BE(sequence, 4);
  bytes.writeUInt32BE(acknowledged, 8);
  bytes.writeUInt16BE(sourcePort, 0);
  bytes.writeUInt16BE(destinationPort, 2);
  bytes.writeUInt8(5 << 4, 12);
  bytes.writeUInt8(flags, 13);
  bytes.writeUInt16BE(64240, 14);
  bytes.set(payload, 20);
  return { protocol: 6, bytes, checksumAt: 16, pseudoHeader: true };
}

export function udp(sourcePort: number, destinationPort: number, payload: Uint8Array = new Uint8Array()): L4 {
  const bytes = Buffer.alloc(8 + payload.length);
  bytes.writeUInt16BE(sourcePort, 0);
  bytes.writeUInt16BE(destinationPort, 2);
  bytes.writeUInt16BE(bytes.length, 4);
  bytes.set(payload, 8);
  return { protocol: 17, bytes, checksumAt: 6, pseudoHeader: true };
}

export function icmp(
  family: 4 | 6,
  type: number,
  code: number,
  rest: number,
  body: Uint8Array = new Uint8Array(),
): L4 {
  const bytes = Buffer.alloc(8 + body.length);
  bytes.writeUInt8(type, 0);
  bytes.writeUInt8(code, 1);
  bytes.writeUInt32BE(rest >>> 0, 4);
  bytes.set(body, 8);
  return { protocol: family === 4 ? 1 : 58, bytes, checksumAt: 2, pseudoHeader: family === 6 };
}

export function echo(family: 4 | 6, kind: 'request' | 'reply', identifier: number): L4 {
  const types = { 4: { request: 8, reply: 0 }, 6: { request: 128, reply: 129 } } as const;
  return icmp(family, types[family][kind], 0, identifier << 16, Buffer.alloc(16, 0x5a));
}

/** Anything else. */
export function rawL4(protocol: number, bytes: Uint8Array): L4 {
  return { protocol, bytes: Buffer.from(bytes), pseudoHeader: false };
}

function withChecksum(payload: L4, source: Uint8Array, destination: Uint8Array): Buffer {
  const bytes = Buffer.from(payload.bytes);
  if (payload.checksumAt === undefined) return bytes;
  bytes.writeUInt16BE(0, payload.checksumAt);
  const tail = Buffer.alloc(8);
  tail.writeUInt32BE(bytes.length, 0);
  tail.writeUInt32BE(payload.protocol, 4);
  const pseudo = payload.pseudoHeader ? [source, destination, tail] : [];
  bytes.writeUInt16BE(internetChecksum(Buffer.concat([...pseudo, bytes])), payload.checksumAt);
  return bytes;
}

function ipv4(options: PacketOptions, source: Uint8Array, destination: Uint8Array): Buffer {
  const optionBytes = Buffer.concat((options.extensions ?? []).map((extension) => extension.bytes));
  const payload = withChecksum(options.payload, source, destination);
  const headerBytes = 20 + optionBytes.length;
  const header = Buffer.alloc(headerBytes);
  header.writeUInt8(0x40 | (headerBytes / 4), 0);
  header.writeUInt16BE(headerBytes + payload.length, 2);
  header.writeUInt16BE(options.fragment?.id ?? 0x1234, 4);
  const { offset = 0, more = false } = options.fragment ?? {};
  header.writeUInt16BE((more ? 0x2000 : 0) | (offset / 8), 6);
  header.writeUInt8(options.ttl ?? 64, 8);
  header.writeUInt8(options.payload.protocol, 9);
  header.set(source, 12);
  header.set(destination, 16);
  header.set(optionBytes, 20);
  header.writeUInt16BE(internetChecksum(header), 10);
  return Buffer.concat([header, payload]);
}

function fragmentHeader(fragment: NonNullable<PacketOptions['fragment']>): Extension {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16BE(fragment.offset | (fragment.more ? 1 : 0), 2);
  bytes.writeUInt32BE(fragment.id, 4);
  return { protocol: 44, bytes };
}

function ipv6(options: PacketOptions, source: Uint8Array, destination: Uint8Array): Buffer {
  const extensions = [
    ...(options.extensions ?? []),
    ...(options.fragment === undefined ? [] : [fragmentHeader(options.fragment)]),
  ];
  const parts = extensions.map(({ bytes }, i) => {
    const part = Buffer.from(bytes);
    part.writeUInt8(extensions[i + 1]?.protocol ?? options.payload.protocol, 0);
    return part;
  });
  const payload = withChecksum(options.payload, source, destination);
  const header = Buffer.alloc(40);
  header.writeUInt32BE(0x60000000, 0);
  header.writeUInt16BE(
    parts.reduce((sum, part) => sum + part.length, payload.length),
    4,
  );
  header.writeUInt8(extensions[0]?.protocol ?? options.payload.protocol, 6);
  header.writeUInt8(options.ttl ?? 64, 7);
  header.set(source, 8);
  header.set(destination, 24);
  return Buffer.concat([header, ...parts, payload]);
}

/** The network layer alone: what an ICMP error quotes. */
export function ipPacket(options: PacketOptions): Buffer {
  const source = parseIp(options.source);
  const destination = parseIp(options.destination);
  return source.length === 4 ? ipv4(options, source, destination) : ipv6(options, source, destination);
}

function ethernet(
  destination: Uint8Array,
  source: Uint8Array,
  ethertype: number,
  payload: Uint8Array,
): Buffer {
  const header = Buffer.alloc(14);
  header.set(destination, 0);
  header.set(source, 6);
  header.writeUInt16BE(ethertype, 12);
  return Buffer.concat([header, payload]);
}

/** A whole frame. */
export function packet(options: PacketOptions): Buffer {
  const body = ipPacket(options);
  const ethertype = options.ethertype ?? ((body[0] ?? 0) >> 4 === 4 ? 0x0800 : 0x86dd);
  return ethernet(options.destinationMac ?? ZERO_MAC, options.sourceMac ?? ZERO_MAC, ethertype, body);
}

export function arpPacket(options: {
  readonly operation: 1 | 2;
  readonly senderMac: Uint8Array;
  readonly senderIp: string;
  readonly targetIp: string;
  readonly destinationMac?: Uint8Array;
}): Buffer {
  const body = Buffer.alloc(28);
  body.writeUInt16BE(1, 0);
  body.writeUInt16BE(0x0800, 2);
  body.writeUInt8(6, 4);
  body.writeUInt8(4, 5);
  body.writeUInt16BE(options.operation, 6);
  body.set(options.senderMac, 8);
  body.set(parseIp(options.senderIp), 14);
  body.set(parseIp(options.targetIp), 24);
  const broadcast = new Uint8Array(6).fill(0xff);
  return ethernet(options.destinationMac ?? broadcast, options.senderMac, 0x0806, body);
}

/** ICMP error of type and code that quotes `inner`. */
export function icmpError(family: 4 | 6, type: number, code: number, inner: Uint8Array): L4 {
  return icmp(family, type, code, 0, inner);
}

/** Neighbour solicitation for `target` (RFC 4861 4.3) with the source's link-layer address. */
export function neighborSolicitation(options: {
  readonly source: string;
  readonly target: string;
  readonly sourceMac: Uint8Array;
}): Buffer {
  const body = Buffer.concat([parseIp(options.target), Buffer.from([1, 1]), options.sourceMac]);
  return packet({
    source: options.source,
    destination: options.target,
    sourceMac: options.sourceMac,
    ttl: 255,
    payload: icmp(6, 135, 0, 0, body),
  });
}
