import type { AccessLogRecord } from '../model/l7.ts';
import {
  byL7Kind,
  type DnsCounters,
  newDnsCounters,
  type ProxyCounters,
  REPLY_BUCKETS_S,
} from '../model/proxy-counters.ts';
import type { SendToAgent } from './access-log.ts';

const TELL_EVERY_MS = 1_000;

class Times {
  readonly counts = new Array<number>(REPLY_BUCKETS_S.length + 1).fill(0);
  sumSeconds = 0;

  observe(seconds: number): void {
    let bucket = 0;
    while (bucket < REPLY_BUCKETS_S.length && seconds > (REPLY_BUCKETS_S[bucket] ?? 0)) bucket++;
    this.counts[bucket] = (this.counts[bucket] ?? 0) + 1;
    this.sumSeconds += seconds;
  }
}

/** Counts what is written to the access log, also what nobody takes from it, and tells the agent: once a second if it moved. */
export class Counters {
  readonly #send: SendToAgent;
  readonly #requests = byL7Kind(() => ({ received: 0, forwarded: 0, denied: 0, error: 0 }));
  readonly #replies = byL7Kind(() => ({ answered: new Times(), failed: new Times() }));
  readonly #dns: () => Readonly<DnsCounters> | undefined;
  #moved = false;
  #timer: NodeJS.Timeout | undefined;

  /** @param dns the counters of the part that serves DNS, if there is one */
  constructor(send: SendToAgent, dns: () => Readonly<DnsCounters> | undefined) {
    this.#send = send;
    this.#dns = dns;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#tellIfMoved(), TELL_EVERY_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  observe(record: AccessLogRecord): void {
    const { type, verdict, l7 } = record;
    this.#moved = true;
    if (type === 'request') {
      const counts = this.#requests[l7.kind];
      counts.received++;
      counts[verdict]++;
    } else {
      const replies = this.#replies[l7.kind];
      (verdict === 'forwarded' ? replies.answered : replies.failed).observe(record.latencyNs / 1e9);
    }
  }

  /** Tells an agent that may know of nothing yet. */
  tell(): void {
    this.#moved = true;
    this.#tellIfMoved();
  }

  #tellIfMoved(): void {
    if (!this.#moved) return;
    const counters: ProxyCounters = {
      requests: this.#requests,
      replies: this.#replies,
      dns: this.#dns() ?? newDnsCounters(),
    };
    if (this.#send({ type: 'counters', counters })) this.#moved = false;
  }
}
