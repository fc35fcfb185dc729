import { errorText } from '../../base/errors.ts';
import type { AccessLogRecord } from '../../model/l7.ts';
import type { Direction } from '../../model/map-state.ts';
import type { ProxyHost } from '../part.ts';
import { TrackedFlow } from '../policy-holder.ts';
import { reset } from '../reset.ts';
import type { Accepted, Held } from '../tcp-acceptor.ts';
import type { ByteSocket } from '../types.ts';
import { denialOf, TOPIC_AUTHORIZATION_FAILED } from './denial.ts';
import { FrameReader, FrameRelay } from './frames.ts';
import { judgeKafka, type KafkaVerdict } from './judge.ts';
import { type KafkaRequest, readRequest } from './request.ts';

const TCP = 6;
/** A request is held whole until it is judged; clients send 1 MiB at most unless they are told otherwise. */
const MAX_REQUEST_BYTES = 16 * 1024 * 1024;
const MAX_PIPELINED = 256;
const FRAME_TIMEOUT_NS = 30e9;
const CONNECT_TIMEOUT_NS = 5e9;
const IDLE_TIMEOUT_NS = 3600e9;

/** An answer that is waited for: the broker's, or one of the proxy's own. */
type Waiting = Buffer | 'broker';

/**
 * One client connection of Kafka and the one to its broker. Requests are judged whole; answers leave in their order, the
 * broker's as they come and refusals in their turn. What cannot be read or refused properly ends the connection.
 */
export class KafkaConnection implements Held {
  readonly #host: ProxyHost;
  readonly #flow: TrackedFlow;
  readonly #direction: Direction;
  readonly #client: ByteSocket;
  readonly #requests = new FrameReader(MAX_REQUEST_BYTES);
  readonly #answers = new FrameRelay();
  readonly #waiting: Waiting[] = [];
  #upstream: ByteSocket | undefined;
  #connected = false;
  #clientEnded = false;
  #activeNs: number;
  #dialedNs = 0;

  constructor({ socket, client, server, direction }: Accepted, host: ProxyHost) {
    this.#host = host;
    this.#client = socket;
    this.#direction = direction;
    this.#flow = new TrackedFlow({ ...host, holder: host.policy }, { client, server, protocol: TCP });
    this.#activeNs = host.clock.monotonicNs();
    socket.on('data', (chunk: Buffer) => this.#onClientData(chunk));
    socket.on('drain', () => {
      this.#upstream?.resume();
      this.#readOn();
    });
    socket.on('end', () => {
      this.#clientEnded = true;
      this.#readOn();
    });
    // 'close' follows.
    socket.on('error', () => undefined);
    socket.on('close', () => this.#upstream?.destroy());
  }

  #onClientData(chunk: Buffer): void {
    this.#activeNs = this.#host.clock.monotonicNs();
    this.#requests.push(chunk);
    this.#readOn();
  }

  get #blocked(): boolean {
    return (
      this.#waiting.length >= MAX_PIPELINED ||
      this.#client.writableNeedDrain ||
      this.#upstream?.writableNeedDrain === true
    );
  }

