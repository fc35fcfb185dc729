import type { Direction } from '../../model/map-state.ts';
import type { Flow } from '../policy-table.ts';
import { reset } from '../reset.ts';
import type { ByteSocket, ByteStream, Clock } from '../types.ts';
import type { Answers } from './answers.ts';
import { type Exchange, keptBytes } from './exchange.ts';
import { denied, type HttpVerdict } from './judge.ts';
import type { HttpLimits } from './limits.ts';
import type { HttpRecords } from './records.ts';
import type { RequestHead } from './request-head.ts';
import { type HeadAction, type IntakeHost, RequestIntake } from './request-intake.ts';
import { type RelayHost, ResponseRelay } from './response-relay.ts';
import { rewriteHead } from './rewrite.ts';
import type { JudgedRequest } from './rule-set.ts';
import { findRevoked, type Revoked } from './under-way.ts';

/** What a connection uses of the proxy. */
export interface HttpContext {
  readonly limits: HttpLimits;
  readonly clock: Clock;
  readonly answers: Answers;
  readonly records: HttpRecords;
}

/** The flow that a connection belongs to. */
export interface ConnectionFlow {
  /** Direction of the listener. */
  readonly direction: Direction;
  /** The two ends, as known at this moment. */
  ends(): Flow;
  /** @param idle nothing came since a change: until the datapath says who a peer of elsewhere is now, it may be anybody */
  judge(request: JudgedRequest, idle?: boolean): HttpVerdict;
  /** Whether policy or ends are others than those that were judged by last, `idle` or not. */
  isChanged(idle: boolean): boolean;
  /** Begins to connect to the server. */
  dial(): ByteStream;
  /** The same for what needs a stream of Node's. */
  dialSocket(): ByteSocket;
}

const FORWARD: HeadAction = { kind: 'forward', fields: [] };
const DISCARD: HeadAction = { kind: 'discard' };
const STOP: HeadAction = { kind: 'stop' };
const CONTINUE = Buffer.from('HTTP/1.1 100 Continue\r\n\r\n', 'latin1');

/**
 * One client connection and the one to its server, which is opened when the first request may pass.
 *
 * 1. Each request is judged when its head is whole, by the policy of that moment, and joins the queue.
 * 2. A request that may pass goes on at once; one that may not leaves an answer of the proxy's own in the queue.
 * 3. Answers leave in the queue's order: the server's as they come, the proxy's own when their turn is.
 * 4. `Expect: 100-continue` is answered here and not passed on: a server that refuses without reading the body, and takes
 *    it for the next request, would see one that nobody judged.
 * 5. What was allowed is judged again before bytes pass and every second, if policy or ends are others: a request under
 *    way that may no more, and the stream of an upgrade, end with the connection.
 * 6. Each side is read only as fast as the other takes; ends and resets are carried over.
 */
export class HttpConnection implements IntakeHost, RelayHost {
  readonly #context: HttpContext;
  readonly #flow: ConnectionFlow;
  readonly #client: ByteStream;
  readonly #intake: RequestIntake;
  readonly #relay: ResponseRelay;
  readonly #queue: Exchange[] = [];
  #upstream: ByteStream | undefined;
  #connected = false;
  #dialedNs = 0;
  /** When something last moved, the head in work began, and the denied body in work began; monotonic. */
  #activeNs: number;
  #headNs = 0;
  #discardNs = 0;
  #lingerNs = 0;
  #upgrading = false;
  /** The upgrade that made another protocol of the connection. */
  #tunnel: Exchange | undefined;
  /** The request whose body is being passed on: it may be answered already. */
  #sending: Exchange | undefined;
  #clientEnded = false;
  #upstreamEnded = false;
  #upstreamFailed = false;

