import type { BtfType } from './types.ts';

/** What a C value becomes: 64-bit integers are bigints, byte arrays hexadecimal text, char arrays text. */
export type BtfValue =
  | number
  | bigint
  | string
  | readonly BtfValue[]
  | { readonly [member: string]: BtfValue };

type IntType = Extract<BtfType, { kind: 'int' }>;
type ArrayType = Extract<BtfType, { kind: 'array' }>;
type RecordType = Extract<BtfType, { kind: 'struct' | 'union' }>;

const PRINTABLE = /^[\x20-\x7e]*$/;

function readLittle(bytes: Uint8Array): bigint {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i] ?? 0);
  return value;
}

const narrow = (value: bigint, sizeBytes: number): number | bigint =>
  sizeBytes <= 4 ? Number(value) : value;

/** Integers of the network's order say so by their typedef (`__be16`, `__be32`, `__be64`). */
function decodeInt(type: IntType, bytes: Uint8Array): number | bigint | string {
  const own = bytes.subarray(0, type.sizeBytes);
  if (type.sizeBytes > 8) return Buffer.from(own).toString('hex');
  const unsigned = readLittle(type.typedef?.startsWith('__be') ? Uint8Array.from(own).reverse() : own);
  return narrow(type.signed ? BigInt.asIntN(8 * type.sizeBytes, unsigned) : unsigned, type.sizeBytes);
}

function decodeArray(type: ArrayType, bytes: Uint8Array): BtfValue {
  const { element, length } = type;
  if (element.kind === 'int' && element.sizeBytes === 1) {
    const raw = Buffer.from(bytes.subarray(0, length));
    const text = raw.toString('latin1', 0, raw.indexOf(0) < 0 ? length : raw.indexOf(0));
    const isText = element.name === 'char' && PRINTABLE.test(text);
    return isText ? text : raw.toString('hex');
  }
  const size = element.sizeBytes;
  const whole = size === 0 ? 0 : Math.min(length, Math.floor(bytes.length / size));
  return Array.from({ length: whole }, (_, i) =>
    decodeBtf(element, bytes.subarray(i * size, (i + 1) * size)),
  );
}

function decodeBitField(bytes: Uint8Array, offsetBits: number, bits: number, type: BtfType): number | bigint {
  const first = offsetBits >> 3;
  const word = readLittle(bytes.subarray(first, (offsetBits + bits + 7) >> 3));
  const unsigned = BigInt.asUintN(bits, word >> BigInt(offsetBits & 7));
  const value = type.kind === 'int' && type.signed ? BigInt.asIntN(bits, unsigned) : unsigned;
  return narrow(value, bits <= 32 ? 4 : 8);
}

/** Members without a name (C11) are spread into the record that holds them. */
function decodeRecord(type: RecordType, bytes: Uint8Array): Record<string, BtfValue> {
  const record: Record<string, BtfValue> = {};
  for (const member of type.members) {
    if (member.bits > 0) {
      if (member.name !== '')
        record[member.name] = decodeBitField(bytes, member.offsetBits, member.bits, member.type);
      continue;
    }
    const start = member.offsetBits >> 3;
    const value = decodeBtf(member.type, bytes.subarray(start, start + member.type.sizeBytes));
    if (member.name !== '') record[member.name] = value;
    else if (member.type.kind === 'struct' || member.type.kind === 'union') Object.assign(record, value);
  }
  return record;
}

/**
 * Reads a C value by its BTF type. All members of a union are given, each its reading of the same bytes.
 * @param bytes at least `type.sizeBytes`, little endian
 */
export function decodeBtf(type: BtfType, bytes: Uint8Array): BtfValue {
  switch (type.kind) {
    case 'int':
      return decodeInt(type, bytes);
    case 'array':
      return decodeArray(type, bytes);
    case 'struct':
    case 'union':
      return decodeRecord(type, bytes);
    case 'enum': {
      const value = readLittle(bytes.subarray(0, type.sizeBytes));
      return type.values?.[String(value)] ?? narrow(value, type.sizeBytes);
    }
    case 'other':
      return Buffer.from(bytes.subarray(0, type.sizeBytes)).toString('hex');
  }
}

/** JSON of a decoded value; 64-bit integers as decimal text, because readers of JSON round them. */
export function btfJson(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    typeof member === 'bigint' ? String(member) : member,
  );
}
