import type { DnsCounters } from '../../model/proxy-counters.ts';
import type { ByteSocket, Clock, Dial, FlowEnd } from '../types.ts';
import { type DnsAnswer, readAnswer } from './answer.ts';
import { FrameReader, frame } from './framing.ts';
import type { DnsLimits } from './limits.ts';
import type { Exchange, QueryDesk } from './query-desk.ts';

export interface TcpConnectionDeps {
  readonly desk: QueryDesk;
  readonly dial: Dial;
  readonly clock: Clock;
  readonly limits: DnsLimits;
  readonly counters: DnsCounters;
}

const TCP = 6;
const MS = 1_000_000;

/**
 * One connection of a client and, from its first query that is allowed, one to the server. Queries are judged one by
 * one; answers go back as they come, in any order (RFC 7766 §6.2.1.1).
 */
export class TcpConnection {
  readonly #deps: TcpConnectionDeps;
  readonly #client: ByteSocket;
  readonly #ends: { readonly client: FlowEnd; readonly server: FlowEnd };
  readonly #queries = new FrameReader();
  /** That wait for the server. */
  readonly #exchanges: Exchange[] = [];
  readonly #queue: Buffer[] = [];
  readonly #answers = new FrameReader();
  #server: ByteSocket | undefined;
  #held = 0;
  /** No further query is taken: one of the ends is done. */
  #ending = false;
  #serverEnded = false;
  #usedNs: number;
  #over = false;

  constructor(
    client: ByteSocket,
    ends: { readonly client: FlowEnd; readonly server: FlowEnd },
    deps: TcpConnectionDeps,
  ) {
    this.#client = client;
    this.#ends = ends;
    this.#deps = deps;
    this.#usedNs = deps.clock.monotonicNs();
    client.setNoDelay();
    client.on('data', (chunk: Buffer) => this.#read(chunk));
    client.on('end', () => {
      this.#ending = true;
      this.#endWhenDone();
    });
    client.on('drain', () => {
      this.#server?.resume();
      this.#takeQueries();
    });
    client.on('error', () => this.abort());
    client.on('close', () => this.abort());
  }

  /** Ends what waits too long. @returns whether the connection is over */
  sweep(nowNs: number): boolean {
    const { limits, counters } = this.#deps;
    const oldest = this.#exchanges[0]?.startedNs ?? nowNs;
    const idle = this.#waiting === 0 && nowNs - this.#usedNs > limits.tcpIdleMs * MS;
    if (nowNs - oldest > limits.answerTimeoutMs * MS) {
      counters.timeouts += this.#exchanges.length;
      this.#giveUp('the server did not answer in time');
      this.abort();
    } else if (idle) this.abort();
    return this.#over;
  }

  /** Cuts both connections off. May be called twice. */
  abort(): void {
    if (this.#over) return;
    this.#over = true;
    this.#giveUp('the connection ended');
    this.#server?.destroy();
    this.#client.destroy();
  }

  get #waiting(): number {
    return this.#exchanges.length + this.#held + this.#queue.length;
  }

  #giveUp(reason: string): void {
    const { desk } = this.#deps;
    for (const exchange of this.#exchanges.splice(0)) {
      desk.recordFailure(exchange, reason);
      desk.finish(exchange);
    }
  }

  #read(chunk: Buffer): void {
    if (this.#ending) return;
    this.#queue.push(...this.#queries.push(chunk));
    this.#takeQueries();
  }

