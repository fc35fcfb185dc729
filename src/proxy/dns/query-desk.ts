import type { AccessLogRecord } from '../../model/l7.ts';
import type { DnsCounters } from '../../model/proxy-counters.ts';
import { type Flow, PolicyTable } from '../policy-table.ts';
import { TimeText } from '../time-text.ts';
import type { Clock, FlowEnd, FlowOf, LogSink } from '../types.ts';
import type { DnsAnswer } from './answer.ts';
import { Rcode } from './constants.ts';
import { DnsJudge, type DnsVerdict } from './judge.ts';
import type { DnsLimits } from './limits.ts';
import type { Observations } from './observations.ts';
import { type DnsQuery, errorAnswer, headerOf, readQuery } from './query.ts';
import { answerRecord, requestRecord } from './records.ts';

export interface QueryDeskDeps {
  /** The policy in force; undefined until there is one. */
  readonly policy: () => PolicyTable | undefined;
  readonly flowOf: FlowOf;
  readonly clock: Clock;
  readonly log: LogSink;
  readonly observations: Observations;
  readonly counters: DnsCounters;
  readonly limits: DnsLimits;
}

/** A query that may go to the server. */
export interface Exchange {
  readonly query: DnsQuery;
  readonly flow: Flow;
  readonly verdict: DnsVerdict;
  readonly startedNs: number;
}

/** What to do with bytes of a client. */
export type Intake =
  | { readonly kind: 'forward'; readonly exchange: Exchange }
  | { readonly kind: 'answer'; readonly bytes: Uint8Array }
  | { readonly kind: 'drop' };

const UNKNOWN = { client: 0, server: 0 } as const;
const NO_POLICY = new PolicyTable({ revision: 0, subjects: [] }, []);

const unjudged = (reason: string): DnsVerdict => ({ allowed: false, direction: 'egress', rules: [], reason });
const NO_ANSWER = { names: [], addresses: [], ttlSeconds: 0 } as const;

/** What is the same for datagrams and streams: judging queries, holding answers until they are in force, writing records. */
export class QueryDesk {
  readonly #deps: QueryDeskDeps;
  readonly #judge = new DnsJudge();
  readonly #time: TimeText;
  readonly #inFlight = new Map<number, number>();
  #total = 0;

  constructor(deps: QueryDeskDeps) {
    this.#deps = deps;
    this.#time = new TimeText(deps.clock);
  }

  /** Queries that wait for an answer. */
  get inFlight(): number {
    return this.#total;
  }

  /** Judges what a client sent to a server. One that is to be forwarded must be given back to `finish`. */
  take(client: FlowEnd, server: FlowEnd, protocol: number, bytes: Uint8Array): Intake {
    const { counters, policy, flowOf } = this.#deps;
    counters.queries++;
    const table = policy();
    const identities = flowOf(client, server, protocol);
    const flow = (table ?? NO_POLICY).flow(client, server, identities ?? UNKNOWN);
    const reading = readQuery(bytes);
    if (reading.kind === 'refuse') {
      counters.malformedQueries++;
      this.#record({ flow, verdict: unjudged('') }, undefined, 'error', reading.reason, reading.rcode);
      return reading.rcode === undefined
        ? { kind: 'drop' }
        : { kind: 'answer', bytes: errorAnswer(headerOf(bytes), reading.rcode) };
    }
    const { query } = reading;
    const verdict =
      table === undefined || identities === undefined
        ? unjudged(table === undefined ? 'there is no policy yet' : 'the kernel does not know the flow')
        : this.#judge.judge(table, flow, protocol, query.name);
    if (verdict.allowed) return this.#admit(query, flow, verdict);
    // A client may ask again after SERVFAIL.
    const rcode = table === undefined ? Rcode.serverFailure : Rcode.refused;
    counters.denied++;
    this.#record({ flow, verdict }, query, 'denied', verdict.reason, rcode);
    return { kind: 'answer', bytes: errorAnswer(query, rcode, query.question) };
  }

  #admit(query: DnsQuery, flow: Flow, verdict: DnsVerdict): Intake {
    const { counters, limits, clock } = this.#deps;
    const { endpoint } = flow.client;
    const mine = this.#inFlight.get(endpoint) ?? 0;
    if (this.#total >= limits.inFlight || mine >= limits.inFlightPerEndpoint) {
      counters.limitedQueries++;
      this.#record({ flow, verdict }, query, 'error', 'too many queries wait for an answer');
      return { kind: 'drop' };
    }
    this.#inFlight.set(endpoint, mine + 1);
    this.#total++;
    counters.forwarded++;
    this.#record({ flow, verdict }, query, 'forwarded', '');
    return { kind: 'forward', exchange: { query, flow, verdict, startedNs: clock.monotonicNs() } };
  }

  #record(
    { flow, verdict }: { readonly flow: Flow; readonly verdict: DnsVerdict },
    query: DnsQuery | undefined,
    result: AccessLogRecord['verdict'],
    reason: string,
    rcode?: number,
  ): void {
    const { direction, rules } = verdict;
    const parts = { flow, direction, rules, name: query?.name ?? '', type: query?.type ?? 0 };
    this.#deps.log(requestRecord(parts, { verdict: result, reason, rcode, time: this.#time.now() }));
  }

  /** The exchange waits no more. Exactly once for each. */
  finish({ flow }: Exchange): void {
    const { endpoint } = flow.client;
    const left = (this.#inFlight.get(endpoint) ?? 1) - 1;
    this.#total--;
    if (left > 0) this.#inFlight.set(endpoint, left);
    else this.#inFlight.delete(endpoint);
  }

  /**
   * An answer has come: `deliver` is called, now or when its addresses are in force.
   * @returns whether it was called already; else whoever owns the answer's bytes has to keep them
   */
  release(exchange: Exchange, answer: DnsAnswer, deliver: () => void): boolean {
    const { counters, observations, clock } = this.#deps;
    counters.answers++;
    const latencyNs = clock.monotonicNs() - exchange.startedNs;
    let delivered = false;
    const pass = (): void => {
      delivered = true;
      this.#recordAnswer(exchange, answer, '', latencyNs);
      deliver();
    };
    const { endpoint, identity } = exchange.flow.client;
    if (answer.addresses.length === 0 || endpoint === 0) pass();
    else {
      const { names, addresses, ttlSeconds } = answer;
      observations.observe({ endpoint, identity, names, addresses, ttlSeconds }, pass);
    }
    return delivered;
  }

  /** The server cannot be asked, or did not answer. @returns what to tell the client */
  fail(exchange: Exchange, reason: string): Uint8Array {
    this.recordFailure(exchange, reason);
    return errorAnswer(exchange.query, Rcode.serverFailure, exchange.query.question);
  }

  /** Writes the record of an exchange that ends without an answer of the server's. */
  recordFailure(exchange: Exchange, reason: string): void {
    const latencyNs = this.#deps.clock.monotonicNs() - exchange.startedNs;
    this.#recordAnswer(exchange, { rcode: Rcode.serverFailure, ...NO_ANSWER }, reason, latencyNs);
  }

  #recordAnswer(
    { flow, verdict, query }: Exchange,
    answer: Parameters<typeof answerRecord>[1]['answer'],
    reason: string,
    latencyNs: number,
  ): void {
    const { direction, rules } = verdict;
    const parts = { flow, direction, rules, name: query.name, type: query.type };
    this.#deps.log(answerRecord(parts, { answer, reason, latencyNs, time: this.#time.now() }));
  }
}
