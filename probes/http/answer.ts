import { ANSWER_BYTES_MAX } from './constants.ts';

export type AnswerProgress =
  | { readonly kind: 'more' }
  | { readonly kind: 'complete'; readonly status: number }
  | { readonly kind: 'bad'; readonly text: string };

const HEAD_END = '\r\n\r\n';

/** Reads one HTTP/1.x response piece by piece (RFC 9112 §4, §6.3), and only as much of it as a probe needs. */
export class AnswerReader {
  #text = '';
  #size = 0;
  /** Bytes of the body that are due; undefined until the head is there, Infinity: until the peer closes. */
  #due: number | undefined;
  #status = 0;

  get status(): number {
    return this.#status;
  }

  push(chunk: Buffer): AnswerProgress {
    this.#size += chunk.length;
    if (this.#size > ANSWER_BYTES_MAX)
      return { kind: 'bad', text: `answer longer than ${ANSWER_BYTES_MAX} bytes` };
    if (this.#due === undefined) {
      this.#text += chunk.toString('latin1');
      const end = this.#text.indexOf(HEAD_END);
      if (end < 0) return this.#looksLikeHttp();
      const wrong = this.#readHead(this.#text.slice(0, end));
      if (wrong !== undefined) return { kind: 'bad', text: wrong };
      this.#take(this.#text.length - end - HEAD_END.length);
    } else {
      this.#take(chunk.length);
    }
    return this.#due !== undefined && this.#due <= 0
      ? { kind: 'complete', status: this.#status }
      : { kind: 'more' };
  }

  /** The peer closed. */
  end(): AnswerProgress {
    if (this.#due === Infinity) return { kind: 'complete', status: this.#status };
    return { kind: 'bad', text: this.#size === 0 ? 'closed without an answer' : 'answer cut short' };
  }

  #take(bytes: number): void {
    if (this.#due !== undefined) this.#due -= bytes;
  }

  #looksLikeHttp(): AnswerProgress {
    const start = 'HTTP/1.';
    const same = start.startsWith(this.#text.slice(0, start.length)) || this.#text.startsWith(start);
    return same ? { kind: 'more' } : { kind: 'bad', text: 'answer is not HTTP' };
  }

  #readHead(head: string): string | undefined {
    const [first = '', ...fields] = head.split('\r\n');
    const status = /^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(first)?.[1];
    if (status === undefined) return 'answer is not HTTP';
    this.#status = Number(status);
    const length = fields
      .map((field) => /^content-length:[ \t]*(\d{1,9})[ \t]*$/i.exec(field)?.[1])
      .find(Boolean);
    const bodiless = this.#status === 204 || this.#status === 304;
    this.#due = bodiless ? 0 : length === undefined ? Infinity : Number(length);
    return undefined;
  }
}
