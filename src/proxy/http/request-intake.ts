import { ChunkedScanner } from './chunked.ts';
import { BAD, HeadReader, MORE } from './head-reader.ts';
import type { HttpLimits } from './limits.ts';
import { RequestHead } from './request-head.ts';

/** What is to happen with a request whose head came. */
export type HeadAction =
  /** Its bytes go on as they are. */
  | { readonly kind: 'forward'; readonly fields: readonly string[] }
  /** The body goes on behind this head. `fields`, here and above: those that no trailer may have, in lower case. */
  | { readonly kind: 'rewrite'; readonly head: Buffer; readonly fields: readonly string[] }
  /** Its body is read and thrown away. */
  | { readonly kind: 'discard' }
  /** Nothing is read any more. */
  | { readonly kind: 'stop' };

/** The connection, as its intake sees it. */
export interface IntakeHost {
  onHead(head: RequestHead): HeadAction;
  /** A head or body is not acceptable; the intake has stopped. `begun`: the request had been passed on in part. */
  onRequestProblem(status: number, reason: string, begun: boolean): void;
  /** The request's last byte went on. */
  onRequestEnd(): void;
  forward(bytes: Buffer): void;
  /** Whether no further request may begin now. */
  blocked(): boolean;
}

type Phase = 'head' | 'length' | 'chunked' | 'tunnel' | 'stopped';

/**
 * Reads the requests of one connection, one after the other, and passes on the bytes of those that may pass: unchanged
 * and uncopied, in runs as long as a chunk allows. What comes while no request may begin is kept until {@link resume};
 * the connection stops reading the socket then.
 */
export class RequestIntake {
  readonly #host: IntakeHost;
  readonly #limits: HttpLimits;
  readonly #reader: HeadReader;
  readonly #head: RequestHead;
  readonly #scanner = new ChunkedScanner();
  #phase: Phase = 'head';
  #remaining = 0;
  #forwarding = false;
  #lastRequest = false;
  #discarded = 0;
  #rest: Buffer | undefined;
  /** Where in the chunk begins what goes on; -1: nothing. */
  #run = -1;

  constructor(host: IntakeHost, limits: HttpLimits) {
    this.#host = host;
    this.#limits = limits;
    this.#reader = new HeadReader(limits.headBytes);
    this.#head = new RequestHead(limits.fields);
  }

  /** Whether a head has begun and not ended. */
  get inHead(): boolean {
    return this.#phase === 'head' && this.#reader.begun;
  }

  /** Whether a denied request's body is being thrown away. */
  get discarding(): boolean {
    return (this.#phase === 'length' || this.#phase === 'chunked') && !this.#forwarding;
  }

  /** Whether bytes wait for {@link resume}. */
  get waiting(): boolean {
    return this.#rest !== undefined;
  }

  /** Nothing is read any more; what comes is thrown away. */
  stop(): void {
    this.#phase = 'stopped';
    this.#rest = undefined;
  }

  /** From now on everything goes on as it comes. */
  tunnel(): void {
    this.#phase = 'tunnel';
  }

  /** Takes what waited, as far as requests may begin. */
  resume(): void {
    const rest = this.#rest;
    if (rest === undefined || this.#host.blocked()) return;
    this.#rest = undefined;
    this.take(rest);
  }

  take(chunk: Buffer): void {
    if (this.#rest !== undefined) {
      this.#rest = Buffer.concat([this.#rest, chunk]);
      return;
    }
    let p = 0;
    this.#run = -1;
    while (p < chunk.length && this.#phase !== 'stopped') {
      if (this.#phase === 'head' && this.#host.blocked()) {
        this.#flush(chunk, p);
        this.#rest = chunk.subarray(p);
        return;
      }
      p = this.#step(chunk, p);
    }
    this.#flush(chunk, p);
  }

  #flush(chunk: Buffer, to: number): void {
    const from = this.#run;
    this.#run = -1;
    if (from < 0 || to <= from) return;
    this.#host.forward(from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to));
  }

  #step(chunk: Buffer, p: number): number {
    switch (this.#phase) {
      case 'head':
        return this.#headStep(chunk, p);
      case 'length':
        return this.#lengthStep(chunk, p);
      case 'chunked':
        return this.#chunkedStep(chunk, p);
      case 'tunnel':
        this.#run = p;
        return chunk.length;
      case 'stopped':
        return chunk.length;
    }
  }