  constructor(client: ByteStream, flow: ConnectionFlow, context: HttpContext) {
    this.#client = client;
    this.#flow = flow;
    this.#context = context;
    this.#intake = new RequestIntake(this, context.limits);
    this.#relay = new ResponseRelay(this, context.limits);
    this.#activeNs = context.clock.monotonicNs();
    client.on('data', (chunk: Buffer) => this.#onClientData(chunk));
    client.on('end', () => this.#onClientEnd());
    client.on('drain', () => this.#onClientDrain());
    // 'close' follows, and does what is to be done.
    client.on('error', () => undefined);
    client.on('close', () => this.#onClientClose());
  }

  /** Takes what was read of the client before this object was made. */
  begin(chunk: Buffer): void {
    this.#onClientData(chunk);
  }

  // The client's side

  #onClientData(chunk: Buffer): void {
    const now = this.#context.clock.monotonicNs();
    this.#activeNs = now;
    if (!this.#mayGoOn()) return;
    this.#intake.take(chunk);
    this.#afterIntake(now);
  }

  #afterIntake(nowNs: number): void {
    this.#headNs = this.#intake.inHead ? this.#headNs || nowNs : 0;
    this.#discardNs = this.#intake.discarding ? this.#discardNs || nowNs : 0;
    if (this.#intake.waiting || this.#upstream?.writableNeedDrain === true) this.#client.pause();
  }

  /** Goes on reading the client when nothing is in the way any more. */
  #readOn(): void {
    if (this.#intake.waiting) {
      this.#intake.resume();
      this.#afterIntake(this.#context.clock.monotonicNs());
    }
    if (this.#intake.waiting || this.#upstream?.writableNeedDrain === true) return;
    if (this.#client.isPaused()) this.#client.resume();
    if (this.#clientEnded) this.#passClientEnd();
  }

  #onClientDrain(): void {
    if (this.#upstream?.isPaused() === true) this.#upstream.resume();
    this.#readOn();
  }

  #onClientEnd(): void {
    this.#clientEnded = true;
    this.#passClientEnd();
  }

  /** Carries the client's FIN over, once all that came before it is. */
  #passClientEnd(): void {
    if (this.#intake.waiting) return;
    if (this.#tunnel === undefined) this.#intake.stop();
    if (this.#upstream !== undefined) {
      if (!this.#upstream.writableEnded) this.#upstream.end();
    } else if (this.#queue.length === 0 && !this.#client.writableEnded) this.#client.end();
  }

  /** The server learns of a client that went away by a reset if it had something to do for it. */
  #onClientClose(): void {
    const busy = this.#queue.length > 0 || this.#relay.inAnswer;
    this.#intake.stop();
    this.#relay.stop();
    const upstream = this.#upstream;
    if (upstream === undefined || upstream.destroyed) return;
    if (this.#connected && busy) reset(upstream);
    else upstream.destroy();
  }

  /** Whether all that was allowed still is; ends the connection otherwise. */
  #mayGoOn(isIdle = false): boolean {
    const kept = this.#queue.length === 0 && this.#tunnel === undefined && this.#sending === undefined;
    // Asking whether anything changed may take a system call: kept connections that are idle do not. Of one that has its last
    // answer nothing is passed on any more.
    if (kept || this.#lingerNs > 0 || this.#client.destroyed || !this.#flow.isChanged(isIdle)) return true;
    const underWay = [this.#tunnel, this.#sending, ...this.#queue].filter((one) => one !== undefined);
    const judge = (request: JudgedRequest): HttpVerdict => this.#flow.judge(request, isIdle);
    const revoked = findRevoked(underWay, judge, this.#context.limits.fields);
    if (revoked !== undefined) this.#revoke(revoked);
    return revoked === undefined;
  }

  /** Answers 403 if nothing of the next answer was passed on; else both ends see that it broke off. */
  #revoke({ exchange, verdict }: Revoked): void {
    const { records, answers } = this.#context;
    const next = this.expected();
    const answer =
      next === undefined || next.answered ? undefined : answers.make(403, true, next.method === 'HEAD');
    const status = answer === undefined ? 0 : 403;
    records.request(this.#flow.ends(), { ...exchange, verdict }, { verdict: 'denied', status });
    if (this.#upstream !== undefined && !this.#upstream.destroyed) reset(this.#upstream);
    if (answer !== undefined) this.#finish(answer);
    else {
      this.#intake.stop();
      this.#relay.stop();
      if (!this.#client.destroyed) reset(this.#client);
    }
  }

  // RequestIntake's questions

  blocked(): boolean {
    const { pipelined, waitingBytes } = this.#context.limits;
    return (
      this.#upgrading ||
      this.#queue.length >= pipelined ||
      keptBytes(this.#queue) >= waitingBytes ||
      this.#client.writableNeedDrain
    );
  }

  onHead(head: RequestHead): HeadAction {
    if (!this.#mayGoOn()) return STOP;
    const verdict = this.#flow.judge(head);
    if (!verdict.allowed) return this.#deny(head, verdict);
    const exchange = this.#enqueue(head, verdict, undefined, false);
    this.#context.records.request(this.#flow.ends(), exchange, { verdict: 'forwarded', status: 0 });
    this.#upgrading = head.wantsUpgrade;
    if (head.hasBody) this.#sending = exchange;
    this.#connect();
    if (head.expect >= 0 && head.hasBody) {
      exchange.awaitsContinue = true;
      this.answerLocals();
    }
    const { rewritten } = head.understood;
    const { edits, fields } = verdict;
    if (rewritten || head.stripsH2c || head.expect >= 0 || edits.length > 0)
      return { kind: 'rewrite', head: rewriteHead(head, edits), fields };
    return fields.length === 0 ? FORWARD : { kind: 'forward', fields };
  }

  #enqueue(head: RequestHead, verdict: HttpVerdict, local: Buffer | undefined, closes: boolean): Exchange {
    const exchange: Exchange = {
      method: head.method,
      path: head.target,
      host: head.hostText,
      minor: head.minor,
      verdict,
      wantsUpgrade: head.wantsUpgrade,
      head: local === undefined ? headBytes(head) : undefined,
      local,
      closes,
      awaitsContinue: false,
      sentNs: 0,
      answered: false,
    };
    this.#queue.push(exchange);
    return exchange;
  }

  /** The connection goes on behind a denied request if it is certain where that ends. */
  #deny(head: RequestHead, verdict: HttpVerdict): HeadAction {
    const tooLong = head.contentLength > this.#context.limits.deniedBodyBytes;
    const closes =
      head.close || head.minor === 0 || (head.expect >= 0 && head.hasBody) || head.wantsUpgrade || tooLong;
    const answer = this.#context.answers.make(403, closes, head.method === 'HEAD');
    const exchange = this.#enqueue(head, verdict, answer, closes);
    this.#context.records.request(this.#flow.ends(), exchange, { verdict: 'denied', status: 403 });
    this.answerLocals();
    return closes ? STOP : DISCARD;
  }

  /** The last thing that the client gets: an answer of the proxy's own, in its turn, and the end of the connection. */
  onRequestProblem(status: number, reason: string, begun: boolean): void {
    if (begun) {
      // The server has the beginning of a request whose end it must never see.
      if (this.#upstream !== undefined) reset(this.#upstream);
      const answered = this.#queue.at(-1)?.answered !== false;
      if (!answered && this.#queue.length === 1) this.#queue.pop();
      else {
        this.#finish(undefined);
        return;
      }
    }
    const answer = status === 0 ? Buffer.alloc(0) : this.#context.answers.make(status, true);
    const verdict = denied(this.#flow.direction, reason);
    const exchange: Exchange = {
      ...{ method: '', path: '', host: '', minor: 1, verdict, wantsUpgrade: false, head: undefined },
      ...{ local: answer, closes: true, awaitsContinue: false, sentNs: 0, answered: false },
    };
    this.#queue.push(exchange);
    this.#context.records.request(this.#flow.ends(), exchange, { verdict: 'error', status: status });
    this.answerLocals();
  }

  onRequestEnd(): void {
    this.#sending = undefined;
    const exchange = this.#queue.at(-1);
    if (exchange !== undefined) exchange.sentNs = this.#context.clock.monotonicNs();
  }

  forward(bytes: Buffer): void {
    const upstream = this.#upstream;
    if (upstream?.writable === true) upstream.write(bytes);
  }

  // The server's side

  #connect(): void {
    if (this.#upstream !== undefined) return;
    const upstream = this.#flow.dial();
    this.#upstream = upstream;
    this.#dialedNs = this.#context.clock.monotonicNs();
    upstream.on('connect', () => {
      this.#connected = true;
      upstream.setNoDelay(true);
    });
    upstream.on('data', (chunk: Buffer) => {
      this.#activeNs = this.#context.clock.monotonicNs();
      if (this.#mayGoOn()) this.#relay.take(chunk);
    });
    upstream.on('drain', () => this.#readOn());
    upstream.on('end', () => this.#onUpstreamEnd());
    upstream.on('error', (error) => this.#onUpstreamError(error));
    upstream.on('close', () => this.#onUpstreamClose());
  }

  #onUpstreamError(error: Error): void {
    this.#upstreamFailed = true;
    if (!this.#connected) this.#unreachable(error.message);
  }

  /** The first request that waits gets 503; the connection ends with it. */
  #unreachable(reason: string): void {
    this.#intake.stop();
    const waiting = this.#queue.find(({ local }) => local === undefined);
    if (waiting === undefined) return;
    this.#context.records.response(this.#flow.ends(), waiting, { status: 503, reason });
    this.#finish(this.#context.answers.make(503, true, waiting.method === 'HEAD'));
  }

  #onUpstreamEnd(): void {
    this.#upstreamEnded = true;
    if (this.#tunnel !== undefined) {
      this.#client.end();
      return;
    }
    if (this.#relay.endsByClose) this.#queue.shift();
    this.#noteUnanswered('the server closed the connection');
    this.#intake.stop();
    this.#relay.stop();
    this.#queue.length = 0;
    this.#upstream?.end();
    if (!this.#client.writableEnded) this.#client.end();
    this.#startLinger();
    this.#client.resume();
  }

  #noteUnanswered(reason: string): void {
    const waiting = this.#queue.find(({ local }) => local === undefined);
    if (waiting === undefined) return;
    this.#context.records.response(this.#flow.ends(), waiting, { status: 0, reason });
  }

  /** Without a FIN before it, this is a reset: so the client gets one, unless it has yet to take what came before. */
  #onUpstreamClose(): void {
    if (this.#upstreamEnded || this.#lingerNs > 0 || this.#client.destroyed) return;
    if (!this.#upstreamFailed) return;
    this.#noteUnanswered('the server reset the connection');
    this.#intake.stop();
    if (this.#client.writableLength > 0) this.#finish(undefined);
    else reset(this.#client);
  }

  // ResponseRelay's questions

  expected(): Exchange | undefined {
    const first = this.#queue[0];
    return first?.local === undefined ? first : undefined;
  }

  onAnswer(exchange: Exchange, status: number): void {
    exchange.answered = true;
    this.#context.records.response(this.#flow.ends(), exchange, { status, reason: '' });
  }

  onAnswerEnd(): boolean {
    const ended = this.#queue.shift();
    if (ended?.wantsUpgrade === true) this.#upgrading = false;
    const next = this.#queue[0];
    if (next !== undefined && (next.local !== undefined || next.awaitsContinue)) return true;
    // Later: what is read on may be answered at once, and this answer's bytes have yet to be delivered.
    if (this.#intake.waiting) queueMicrotask(() => this.#readOn());
    return false;
  }

  /** Called when the queue's first is the proxy's own, too: what the server sent before has been written then. */
  answerLocals(): void {
    for (let first = this.#queue[0]; first?.local !== undefined; first = this.#queue[0]) {
      this.#queue.shift();
      if (first.closes) {
        this.#finish(first.local);
        return;
      }
      if (this.#client.writable) this.#client.write(first.local);
    }
    const [first] = this.#queue;
    if (first?.awaitsContinue === true) {
      first.awaitsContinue = false;
      if (this.#client.writable) this.#client.write(CONTINUE);
    }
    if (this.#intake.waiting) queueMicrotask(() => this.#readOn());
    if (this.#clientEnded) this.#passClientEnd();
  }

  onAnswerProblem(reason: string): void {
    const waiting = this.expected();
    if (waiting !== undefined) {
      this.#context.records.response(this.#flow.ends(), waiting, { status: 502, reason });
    }
    const clean = waiting !== undefined && !waiting.answered;
    this.#finish(clean ? this.#context.answers.make(502, true, waiting.method === 'HEAD') : undefined);
  }

  onTunnel(): void {
    this.#tunnel = this.#queue[0];
    this.#queue.length = 0;
    this.#upgrading = false;
    this.#intake.tunnel();
    this.#readOn();
  }

  deliver(bytes: Buffer): void {
    if (!this.#client.writable) return;
    if (!this.#client.write(bytes)) this.#upstream?.pause();
  }

  // Endings

  /** Writes a last answer and ends the connection; what the client still sends is thrown away for a while. */
  #finish(answer: Buffer | undefined): void {
    this.#queue.length = 0;
    this.#intake.stop();
    this.#relay.stop();
    if (this.#upstream !== undefined && !this.#upstream.destroyed) this.#upstream.destroy();
    if (this.#client.destroyed) return;
    if (answer !== undefined && this.#client.writable) this.#client.write(answer);
    if (!this.#client.writableEnded) this.#client.end();
    this.#startLinger();
    this.#client.resume();
  }

  #startLinger(): void {
    if (this.#lingerNs === 0) this.#lingerNs = this.#context.clock.monotonicNs();
  }

  /** Ends what waits too long. Called about every second. */
  check(nowNs: number): void {
    const { limits } = this.#context;
    const over = (sinceNs: number, limitMs: number): boolean =>
      sinceNs > 0 && nowNs - sinceNs > limitMs * 1e6;
    if (over(this.#lingerNs, limits.lingerMs) && this.#client.writableLength === 0) this.destroy();
    else if (over(this.#activeNs, limits.idleTimeoutMs)) this.destroy();
    else if (over(this.#headNs, limits.headTimeoutMs)) this.#onTimeout('head not whole in time');
    else if (over(this.#discardNs, limits.headTimeoutMs)) this.#finish(undefined);
    else if (
      this.#upstream !== undefined &&
      !this.#connected &&
      over(this.#dialedNs, limits.connectTimeoutMs)
    ) {
      this.#unreachable('the server did not accept in time');
    } else this.#mayGoOn(true);
  }

  #onTimeout(reason: string): void {
    this.#headNs = 0;
    this.#intake.stop();
    this.onRequestProblem(408, reason, false);
  }

  /** Ends both connections at once. */
  destroy(): void {
    this.#client.destroy();
    this.#upstream?.destroy();
  }
}

/** The head alone: what was read with it is not kept for its sake. */
function headBytes({ bytes, start, end }: RequestHead): Buffer {
  return start === 0 && end === bytes.length ? bytes : Buffer.from(bytes.subarray(start, end));
}
