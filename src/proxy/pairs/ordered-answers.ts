/** Follows the answer to one request in a stream. */
export interface AnswerRelay<T> {
  /**
   * @param tag what is known of the request
   * @returns where the answer in work ends in the chunk, at latest at its end, and whether it is whole then; `bad` when it
   * is none
   */
  take(chunk: Buffer, from: number, tag: T): { readonly end: number; readonly whole: boolean } | 'bad';
}

/** Answers in the order of their requests: the server's as they come, the proxy's own in their turn. */
export class OrderedAnswers<T> {
  readonly #relay: AnswerRelay<T>;
  readonly #write: (bytes: Buffer) => void;
  readonly #waiting: ({ readonly own: Buffer } | { readonly tag: T })[] = [];

  constructor(relay: AnswerRelay<T>, write: (bytes: Buffer) => void) {
    this.#relay = relay;
    this.#write = write;
  }

  /** Answers that are waited for, the proxy's own included. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** The server will answer. */
  expect(tag: T): void {
    this.#waiting.push({ tag });
  }

  /** The proxy answers, as soon as all before it have been answered. */
  answer(own: Buffer): void {
    this.#waiting.push({ own });
    this.#flush();
  }

  /** Passes bytes of the server on. @returns why they cannot be answers; undefined: they are */
  onServer(chunk: Buffer): string | undefined {
    for (let at = 0; at < chunk.length; ) {
      const first = this.#waiting[0];
      if (first === undefined || 'own' in first) return 'an answer of the server without a request';
      const taken = this.#relay.take(chunk, at, first.tag);
      if (taken === 'bad') return 'an answer of the server that cannot be read';
      this.#write(chunk.subarray(at, taken.end));
      at = taken.end;
      if (!taken.whole) continue;
      this.#waiting.shift();
      this.#flush();
    }
    return undefined;
  }

  #flush(): void {
    for (let first = this.#waiting[0]; first !== undefined && 'own' in first; first = this.#waiting[0]) {
      this.#write(first.own);
      this.#waiting.shift();
    }
  }
}
