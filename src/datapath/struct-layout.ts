import { endianness } from 'node:os';

const LITTLE = endianness() === 'LE';

/** One field's bytes. Numbers are in the machine's order unless the codec says `be`. */
export interface FieldCodec<T> {
  readonly bytes: number;
  read(view: DataView, at: number): T;
  write(view: DataView, at: number, value: T): void;
}

export const u8: FieldCodec<number> = {
  bytes: 1,
  read: (view, at) => view.getUint8(at),
  write: (view, at, value) => view.setUint8(at, value),
};

function u16Codec(little: boolean): FieldCodec<number> {
  return {
    bytes: 2,
    read: (view, at) => view.getUint16(at, little),
    write: (view, at, value) => view.setUint16(at, value, little),
  };
}

export const u16 = u16Codec(LITTLE);
/** A port: network order in the map, host order in TypeScript. */
export const be16 = u16Codec(false);

export const u32: FieldCodec<number> = {
  bytes: 4,
  read: (view, at) => view.getUint32(at, LITTLE),
  write: (view, at, value) => view.setUint32(at, value, LITTLE),
};

export const i32: FieldCodec<number> = {
  bytes: 4,
  read: (view, at) => view.getInt32(at, LITTLE),
  write: (view, at, value) => view.setInt32(at, value, LITTLE),
};

export const u64: FieldCodec<bigint> = {
  bytes: 8,
  read: (view, at) => view.getBigUint64(at, LITTLE),
  write: (view, at, value) => view.setBigUint64(at, value, LITTLE),
};

/** Bytes as they lie there: addresses in network order, MACs. A shorter value is padded with zeros. */
export function bytes(length: number): FieldCodec<Uint8Array> {
  return {
    bytes: length,
    read: (view, at) => new Uint8Array(view.buffer, view.byteOffset + at, length).slice(),
    write: (view, at, value) => {
      const target = new Uint8Array(view.buffer, view.byteOffset + at, length);
      target.fill(0);
      target.set(value.subarray(0, length));
    },
  };
}

/** Zero-terminated text of at most `length - 1` bytes. */
export function text(length: number): FieldCodec<string> {
  const raw = bytes(length);
  return {
    bytes: length,
    read: (view, at) => {
      const found = Buffer.from(raw.read(view, at));
      const end = found.indexOf(0);
      return found.toString('utf8', 0, end < 0 ? length : end);
    },
    write: (view, at, value) => raw.write(view, at, Buffer.from(value, 'utf8').subarray(0, length - 1)),
  };
}

/** `count` values, `stride` bytes apart. */
export function pair<T>(codec: FieldCodec<T>): FieldCodec<readonly [T, T]> {
  return {
    bytes: 2 * codec.bytes,
    read: (view, at) => [codec.read(view, at), codec.read(view, at + codec.bytes)],
    write: (view, at, [a, b]) => {
      codec.write(view, at, a);
      codec.write(view, at + codec.bytes, b);
    },
  };
}

export type Fields = Readonly<Record<string, readonly [offset: number, codec: FieldCodec<unknown>]>>;
export type ValuesOf<F extends Fields> = {
  readonly [K in keyof F]: F[K][1] extends FieldCodec<infer T> ? T : never;
};

/**
 * A struct that C and TypeScript share. The names of its fields are those of C in camel case; a test compares size,
 * offsets and widths with the BTF of the object.
 */
export interface StructLayout<F extends Fields> {
  readonly name: string;
  readonly bytes: number;
  readonly fields: F;
  decode(buffer: Uint8Array, offset?: number): ValuesOf<F>;
  /** As `decode`, for walks: one view serves the structs of a whole batch. */
  decodeAt(view: DataView, offset: number): ValuesOf<F>;
  /** Fields that are not given are zero. */
  encode(values: Partial<ValuesOf<F>>): Buffer;
}

export function structLayout<const F extends Fields>(name: string, size: number, fields: F): StructLayout<F> {
  const entries = Object.entries(fields);
  return {
    name,
    bytes: size,
    fields,
    decode(buffer, offset = 0) {
      return this.decodeAt(new DataView(buffer.buffer, buffer.byteOffset + offset, size), 0);
    },
    decodeAt(view, offset) {
      const values: Record<string, unknown> = {};
      for (const [field, [at, codec]] of entries) values[field] = codec.read(view, offset + at);
      return values as ValuesOf<F>;
    },
    encode(values) {
      const buffer = Buffer.alloc(size);
      const view = new DataView(buffer.buffer, buffer.byteOffset, size);
      for (const [field, [at, codec]] of entries) {
        const value = values[field];
        if (value !== undefined) codec.write(view, at, value);
      }
      return buffer;
    },
  };
}

/** The same struct of which only some fields are read: a walk over many pays for what it shows. */
export function fieldsOf<const F extends Fields, const K extends keyof F & string>(
  layout: StructLayout<F>,
  names: readonly K[],
): StructLayout<Pick<F, K>> {
  const kept = Object.fromEntries(names.map((name) => [name, layout.fields[name]])) as Pick<F, K>;
  return structLayout(layout.name, layout.bytes, kept);
}

/** Key of an array map. */
export function indexKey(index: number): Buffer {
  const key = Buffer.alloc(4);
  u32.write(new DataView(key.buffer, key.byteOffset, 4), 0, index);
  return key;
}

/** The keys of several, one after the other. */
export function indexKeys(indices: readonly number[]): Buffer {
  const keys = Buffer.alloc(4 * indices.length);
  const view = new DataView(keys.buffer, keys.byteOffset, keys.length);
  for (const [i, index] of indices.entries()) u32.write(view, 4 * i, index);
  return keys;
}

export function readIndex(buffer: Uint8Array, offset = 0): number {
  return u32.read(new DataView(buffer.buffer, buffer.byteOffset + offset, 4), 0);
}

/** Sums one struct of u64 fields over the CPUs of a per-CPU value. */
export function sumPerCpu<F extends Fields>(
  layout: StructLayout<F>,
  value: Uint8Array,
  field: keyof F & string,
): bigint {
  const stride = Math.ceil(layout.bytes / 8) * 8;
  let sum = 0n;
  for (let at = 0; at + layout.bytes <= value.length; at += stride) {
    const count = layout.decode(value, at)[field];
    if (typeof count === 'bigint') sum += count;
  }
  return sum;
}
