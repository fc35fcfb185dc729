import { CR, LF } from './chars.ts';

/** Results of {@link HeadReader.read} that are no offset. */
export const MORE = -1;
export const BAD = -2;

/**
 * Finds where a message head ends in a stream of chunks (RFC 9112 §2.1), keeping what came of it so far. Only CRLF ends
 * a line: a CR or LF alone, and a NUL, make the head bad at once (RFC 9112 §2.2 would allow a bare LF; who allows it and
 * who does not see different messages). Empty lines before the head are skipped (§2.2), a few.
 */
export class HeadReader {
  readonly #maxBytes: number;
  #kept: Buffer[] = [];
  #keptBytes = 0;
  /** Bytes of the line so far, without its CR. */
  #line = 0;
  #cr = false;
  /** Where the head begins, counted from the first byte kept or else from `from`: behind empty lines. */
  #skipped = 0;
  /** Whether no byte of a first line was seen yet. */
  #leading = true;

  /** The head found last: bytes `start` to `end` of `head`, the empty line included. */
  head: Buffer = Buffer.alloc(0);
  start = 0;
  end = 0;
  /** Why {@link BAD}, and whether it was for its size. */
  problem = '';
  tooLarge = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Whether a head has begun and not ended. */
  get begun(): boolean {
    return this.#keptBytes > 0;
  }

  /** @returns offset in `chunk` behind the head; MORE when it goes on in the next chunk; BAD, after which no call follows */
  read(chunk: Buffer, from: number): number {
    const size = chunk.length;
    const limit = Math.min(size, from + this.#maxBytes - this.#keptBytes);
    let line = this.#line;
    let cr = this.#cr;
    for (let i = from; i < limit; i++) {
      const byte = chunk[i] as number;
      if (byte > CR) {
        if (cr) return this.#bad('CR without LF');
        line++;
      } else if (byte === LF) {
        if (!cr) return this.#bad('LF without CR');
        cr = false;
        if (line > 0) this.#leading = false;
        else if (!this.#leading) return this.#found(chunk, from, i + 1);
        else this.#skipped = this.#keptBytes + i + 1 - from;
        line = 0;
      } else {
        if (cr) return this.#bad('CR without LF');
        if (byte === 0) return this.#bad('NUL in the head');
        if (byte === CR) cr = true;
        else line++;
      }
    }
    if (limit < size || this.#keptBytes + size - from >= this.#maxBytes) return this.#over();
    this.#kept.push(from === 0 ? chunk : chunk.subarray(from));
    this.#keptBytes += size - from;
    this.#line = line;
    this.#cr = cr;
    return MORE;
  }

  #found(chunk: Buffer, from: number, end: number): number {
    if (this.#keptBytes === 0) {
      this.head = chunk;
      this.start = from + this.#skipped;
      this.end = end;
    } else {
      this.#kept.push(chunk.subarray(from, end));
      this.head = Buffer.concat(this.#kept);
      this.start = this.#skipped;
      this.end = this.head.length;
      this.#kept = [];
      this.#keptBytes = 0;
    }
    this.#line = 0;
    this.#cr = false;
    this.#skipped = 0;
    this.#leading = true;
    return end;
  }

  #bad(problem: string): number {
    this.problem = problem;
    this.#kept = [];
    return BAD;
  }

  #over(): number {
    this.tooLarge = true;
    return this.#bad(`head of more than ${this.#maxBytes} bytes`);
  }
}
