import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { ByteSocket } from '../types.ts';
import { trailerProblem } from './chunked.ts';
import type { ConnectionFlow, HttpContext } from './connection.ts';
import type { Exchange } from './exchange.ts';
import { Http2Request } from './http2-request.ts';
import { answer, joinBodies, takesAnswer, tried } from './http2-stream.ts';
import { denied, type HttpVerdict } from './judge.ts';

const MAX_STREAMS = 100;
const END_STREAM = constants.NGHTTP2_FLAG_END_STREAM;

/** What a stream begins with. */
interface Opening {
  readonly headers: IncomingHttpHeaders;
  readonly flags: number;
  /** Names and values in turn. */
  readonly raw: readonly string[];
}

/** A stream that was allowed, and the one to the server. */
interface Passed {
  readonly stream: ServerHttp2Stream;
  readonly onward: ClientHttp2Stream;
  readonly request: Http2Request;
  readonly exchange: Exchange;
}

/**
 * A client connection of HTTP/2 with prior knowledge (gRPC), and the one to its server: each stream is judged when its
 * headers came, and passed on as a stream of the server's connection, with trailers, flow control and resets. With each new
 * stream and every second, those under way are judged again if policy or ends are others, and reset if they may no more.
 */
export class Http2Connection {
  readonly #context: HttpContext;
  readonly #flow: ConnectionFlow;
  readonly #client: ByteSocket;
  readonly #session: ServerHttp2Session;
  #upstream: ClientHttp2Session | undefined;
  #socket: ByteSocket | undefined;
  #connected = false;
  #dialedNs = 0;
  readonly #openedNs: number;
  readonly #passed = new Set<Passed>();
  #asked = false;

