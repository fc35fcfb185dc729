/*
 * Frames of HTTP/2 (RFC 9113 §4, §6) written byte by byte, so that also those can be written which no client would send.
 * Header fields are literals without indexing and without Huffman coding (RFC 7541 §6.2.2).
 */

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

export const FrameType = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const END_STREAM = 1;
export const END_HEADERS = 4;
const PADDED = 8;

export type Fields = readonly (readonly [name: string, value: string])[];

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** An integer with a prefix of so many bits, RFC 7541 §5.1. @param first bits above the prefix */
export function hpackInteger(value: number, bits: number, first = 0): Buffer {
  const limit = 2 ** bits - 1;
  if (value < limit) return Buffer.of(first | value);
  const bytes = [first | limit];
  let rest = value - limit;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Buffer.from([...bytes, rest]);
}

function hpackString(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  return Buffer.concat([hpackInteger(bytes.length, 7), bytes]);
}

/** One field; `indexed` puts it in the dynamic table as well. */
export function hpackField(name: string, value: string, indexed = false): Buffer {
  return Buffer.concat([Buffer.of(indexed ? 0x40 : 0), hpackString(name), hpackString(value)]);
}

export function hpack(fields: Fields): Buffer {
  return Buffer.concat(fields.map(([name, value]) => hpackField(name, value)));
}

export function headers(
  stream: number,
  block: Buffer | Fields,
  flags: number = END_STREAM | END_HEADERS,
): Buffer {
  return frame(FrameType.headers, flags, stream, Buffer.isBuffer(block) ? block : hpack(block));
}

export function continuation(stream: number, block: Buffer, last: boolean): Buffer {
  return frame(FrameType.continuation, last ? END_HEADERS : 0, stream, block);
}

export function data(stream: number, body: string, last = true): Buffer {
  return frame(FrameType.data, last ? END_STREAM : 0, stream, Buffer.from(body, 'latin1'));
}

/** DATA that claims to have more padding than it has bytes. */
export function overPadded(stream: number): Buffer {
  return frame(FrameType.data, PADDED | END_STREAM, stream, Buffer.of(200, 1, 2));
}

export function reset(stream: number, code = 8): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(code);
  return frame(FrameType.reset, 0, stream, payload);
}

export function settings(...pairs: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(6 * pairs.length);
  for (const [i, [id, value]] of pairs.entries()) {
    payload.writeUInt16BE(id, 6 * i);
    payload.writeUInt32BE(value, 6 * i + 2);
  }
  return frame(FrameType.settings, 0, 0, payload);
}

export function windowUpdate(stream: number, increment: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(increment);
  return frame(FrameType.windowUpdate, 0, stream, payload);
}

/** The whole frames among the bytes that came. */
export function readFrames(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at + 9 <= bytes.length; ) {
    const length = bytes.readUIntBE(at, 3);
    if (at + 9 + length > bytes.length) break;
    frames.push({
      type: bytes.readUInt8(at + 3),
      flags: bytes.readUInt8(at + 4),
      stream: bytes.readUInt32BE(at + 5) & 0x7fffffff,
      payload: bytes.subarray(at + 9, at + 9 + length),
    });
    at += 9 + length;
  }
  return frames;
}
