/** Bits of {@link CHARS}: what a byte may be. */
export const TOKEN = 1;
/** Of a field value or a reason phrase: HTAB, SP, visible ASCII, obs-text (RFC 9110 §5.5). */
export const VALUE = 2;
/** Of a request target: visible ASCII but `#`; the path has rules of its own. */
export const TARGET = 4;
export const HEX = 8;
/** Needs no second look in a path: unreserved and sub-delims but `;`, `:` and `@`. `.` and `/` are looked at. */
export const PLAIN = 16;
/** Of a `Host` value: registered name or address in brackets, with a port. */
export const HOST = 32;

const bits = (text: string, bit: number, table: Uint8Array): void => {
  for (const char of text) {
    const code = char.charCodeAt(0);
    table[code] = (table[code] ?? 0) | bit;
  }
};

function range(first: number, last: number): string {
  return String.fromCharCode(...Array.from({ length: last - first + 1 }, (_, i) => first + i));
}

function makeTable(): Uint8Array {
  const table = new Uint8Array(256);
  const alphanumeric = range(0x30, 0x39) + range(0x41, 0x5a) + range(0x61, 0x7a);
  bits(`!#$%&'*+-.^_\`|~${alphanumeric}`, TOKEN, table);
  bits(`\t${range(0x20, 0x7e)}${range(0x80, 0xff)}`, VALUE, table);
  bits(range(0x21, 0x7e).replace('#', ''), TARGET, table);
  bits('0123456789abcdefABCDEF', HEX, table);
  bits(`-_~!$&'()*+,=:@${alphanumeric}`, PLAIN, table);
  bits(`-._~[]:${alphanumeric}`, HOST, table);
  return table;
}

/** Class bits of each byte. */
export const CHARS = makeTable();

export const HTAB = 0x09;
export const LF = 0x0a;
export const CR = 0x0d;
export const SP = 0x20;
export const COLON = 0x3a;

/** Value of a hexadecimal digit; of any other byte -1. */
export function hexValue(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