  /** Whether another query may be taken: few enough wait, and the client reads its answers. */
  get #hasRoom(): boolean {
    const waiting = this.#exchanges.length + this.#held;
    return !this.#over && waiting < this.#deps.limits.tcpPipeline && !this.#client.writableNeedDrain;
  }

  /** Takes queries while there is room, and lets the client send on only when none is left over. */
  #takeQueries(): void {
    while (this.#hasRoom) {
      const query = this.#queue.shift();
      if (query === undefined) break;
      // Bytes alone do not count: who sends them one by one would never be idle.
      this.#usedNs = this.#deps.clock.monotonicNs();
      this.#takeQuery(query);
    }
    if (this.#over) return;
    if (this.#queue.length > 0) this.#client.pause();
    else this.#client.resume();
  }

  #takeQuery(bytes: Buffer): void {
    const { client, server } = this.#ends;
    const intake = this.#deps.desk.take(client, server, TCP, bytes);
    if (intake.kind === 'drop') this.abort();
    else if (intake.kind === 'answer') this.#answerClient(intake.bytes);
    else {
      this.#exchanges.push(intake.exchange);
      this.#toServer().write(frame(bytes));
    }
  }

  #answerClient(bytes: Uint8Array): void {
    if (this.#over || this.#client.destroyed) return;
    this.#usedNs = this.#deps.clock.monotonicNs();
    if (!this.#client.write(frame(bytes))) this.#server?.pause();
  }

  #toServer(): ByteSocket {
    if (this.#server !== undefined) return this.#server;
    const server = this.#deps.dial(this.#ends.client, this.#ends.server);
    this.#server = server;
    server.setNoDelay();
    server.on('data', (chunk: Buffer) => this.#readAnswers(chunk));
    server.on('end', () => this.#serverLost('the server ended the connection'));
    server.on('error', (error: NodeJS.ErrnoException) =>
      this.#serverLost(`the server cannot be reached: ${error.code ?? error.message}`),
    );
    server.on('close', () => this.#serverLost('the server ended the connection'));
    return server;
  }

  /** Queries that wait are answered with SERVFAIL; then the client's connection ends as the server's did. */
  #serverLost(reason: string): void {
    if (this.#over || this.#serverEnded) return;
    this.#serverEnded = true;
    this.#ending = true;
    this.#queue.length = 0;
    this.#server?.destroy();
    const { desk, counters } = this.#deps;
    for (const exchange of this.#exchanges.splice(0)) {
      counters.unreachable++;
      this.#answerClient(desk.fail(exchange, reason));
      desk.finish(exchange);
    }
    this.#endWhenDone();
  }

  #readAnswers(chunk: Buffer): void {
    if (this.#over) return;
    for (const bytes of this.#answers.push(chunk)) this.#takeAnswer(bytes);
    this.#takeQueries();
    this.#endWhenDone();
  }

  #takeAnswer(bytes: Buffer): void {
    const { counters, desk } = this.#deps;
    const found = this.#match(bytes);
    if (found === undefined) {
      counters.foreignAnswers++;
      return;
    }
    if (found === false) return;
    const { exchange, answer } = found;
    this.#exchanges.splice(this.#exchanges.indexOf(exchange), 1);
    this.#held++;
    desk.release(exchange, answer, () => {
      this.#held--;
      this.#answerClient(bytes);
      desk.finish(exchange);
      if (this.#over) return;
      this.#takeQueries();
      this.#endWhenDone();
    });
  }

  #match(bytes: Buffer): { readonly exchange: Exchange; readonly answer: DnsAnswer } | false | undefined {
    const { counters } = this.#deps;
    let last: 'id' | 'question' | 'malformed' = 'id';
    for (const exchange of this.#exchanges) {
      const reading = readAnswer(bytes, exchange.query);
      if (reading.kind === 'answer') return { exchange, answer: reading.answer };
      if (reading.kind === 'malformed') last = 'malformed';
      else if (reading.reason === 'question' && last === 'id') last = 'question';
    }
    if (last === 'id') return undefined;
    if (last === 'malformed') counters.malformedAnswers++;
    else counters.wrongQuestions++;
    return false;
  }

  #endWhenDone(): void {
    if (this.#over || !this.#ending || this.#waiting > 0) return;
    this.#server?.end();
    this.#client.end();
  }
}
