/** What the DNS proxy lets happen at most. */
export interface DnsLimits {
  /** Queries of one endpoint that wait for an answer. */
  readonly inFlightPerEndpoint: number;
  /** Queries of the node that wait for an answer. */
  readonly inFlight: number;
  /** How long the server has for an answer. */
  readonly answerTimeoutMs: number;
  /** How long the agent has to put an answer's addresses in force before the client gets it all the same. */
  readonly applyTimeoutMs: number;
  /** Clients' ports that a socket to a server is kept for. */
  readonly udpFlows: number;
  /** How long such a socket is kept after the last answer. */
  readonly udpIdleMs: number;
  readonly tcpConnections: number;
  readonly tcpConnectionsPerClient: number;
  /** How long a connection may have nothing to do. */
  readonly tcpIdleMs: number;
  /** Queries of one connection that wait for an answer; further ones are not read until there is room. */
  readonly tcpPipeline: number;
}

export const DNS_LIMITS: DnsLimits = {
  inFlightPerEndpoint: 1000,
  inFlight: 20_000,
  answerTimeoutMs: 10_000,
  applyTimeoutMs: 2_000,
  udpFlows: 8192,
  udpIdleMs: 200,
  tcpConnections: 1024,
  tcpConnectionsPerClient: 128,
  tcpIdleMs: 10_000,
  tcpPipeline: 64,
};

/** What happened, since the proxy began. */
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
