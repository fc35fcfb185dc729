import { CHARS, COLON, CR, HTAB, SP, TOKEN, VALUE } from './chars.ts';
import { folded } from './disguise.ts';

/** Numbers a field takes in {@link MessageHead.fields}: name's start and end, value's start and end. */
const STRIDE = 4;
/** 2^53 has 16 digits: more than 15 of them are no length of anything. */
const MAX_LENGTH_DIGITS = 15;
const NO_NAMES: readonly string[] = [];

/** What the fields of a message head say of its framing and connection. Reused from message to message. */
export class MessageHead {
  /** The bytes that the offsets are of. */
  bytes: Buffer = Buffer.alloc(0);
  start = 0;
  end = 0;
  /** HTTP/1.x: the x, 0 or 1. */
  minor = 1;
  readonly fields: Int32Array;
  count = 0;
  /** -1: there is none. */
  contentLength = -1;
  chunked = false;
  /** Tokens of `Connection`. */
  close = false;
  keepAlive = false;
  upgradeToken = false;
  /** Number of `Connection` fields. */
  connections = 0;
  /** Places of fields, -1: not there. */
  host = -1;
  upgrade = -1;
  connection = -1;
  expect = -1;
  http2Settings = -1;

  constructor(maxFields: number) {
    this.fields = new Int32Array(maxFields * STRIDE);
  }

  get maxFields(): number {
    return this.fields.length / STRIDE;
  }

  nameStart(place: number): number {
    return this.fields[place * STRIDE] ?? 0;
  }

  nameEnd(place: number): number {
    return this.fields[place * STRIDE + 1] ?? 0;
  }

  valueStart(place: number): number {
    return this.fields[place * STRIDE + 2] ?? 0;
  }

  valueEnd(place: number): number {
    return this.fields[place * STRIDE + 3] ?? 0;
  }

  /** Value of a field, one character a byte. */
  value(place: number): string {
    return this.bytes.toString('latin1', this.valueStart(place), this.valueEnd(place));
  }

  /** Whether the field's name is `lower`, which is in lower case. */
  isNamed(place: number, lower: string): boolean {
    const at = this.nameStart(place);
    return this.nameEnd(place) - at === lower.length && sameLetters(this.bytes, at, lower);
  }

  /** Values of all fields of that name, joined by commas (RFC 9110 §5.2); undefined when there are none. */
  joined(lower: string): string | undefined {
    let text: string | undefined;
    for (let place = 0; place < this.count; place++) {
      if (!this.isNamed(place, lower)) continue;
      text = text === undefined ? this.value(place) : `${text},${this.value(place)}`;
    }
    return text;
  }

  /** Whether the field's name is another than `lower`, and the same to some servers (see disguise.ts). */
  isDisguised(place: number, lower: string): boolean {
    const at = this.nameStart(place);
    if (this.nameEnd(place) - at !== lower.length) return false;
    for (let i = 0; i < lower.length; i++)
      if (folded(this.bytes[at + i] as number) !== folded(lower.charCodeAt(i))) return false;
    return !sameLetters(this.bytes, at, lower);
  }

  /** Names of all such fields, in lower case. */
  disguised(lower: string): readonly string[] {
    let names = NO_NAMES;
    for (let place = 0; place < this.count; place++) {
      if (!this.isDisguised(place, lower)) continue;
      const name = this.bytes.toString('latin1', this.nameStart(place), this.nameEnd(place));
      names = [...names, name.toLowerCase()];
    }
    return names;
  }

  /** Forgets the message before. */
  reset(bytes: Buffer, start: number, end: number): void {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.count = 0;
    this.contentLength = -1;
    this.chunked = false;
    this.close = false;
    this.keepAlive = false;
    this.upgradeToken = false;
    this.connections = 0;
    this.host = -1;
    this.upgrade = -1;
    this.connection = -1;
    this.expect = -1;
    this.http2Settings = -1;
  }
}

/** Whether `lower.length` bytes from `at` are that text, letters in any case. */
export function sameLetters(bytes: Buffer, at: number, lower: string): boolean {
  for (let i = 0; i < lower.length; i++) {
    const byte = bytes[at + i] as number;
    const folded = byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
    if (folded !== lower.charCodeAt(i)) return false;
  }
  return true;
}

/**
 * Reads the field lines from `at` to the empty line (RFC 9112 §5), whose line ends are CRLF as the reader has seen to.
 * @returns why they are not acceptable, or undefined
 */
export function parseFields(head: MessageHead, at: number): string | undefined {
  const { bytes, fields, maxFields } = head;
  const last = head.end - 2;
  let p = at;
  while (p < last) {
    const nameStart = p;
    while (((CHARS[bytes[p] as number] as number) & TOKEN) !== 0) p++;
    const nameEnd = p;
    if (nameEnd === nameStart) return lineProblem(bytes[p] as number);
    if (bytes[p] !== COLON)
      return bytes[p] === SP || bytes[p] === HTAB ? 'space before a colon' : 'bad field name';
    p++;
    while (bytes[p] === SP || bytes[p] === HTAB) p++;
    const valueStart = p;
    while (((CHARS[bytes[p] as number] as number) & VALUE) !== 0) p++;
    if (bytes[p] !== CR) return 'control character in a field value';
    let valueEnd = p;
    while (valueEnd > valueStart && (bytes[valueEnd - 1] === SP || bytes[valueEnd - 1] === HTAB)) valueEnd--;
    p += 2;
    const place = head.count;
    if (place >= maxFields) return TOO_MANY_FIELDS;
    fields[place * STRIDE] = nameStart;
    fields[place * STRIDE + 1] = nameEnd;
    fields[place * STRIDE + 2] = valueStart;
    fields[place * STRIDE + 3] = valueEnd;
    head.count = place + 1;
    const problem = notice(head, place, nameEnd - nameStart);
    if (problem !== undefined) return problem;
  }
  if (head.chunked && head.contentLength >= 0) return 'Transfer-Encoding and Content-Length';
  return undefined;
}

