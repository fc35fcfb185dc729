import { BpfError } from './errors.ts';
import type { BtfType } from './types.ts';

/** Kinds of `uapi/linux/btf.h`, and how many bytes follow each type's 12-byte head: a fixed part and one per member. */
const KINDS: Readonly<Record<number, { readonly fixed: number; readonly each: number }>> = {
  1: { fixed: 4, each: 0 },
  2: { fixed: 0, each: 0 },
  3: { fixed: 12, each: 0 },
  4: { fixed: 0, each: 12 },
  5: { fixed: 0, each: 12 },
  6: { fixed: 0, each: 8 },
  7: { fixed: 0, each: 0 },
  8: { fixed: 0, each: 0 },
  9: { fixed: 0, each: 0 },
  10: { fixed: 0, each: 0 },
  11: { fixed: 0, each: 0 },
  12: { fixed: 0, each: 0 },
  13: { fixed: 0, each: 8 },
  14: { fixed: 4, each: 0 },
  15: { fixed: 0, each: 12 },
  16: { fixed: 0, each: 0 },
  17: { fixed: 4, each: 0 },
  18: { fixed: 0, each: 0 },
  19: { fixed: 0, each: 12 },
};
const MAGIC = 0xeb9f;
const [INT, PTR, ARRAY, STRUCT, UNION, ENUM, TYPEDEF, ENUM64] = [1, 2, 3, 4, 5, 6, 8, 19];
/** Typedef, volatile, const, restrict, type tag: the type behind is meant. */
const TRANSPARENT: readonly number[] = [8, 9, 10, 11, 18];
const MOST_DEPTH = 64;

interface RawType {
  readonly name: string;
  readonly kind: number;
  readonly count: number;
  readonly bitFields: boolean;
  /** Size in bytes, or the id of another type, by kind. */
  readonly sizeOrType: number;
  /** Where the part after the head begins. */
  readonly at: number;
}

function broken(message: string): BpfError {
  return new BpfError(`BTF: ${message}`, { code: 'BPF_BTF', operation: 'read BTF' });
}

/** The types of one BTF object (Documentation/bpf/btf.rst), little endian. */
export class Btf {
  readonly #raw: Buffer;
  readonly #types: (RawType | undefined)[] = [undefined];

  /** @throws BpfError BPF_BTF when the bytes are not BTF */
  constructor(raw: Buffer) {
    this.#raw = raw;
    if (raw.length < 24 || raw.readUInt16LE(0) !== MAGIC) throw broken('bad magic');
    const header = raw.readUInt32LE(4);
    const [typeOff, typeLen, strOff] = [raw.readUInt32LE(8), raw.readUInt32LE(12), raw.readUInt32LE(16)];
    const end = header + typeOff + typeLen;
    if (end > raw.length || header + strOff > raw.length) throw broken('sections lie outside');
    let at = header + typeOff;
    while (at < end) at = this.#readType(at, end, header + strOff);
  }

  #readType(at: number, end: number, strings: number): number {
    if (at + 12 > end) throw broken('a type is cut off');
    const info = this.#raw.readUInt32LE(at + 4);
    const [kind, count] = [(info >>> 24) & 0x1f, info & 0xffff];
    const size = KINDS[kind];
    if (size === undefined) throw broken(`unknown kind ${kind}`);
    const next = at + 12 + size.fixed + size.each * count;
    if (next > end) throw broken('a type is cut off');
    this.#types.push({
      name: this.#string(strings + this.#raw.readUInt32LE(at)),
      kind,
      count,
      bitFields: info >>> 31 === 1,
      sizeOrType: this.#raw.readUInt32LE(at + 8),
      at: at + 12,
    });
    this.#strings = strings;
    return next;
  }

  #strings = 0;

  #string(at: number): string {
    const end = this.#raw.indexOf(0, at);
    if (end < 0 || at > this.#raw.length) throw broken('a name lies outside');
    return this.#raw.toString('utf8', at, end);
  }

  /** Id of a named struct or union; undefined when there is none. */
  find(name: string): number | undefined {
    const id = this.#types.findIndex(
      (type) => type?.name === name && (type.kind === STRUCT || type.kind === UNION),
    );
    return id < 0 ? undefined : id;
  }

  /** Type `id`, resolved through typedefs and qualifiers. */
  type(id: number, depth = 0): BtfType {
    let typedef: string | undefined;
    let raw = this.#types[id];
    for (let steps = 0; raw !== undefined && TRANSPARENT.includes(raw.kind); steps++) {
      if (steps > MOST_DEPTH) throw broken('typedefs form a circle');
      if (raw.kind === TYPEDEF) typedef ??= raw.name;
      raw = this.#types[raw.sizeOrType];
    }
    if (depth > MOST_DEPTH) throw broken('types are nested too deep');
    if (raw === undefined) return { kind: 'other', name: 'void', sizeBytes: 0 };
    return this.#build(raw, typedef, depth);
  }

  #build(raw: RawType, typedef: string | undefined, depth: number): BtfType {
    const { name, kind, sizeOrType: sizeBytes } = raw;
    switch (kind) {
      case INT: {
        const signed = ((this.#raw.readUInt32LE(raw.at) >>> 24) & 1) === 1;
        return { kind: 'int', name, sizeBytes, signed, ...(typedef === undefined ? {} : { typedef }) };
      }
      case ARRAY: {
        const element = this.type(this.#raw.readUInt32LE(raw.at), depth + 1);
        const length = this.#raw.readUInt32LE(raw.at + 8);
        return { kind: 'array', element, length, sizeBytes: element.sizeBytes * length };
      }
      case STRUCT:
      case UNION:
        return {
          kind: kind === STRUCT ? 'struct' : 'union',
          name,
          sizeBytes,
          members: this.#members(raw, depth),
        };
      case ENUM:
      case ENUM64:
        return { kind: 'enum', name, sizeBytes, values: this.#enumerators(raw) };
      default:
        return { kind: 'other', name, sizeBytes: kind === PTR ? 8 : 0 };
    }
  }

  #members(raw: RawType, depth: number): Extract<BtfType, { kind: 'struct' | 'union' }>['members'] {
    return Array.from({ length: raw.count }, (_, i) => {
      const at = raw.at + 12 * i;
      const offset = this.#raw.readUInt32LE(at + 8);
      return {
        name: this.#string(this.#strings + this.#raw.readUInt32LE(at)),
        offsetBits: raw.bitFields ? offset & 0xffffff : offset,
        bits: raw.bitFields ? offset >>> 24 : 0,
        type: this.type(this.#raw.readUInt32LE(at + 4), depth + 1),
      };
    });
  }

  #enumerators(raw: RawType): Readonly<Record<string, string>> {
    const each = raw.kind === ENUM ? 8 : 12;
    const values: Record<string, string> = {};
    for (let i = 0; i < raw.count; i++) {
      const at = raw.at + each * i;
      const name = this.#string(this.#strings + this.#raw.readUInt32LE(at));
      const low = BigInt(this.#raw.readUInt32LE(at + 4));
      const high = raw.kind === ENUM ? 0n : BigInt(this.#raw.readUInt32LE(at + 8));
      values[String((high << 32n) | low)] ??= name;
    }
    return values;
  }
}
