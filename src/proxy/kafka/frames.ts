const LENGTH_BYTES = 4;

/** Collects frames (a length of four bytes, big-endian, and as many bytes) out of a stream. */
export class FrameReader {
  readonly #maxBytes: number;
  #parts: Buffer[] = [];
  #bytes = 0;
  /** Whole size of the frame in work with its length; 0: not known yet. */
  #size = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Whether a frame has begun and is not whole. */
  get begun(): boolean {
    return this.#bytes > 0;
  }

  push(chunk: Buffer): void {
    this.#parts.push(chunk);
    this.#bytes += chunk.length;
  }

  /** The next frame, with its length; undefined: not whole yet; `bad`: its length is none of a request. */
  next(): Buffer | 'bad' | undefined {
    if (this.#size === 0) {
      if (this.#bytes < LENGTH_BYTES) return undefined;
      const length = this.#joined().readInt32BE(0);
      if (length < 8 || length > this.#maxBytes) return 'bad';
      this.#size = LENGTH_BYTES + length;
    }
    if (this.#bytes < this.#size) return undefined;
    const joined = this.#joined();
    const frame = joined.subarray(0, this.#size);
    this.#bytes -= this.#size;
    this.#parts = this.#bytes === 0 ? [] : [joined.subarray(this.#size)];
    this.#size = 0;
    return frame;
  }

  #joined(): Buffer {
    const [first] = this.#parts;
    if (this.#parts.length === 1 && first !== undefined) return first;
    const joined = Buffer.concat(this.#parts);
    this.#parts = [joined];
    return joined;
  }
}

/** Follows frames in a stream without keeping them. */
export class FrameRelay {
  #length = 0;
  #lengthBytes = 0;
  #remaining = 0;

  /** @returns where the frame in work ends in the chunk, at latest at its end; and whether it is whole then */
  take(chunk: Buffer, from: number): { readonly end: number; readonly whole: boolean } {
    let at = from;
    while (this.#lengthBytes < LENGTH_BYTES) {
      if (at === chunk.length) return { end: at, whole: false };
      this.#length = this.#length * 256 + (chunk[at] as number);
      at++;
      if (++this.#lengthBytes === LENGTH_BYTES) this.#remaining = this.#length;
    }
    const taken = Math.min(this.#remaining, chunk.length - at);
    this.#remaining -= taken;
    if (this.#remaining > 0) return { end: at + taken, whole: false };
    this.#length = 0;
    this.#lengthBytes = 0;
    return { end: at + taken, whole: true };
  }
}
