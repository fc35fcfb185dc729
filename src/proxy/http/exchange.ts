import type { HttpVerdict } from './judge.ts';

/** One request of a connection and its answer, from judging to the answer's last byte. */
export interface Exchange {
  readonly method: string;
  /** Path and query as received. */
  readonly path: string;
  readonly host: string;
  readonly minor: number;
  readonly verdict: HttpVerdict;
  readonly wantsUpgrade: boolean;
  /** The head as it came, of a request that went to the server by HTTP/1: what read it is used again for the next one. */
  readonly head: Buffer | undefined;
  /** An answer of the proxy's own, which the server does not see the request of. */
  readonly local: Buffer | undefined;
  /** Whether the connection ends behind the answer of the proxy's own. */
  readonly closes: boolean;
  /** Whether the client waits to be told to go on with its body. */
  awaitsContinue: boolean;
  /** When the request's last byte went on, monotonic; 0: not yet. */
  sentNs: number;
  /** Whether bytes of the final answer came. */
  answered: boolean;
}

/** What exchanges keep of their requests, in bytes. */
export function keptBytes(exchanges: readonly Exchange[]): number {
  let bytes = 0;
  for (const { path, head } of exchanges) bytes += path.length + (head?.length ?? 0);
  return bytes;
}
