import { isFlexible, type KafkaRequest, type KafkaTopic } from './request.ts';

/** Error code TOPIC_AUTHORIZATION_FAILED. */
export const TOPIC_AUTHORIZATION_FAILED = 29;

/** Writes primitive types, as {@link KafkaReader} reads them. */
class KafkaWriter {
  readonly #parts: Buffer[] = [];
  readonly #flexible: boolean;

  constructor(flexible: boolean) {
    this.#flexible = flexible;
  }

  /** Integers of 1, 2, 4 or 8 bytes. */
  int(bytes: 1 | 2 | 4 | 8, value: number): this {
    const part = Buffer.alloc(bytes);
    if (bytes === 8) part.writeBigInt64BE(BigInt(value));
    else part.writeIntBE(value, 0, bytes);
    this.#parts.push(part);
    return this;
  }

  #varint(value: number): this {
    const bytes: number[] = [];
    for (let rest = value; ; rest = Math.floor(rest / 128)) {
      if (rest < 128) {
        bytes.push(rest);
        break;
      }
      bytes.push((rest % 128) | 0x80);
    }
    this.#parts.push(Buffer.from(bytes));
    return this;
  }

  string(text: string | undefined): this {
    const bytes = Buffer.from(text ?? '', 'utf8');
    const length = text === undefined ? -1 : bytes.length;
    if (this.#flexible) this.#varint(length + 1);
    else this.int(2, length);
    this.#parts.push(bytes);
    return this;
  }

  array<T>(items: readonly T[], write: (item: T) => void): this {
    if (this.#flexible) this.#varint(items.length + 1);
    else this.int(4, items.length);
    items.forEach(write);
    return this;
  }

  /** Bytes that are null. */
  nullBytes(): this {
    return this.#flexible ? this.#varint(0) : this.int(4, -1);
  }

  tags(): this {
    return this.#flexible ? this.#varint(0) : this;
  }

  raw(bytes: Buffer): this {
    this.#parts.push(bytes);
    return this;
  }

  /** The frame with its length before it. */
  frame(): Buffer {
    const length = Buffer.alloc(4);
    length.writeInt32BE(this.#parts.reduce((sum, part) => sum + part.length, 0));
    return Buffer.concat([length, ...this.#parts]);
  }
}

type Write = (out: KafkaWriter, version: number, topics: readonly KafkaTopic[]) => void;

/** Topics, each with its partitions, as most answers have them. */
function partitions(out: KafkaWriter, topics: readonly KafkaTopic[], write: (index: number) => void): void {
  out.array(topics, (topic) => {
    out.string(topic.name).array(topic.partitions, (index) => {
      out.int(4, index).int(2, TOPIC_AUTHORIZATION_FAILED);
      write(index);
      out.tags();
    });
    out.tags();
  });
}

const produce: Write = (out, version, topics) => {
  partitions(out, topics, () => {
    out.int(8, -1);
    if (version >= 2) out.int(8, -1);
    if (version >= 5) out.int(8, -1);
    if (version >= 8) out.array([], () => undefined).string(undefined);
  });
  if (version >= 1) out.int(4, 0);
};

const fetch: Write = (out, version, topics) => {
  if (version >= 1) out.int(4, 0);
  if (version >= 7) out.int(2, 0).int(4, 0);
  partitions(out, topics, () => {
    out.int(8, -1);
    if (version >= 4) out.int(8, -1);
    if (version >= 5) out.int(8, -1);
    if (version >= 4) out.array([], () => undefined);
    if (version >= 11) out.int(4, -1);
    out.nullBytes();
  });
};

const listOffsets: Write = (out, version, topics) => {
  if (version >= 2) out.int(4, 0);
  partitions(out, topics, () => {
    if (version === 0) out.array([], () => undefined);
    else out.int(8, -1).int(8, -1);
    if (version >= 4) out.int(4, -1);
  });
};

const metadata: Write = (out, version, topics) => {
  if (version >= 3) out.int(4, 0);
  out.array([], () => undefined);
  if (version >= 2) out.string(undefined);
  if (version >= 1) out.int(4, -1);
  out.array(topics, ({ name }) => {
    out.int(2, TOPIC_AUTHORIZATION_FAILED).string(name);
    if (version >= 10) out.raw(Buffer.alloc(16));
    if (version >= 1) out.int(1, 0);
    out.array([], () => undefined);
    if (version >= 8) out.int(4, -2_147_483_648);
    out.tags();
  });
  if (version >= 8 && version <= 10) out.int(4, -2_147_483_648);
  if (version >= 13) out.int(2, 0);
};

const WRITERS: ReadonlyMap<number, Write> = new Map([
  [0, produce],
  [1, fetch],
  [2, listOffsets],
  [3, metadata],
]);

/**
 * The answer that refuses a request, topic by topic.
 * @returns undefined when there is no way to say no: the connection ends then
 */
export function denialOf(request: KafkaRequest): Buffer | undefined {
  const { apiKey, apiVersion, correlationId, topics } = request;
  const write = WRITERS.get(apiKey);
  if (write === undefined || topics === undefined || topics.length === 0) return undefined;
  const out = new KafkaWriter(isFlexible(apiKey, apiVersion));
  out.int(4, correlationId).tags();
  write(out, apiVersion, topics);
  return out.tags().frame();
}
