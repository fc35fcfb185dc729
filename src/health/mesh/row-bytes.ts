import { CiliateError, ExitCode } from '../../base/errors.ts';

/** A message of another node is none of ours, or cut short. */
export class RowFormatError extends CiliateError {
  constructor(message: string, cause?: unknown) {
    super(message, { code: 'ROWS_MALFORMED', exitCode: ExitCode.systemFailed, cause });
  }
}

const FIRST_BYTES = 1024;

/** Bytes in the making: integers of 48 bits in network order, smaller ones in LEB128 (seven bits a byte, the lowest first). */
export class ByteWriter {
  #bytes = Buffer.allocUnsafe(FIRST_BYTES);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  #room(bytes: number): void {
    if (this.#length + bytes <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe((this.#length + bytes) * 2);
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }

  byte(value: number): void {
    this.#room(1);
    this.#bytes[this.#length++] = value;
  }

  /** 0 .. 2^48 - 1 */
  u48(value: number): void {
    this.#room(6);
    this.#bytes.writeUIntBE(value, this.#length, 6);
    this.#length += 6;
  }

  /** 0 .. 2^32 - 1 */
  varint(value: number): void {
    this.#room(5);
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#length++] = (rest & 0x7f) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#length++] = rest;
  }

  text(value: string): void {
    const bytes = Buffer.from(value);
    this.varint(bytes.length);
    this.#room(bytes.length);
    bytes.copy(this.#bytes, this.#length);
    this.#length += bytes.length;
  }

  /** What was written; the writer is done with it. */
  take(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }
}

/** Reads what `ByteWriter` wrote; every read throws `RowFormatError` at the end of the bytes. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  byte(): number {
    const value = this.#bytes[this.#at];
    if (value === undefined) throw new RowFormatError('rows of another node are cut short');
    this.#at++;
    return value;
  }

  u48(): number {
    if (this.left < 6) throw new RowFormatError('rows of another node are cut short');
    let value = 0;
    for (let i = 0; i < 6; i++) value = value * 256 + (this.#bytes[this.#at + i] as number);
    this.#at += 6;
    return value;
  }

  varint(most = 0xffff_ffff): number {
    let [value, factor] = [0, 1];
    for (let i = 0; i < 5; i++) {
      const byte = this.byte();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) {
        if (value > most) throw new RowFormatError(`a number of another node's rows is above ${most}`);
        return value;
      }
      factor *= 0x80;
    }
    throw new RowFormatError("a number of another node's rows is longer than 32 bits");
  }

  text(bytesMax: number): string {
    const length = this.varint(bytesMax);
    if (length > this.left) throw new RowFormatError('rows of another node are cut short');
    const text = Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + this.#at, length).toString('utf8');
    this.#at += length;
    return text;
  }
}
