import { CHARS, COLON, CR, HTAB, hexValue, LF, SP, TOKEN, VALUE } from './chars.ts';
import { foldedName } from './disguise.ts';

/** 16^13 < 2^53. */
const MAX_SIZE_DIGITS = 13;
/** Most bytes of one line of extensions, and of all trailers. */
const MAX_LINE_BYTES = 4096;
const MAX_TRAILER_BYTES = 16_384;
const SEMICOLON = 0x3b;

/** Fields that say how a message is read, which a trailer cannot say any more (RFC 9110 §6.5.1), as `foldedName` has them. */
const FORBIDDEN = new Set([
  'content-length',
  'transfer-encoding',
  'host',
  'connection',
  'trailer',
  'upgrade',
  'http2-settings',
]);

type State =
  | 'size'
  | 'extension'
  | 'size-lf'
  | 'bytes'
  | 'bytes-cr'
  | 'bytes-lf'
  | 'line'
  | 'name'
  | 'value'
  | 'line-lf'
  | 'last-lf';

/**
 * Follows a chunked body (RFC 9112 §7.1) without changing it. Stricter than the RFC: only CRLF ends a line, sizes have
 * no more than 13 digits and no space behind them, extensions and trailers are bounded and of field characters.
 */
export class ChunkedScanner {
  #state: State = 'size';
  #size = 0;
  #digits = 0;
  #lineBytes = 0;
  #trailerBytes = 0;
  #name = '';
  #fields: readonly string[] = [];

  /** Whether the body has ended. */
  done = false;
  /** Why it is not acceptable; undefined as long as it is. */
  problem: string | undefined;

  /**
   * Forgets the body before.
   * @param fields that rules judged in the head, in lower case: no trailer may have them, for some servers join the two
   */
  reset(fields: readonly string[] = []): void {
    this.#fields = fields;
    this.#state = 'size';
    this.#size = 0;
    this.#digits = 0;
    this.#lineBytes = 0;
    this.#trailerBytes = 0;
    this.done = false;
    this.problem = undefined;
  }

  /** @returns offset behind what belongs to the body: the end of `chunk`, or where the body ended or went wrong */
  advance(chunk: Buffer, from: number): number {
    let p = from;
    while (p < chunk.length) {
      if (this.#state === 'bytes') {
        const taken = Math.min(this.#size, chunk.length - p);
        this.#size -= taken;
        p += taken;
        if (this.#size === 0) this.#state = 'bytes-cr';
        continue;
      }
      this.problem = this.#step(chunk[p] as number);
      if (this.problem !== undefined) return p;
      p++;
      if (this.done) return p;
    }
    return p;
  }

  #step(byte: number): string | undefined {
    switch (this.#state) {
      case 'size':
        return this.#sizeByte(byte);
      case 'extension':
        return this.#extensionByte(byte);
      case 'size-lf':
        if (byte !== LF) return 'CR without LF in a chunk size';
        return this.#sizeEnds();
      case 'bytes-cr':
        this.#state = 'bytes-lf';
        return byte === CR ? undefined : 'chunk longer than its size';
      case 'bytes-lf':
        this.#state = 'size';
        return byte === LF ? undefined : 'CR without LF behind a chunk';
      case 'last-lf':
        this.done = true;
        return byte === LF ? undefined : 'CR without LF behind the last chunk';
      default:
        return this.#trailerByte(byte);
    }
  }

  #sizeByte(byte: number): string | undefined {
    const digit = hexValue(byte);
    if (digit >= 0) {
      this.#size = this.#size * 16 + digit;
      return ++this.#digits > MAX_SIZE_DIGITS ? 'chunk size too large' : undefined;
    }
    if (this.#digits === 0) return 'no chunk size';
    this.#digits = 0;
    this.#lineBytes = 0;
    if (byte === CR) this.#state = 'size-lf';
    else if (byte === SEMICOLON) this.#state = 'extension';
    else return 'bad chunk size';
    return undefined;
  }

  #extensionByte(byte: number): string | undefined {
    if (byte === CR) this.#state = 'size-lf';
    else if (((CHARS[byte] as number) & VALUE) === 0) return 'control character in a chunk extension';
    return ++this.#lineBytes > MAX_LINE_BYTES ? 'chunk extension too long' : undefined;
  }

  #sizeEnds(): undefined {
    this.#state = this.#size === 0 ? 'line' : 'bytes';
    return undefined;
  }

  #trailerByte(byte: number): string | undefined {
    if (++this.#trailerBytes > MAX_TRAILER_BYTES) return 'trailers too long';
    switch (this.#state) {
      case 'line':
        this.#name = '';
        if (byte === CR) this.#state = 'last-lf';
        else return this.#nameByte(byte);
        return undefined;
      case 'name':
        return this.#nameByte(byte);
      case 'value':
        if (byte === CR) this.#state = 'line-lf';
        else if (((CHARS[byte] as number) & VALUE) === 0) return 'control character in a trailer';
        return undefined;
      default:
        this.#state = 'line';
        return byte === LF ? undefined : 'CR without LF in a trailer';
    }
  }

  #nameByte(byte: number): string | undefined {
    if (byte === COLON && this.#name !== '') {
      this.#state = 'value';
      return trailerProblem(this.#name, this.#fields);
    }
    if (((CHARS[byte] as number) & TOKEN) === 0)
      return byte === SP || byte === HTAB ? 'folded trailer' : 'bad trailer';
    this.#state = 'name';
    this.#name += String.fromCharCode(byte);
    return undefined;
  }
}

/** Why a trailer of that name may not pass; undefined when it may. @param fields in lower case */
export function trailerProblem(name: string, fields: readonly string[]): string | undefined {
  const folded = foldedName(name);
  if (FORBIDDEN.has(folded)) return 'framing field in a trailer';
  return fields.some((field) => foldedName(field) === folded) ? `${name} in a trailer` : undefined;
}
