/** Bounds of what a connection may hold and how long it may wait. */
export interface HttpLimits {
  /** Of a request's or answer's head, the empty line included. */
  readonly headBytes: number;
  readonly fields: number;
  /** From a head's first byte to its last. */
  readonly headTimeoutMs: number;
  /** From accepting a connection to its first byte; of HTTP/2 from its preface to its first request. */
  readonly openingTimeoutMs: number;
  /** Without a byte in either direction. */
  readonly idleTimeoutMs: number;
  readonly connectTimeoutMs: number;
  /** Requests of a connection that wait for their answer; further ones are not read. */
  readonly pipelined: number;
  /** Of the heads and targets of requests that wait, which are kept till then; from there on no further one is read. */
  readonly waitingBytes: number;
  /** Of a denied request's body; with more the connection is closed after the answer. */
  readonly deniedBodyBytes: number;
  /** How long the client may take to read the last answer and close. */
  readonly lingerMs: number;
}

export const DEFAULT_LIMITS: HttpLimits = {
  headBytes: 65_536,
  fields: 100,
  headTimeoutMs: 10_000,
  openingTimeoutMs: 60_000,
  idleTimeoutMs: 3_600_000,
  connectTimeoutMs: 5_000,
  pipelined: 64,
  waitingBytes: 65_536,
  deniedBodyBytes: 1_048_576,
  lingerMs: 2_000,
};
