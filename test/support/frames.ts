/** An Ethernet frame whose packet opens a flow. Addresses decide the family; ports are in host order. */
export interface FrameOptions {
  readonly sourceMac: Uint8Array;
  readonly destinationMac: Uint8Array;
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly protocol: number;
  /** Of an echo request the identifier. */
  readonly sourcePort: number;
  /** Of ICMP the type. */
  readonly destinationPort: number;
}

const TCP_SYN = 0x02;
const HOP_LIMIT = 64;

function tcpSegment(options: FrameOptions): Buffer {
  const segment = Buffer.alloc(20);
  segment.writeUInt16BE(options.sourcePort, 0);
  segment.writeUInt16BE(options.destinationPort, 2);
  segment[12] = 5 << 4;
  segment[13] = TCP_SYN;
  return segment;
}

function portsAndPayload(options: FrameOptions): Buffer {
  const segment = Buffer.alloc(16);
  segment.writeUInt16BE(options.sourcePort, 0);
  segment.writeUInt16BE(options.destinationPort, 2);
  segment.writeUInt16BE(segment.length, 4);
  return segment;
}

function icmpMessage(options: FrameOptions): Buffer {
  const message = Buffer.alloc(16);
  message[0] = options.destinationPort;
  message.writeUInt16BE(options.sourcePort, 4);
  return message;
}

function transport(options: FrameOptions): Buffer {
  if (options.protocol === 6) return tcpSegment(options);
  return options.protocol === 1 || options.protocol === 58 ? icmpMessage(options) : portsAndPayload(options);
}

/** RFC 1071. */
function checksum(header: Buffer): number {
  let sum = 0;
  for (let at = 0; at < header.length; at += 2) sum += header.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function ipv4Header(options: FrameOptions, payloadBytes: number): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(header.length + payloadBytes, 2);
  header[8] = HOP_LIMIT;
  header[9] = options.protocol;
  header.set(options.source, 12);
  header.set(options.destination, 16);
  header.writeUInt16BE(checksum(header), 10);
  return header;
}

function ipv6Header(options: FrameOptions, payloadBytes: number): Buffer {
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(payloadBytes, 4);
  header[6] = options.protocol;
  header[7] = HOP_LIMIT;
  header.set(options.source, 8);
  header.set(options.destination, 24);
  return header;
}

/** The frame's bytes. Transport checksums are zero: no program of ours reads them. */
export function buildFrame(options: FrameOptions): Buffer {
  const v4 = options.source.length === 4;
  const payload = transport(options);
  const type = Buffer.alloc(2);
  type.writeUInt16BE(v4 ? 0x0800 : 0x86dd);
  const header = v4 ? ipv4Header(options, payload.length) : ipv6Header(options, payload.length);
  return Buffer.concat([options.destinationMac, options.sourceMac, type, header, payload]);
}
