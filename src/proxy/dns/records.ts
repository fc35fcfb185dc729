import type { AccessLogRecord, DnsRecord } from '../../model/l7.ts';
import type { Direction } from '../../model/map-state.ts';
import type { Flow } from '../policy-table.ts';
import type { DnsAnswer } from './answer.ts';
import { recordTypeName } from './constants.ts';

/** What request and answer have in common. */
export interface DnsRecordParts {
  readonly flow: Flow;
  readonly direction: Direction;
  readonly rules: readonly string[];
  /** Empty, and type 0, when the question could not be read. */
  readonly name: string;
  readonly type: number;
}

const NO_ANSWER = { addresses: [], cnames: [], ttlSeconds: 0 } as const;

function dnsPart({ name, type }: DnsRecordParts): Pick<DnsRecord, 'query' | 'queryTypes'> {
  return { query: name, queryTypes: type === 0 ? [] : [recordTypeName(type)] };
}

/**
 * Record of a query.
 * @param rcode of the proxy's own answer, when it gave one
 */
export function requestRecord(
  parts: DnsRecordParts,
  result: {
    readonly verdict: AccessLogRecord['verdict'];
    readonly reason: string;
    readonly rcode?: number | undefined;
    /** RFC 3339. */
    readonly time: string;
  },
): AccessLogRecord {
  return {
    kind: 'l7',
    time: result.time,
    type: 'request',
    verdict: result.verdict,
    direction: parts.direction,
    source: parts.flow.client,
    destination: parts.flow.server,
    rules: parts.rules,
    reason: result.reason,
    latencyNs: 0,
    l7: { kind: 'dns', ...dnsPart(parts), rcode: result.rcode, ...NO_ANSWER },
  };
}

/** Record of an answer that a client gets, the proxy's own (`reason` says why) or the server's. */
export function answerRecord(
  parts: DnsRecordParts,
  result: {
    readonly answer: Pick<DnsAnswer, 'rcode' | 'names' | 'addresses' | 'ttlSeconds'>;
    readonly reason: string;
    readonly latencyNs: number;
    /** RFC 3339. */
    readonly time: string;
  },
): AccessLogRecord {
  const { rcode, names, addresses, ttlSeconds } = result.answer;
  return {
    kind: 'l7',
    time: result.time,
    type: 'response',
    verdict: result.reason === '' ? 'forwarded' : 'error',
    direction: parts.direction,
    source: parts.flow.client,
    destination: parts.flow.server,
    rules: parts.rules,
    reason: result.reason,
    latencyNs: result.latencyNs,
    l7: { kind: 'dns', ...dnsPart(parts), rcode, addresses, cnames: names.slice(1), ttlSeconds },
  };
}
