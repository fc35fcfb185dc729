import type { AccessLogRecord, L7Kind } from './l7.ts';

/** What became of requests. `error`: not readable, or beyond a limit. */
export type RequestCounts = Readonly<Record<'received' | AccessLogRecord['verdict'], number>>;

/** Upper bounds of the buckets in which answers are counted by their time, seconds. */
export const REPLY_BUCKETS_S = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
] as const;

/** Times from a request's last byte to the answer's first. */
export interface ReplyTimes {
  /** Answers of each bucket of `REPLY_BUCKETS_S` alone, and of more than the last one. */
  readonly counts: readonly number[];
  readonly sumSeconds: number;
}

/** What the DNS proxy counts. */
export interface DnsCounters {
  queries: number;
  forwarded: number;
  denied: number;
  /** Queries that could not be read; part of them was answered with an error. */
  malformedQueries: number;
  /** Of more than 4096 bytes, as a datagram. */
  oversizedQueries: number;
  /** Sent again while the first was waited for. */
  repeatedQueries: number;
  /** Beyond a limit, and not passed on. */
  limitedQueries: number;
  answers: number;
  /** Of no query that waits, by its id: late, repeated or forged. */
  foreignAnswers: number;
  /** With the id of one that waits, and another question: forged. */
  wrongQuestions: number;
  malformedAnswers: number;
  /** Queries that the server did not answer in time. */
  timeouts: number;
  unreachable: number;
  /** Answers that went to the client before their addresses were in force. */
  unapplied: number;
}

export function newDnsCounters(): DnsCounters {
  return {
    queries: 0,
    forwarded: 0,
    denied: 0,
    malformedQueries: 0,
    oversizedQueries: 0,
    repeatedQueries: 0,
    limitedQueries: 0,
    answers: 0,
    foreignAnswers: 0,
    wrongQuestions: 0,
    malformedAnswers: 0,
    timeouts: 0,
    unreachable: 0,
    unapplied: 0,
  };
}

/** What a proxy process counted since it began, whatever became of its access log. */
export interface ProxyCounters {
  readonly requests: Readonly<Record<L7Kind, RequestCounts>>;
  /** By whether there was an answer of the server's. */
  readonly replies: Readonly<Record<L7Kind, Readonly<Record<'answered' | 'failed', ReplyTimes>>>>;
  readonly dns: Readonly<DnsCounters>;
}

/** One of each protocol. */
export function byL7Kind<T>(make: () => T): Record<L7Kind, T> {
  return {
    http: make(),
    kafka: make(),
    dns: make(),
    tls: make(),
    memcache: make(),
    cassandra: make(),
    r2d2: make(),
  };
}

const noRequests = { received: 0, forwarded: 0, denied: 0, error: 0 };
const noTimes: ReplyTimes = { counts: [], sumSeconds: 0 };
const noReplies = { answered: noTimes, failed: noTimes };

/** Of a proxy that did nothing yet, or told nothing. */
export const NO_PROXY_COUNTERS: ProxyCounters = {
  requests: byL7Kind(() => noRequests),
  replies: byL7Kind(() => noReplies),
  dns: newDnsCounters(),
};
