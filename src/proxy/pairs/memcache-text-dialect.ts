import type { Dialect, Exchange } from './connection.ts';
import { LineReader } from './line-reader.ts';
import { DENIED_TEXT, MAX_PIPELINED, type MemcacheRequest } from './memcache-request.ts';
import { readTextRequest, type TextAnswer, type TextRequest } from './memcache-text.ts';
import { type AnswerRelay, OrderedAnswers } from './ordered-answers.ts';

/** A `get` of many keys is the longest line there is. */
const MAX_LINE_BYTES = 64 * 1024;
/** What is kept of a line of an answer: the lines that say how much data follows are shorter. */
const KEPT_LINE = 512;
const CRLF = '\r\n';
const DENIED = Buffer.from(`CLIENT_ERROR ${DENIED_TEXT}\r\n`);
const BAD = Buffer.from('CLIENT_ERROR bad command line format\r\n');
const VALUE = /^VALUE [^ ]+ \d+ (\d{1,10})(?: \d+)?$/;
/** First words of the line that ends a list. */
const LAST = /^(?:END|RESET|OK|BUSY|BADCLASS|NOTSPARE|ERROR|CLIENT_ERROR|SERVER_ERROR)(?: |$)/;

class TextAnswers implements AnswerRelay<TextAnswer> {
  #line = '';
  #dataBytes = 0;

  take(chunk: Buffer, from: number, answer: TextAnswer): { end: number; whole: boolean } | 'bad' {
    for (let at = from; at < chunk.length; ) {
      if (this.#dataBytes > 0) {
        const taken = Math.min(this.#dataBytes, chunk.length - at);
        this.#dataBytes -= taken;
        at += taken;
        continue;
      }
      const end = chunk.indexOf(0x0a, at) + 1;
      const to = end === 0 ? chunk.length : end;
      const room = KEPT_LINE - this.#line.length;
      this.#line += chunk.toString('latin1', at, Math.min(to, at + room));
      at = to;
      if (end === 0) break;
      const whole = this.#endLine(answer);
      if (whole !== false) return whole === 'bad' ? whole : { end: at, whole };
    }
    return { end: chunk.length, whole: false };
  }

  /** @returns whether the line ends the answer */
  #endLine(answer: TextAnswer): boolean | 'bad' {
    const line = this.#line.replace(/\r?\n$/, '');
    this.#line = '';
    if (answer === 'line') return true;
    if (answer === 'forever') return false;
    if (LAST.test(line)) return true;
    if (answer === 'list') return false;
    const [, bytes] = VALUE.exec(line) ?? [];
    if (bytes === undefined) return 'bad';
    this.#dataBytes = Number(bytes) + CRLF.length;
    return false;
  }
}

/** Data behind a line that was judged. */
interface Data {
  /** Without the CRLF at its end. */
  remaining: number;
  readonly passes: boolean;
  readonly request: TextRequest;
}

/** One connection in memcached's text protocol. Data is not kept: it follows its line, or nothing does. */
export class TextDialect implements Dialect {
  readonly #exchange: Exchange<MemcacheRequest>;
  readonly #lines = new LineReader(MAX_LINE_BYTES);
  readonly #answers: OrderedAnswers<TextAnswer>;
  #data: Data | undefined;

  constructor(exchange: Exchange<MemcacheRequest>) {
    this.#exchange = exchange;
    this.#answers = new OrderedAnswers(new TextAnswers(), (bytes) => exchange.toClient(bytes));
  }

  get begun(): boolean {
    return this.#lines.pending > 0 || this.#data !== undefined;
  }

  get blocked(): boolean {
    return this.#answers.waiting >= MAX_PIPELINED;
  }

  fromClient(chunk: Buffer): void {
    this.#lines.push(chunk);
    while (this.#data === undefined ? this.#nextRequest() : this.#nextData(this.#data));
  }

  #nextRequest(): boolean {
    const line = this.#lines.next();
    if (line === undefined) return false;
    const request =
      line === 'bad' ? undefined : readTextRequest(line.toString('latin1').slice(0, -CRLF.length));
    if (line === 'bad' || request === undefined) return this.#refuse('no request of memcached');
    const { command, keys, dataBytes } = request;
    const passes = this.#exchange.judge([{ kind: 'text', command, keys }]);
    if (passes) this.#exchange.toServer(line);
    if (dataBytes > 0) this.#data = { remaining: dataBytes - CRLF.length, passes, request };
    else this.#settle(request, passes);
    return true;
  }

  #nextData(data: Data): boolean {
    if (data.remaining > 0) {
      const part = this.#lines.take(data.remaining);
      data.remaining -= part.length;
      if (data.passes && part.length > 0) this.#exchange.toServer(part);
      if (data.remaining > 0) return false;
    }
    if (this.#lines.pending < CRLF.length) return false;
    const end = this.#lines.take(CRLF.length);
    if (end.toString('latin1') !== CRLF) return this.#refuse('data that is longer than it says');
    if (data.passes) this.#exchange.toServer(end);
    this.#data = undefined;
    this.#settle(data.request, data.passes);
    return true;
  }

  #settle({ answer }: TextRequest, passes: boolean): void {
    if (answer === 'none') return;
    if (passes) this.#answers.expect(answer);
    else this.#answers.answer(DENIED);
  }

  #refuse(reason: string): false {
    this.#answers.answer(BAD);
    this.#exchange.refuse(reason);
    return false;
  }

  fromServer(chunk: Buffer): void {
    const problem = this.#answers.onServer(chunk);
    if (problem !== undefined) this.#exchange.refuse(problem);
  }
}
