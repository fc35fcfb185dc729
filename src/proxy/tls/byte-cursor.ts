/** What is read says more than there is, or less. */
export class ShapeError extends Error {}

/** Reads vectors of TLS (RFC 8446 §3.4) off bytes, and nothing beyond them. */
export class ByteCursor {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** @throws ShapeError */
  take(length: number, what: string): Buffer {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new ShapeError(`${what} is longer than what it lies in`);
    const bytes = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return bytes;
  }

  /** An unsigned number of 1 to 3 bytes, network order. @throws ShapeError */
  number(bytes: number, what: string): number {
    return this.take(bytes, what).readUIntBE(0, bytes);
  }

  /**
   * A vector behind its length.
   * @param lengthBytes of the length
   * @throws ShapeError
   */
  vector(lengthBytes: number, { least, most }: { least: number; most: number }, what: string): Buffer {
    const length = this.number(lengthBytes, `the length of the ${what}`);
    if (length < least || length > most) throw new ShapeError(`the ${what} has ${length} bytes`);
    return this.take(length, `the ${what}`);
  }

  /** @throws ShapeError */
  end(what: string): void {
    if (!this.atEnd) throw new ShapeError(`bytes behind the ${what}`);
  }
}