  /** @param opening what was read of the client */
  constructor(client: ByteSocket, opening: Buffer, flow: ConnectionFlow, context: HttpContext) {
    this.#client = client;
    this.#flow = flow;
    this.#context = context;
    this.#openedNs = context.clock.monotonicNs();
    client.pause();
    client.unshift(opening);
    this.#session = performServerHandshake(client, {
      settings: { maxConcurrentStreams: MAX_STREAMS, maxHeaderListSize: context.limits.headBytes },
      maxHeaderListPairs: context.limits.fields,
    });
    this.#session.setTimeout(context.limits.idleTimeoutMs, () => this.destroy());
    // Nothing more comes of a client that has ended its side: streams that are open end, then the connection does.
    client.on('end', () => this.#session.close());
    this.#session.on('error', () => this.destroy());
    this.#session.on('close', () => this.#upstream?.destroy());
    this.#session.on('stream', (stream, headers, flags, raw) =>
      this.#onStream(stream, { headers, flags, raw }),
    );
  }

  #onStream(stream: ServerHttp2Stream, { headers, flags, raw }: Opening): void {
    stream.on('error', () => undefined);
    this.#asked = true;
    if (listBytes(headers) > this.#context.limits.headBytes) {
      this.#refuse(stream, 431, 'header list too large');
      return;
    }
    const request = Http2Request.read(headers, raw);
    if (typeof request === 'string') {
      this.#refuse(stream, 400, request);
      return;
    }
    this.#judgeAgain(false);
    const verdict = this.#flow.judge(request);
    const exchange = this.#exchange(request, verdict);
    const [kind, status] = verdict.allowed ? (['forwarded', 0] as const) : (['denied', 403] as const);
    this.#context.records.request(this.#flow.ends(), exchange, { verdict: kind, status });
    if (verdict.allowed) this.#pass(stream, request, exchange, (flags & END_STREAM) !== 0);
    else answer(stream, 403, request.method === 'HEAD' ? '' : 'Access denied\r\n');
  }

  /** Ends the streams that were allowed and are no more. */
  #judgeAgain(isIdle: boolean): void {
    if (this.#passed.size === 0 || !this.#flow.isChanged(isIdle)) return;
    for (const passed of this.#passed) {
      const verdict = this.#flow.judge(passed.request, isIdle);
      if (!verdict.allowed) this.#breakOff(passed, verdict, 403);
    }
  }

  /** Ends a stream amid its messages; the client gets an answer if the server has sent none. */
  #breakOff(passed: Passed, verdict: HttpVerdict, status: 400 | 403): void {
    const { stream, onward, exchange } = passed;
    // Its client may send for long still, and nothing of that goes on.
    this.#passed.delete(passed);
    const kind = status === 403 ? 'denied' : 'error';
    const shown = exchange.answered ? 0 : status;
    this.#context.records.request(
      this.#flow.ends(),
      { ...exchange, verdict },
      { verdict: kind, status: shown },
    );
    stream.unpipe(onward);
    if (exchange.answered) stream.close(constants.NGHTTP2_CANCEL);
    else answer(stream, status, status === 403 ? 'Access denied\r\n' : 'Bad Request\r\n');
    exchange.answered = true;
    onward.close(constants.NGHTTP2_CANCEL);
  }

  /** What cannot be judged. */
  #refuse(stream: ServerHttp2Stream, status: 400 | 431, reason: string): void {
    const exchange = this.#exchange(undefined, denied(this.#flow.direction, reason));
    this.#context.records.request(this.#flow.ends(), exchange, { verdict: 'error', status });
    answer(stream, status, status === 400 ? 'Bad Request\r\n' : 'Request Header Fields Too Large\r\n');
  }

  #exchange(request: Http2Request | undefined, verdict: HttpVerdict): Exchange {
    return {
      ...{
        method: request?.method ?? '',
        path: request?.target ?? '',
        host: request?.hostText ?? '',
        minor: 2,
      },
      ...{
        verdict,
        wantsUpgrade: false,
        head: undefined,
        local: undefined,
        closes: false,
        awaitsContinue: false,
        sentNs: 0,
        answered: false,
      },
    };
  }

  /** @returns undefined when there is no way to the server */
  #connect(): ClientHttp2Session | undefined {
    if (this.#upstream !== undefined || this.#socket !== undefined) return this.#upstream;
    const socket = this.#flow.dialSocket();
    this.#socket = socket;
    this.#dialedNs = this.#context.clock.monotonicNs();
    socket.on('connect', () => {
      this.#connected = true;
      socket.setNoDelay(true);
    });
    // The session says so too, where there is one.
    socket.on('error', () => undefined);
    if (socket.destroyed) return undefined;
    // The name is not looked up: the connection is there already. Requests carry their own authority.
    const upstream = connect('http://upstream', {
      createConnection: () => socket,
      settings: { enablePush: false },
    });
    upstream.on('error', () => undefined);
    upstream.on('goaway', () => this.#session.close());
    upstream.on('close', () => this.#session.close());
    this.#upstream = upstream;
    return upstream;
  }

  #pass(stream: ServerHttp2Stream, request: Http2Request, exchange: Exchange, ended: boolean): void {
    const upstream = this.#connect();
    if (upstream === undefined || upstream.destroyed || upstream.closed) {
      this.#fail(stream, exchange, 'the server closed the connection');
      return;
    }
    if (request.awaitsContinue && takesAnswer(stream)) stream.additionalHeaders({ ':status': 100 });
    const outgoing = request.outgoing(exchange.verdict.edits);
    const asked = tried(() => upstream.request(outgoing, { endStream: ended, waitForTrailers: !ended }));
    if ('refused' in asked) {
      this.#fail(stream, exchange, asked.refused);
      return;
    }
    const onward = asked.value;
    const passed = { stream, onward, request, exchange };
    this.#passed.add(passed);
    if (ended) exchange.sentNs = this.#context.clock.monotonicNs();
    else {
      stream.on('end', () => {
        exchange.sentNs = this.#context.clock.monotonicNs();
      });
      joinBodies(stream, onward, (names) => this.#mayTrail(passed, names));
    }
    onward.on('headers', (headers) => {
      // One that cannot be passed on is only missing: the answer comes behind it.
      if (takesAnswer(stream)) tried(() => stream.additionalHeaders({ ...headers }));
    });
    onward.on('response', (headers, flags) => this.#onResponse(stream, onward, { exchange, headers, flags }));
    onward.on('error', (error) => this.#fail(stream, exchange, error.message));
    // A reset of either side is one of the other; but one before an answer has become 503.
    onward.on('close', () => {
      this.#fail(stream, exchange, 'the server gave no answer');
      if (exchange.answered && stream.writable && onward.rstCode !== constants.NGHTTP2_NO_ERROR)
        stream.close(onward.rstCode);
    });
    stream.on('close', () => {
      this.#passed.delete(passed);
      if (!onward.closed) onward.close(stream.rstCode || constants.NGHTTP2_CANCEL);
    });
  }

  /** Whether trailers of these names may go on; ends the stream otherwise, so that the server has no whole request. */
  #mayTrail(passed: Passed, names: readonly string[]): boolean {
    const [reason] = names
      .map((name) => trailerProblem(name, passed.exchange.verdict.fields))
      .filter((problem) => problem !== undefined);
    if (reason === undefined) return true;
    this.#breakOff(passed, denied(this.#flow.direction, reason), 400);
    return false;
  }

  #onResponse(
    stream: ServerHttp2Stream,
    onward: ClientHttp2Stream,
    {
      exchange,
      headers,
      flags,
    }: { readonly exchange: Exchange; readonly headers: IncomingHttpHeaders; readonly flags: number },
  ): void {
    if (!takesAnswer(stream)) return;
    const ended = (flags & END_STREAM) !== 0;
    const written = tried(() => stream.respond(headers, { endStream: ended, waitForTrailers: !ended }));
    if ('refused' in written) {
      this.#fail(stream, exchange, written.refused);
      onward.close(constants.NGHTTP2_PROTOCOL_ERROR);
      return;
    }
    exchange.answered = true;
    const status = Number((headers as Record<string, unknown>)[':status']);
    this.#context.records.response(this.#flow.ends(), exchange, { status, reason: '' });
    if (!ended) joinBodies(onward, stream);
  }

  /** The server cannot be reached, or ended before it answered. */
  #fail(stream: ServerHttp2Stream, exchange: Exchange, reason: string): void {
    if (stream.destroyed || exchange.answered) return;
    exchange.answered = true;
    this.#context.records.response(this.#flow.ends(), exchange, { status: 503, reason });
    answer(stream, 503, 'Upstream cannot be reached\r\n');
  }

  /** Ends what waits too long. */
  check(nowNs: number): void {
    if (!this.#asked && nowNs - this.#openedNs > this.#context.limits.openingTimeoutMs * 1e6) {
      this.destroy();
      return;
    }
    this.#judgeAgain(true);
    const waiting = this.#socket !== undefined && !this.#connected;
    if (!waiting || nowNs - this.#dialedNs <= this.#context.limits.connectTimeoutMs * 1e6) return;
    this.#socket?.destroy(new Error('the server did not accept in time'));
  }

  /** Ends both connections at once. */
  destroy(): void {
    this.#session.destroy();
    this.#upstream?.destroy();
    this.#client.destroy();
  }
}

/** As RFC 9113 §6.5.2 counts it. What was announced binds a client only once it has acknowledged it. */
function listBytes(headers: IncomingHttpHeaders): number {
  let bytes = 0;
  for (const [name, value] of Object.entries(headers)) {
    for (const one of Array.isArray(value) ? value : [value ?? '']) bytes += name.length + one.length + 32;
  }
  return bytes;
}
