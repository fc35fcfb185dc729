import { ChunkedScanner } from './chunked.ts';
import type { Exchange } from './exchange.ts';
import { BAD, HeadReader, MORE } from './head-reader.ts';
import type { HttpLimits } from './limits.ts';
import { ResponseHead } from './response-head.ts';

/** The connection, as its relay sees it. */
export interface RelayHost {
  /** The exchange that the next answer belongs to; undefined: none is waited for. */
  expected(): Exchange | undefined;
  /** A final answer's head, or a 101 that was asked for. */
  onAnswer(exchange: Exchange, status: number): void;
  /** An answer's last byte was passed on; @returns whether the next one is the proxy's own */
  onAnswerEnd(): boolean;
  /** Writes answers of the proxy's own that have their turn. */
  answerLocals(): void;
  onAnswerProblem(reason: string): void;
  /** The connection is another protocol's from here on. */
  onTunnel(): void;
  deliver(bytes: Buffer): void;
}

type Phase = 'head' | 'length' | 'chunked' | 'close' | 'tunnel' | 'stopped';

/**
 * Reads the answers of one connection and passes them on in runs. Each must belong to a request that waits for it: an
 * answer too many, or one whose end is a matter of opinion, ends the connection.
 */
export class ResponseRelay {
  readonly #host: RelayHost;
  readonly #reader: HeadReader;
  readonly #head: ResponseHead;
  readonly #scanner = new ChunkedScanner();
  #phase: Phase = 'head';
  #remaining = 0;
  #run = -1;

  constructor(host: RelayHost, limits: HttpLimits) {
    this.#host = host;
    this.#reader = new HeadReader(limits.headBytes);
    this.#head = new ResponseHead(limits.fields);
  }

  /** Whether the end of the connection ends an answer properly. */
  get endsByClose(): boolean {
    return this.#phase === 'close';
  }

  /** Whether an answer has begun and not ended. */
  get inAnswer(): boolean {
    return this.#phase !== 'head' || this.#reader.begun;
  }

  stop(): void {
    this.#phase = 'stopped';
  }

  take(chunk: Buffer): void {
    let p = 0;
    this.#run = -1;
    while (p < chunk.length && this.#phase !== 'stopped') p = this.#step(chunk, p);
    this.#flush(chunk, p);
  }

  #flush(chunk: Buffer, to: number): void {
    const from = this.#run;
    this.#run = -1;
    if (from < 0 || to <= from) return;
    this.#host.deliver(from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to));
  }

  #step(chunk: Buffer, p: number): number {
    switch (this.#phase) {
      case 'head':
        return this.#headStep(chunk, p);
      case 'length': {
        const taken = Math.min(this.#remaining, chunk.length - p);
        if (this.#run < 0) this.#run = p;
        this.#remaining -= taken;
        if (this.#remaining === 0) this.#endAnswer(chunk, p + taken);
        return p + taken;
      }
      case 'chunked':
        return this.#chunkedStep(chunk, p);
      case 'close':
      case 'tunnel':
        if (this.#run < 0) this.#run = p;
        return chunk.length;
      case 'stopped':
        return chunk.length;
    }
  }

  #fail(chunk: Buffer, p: number, reason: string): number {
    this.#flush(chunk, p);
    this.stop();
    this.#host.onAnswerProblem(reason);
    return chunk.length;
  }

  #headStep(chunk: Buffer, p: number): number {
    const exchange = this.#host.expected();
    if (exchange === undefined) return this.#fail(chunk, p, 'answer without a request');
    const reader = this.#reader;
    const end = reader.read(chunk, p);
    if (end === MORE) {
      this.#flush(chunk, p);
      return chunk.length;
    }
    if (end === BAD) return this.#fail(chunk, p, `answer: ${reader.problem}`);
    const head = this.#head;
    const problem = head.parse(reader.head, reader.start, reader.end);
    if (problem !== undefined) return this.#fail(chunk, p, `answer: ${problem}`);
    if (head.status === 101 && !exchange.wantsUpgrade)
      return this.#fail(chunk, p, 'upgrade that nobody asked for');
    this.#passHead(chunk, p);
    this.#begin(exchange, chunk, end);
    return end;
  }

  #passHead(chunk: Buffer, p: number): void {
    const { head, start, end } = this.#reader;
    if (head === chunk && start === p) {
      if (this.#run < 0) this.#run = p;
      return;
    }
    this.#flush(chunk, p);
    if (head === chunk) this.#run = start;
    else this.#host.deliver(head.subarray(start, end));
  }

  #begin(exchange: Exchange, chunk: Buffer, at: number): void {
    const { status } = this.#head;
    if (status < 200 && status !== 101) return;
    this.#host.onAnswer(exchange, status);
    if (status === 101) {
      this.#phase = 'tunnel';
      this.#flush(chunk, at);
      this.#host.onTunnel();
      return;
    }
    const end = this.#head.bodyEnd(exchange.method);
    if (end === 'none') this.#endAnswer(chunk, at);
    else {
      this.#phase = end;
      this.#remaining = this.#head.contentLength;
      if (end === 'chunked') this.#scanner.reset();
    }
  }

  #chunkedStep(chunk: Buffer, p: number): number {
    const end = this.#scanner.advance(chunk, p);
    if (this.#scanner.problem !== undefined) return this.#fail(chunk, p, `answer: ${this.#scanner.problem}`);
    if (this.#run < 0) this.#run = p;
    if (this.#scanner.done) this.#endAnswer(chunk, end);
    return end;
  }

  #endAnswer(chunk: Buffer, at: number): void {
    this.#phase = 'head';
    if (!this.#host.onAnswerEnd()) return;
    this.#flush(chunk, at);
    this.#host.answerLocals();
  }
}
