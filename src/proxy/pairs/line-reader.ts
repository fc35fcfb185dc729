const CR = 0x0d;
const LF = 0x0a;

/** Collects lines that end in CRLF out of a stream. */
export class LineReader {
  readonly #maxBytes: number;
  #rest: Buffer = Buffer.alloc(0);

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes that no line has taken yet. */
  get pending(): number {
    return this.#rest.length;
  }

  push(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
  }

  /** Gives up to `bytes` of what came, whatever it holds. */
  take(bytes: number): Buffer {
    const taken = this.#rest.subarray(0, bytes);
    this.#rest = this.#rest.subarray(taken.length);
    return taken;
  }

  /** The next line with its end; undefined: not whole yet; `bad`: too long, or with a CR or LF that ends nothing. */
  next(): Buffer | 'bad' | undefined {
    const end = this.#rest.indexOf(LF);
    const line = end < 0 ? this.#rest : this.#rest.subarray(0, end + 1);
    if (line.length > this.#maxBytes) return 'bad';
    const cr = line.indexOf(CR);
    if (end < 0) return cr >= 0 && cr < line.length - 1 ? 'bad' : undefined;
    if (cr !== end - 1) return 'bad';
    this.#rest = this.#rest.subarray(end + 1);
    return line;
  }
}