  /** Judges the requests that are whole, as long as answers may follow. */
  #readOn(): void {
    while (!this.#blocked && !this.#client.writableEnded) {
      const frame = this.#requests.next();
      if (frame === 'bad') {
        this.#end('no Kafka: impossible length of a request');
        return;
      }
      if (frame === undefined) {
        if (this.#client.isPaused()) this.#client.resume();
        if (this.#clientEnded) this.#passEnd();
        return;
      }
      this.#onFrame(frame);
    }
    if (!this.#client.destroyed) this.#client.pause();
  }

  #onFrame(frame: Buffer): void {
    let request: KafkaRequest;
    try {
      request = readRequest(frame.subarray(4));
    } catch (error) {
      this.#end(`no Kafka: ${errorText(error)}`);
      return;
    }
    const verdict = this.#judge(request);
    if (verdict.allowed) {
      this.#record(request, verdict, 'forwarded', 0);
      if (request.answered) this.#waiting.push('broker');
      this.#connect().write(frame);
      return;
    }
    this.#record(request, verdict, 'denied', TOPIC_AUTHORIZATION_FAILED);
    const denial = request.answered ? denialOf(request) : undefined;
    if (denial === undefined) {
      this.#endClient();
      return;
    }
    this.#waiting.push(denial);
    this.#answerOwn();
  }

  #judge(request: KafkaRequest): KafkaVerdict {
    const denied = (reason: string): KafkaVerdict => ({
      ...{ allowed: false, direction: this.#direction, rules: [], reason },
    });
    const flow = this.#flow.current();
    const { table } = this.#host.policy;
    if (table === undefined) return denied('no policy yet');
    if (flow === undefined) return denied('unknown flow');
    const views = table.views(flow, TCP);
    if (views === undefined) return denied('neither end is an endpoint of this node');
    return judgeKafka(views, request, this.#direction);
  }

  #record(
    request: KafkaRequest | undefined,
    verdict: KafkaVerdict,
    kind: AccessLogRecord['verdict'],
    errorCode: number,
  ): void {
    const ends = this.#flow.ends();
    this.#host.record({
      ...{ kind: 'l7', type: 'request', verdict: kind, direction: verdict.direction, rules: verdict.rules },
      time: new Date(this.#host.clock.realtimeMs()).toISOString(),
      source: ends.client,
      destination: ends.server,
      reason: verdict.reason,
      latencyNs: 0,
      l7: {
        kind: 'kafka',
        apiKey: request?.apiKey ?? -1,
        apiVersion: request?.apiVersion ?? -1,
        correlationId: request?.correlationId ?? 0,
        topics: [...new Set(request?.topics?.map(({ name }) => name))],
        errorCode,
      },
    });
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
    upstream.on('data', (chunk: Buffer) => this.#onAnswer(chunk));
    upstream.on('drain', () => this.#readOn());
    upstream.on('end', () => this.#client.end());
    upstream.on('error', (error) => {
      if (!this.#connected) this.#end(`broker: ${error.message}`);
    });
    upstream.on('close', () => {
      if (!this.#client.writableEnded) reset(this.#client);
    });
    return upstream;
  }

  /** Passes the broker's answers on, each in the turn of its request. */
  #onAnswer(chunk: Buffer): void {
    if (this.#client.writableEnded) return;
    this.#activeNs = this.#host.clock.monotonicNs();
    for (let at = 0; at < chunk.length; ) {
      if (this.#waiting[0] !== 'broker') {
        this.#end('an answer of the broker without a request');
        return;
      }
      const { end, whole } = this.#answers.take(chunk, at);
      if (!this.#client.write(chunk.subarray(at, end))) this.#upstream?.pause();
      at = end;
      if (!whole) continue;
      this.#waiting.shift();
      this.#answerOwn();
    }
    this.#readOn();
  }

  #answerOwn(): void {
    for (let first = this.#waiting[0]; first instanceof Buffer; first = this.#waiting[0]) {
      this.#client.write(first);
      this.#waiting.shift();
    }
  }

  #passEnd(): void {
    if (this.#upstream !== undefined) this.#upstream.end();
    else this.#client.end();
  }

  /** Says why, and ends both connections. */
  #end(reason: string): void {
    const verdict = { allowed: false, direction: this.#direction, rules: [], reason };
    this.#record(undefined, verdict, 'error', 0);
    this.destroy();
  }

  /** Lets what is written to the client go out, and ends both connections. */
  #endClient(): void {
    this.#upstream?.destroy();
    this.#client.removeAllListeners('data');
    this.#client.resume();
    this.#client.end(() => this.#client.destroy());
  }

  check(nowNs: number): void {
    const connecting = this.#upstream !== undefined && !this.#connected;
    const idle = nowNs - this.#activeNs;
    if (connecting && nowNs - this.#dialedNs > CONNECT_TIMEOUT_NS)
      this.#end('the broker did not accept in time');
    else if (idle > (this.#requests.begun ? FRAME_TIMEOUT_NS : IDLE_TIMEOUT_NS)) this.destroy();
  }

  destroy(): void {
    this.#client.destroy();
    this.#upstream?.destroy();
  }
}
