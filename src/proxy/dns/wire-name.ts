import { HEADER_BYTES, MAX_LABEL_BYTES, MAX_NAME_BYTES } from './constants.ts';

/** A message is not what the standards allow. Thrown and caught within this folder; the text is for log records. */
export class DnsFormatError extends Error {}

/** A name in a message. */
export interface WireName {
  /** Lower case, without the final dot; bytes that names of hosts do not have are escaped, RFC 1035 §5.1. */
  readonly text: string;
  /** Offset of the first byte after the name. */
  readonly end: number;
}

const POINTER = 0xc0;
/** As many as a name can have labels: pointers that lead to pointers only cost time. */
const MAX_POINTERS = 127;
const DOT = 0x2e;

/** By byte: what stands for it in a name, 0 where an escape is needed. Letters in lower case. */
const PLAIN = Uint8Array.from({ length: 256 }, (_, byte) => {
  const char = String.fromCharCode(byte);
  return /[-_A-Za-z0-9]/.test(char) ? char.toLowerCase().charCodeAt(0) : 0;
});

const scratch = Buffer.alloc(MAX_NAME_BYTES * 4);

function escapeByte(byte: number, at: number): number {
  if (byte > 0x20 && byte < 0x7f && byte !== DOT && byte !== 0x5c) {
    scratch[at] = byte;
    return at + 1;
  }
  if (byte === DOT || byte === 0x5c)
    return at + scratch.write(`\\${String.fromCharCode(byte)}`, at, 'latin1');
  return at + scratch.write(`\\${String(byte).padStart(3, '0')}`, at, 'latin1');
}

/** Appends a label to the scratch buffer, with a dot before all but the first. @returns where the next one goes */
function appendLabel(bytes: Uint8Array, from: number, length: number, at: number): number {
  let to = at;
  if (at > 0) scratch[to++] = DOT;
  for (let i = from; i < from + length; i++) {
    const byte = bytes[i] ?? 0;
    const plain = PLAIN[byte] ?? 0;
    if (plain === 0) to = escapeByte(byte, to);
    else scratch[to++] = plain;
  }
  return to;
}

/**
 * Reads the name at `start`. Pointers may only lead to before the place that they were reached from, so they cannot
 * loop, and a name may not be longer than 255 bytes however it is written.
 * @param compressed whether pointers are allowed
 * @throws DnsFormatError
 */
export function readName(bytes: Uint8Array, start: number, compressed: boolean): WireName {
  let at = start;
  let limit = start;
  let end = 0;
  let total = 1;
  let written = 0;
  let pointers = 0;
  for (;;) {
    const length = bytes[at];
    if (length === undefined) throw new DnsFormatError('a name is cut off');
    if (length === 0) break;
    if ((length & POINTER) === POINTER) {
      const low = bytes[at + 1];
      if (low === undefined) throw new DnsFormatError('a name is cut off');
      if (!compressed) throw new DnsFormatError('a pointer in the name of a query');
      const target = ((length & ~POINTER) << 8) | low;
      if (target >= limit || target < HEADER_BYTES || ++pointers > MAX_POINTERS)
        throw new DnsFormatError('a pointer that does not lead back');
      if (end === 0) end = at + 2;
      at = target;
      limit = target;
      continue;
    }
    if (length > MAX_LABEL_BYTES) throw new DnsFormatError('a label of unknown kind');
    total += length + 1;
    if (total > MAX_NAME_BYTES) throw new DnsFormatError('a name is too long');
    if (at + 1 + length > bytes.length) throw new DnsFormatError('a name is cut off');
    written = appendLabel(bytes, at + 1, length, written);
    at += length + 1;
  }
  return { text: scratch.toString('latin1', 0, written), end: end === 0 ? at + 1 : end };
}

/** Offset of the first byte after the name at `start`, which is not followed. @throws DnsFormatError when it is cut off */
export function skipName(bytes: Uint8Array, start: number): number {
  let at = start;
  for (;;) {
    const length = bytes[at];
    if (length === undefined) throw new DnsFormatError('a name is cut off');
    if (length === 0) return at + 1;
    if ((length & POINTER) === POINTER) return at + 2;
    if (length > MAX_LABEL_BYTES) throw new DnsFormatError('a label of unknown kind');
    at += length + 1;
  }
}
