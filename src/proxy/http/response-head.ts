import { CHARS, CR, SP, VALUE } from './chars.ts';
import { MessageHead, parseFields } from './message-head.ts';

const VERSION = 'HTTP/1.';

/** How the body of an answer ends. */
export type BodyEnd = 'none' | 'length' | 'chunked' | 'close';

/** A response head; the object is reused from answer to answer of a connection. */
export class ResponseHead extends MessageHead {
  status = 0;

  /** `HTTP-version SP status-code SP [reason] CRLF`, RFC 9112 §4. @returns why it is not acceptable, or undefined */
  parse(bytes: Buffer, start: number, end: number): string | undefined {
    this.reset(bytes, start, end);
    for (let i = 0; i < VERSION.length; i++)
      if (bytes[start + i] !== VERSION.charCodeAt(i)) return 'no status line';
    this.minor = (bytes[start + 7] as number) - 0x30;
    if ((this.minor !== 0 && this.minor !== 1) || bytes[start + 8] !== SP) return 'not HTTP/1.0 or HTTP/1.1';
    const problem = this.#status(start + 9);
    if (problem !== undefined) return problem;
    let p = start + 12;
    if (bytes[p] === SP) while (((CHARS[bytes[p] as number] as number) & VALUE) !== 0) p++;
    if (bytes[p] !== CR) return 'bad reason phrase';
    return parseFields(this, p + 2);
  }

  #status(at: number): string | undefined {
    let status = 0;
    for (let p = at; p < at + 3; p++) {
      const digit = (this.bytes[p] as number) - 0x30;
      if (digit < 0 || digit > 9) return 'bad status code';
      status = status * 10 + digit;
    }
    this.status = status;
    return status < 100 || status > 599 ? 'bad status code' : undefined;
  }

  /** RFC 9112 §6.3, for the answer to a request with that method. */
  bodyEnd(method: string): BodyEnd {
    if (method === 'HEAD' || this.status < 200 || this.status === 204 || this.status === 304) return 'none';
    if (this.chunked) return 'chunked';
    if (this.contentLength >= 0) return this.contentLength === 0 ? 'none' : 'length';
    return 'close';
  }
}
