import { errorText } from '../../base/errors.ts';
import type { AccessLogRecord } from '../../model/l7.ts';
import type { Verdict } from '../judged-flow.ts';
import type { ProxyHost } from '../part.ts';
import { ServedConnection, type Speaker } from '../served-connection.ts';
import type { Accepted, Held } from '../tcp-acceptor.ts';
import { denialOf, TOPIC_AUTHORIZATION_FAILED } from './denial.ts';
import { FrameReader, FrameRelay } from './frames.ts';
import { judgeKafka } from './judge.ts';
import { type KafkaRequest, readRequest } from './request.ts';

/** A request is held whole until it is judged; clients send 1 MiB at most unless they are told otherwise. */
const MAX_REQUEST_BYTES = 16 * 1024 * 1024;
const MAX_PIPELINED = 256;
/** Topics of a request in its record; one may name a million. */
const MAX_LOGGED_TOPICS = 256;

/** An answer that is waited for: the broker's, or one of the proxy's own. */
type Waiting = Buffer | 'broker';

/**
 * One client connection of Kafka and the one to its broker. Requests are judged whole; answers leave in their order, the
 * broker's as they come and refusals in their turn. What cannot be read or refused properly ends the connection.
 */
export class KafkaConnection implements Held, Speaker {
  readonly serverName = 'broker';
  readonly #served: ServedConnection;
  readonly #requests = new FrameReader(MAX_REQUEST_BYTES);
  readonly #answers = new FrameRelay();
  readonly #waiting: Waiting[] = [];

  constructor(accepted: Accepted, host: ProxyHost) {
    this.#served = new ServedConnection(accepted, host, this);
  }

  get begun(): boolean {
    return this.#requests.begun;
  }

  fromClient(chunk: Buffer): void {
    this.#requests.push(chunk);
  }

  /** Judges the requests that are whole, as long as answers may follow. */
  settle(): void {
    const { client } = this.#served;
    while (this.#waiting.length < MAX_PIPELINED && !this.#served.isFull && !client.writableEnded) {
      const frame = this.#requests.next();
      if (frame === 'bad') {
        this.fail('no Kafka: impossible length of a request');
        return;
      }
      if (frame === undefined) {
        if (client.isPaused()) client.resume();
        if (this.#served.clientEnded) this.#served.passEnd();
        return;
      }
      this.#onFrame(frame);
      if (this.#served.isOver) return;
    }
    client.pause();
  }

  #onFrame(frame: Buffer): void {
    let request: KafkaRequest;
    try {
      request = readRequest(frame.subarray(4));
    } catch (error) {
      this.fail(`no Kafka: ${errorText(error)}`);
      return;
    }
    const verdict = this.#served.flow.judge((views, fallback) => judgeKafka(views, request, fallback));
    if (verdict.allowed) {
      this.#record(request, verdict, 'forwarded', 0);
      if (request.answered) this.#waiting.push('broker');
      this.#served.toServer(frame);
      return;
    }
    this.#record(request, verdict, 'denied', TOPIC_AUTHORIZATION_FAILED);
    const denial = request.answered ? denialOf(request) : undefined;
    if (denial === undefined) {
      this.#served.finish();
      return;
    }
    this.#waiting.push(denial);
    this.#answerOwn();
  }

  #record(
    request: KafkaRequest | undefined,
    verdict: Verdict,
    kind: AccessLogRecord['verdict'],
    errorCode: number,
  ): void {
    this.#served.flow.record(verdict, kind, {
      kind: 'kafka',
      apiKey: request?.apiKey ?? -1,
      apiVersion: request?.apiVersion ?? -1,
      correlationId: request?.correlationId ?? 0,
      topics: [...new Set(request?.topics?.map(({ name }) => name))].slice(0, MAX_LOGGED_TOPICS),
      errorCode,
    });
  }

  /** Passes the broker's answers on, each in the turn of its request. */
  fromServer(chunk: Buffer): void {
    if (this.#served.client.writableEnded) return;
    for (let at = 0; at < chunk.length; ) {
      if (this.#waiting[0] !== 'broker') {
        this.fail('an answer of the broker without a request');
        return;
      }
      const { end, whole } = this.#answers.take(chunk, at);
      this.#served.toClient(chunk.subarray(at, end));
      at = end;
      if (!whole) continue;
      this.#waiting.shift();
      this.#answerOwn();
    }
  }

  #answerOwn(): void {
    for (let first = this.#waiting[0]; first instanceof Buffer; first = this.#waiting[0]) {
      this.#served.toClient(first);
      this.#waiting.shift();
    }
  }

  /** Says why, and ends both connections. */
  fail(reason: string): void {
    this.#record(undefined, this.#served.flow.denied(reason), 'error', 0);
    this.destroy();
  }

  check(nowNs: number): void {
    this.#served.check(nowNs);
  }

  destroy(): void {
    this.#served.destroy();
  }
}
