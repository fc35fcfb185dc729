import { RE2JS } from 're2js';
import type { PairRule } from '../../model/l7.ts';
import type { Dialect, Exchange, SpokenProtocol } from './connection.ts';
import { isFound } from './find.ts';
import { LineReader } from './line-reader.ts';
import { type AnswerRelay, OrderedAnswers } from './ordered-answers.ts';

/*
 * The teaching protocol of Cilium's parsers: requests `READ file`, `WRITE file`, `HALT` and `RESET`, answers `OK`, `OK data`
 * and `ERROR`, each a line that ends in CRLF.
 */

export interface R2d2Request {
  readonly cmd: string;
  /** Empty for commands without. */
  readonly file: string;
}

const MAX_LINE_BYTES = 8192;
const MAX_PIPELINED = 1024;
const DENIED = Buffer.from('ERROR\r\n');
/** The file is one word of visible ASCII. */
const REQUEST = /^(?:(READ|WRITE) ([!-~]+)|(HALT|RESET))$/;

/** @returns undefined for what is no request */
export function readR2d2(line: string): R2d2Request | undefined {
  const [found, withFile, file = '', alone] = REQUEST.exec(line) ?? [];
  return found === undefined ? undefined : { cmd: withFile ?? alone ?? '', file };
}

/** An answer is a line, of whatever length. */
class R2d2Answer implements AnswerRelay<undefined> {
  #afterCr = false;

  take(chunk: Buffer, from: number): { readonly end: number; readonly whole: boolean } {
    if (this.#afterCr && chunk[from] === 0x0a) {
      this.#afterCr = false;
      return { end: from + 1, whole: true };
    }
    const end = chunk.indexOf('\r\n', from, 'latin1');
    if (end >= 0) return { end: end + 2, whole: true };
    this.#afterCr = chunk[chunk.length - 1] === 0x0d;
    return { end: chunk.length, whole: false };
  }
}

class R2d2Dialect implements Dialect {
  readonly #exchange: Exchange<R2d2Request>;
  readonly #lines = new LineReader(MAX_LINE_BYTES);
  readonly #answers: OrderedAnswers<undefined>;

  constructor(exchange: Exchange<R2d2Request>) {
    this.#exchange = exchange;
    this.#answers = new OrderedAnswers(new R2d2Answer(), (bytes) => exchange.toClient(bytes));
  }

  get begun(): boolean {
    return this.#lines.pending > 0;
  }

  get blocked(): boolean {
    return this.#answers.waiting >= MAX_PIPELINED;
  }

  fromClient(chunk: Buffer): void {
    this.#lines.push(chunk);
    for (let line = this.#lines.next(); line !== undefined; line = this.#lines.next()) {
      const request = line === 'bad' ? undefined : readR2d2(line.toString('latin1').slice(0, -2));
      if (line === 'bad' || request === undefined) {
        this.#answers.answer(DENIED);
        this.#exchange.refuse('no request of r2d2');
        return;
      }
      if (this.#exchange.judge([request])) {
        this.#answers.expect(undefined);
        this.#exchange.toServer(line);
      } else this.#answers.answer(DENIED);
    }
  }

  fromServer(chunk: Buffer): void {
    const problem = this.#answers.onServer(chunk);
    if (problem !== undefined) this.#exchange.refuse(problem);
  }
}

export const r2d2: SpokenProtocol<R2d2Request> = {
  kind: 'r2d2',
  compile({ cmd = '', file = '' }: PairRule) {
    const regex = file === '' ? undefined : RE2JS.compile(file);
    return (request) =>
      (cmd === '' || cmd === request.cmd) && (regex === undefined || isFound(regex, request.file));
  },
  fields: ({ cmd, file }) => ({ cmd, file }),
  open: (exchange) => new R2d2Dialect(exchange),
};