  #fail(chunk: Buffer, p: number, problem: { status: number; reason: string; begun: boolean }): number {
    if (problem.begun) this.#run = -1;
    this.#flush(chunk, p);
    this.stop();
    this.#host.onRequestProblem(problem.status, problem.reason, problem.begun);
    return chunk.length;
  }

  #headStep(chunk: Buffer, p: number): number {
    const reader = this.#reader;
    const end = reader.read(chunk, p);
    if (end === MORE) {
      this.#flush(chunk, p);
      return chunk.length;
    }
    if (end === BAD) {
      const status = reader.tooLarge ? 431 : 400;
      return this.#fail(chunk, p, { status, reason: reader.problem, begun: false });
    }
    const head = this.#head;
    const reason = head.parse(reader.head, reader.start, reader.end);
    if (reason !== undefined) return this.#fail(chunk, p, { status: head.status, reason, begun: false });
    const action = this.#host.onHead(head);
    this.#passHead(chunk, p, action);
    if (this.#phase !== 'stopped') this.#beginBody(head, 'fields' in action ? action.fields : []);
    return end;
  }

  #passHead(chunk: Buffer, p: number, action: HeadAction): void {
    const { head, start, end } = this.#reader;
    this.#forwarding = action.kind === 'forward' || action.kind === 'rewrite';
    const inChunk = head === chunk;
    if (action.kind === 'forward' && inChunk && start === p) {
      if (this.#run < 0) this.#run = p;
      return;
    }
    this.#flush(chunk, p);
    if (action.kind === 'stop') this.stop();
    else if (action.kind === 'rewrite') this.#host.forward(action.head);
    else if (action.kind === 'forward' && inChunk) this.#run = start;
    else if (action.kind === 'forward') this.#host.forward(head.subarray(start, end));
  }

  #beginBody(head: RequestHead, fields: readonly string[]): void {
    this.#discarded = 0;
    this.#lastRequest = head.close || (head.minor === 0 && !head.keepAlive);
    if (head.chunked) {
      this.#phase = 'chunked';
      this.#scanner.reset(fields);
    } else if (head.contentLength > 0) {
      this.#phase = 'length';
      this.#remaining = head.contentLength;
    } else this.#endRequest();
  }

  #lengthStep(chunk: Buffer, p: number): number {
    const taken = Math.min(this.#remaining, chunk.length - p);
    if (this.#forwarding && this.#run < 0) this.#run = p;
    this.#remaining -= taken;
    if (this.#remaining === 0) this.#endRequest();
    return p + taken;
  }

  #chunkedStep(chunk: Buffer, p: number): number {
    const end = this.#scanner.advance(chunk, p);
    const { problem } = this.#scanner;
    if (problem !== undefined) {
      return this.#fail(chunk, p, { status: 400, reason: problem, begun: this.#forwarding });
    }
    if (this.#forwarding) {
      if (this.#run < 0) this.#run = p;
    } else this.#discarded += end - p;
    if (this.#scanner.done) this.#endRequest();
    else if (this.#discarded > this.#limits.deniedBodyBytes) {
      return this.#fail(chunk, p, { status: 0, reason: 'body of a denied request too long', begun: false });
    }
    return end;
  }

  #endRequest(): void {
    this.#phase = 'head';
    if (this.#forwarding) this.#host.onRequestEnd();
    // What follows a last request is not read by the server either, RFC 9112 §9.6. A tunnel may have its own end.
    if (this.#lastRequest) this.#phase = 'stopped';
  }
}
