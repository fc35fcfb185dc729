/*
 * Frames of Cassandra's native protocol, versions 3 and 4: version, flags, stream (2 bytes), opcode, length (4 bytes), body;
 * numbers big-endian (native_protocol_v4.spec).
 */

export const HEADER_BYTES = 9;
export const Opcode = {
  ...{ error: 0x00, startup: 0x01, options: 0x05, query: 0x07, result: 0x08, prepare: 0x09, execute: 0x0a },
  ...{ register: 0x0b, event: 0x0c, batch: 0x0d, authResponse: 0x0f },
} as const;
export const Flag = { compressed: 0x01, tracing: 0x02, payload: 0x04, warning: 0x08 } as const;
export const ErrorCode = { protocol: 0x000a, unauthorized: 0x2100, unprepared: 0x2500 } as const;

/** Reads a body; each method steps on. @throws RangeError behind its end */
export class BodyReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  #take(length: number): Buffer {
    if (length < 0 || this.#at + length > this.#bytes.length) throw new RangeError('the body is too short');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  skip(length: number): void {
    this.#take(length);
  }

  byte(): number {
    return this.#take(1).readUInt8();
  }

  short(): number {
    return this.#take(2).readUInt16BE();
  }

  int(): number {
    return this.#take(4).readInt32BE();
  }

  string(): string {
    return this.#take(this.short()).toString();
  }

  longString(): string {
    return this.#take(this.int()).toString();
  }

  /** A key of maps: the bytes, one a character. */
  shortBytes(): string {
    return this.#take(this.short()).toString('latin1');
  }

  /** A value: its length is negative for null and for one that is not set. */
  skipValue(): void {
    const length = this.int();
    if (length > 0) this.skip(length);
  }

  /** What stands before the body proper. */
  skipExtras(flags: number, isAnswer: boolean): void {
    if (isAnswer && (flags & Flag.tracing) !== 0) this.skip(16);
    if (isAnswer && (flags & Flag.warning) !== 0)
      for (let left = this.short(); left > 0; left--) this.string();
    if ((flags & Flag.payload) === 0) return;
    for (let left = this.short(); left > 0; left--) {
      this.string();
      this.skipValue();
    }
  }
}

/** An ERROR in answer to a request. @param id of the statement, with `unprepared` */
export function errorFrame(
  { version, stream }: { readonly version: number; readonly stream: number },
  code: number,
  message: string,
  id?: string,
): Buffer {
  const text = Buffer.from(message);
  const tail = id === undefined ? Buffer.alloc(0) : Buffer.from(`\0\0${id}`, 'latin1');
  if (id !== undefined) tail.writeUInt16BE(id.length, 0);
  const head = Buffer.alloc(HEADER_BYTES + 6);
  head[0] = 0x80 | version;
  head.writeUInt16BE(stream, 2);
  head[4] = Opcode.error;
  head.writeUInt32BE(6 + text.length + tail.length, 5);
  head.writeUInt32BE(code, HEADER_BYTES);
  head.writeUInt16BE(text.length, HEADER_BYTES + 4);
  return Buffer.concat([head, text, tail]);
}
