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
  udpIdleMs: 50,
  tcpConnections: 1024,
  tcpConnectionsPerClient: 128,
  tcpIdleMs: 10_000,
  tcpPipeline: 64,
};
