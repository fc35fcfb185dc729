import type { AccessLogRecord } from '../../model/l7.ts';
import type { Direction } from '../../model/map-state.ts';
import type { ProxyHost } from '../part.ts';
import { TrackedFlow } from '../policy-holder.ts';
import { reset } from '../reset.ts';
import type { Accepted, Held } from '../tcp-acceptor.ts';
import type { ByteSocket } from '../types.ts';
import type { PairJudge, PairProtocol, PairVerdict } from './judge.ts';

const TCP = 6;
const REQUEST_TIMEOUT_NS = 30e9;
const CONNECT_TIMEOUT_NS = 5e9;
const IDLE_TIMEOUT_NS = 3600e9;

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
export class PairConnection<R> implements Held, Exchange<R> {
  readonly #host: ProxyHost;
  readonly #protocol: SpokenProtocol<R>;
  readonly #judge: PairJudge<R>;
  readonly #flow: TrackedFlow;
  readonly #direction: Direction;
  readonly #client: ByteSocket;
  readonly #dialect: Dialect;
  #upstream: ByteSocket | undefined;
  #connected = false;
  #clientEnded = false;
  #over = false;
  #activeNs: number;
  #dialedNs = 0;

  constructor({ socket, client, server, direction }: Accepted, { host, protocol, judge }: ConnectionDeps<R>) {
    this.#host = host;
    this.#protocol = protocol;
    this.#judge = judge;
    this.#client = socket;
    this.#direction = direction;
    this.#flow = new TrackedFlow({ ...host, holder: host.policy }, { client, server, protocol: TCP });
    this.#activeNs = host.clock.monotonicNs();
    this.#dialect = protocol.open(this);
    socket.on('data', (chunk: Buffer) => this.#onClient(chunk));
    socket.on('drain', () => {
      this.#upstream?.resume();
      this.#settle();
    });
    socket.on('end', () => {
      this.#clientEnded = true;
      this.#settle();
    });
    // 'close' follows.
    socket.on('error', () => undefined);
    socket.on('close', () => this.#upstream?.destroy());
  }

  #onClient(chunk: Buffer): void {
    this.#activeNs = this.#host.clock.monotonicNs();
    if (!this.#over) this.#dialect.fromClient(chunk);
    this.#settle();
  }

  #onServer(chunk: Buffer): void {
    this.#activeNs = this.#host.clock.monotonicNs();
    if (!this.#over) this.#dialect.fromServer(chunk);
    if (this.#client.writableNeedDrain) this.#upstream?.pause();
    this.#settle();
  }

  /** Takes from the client as long as what comes can go on. */
  #settle(): void {
    if (this.#over) return;
    const blocked =
      this.#dialect.blocked || this.#client.writableNeedDrain || this.#upstream?.writableNeedDrain === true;
    if (blocked) this.#client.pause();
    else if (this.#clientEnded) this.#passEnd();
    else if (this.#client.isPaused()) this.#client.resume();
  }

  judge(requests: readonly R[]): boolean {
    const verdict = this.#verdict(requests);
    for (const request of requests) {
      const fields = this.#protocol.fields(request);
      if (fields === undefined && verdict.allowed) continue;
      this.#record(verdict, verdict.allowed ? 'forwarded' : 'denied', fields ?? {});
    }
    return verdict.allowed;
  }

  #verdict(requests: readonly R[]): PairVerdict {
    const denied = (reason: string): PairVerdict => ({
      ...{ allowed: false, direction: this.#direction, rules: [], reason },
    });
    const flow = this.#flow.current();
    const { table } = this.#host.policy;
    if (table === undefined) return denied('no policy yet');
    if (flow === undefined) return denied('unknown flow');
    const views = table.views(flow, TCP);
    if (views === undefined) return denied('neither end is an endpoint of this node');
    return this.#judge.judge(views, requests, this.#direction);
  }

  #record(verdict: PairVerdict, kind: AccessLogRecord['verdict'], fields: Record<string, string>): void {
    const ends = this.#flow.ends();
    this.#host.record({
      ...{ kind: 'l7', type: 'request', verdict: kind, direction: verdict.direction, rules: verdict.rules },
      time: new Date(this.#host.clock.realtimeMs()).toISOString(),
      source: ends.client,
      destination: ends.server,
      reason: verdict.reason,
      latencyNs: 0,
      l7: { kind: this.#protocol.kind, fields },
    });
  }

  toServer(bytes: Buffer): void {
    if (!this.#over) this.#connect().write(bytes);
  }

  toClient(bytes: Buffer): void {
    if (!this.#over) this.#client.write(bytes);
  }

  #connect(): ByteSocket {
    if (this.#upstream !== undefined) return this.#upstream;
    const upstream = this.#host.dial(this.#flow.client, this.#flow.server);
    this.#upstream = upstream;
    this.#dialedNs = this.#host.clock.monotonicNs();
    upstream.on('connect', () => {
      this.#connected = true;
      upstream.setNoDelay(true);
    });
    upstream.on('data', (chunk: Buffer) => this.#onServer(chunk));
    upstream.on('drain', () => this.#settle());
    upstream.on('end', () => this.#client.end());
    upstream.on('error', (error) => {
      if (!this.#connected) this.refuse(`server: ${error.message}`);
    });
    upstream.on('close', () => {
      if (!this.#client.writableEnded) reset(this.#client);
    });
    return upstream;
  }

  #passEnd(): void {
    if (this.#upstream !== undefined) this.#upstream.end();
    else this.#client.end();
  }

  refuse(reason: string): void {
    if (this.#over) return;
    const verdict = { allowed: false, direction: this.#direction, rules: [], reason };
    this.#record(verdict, 'error', {});
    this.#over = true;
    this.#upstream?.destroy();
    // What still comes is thrown away, lest a reset overtake the answer.
    this.#client.resume();
    this.#client.end(() => this.#client.destroy());
  }

  check(nowNs: number): void {
    const connecting = this.#upstream !== undefined && !this.#connected;
    const idle = nowNs - this.#activeNs;
    if (connecting && nowNs - this.#dialedNs > CONNECT_TIMEOUT_NS)
      this.refuse('the server did not accept in time');
    else if (idle > (this.#dialect.begun ? REQUEST_TIMEOUT_NS : IDLE_TIMEOUT_NS)) this.destroy();
  }

  destroy(): void {
    this.#client.destroy();
    this.#upstream?.destroy();
  }
}
