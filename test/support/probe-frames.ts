/** Probes of the engine as they lie in Ethernet frames, and answers to them, true or with what a test changes. */

export type ProbeKind = 'icmp4' | 'icmp6' | 'echo4' | 'echo6';

const IP = 14;
const IP_BYTES = { 4: 20, 6: 40 } as const;
const L4_BYTES = 8;
const COOKIE_BYTES = 32;
const PORT = 4240;
const ECHOED = 2;
const REQUEST = { icmp4: 8, icmp6: 128 } as const;
const REPLY = { icmp4: 0, icmp6: 129 } as const;
const PROTOCOL = { icmp4: 1, icmp6: 58, echo4: 17, echo6: 17 } as const;

/** RFC 1071, of bytes that begin at an even place. */
function onesSum(bytes: Buffer, begin = 0): number {
  let total = begin;
  for (let i = 0; i < bytes.length; i += 2)
    total += i + 1 < bytes.length ? bytes.readUInt16BE(i) : (bytes[i] ?? 0) << 8;
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}

/** Exchanges two stretches of `bytes` bytes. */
function swap(frame: Buffer, a: number, b: number, bytes: number): void {
  const held = Buffer.from(frame.subarray(a, a + bytes));
  frame.copy(frame, a, b, b + bytes);
  held.copy(frame, b);
}

/** Offsets of one kind of probe, and its frames. */
export class ProbeFrames {
  readonly kind: ProbeKind;
  readonly family: 4 | 6;
  readonly responder: 'icmp' | 'echo';
  /** Of the IP header, the ICMP or UDP header, and the cookie. */
  readonly ip = IP;
  readonly l4: number;
  readonly cookie: number;
  /** Of the checksum of ICMP or UDP. */
  readonly sum: number;
  /** Bytes of the least frame. */
  readonly bytes: number;
  /** Of fields of the cookie. */
  readonly field: Readonly<
    Record<'version' | 'flags' | 'prober' | 'path' | 'sequence' | 'residence' | 'nonce', number>
  >;
  /** Of the last byte of the source address. */
  readonly sourceEnd: number;

  constructor(kind: ProbeKind) {
    this.kind = kind;
    this.family = kind.endsWith('4') ? 4 : 6;
    this.responder = kind.startsWith('icmp') ? 'icmp' : 'echo';
    this.l4 = IP + IP_BYTES[this.family];
    this.cookie = this.l4 + L4_BYTES;
    this.bytes = this.cookie + COOKIE_BYTES;
    this.sum = this.l4 + (this.responder === 'icmp' ? 2 : 6);
    this.sourceEnd = this.family === 4 ? IP + 15 : IP + 23;
    const at = (offset: number): number => this.cookie + offset;
    this.field = {
      version: at(4),
      flags: at(5),
      prober: at(8),
      path: at(12),
      sequence: at(16),
      residence: at(20),
      nonce: at(24),
    };
  }

  /** Whether a frame is a probe of this kind, as it leaves its prober. */
  isProbe(frame: Buffer): boolean {
    if (frame.length < this.bytes || frame[IP] !== (this.family === 4 ? 0x45 : frame[IP])) return false;
    if (frame.readUInt16BE(12) !== (this.family === 4 ? 0x0800 : 0x86dd)) return false;
    if (frame[this.family === 4 ? IP + 9 : IP + 6] !== PROTOCOL[this.kind]) return false;
    if (this.kind === 'icmp4' || this.kind === 'icmp6') return frame[this.l4] === REQUEST[this.kind];
    return frame.readUInt16BE(this.l4 + 2) === PORT;
  }

  /** The right sums and lengths for what lies in the frame; UDP over IPv4 has no sum, as our responder sends it. */
  seal(frame: Buffer): Buffer {
    const l4Bytes = frame.length - this.l4;
    if (this.family === 4) {
      frame.writeUInt16BE(frame.length - IP, IP + 2);
      frame.writeUInt16BE(0, IP + 10);
      frame.writeUInt16BE(~onesSum(frame.subarray(IP, this.l4)) & 0xffff, IP + 10);
    } else frame.writeUInt16BE(l4Bytes, IP + 4);
    if (this.responder === 'echo') frame.writeUInt16BE(l4Bytes, this.l4 + 4);
    frame.writeUInt16BE(0, this.sum);
    if (this.kind === 'echo4') return frame;
    const pseudo =
      this.kind === 'icmp4' ? 0 : onesSum(frame.subarray(IP + 8, IP + 40), l4Bytes + PROTOCOL[this.kind]);
    frame.writeUInt16BE(~onesSum(frame.subarray(this.l4), pseudo) & 0xffff || 0xffff, this.sum);
    return frame;
  }

  /** The answer to a probe, with what `change` does to it before it is sealed. */
  answer(request: Buffer, change: (frame: Buffer) => void = () => undefined): Buffer {
    const frame = Buffer.from(request);
    swap(frame, 0, 6, 6);
    if (this.family === 4) swap(frame, IP + 12, IP + 16, 4);
    else swap(frame, IP + 8, IP + 24, 16);
    if (this.kind === 'icmp4' || this.kind === 'icmp6') frame[this.l4] = REPLY[this.kind];
    else {
      swap(frame, this.l4, this.l4 + 2, 2);
      frame[this.field.flags] = (frame[this.field.flags] ?? 0) | ECHOED;
    }
    change(frame);
    return this.seal(frame);
  }
}
