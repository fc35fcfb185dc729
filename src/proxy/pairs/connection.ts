import type { AccessLogRecord } from '../../model/l7.ts';
import type { Verdict } from '../judged-flow.ts';
import type { ProxyHost } from '../part.ts';
import { ServedConnection, type Speaker } from '../served-connection.ts';
import type { Accepted, Held } from '../tcp-acceptor.ts';
import type { PairJudge, PairProtocol } from './judge.ts';

/** What a dialect does with its connection. */
export interface Exchange<R> {
  /** Judges requests that pass together or not at all, and logs each with the verdict. */
  judge(requests: readonly R[]): boolean;
  toServer(bytes: Buffer): void;
  toClient(bytes: Buffer): void;
  /** Logs why, lets what is written to the client go out, and ends both connections. */
  refuse(reason: string): void;
}

/** Reads the requests and answers of one connection. */
export interface Dialect {
  /** A request has begun and is not whole. */
  readonly begun: boolean;
  /** No more of the client is taken for now. */
  readonly blocked: boolean;
  fromClient(chunk: Buffer): void;
  fromServer(chunk: Buffer): void;
}

/** A protocol of `l7proto`, with how to read it. */
export interface SpokenProtocol<R> extends PairProtocol<R> {
  open(exchange: Exchange<R>): Dialect;
}

interface ConnectionDeps<R> {
  readonly host: ProxyHost;
  readonly protocol: SpokenProtocol<R>;
  readonly judge: PairJudge<R>;
}

/** One client connection of a protocol of `l7proto` and the one to its server; what is in between is the dialect's. */
export class PairConnection<R> implements Held, Exchange<R>, Speaker {
  readonly serverName = 'server';
  readonly #protocol: SpokenProtocol<R>;
  readonly #judge: PairJudge<R>;
  readonly #served: ServedConnection;
  readonly #dialect: Dialect;

  constructor(accepted: Accepted, { host, protocol, judge }: ConnectionDeps<R>) {
    this.#protocol = protocol;
    this.#judge = judge;
    this.#served = new ServedConnection(accepted, host, this);
    this.#dialect = protocol.open(this);
  }

  get begun(): boolean {
    return this.#dialect.begun;
  }

  fromClient(chunk: Buffer): void {
    this.#dialect.fromClient(chunk);
  }

  fromServer(chunk: Buffer): void {
    this.#dialect.fromServer(chunk);
  }

  /** Takes from the client as long as what comes can go on. */
  settle(): void {
    const { client, clientEnded, isFull } = this.#served;
    if (this.#dialect.blocked || isFull) client.pause();
    else if (clientEnded) this.#served.passEnd();
    else if (client.isPaused()) client.resume();
  }

  judge(requests: readonly R[]): boolean {
    const verdict = this.#served.flow.judge((views, fallback) =>
      this.#judge.judge(views, requests, fallback),
    );
    for (const request of requests) {
      const fields = this.#protocol.fields(request);
      if (fields === undefined && verdict.allowed) continue;
      this.#record(verdict, verdict.allowed ? 'forwarded' : 'denied', fields ?? {});
    }
    return verdict.allowed;
  }

  #record(verdict: Verdict, kind: AccessLogRecord['verdict'], fields: Record<string, string>): void {
    this.#served.flow.record(verdict, kind, { kind: this.#protocol.kind, fields });
  }

  toServer(bytes: Buffer): void {
    this.#served.toServer(bytes);
  }

  toClient(bytes: Buffer): void {
    this.#served.toClient(bytes);
  }

  refuse(reason: string): void {
    if (this.#served.isOver) return;
    this.#record(this.#served.flow.denied(reason), 'error', {});
    this.#served.finish();
  }

  fail(reason: string): void {
    this.refuse(reason);
  }

  check(nowNs: number): void {
    this.#served.check(nowNs);
  }

  destroy(): void {
    this.#served.destroy();
  }
}
