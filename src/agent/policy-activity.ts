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

/** Peers and ports of one policy that are remembered; beyond, they start over. */
const MAX_VIEWS = 4096;

/** The rules that decide requests of one peer and port. */
interface View {
  /** Numbers of those that judge requests there. */
  readonly judging: readonly number[];
  /** Name as records have it -> numbers. */
  readonly byName: ReadonlyMap<string, readonly number[]>;
}

const known = (ids: Iterable<number>): readonly number[] => [...new Set(ids)].filter((id) => id !== 0);

/** Which rules of one policy decided requests. Those of a peer and port are looked for once: requests come by thousands. */
export class DecidingRules {
  readonly policy: L7Policy;
  readonly #views = new Map<string, View>();

  constructor(policy: L7Policy) {
    this.policy = policy;
  }

  /** Those that the record names, or that open its port where none allowed it. */
  of(record: AccessLogRecord): readonly number[] {
    const { judging, byName } = this.#view(record);
    if (record.verdict === 'denied') return judging;
    return known(record.rules.flatMap((name) => byName.get(name) ?? []));
  }

  #view(record: AccessLogRecord): View {
    const { direction, source, destination } = record;
    const [own, peer] = direction === 'ingress' ? [destination, source] : [source, destination];
    const isDns = record.l7.kind === 'dns';
    const key = `${own.identity} ${direction} ${peer.identity} ${destination.port} ${isDns}`;
    const before = this.#views.get(key);
    if (before !== undefined) return before;
    const subject = this.policy.subjects.find((one) => one.subject === own.identity);
    const filters = (subject?.[direction] ?? []).filter((filter) => covers(filter, peer.identity, record));
    const names = Map.groupBy(filters, ({ ruleName }) => ruleName);
    const view = {
      judging: known(filters.filter(({ l7 }) => l7 !== undefined).map(({ ruleId }) => ruleId)),
      byName: new Map([...names].map(([name, of]) => [name, known(of.map(({ ruleId }) => ruleId))])),
    };
    if (this.#views.size >= MAX_VIEWS) this.#views.clear();
    this.#views.set(key, view);
    return view;
  }
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