export const TOO_MANY_FIELDS = 'too many fields';

function lineProblem(byte: number): string {
  if (byte === SP || byte === HTAB) return 'folded line';
  return byte === COLON ? 'empty field name' : 'bad field name';
}

/** Looks at the fields that matter for framing and connection; the length of the name tells which it can be. */
function notice(head: MessageHead, place: number, length: number): string | undefined {
  switch (length) {
    case 4:
      if (head.isNamed(place, 'host')) return noteOnce(head, 'host', place);
      return undefined;
    case 6:
      if (head.isNamed(place, 'expect')) return noteOnce(head, 'expect', place);
      return undefined;
    case 7:
      if (head.isNamed(place, 'upgrade')) return noteOnce(head, 'upgrade', place);
      return undefined;
    case 10:
      if (head.isNamed(place, 'connection')) return noteConnection(head, place);
      return undefined;
    case 14:
      if (head.isNamed(place, 'content-length')) return noteLength(head, place);
      if (head.isNamed(place, 'http2-settings')) return noteOnce(head, 'http2Settings', place);
      return head.isDisguised(place, 'content-length') ? 'disguised field name' : undefined;
    case 17:
      if (head.isNamed(place, 'transfer-encoding')) return noteCoding(head, place);
      return head.isDisguised(place, 'transfer-encoding') ? 'disguised field name' : undefined;
    default:
      return undefined;
  }
}

type Single = 'host' | 'expect' | 'upgrade' | 'http2Settings';

const NAMES: Readonly<Record<Single, string>> = {
  host: 'Host',
  expect: 'Expect',
  upgrade: 'Upgrade',
  http2Settings: 'HTTP2-Settings',
};

function noteOnce(head: MessageHead, what: Single, place: number): string | undefined {
  if (head[what] >= 0) return `${NAMES[what]} more than once`;
  head[what] = place;
  return undefined;
}

/** One `Content-Length` of decimal digits (RFC 9112 §6.3; lists of equal values are allowed there, not here). */
function noteLength(head: MessageHead, place: number): string | undefined {
  if (head.contentLength >= 0) return 'Content-Length more than once';
  const start = head.valueStart(place);
  const end = head.valueEnd(place);
  if (end === start || end - start > MAX_LENGTH_DIGITS || isTabbed(head, place)) return 'bad Content-Length';
  let length = 0;
  for (let p = start; p < end; p++) {
    const digit = (head.bytes[p] as number) - 0x30;
    if (digit < 0 || digit > 9) return 'bad Content-Length';
    length = length * 10 + digit;
  }
  head.contentLength = length;
  return undefined;
}

/** Whether a tab stands beside the value: not everybody takes it for a blank there. */
function isTabbed(head: MessageHead, place: number): boolean {
  const { bytes } = head;
  for (let p = head.nameEnd(place) + 1; p < head.valueStart(place); p++) if (bytes[p] === HTAB) return true;
  for (let p = head.valueEnd(place); bytes[p] !== CR; p++) if (bytes[p] === HTAB) return true;
  return false;
}

/** The only coding understood is `chunked`, alone: any other makes where the body ends a matter of opinion. */
function noteCoding(head: MessageHead, place: number): string | undefined {
  if (head.chunked) return 'Transfer-Encoding more than once';
  const start = head.valueStart(place);
  const plain = head.valueEnd(place) - start === 7 && sameLetters(head.bytes, start, 'chunked');
  // Exactly one space or none before it, nothing behind it: tabs and runs of spaces are how parsers are told apart.
  const gap = start - head.nameEnd(place) - 1;
  const alone = gap <= 1 && (gap === 0 || head.bytes[start - 1] === SP) && head.bytes[start + 7] === CR;
  if (!plain || !alone) return 'bad Transfer-Encoding';
  if (head.minor === 0) return 'Transfer-Encoding in HTTP/1.0';
  head.chunked = true;
  return undefined;
}

/** Fields that nobody on the way may be told to drop (RFC 9110 §7.6.1). */
const KEPT = new Set(['host', 'content-length', 'transfer-encoding', 'authorization', 'cookie', 'expect']);

function noteConnection(head: MessageHead, place: number): string | undefined {
  head.connections++;
  head.connection = place;
  const start = head.valueStart(place);
  const length = head.valueEnd(place) - start;
  if (length === 10 && sameLetters(head.bytes, start, 'keep-alive')) head.keepAlive = true;
  else if (length === 5 && sameLetters(head.bytes, start, 'close')) head.close = true;
  else return noteTokens(head, place);
  return undefined;
}

function noteTokens(head: MessageHead, place: number): string | undefined {
  for (const token of tokens(head.value(place))) {
    if (token === 'close') head.close = true;
    else if (token === 'keep-alive') head.keepAlive = true;
    else if (token === 'upgrade') head.upgradeToken = true;
    else if (KEPT.has(token)) return `Connection names ${token}`;
  }
  return undefined;
}

/** Members of a comma-separated list, in lower case. */
export function tokens(value: string): string[] {
  return value
    .split(',')
    .map((token) => token.trim().toLowerCase())
    .filter((token) => token !== '');
}
