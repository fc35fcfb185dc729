import type * as Api from '../api/schema.ts';
import type { MonitorEvent } from '../model/event.ts';
import type { AccessLogRecord, L7Filter, L7Policy } from '../model/l7.ts';
import { Protocol } from '../model/map-state.ts';
import { SeenFlows } from './seen-flows.ts';
import { SeenRequests } from './seen-requests.ts';

interface RuleRequests {
  allowed: number;
  denied: number;
}

function covers(
  { protocol, firstPort, lastPort, peers }: L7Filter,
  peer: number,
  record: AccessLogRecord,
): boolean {
  const { port } = record.destination;
  const own = record.l7.kind === 'dns' ? [Protocol.tcp, Protocol.udp] : [Protocol.tcp];
  return (
    (protocol === Protocol.any || own.some((one) => one === protocol)) &&
    firstPort <= port &&
    port <= lastPort &&
    (peers === undefined || peers.includes(peer))
  );
}

/** The rules that decided a request: those that the record names, or that open its port where none allowed it. */
export function rulesOfRecord(record: AccessLogRecord, policy: L7Policy): readonly number[] {
  const { direction, source, destination } = record;
  const [own, peer] = direction === 'ingress' ? [destination, source] : [source, destination];
  const filters = policy.subjects.find(({ subject }) => subject === own.identity)?.[direction] ?? [];
  const deciding = filters.filter(
    (filter) =>
      covers(filter, peer.identity, record) &&
      (record.verdict === 'denied' ? filter.l7 !== undefined : record.rules.includes(filter.ruleName)),
  );
  return [...new Set(deciding.map(({ ruleId }) => ruleId))].filter((id) => id !== 0);
}

/**
 * What was judged of late: the kinds of flows, by the events of the datapath, and the requests of each rule, by the
 * proxy's log. What was lost on the way is not in it. (Connections of each rule are counted in the kernel.)
 */
export class PolicyActivity {
  readonly #rules = new Map<number, RuleRequests>();
  readonly #flows: SeenFlows;
  readonly #requests: SeenRequests;

  constructor(now: () => Date) {
    this.#flows = new SeenFlows(now);
    this.#requests = new SeenRequests(now);
  }

  /** Events of the datapath; all but verdicts and traces are passed over. */
  add(events: readonly MonitorEvent[]): void {
    for (const event of events)
      if (event.kind === 'policy-verdict' || event.kind === 'trace') this.#flows.add(event);
  }

  /** Forgets the flows and requests of an endpoint that is gone. */
  removeEndpoint(id: number): void {
    this.#flows.removeEndpoint(id);
    this.#requests.removeEndpoint(id);
  }

  /**
   * Records of the proxy.
   * @param rulesOf numbers of the rules that decided a request; of one that was denied, those that open its port
   */
  addRequests(
    records: readonly AccessLogRecord[],
    rulesOf: (record: AccessLogRecord) => readonly number[],
  ): void {
    for (const record of records) {
      if (record.type !== 'request' || record.verdict === 'error') continue;
      this.#requests.add(record);
      const what = record.verdict === 'forwarded' ? 'allowed' : 'denied';
      for (const id of rulesOf(record)) this.#requestsOf(id)[what]++;
    }
  }

  /** Requests that a rule decided. */
  requestsOf(ruleId: number): Readonly<RuleRequests> {
    return this.#rules.get(ruleId) ?? { allowed: 0, denied: 0 };
  }

  /** Forgets the rules that are no more. */
  retainRules(ids: ReadonlySet<number>): void {
    for (const id of this.#rules.keys()) if (!ids.has(id)) this.#rules.delete(id);
  }

  /** Newest first. */
  flows(): Api.PolicyFlows & { readonly flows: readonly Api.PolicyFlow[] } {
    const flows = this.#flows.list();
    const oldest = flows.at(-1)?.['last-seen'];
    return { flows, requests: this.#requests.list(), ...(oldest !== undefined && { since: oldest }) };
  }

  #requestsOf(ruleId: number): RuleRequests {
    const known = this.#rules.get(ruleId) ?? { allowed: 0, denied: 0 };
    this.#rules.set(ruleId, known);
    return known;
  }
}
