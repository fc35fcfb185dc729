import type { AccessLogRecord } from '../../model/l7.ts';
import type { Flow } from '../policy-table.ts';
import { TimeText } from '../time-text.ts';
import type { Clock, LogSink } from '../types.ts';
import type { Exchange } from './exchange.ts';

const PROTOCOLS = ['HTTP/1.0', 'HTTP/1.1', 'HTTP/2'] as const;

function httpPart({ method, path, host, minor }: Exchange, status: number): AccessLogRecord['l7'] {
  return { kind: 'http', method, path, host, protocol: PROTOCOLS[minor] ?? 'HTTP/1.1', status };
}

/** Makes the access log's records of HTTP exchanges. */
export class HttpRecords {
  readonly #clock: Clock;
  readonly #sink: LogSink;
  readonly #time: TimeText;

  constructor(clock: Clock, sink: LogSink) {
    this.#clock = clock;
    this.#sink = sink;
    this.#time = new TimeText(clock);
  }

  /** A request, when its verdict is known. `status`: of the proxy's own answer, else 0. */
  request(
    flow: Flow,
    exchange: Exchange,
    { verdict, status }: { readonly verdict: AccessLogRecord['verdict']; readonly status: number },
  ): void {
    this.#sink({
      kind: 'l7',
      time: this.#time.now(),
      type: 'request',
      verdict,
      direction: exchange.verdict.direction,
      source: flow.client,
      destination: flow.server,
      rules: exchange.verdict.rules,
      reason: exchange.verdict.reason,
      latencyNs: 0,
      l7: httpPart(exchange, status),
    });
  }

  /** An answer, or (with a reason) why there was none. */
  response(
    flow: Flow,
    exchange: Exchange,
    { status, reason }: { readonly status: number; readonly reason: string },
  ): void {
    const { sentNs } = exchange;
    this.#sink({
      kind: 'l7',
      time: this.#time.now(),
      type: 'response',
      verdict: reason === '' ? 'forwarded' : 'error',
      direction: exchange.verdict.direction,
      source: flow.client,
      destination: flow.server,
      rules: exchange.verdict.rules,
      reason,
      latencyNs: sentNs === 0 ? 0 : Math.max(0, Math.round(this.#clock.monotonicNs() - sentNs)),
      l7: httpPart(exchange, status),
    });
  }
}
