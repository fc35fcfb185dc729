import type { Exchange } from './exchange.ts';
import type { HttpVerdict } from './judge.ts';
import { RequestHead } from './request-head.ts';
import type { JudgedRequest } from './rule-set.ts';

/** A request that was allowed when it began and is no more. */
export interface Revoked {
  readonly exchange: Exchange;
  readonly verdict: HttpVerdict;
}

/**
 * Judges exchanges of HTTP/1 again that were allowed when they began.
 * @param maxFields as many as their heads may have
 * @returns the first that is allowed no more; undefined: all may go on
 */
export function findRevoked(
  exchanges: Iterable<Exchange>,
  judge: (request: JudgedRequest) => HttpVerdict,
  maxFields: number,
): Revoked | undefined {
  for (const exchange of exchanges) {
    if (exchange.head === undefined) continue;
    const head = new RequestHead(maxFields);
    head.parse(exchange.head, 0, exchange.head.length);
    const verdict = judge(head);
    if (!verdict.allowed) return { exchange, verdict };
  }
  return undefined;
}
