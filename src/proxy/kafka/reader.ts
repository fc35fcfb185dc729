/** A frame ends too early, or says something impossible. */
export class KafkaFormatError extends Error {}

/**
 * Reads primitive types of the Kafka protocol (protocol guide, "Protocol Primitive Types"), big-endian. In `flexible`
 * messages lengths are compact (unsigned varint, plus one) and structures end with tagged fields.
 */
export class KafkaReader {
  readonly #bytes: Buffer;
  #at = 0;
  flexible = false;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  /** @throws KafkaFormatError when fewer are left */
  skip(count: number): number {
    if (count < 0 || count > this.remaining) throw new KafkaFormatError('frame ends too early');
    const at = this.#at;
    this.#at += count;
    return at;
  }

  int8(): number {
    return this.#bytes.readInt8(this.skip(1));
  }

  int16(): number {
    return this.#bytes.readInt16BE(this.skip(2));
  }

  int32(): number {
    return this.#bytes.readInt32BE(this.skip(4));
  }

  /** Unsigned, at most 32 bits. */
  varint(): number {
    let value = 0;
    for (let shift = 0; shift <= 28; shift += 7) {
      const byte = this.#bytes.readUInt8(this.skip(1));
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new KafkaFormatError('number too long');
  }

  /** Length of what follows; -1: null. */
  #length(classic: 'int16' | 'int32'): number {
    const length = this.flexible ? this.varint() - 1 : classic === 'int16' ? this.int16() : this.int32();
    if (length < -1 || length > this.remaining) throw new KafkaFormatError('length out of bounds');
    return length;
  }

  nullableString(): string | undefined {
    const length = this.#length('int16');
    if (length < 0) return undefined;
    const at = this.skip(length);
    return this.#bytes.toString('utf8', at, at + length);
  }

  string(): string {
    const text = this.nullableString();
    if (text === undefined) throw new KafkaFormatError('null where a text belongs');
    return text;
  }

  /** Always in the classic form: the client id of request headers. */
  classicNullableString(): string | undefined {
    const { flexible } = this;
    this.flexible = false;
    const text = this.nullableString();
    this.flexible = flexible;
    return text;
  }

  skipBytes(): void {
    const length = this.#length('int32');
    if (length > 0) this.skip(length);
  }

  /** Each item, read by `read`; undefined: null. Items have at least one byte, so lengths beyond the frame are no array. */
  nullableArray<T>(read: () => T): T[] | undefined {
    const length = this.#length('int32');
    if (length < 0) return undefined;
    const items: T[] = [];
    for (let i = 0; i < length; i++) items.push(read());
    return items;
  }

  array<T>(read: () => T): T[] {
    return this.nullableArray(read) ?? [];
  }

  /** Tagged fields at the end of a structure of a flexible message. */
  tags(): void {
    if (!this.flexible) return;
    const count = this.varint();
    for (let i = 0; i < count; i++) {
      this.varint();
      this.skip(this.varint());
    }
  }
}
