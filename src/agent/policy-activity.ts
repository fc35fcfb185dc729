import type * as Api from '../api/schema.ts';
import type { MonitorEvent, PolicyVerdictEvent } from '../model/event.ts';
import type { AccessLogRecord, L7Filter, L7Policy } from '../model/l7.ts';
import { Protocol } from '../model/map-state.ts';

/** Kinds of flows that are remembered; the one seen longest ago goes first. */
const FLOWS_KEPT = 4096;

interface RuleRequests {
  allowed: number;
  denied: number;
}

/** The last verdict on a kind of flows. Put into words when somebody asks: verdicts come by thousands a second. */
interface Flow {
  readonly event: PolicyVerdictEvent;
  readonly verdict: 'allow' | 'deny' | 'redirect';
  readonly count: number;
  readonly seen: Date;
}

function shown({ event, verdict, count, seen }: Flow): Api.PolicyFlow {
  const { source: endpoint, direction, remoteIdentity, protocol, destinationPort } = event;
  return {
    endpoint,
    identity: direction === 'ingress' ? event.dstIdentity : event.srcIdentity,
    direction,
    'remote-identity': remoteIdentity,
    protocol,
    'destination-port': destinationPort,
    verdict,
    'rule-id': event.ruleId,
    count,
    'last-seen': seen.toISOString(),
    ...endsOf(event.summary),
  };
}

function verdictOf(event: PolicyVerdictEvent): 'allow' | 'deny' | 'redirect' {
  if (event.verdict < 0) return 'deny';
  return event.verdict > 0 ? 'redirect' : 'allow';
}

/** Both addresses of `src:port -> dst:port tcp SYN`. */
function endsOf(summary: string): { readonly source?: string; readonly destination?: string } {
  const [, source, destination] = /^(\S+) -> (\S+)/.exec(summary) ?? [];
  return { ...(source !== undefined && { source }), ...(destination !== undefined && { destination }) };
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
  readonly #now: () => Date;
  readonly #rules = new Map<number, RuleRequests>();
  /** In the order in which they were last seen. */
  readonly #flows = new Map<string, Flow>();

  constructor(now: () => Date) {
    this.#now = now;
  }

  /** Events of the datapath; all but verdicts are passed over. */
  add(events: readonly MonitorEvent[]): void {
    for (const event of events) if (event.kind === 'policy-verdict') this.#addVerdict(event);
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
    const flows = [...this.#flows.values()].reverse().map(shown);
    const oldest = flows.at(-1)?.['last-seen'];
    return { flows, ...(oldest !== undefined && { since: oldest }) };
  }

  #requestsOf(ruleId: number): RuleRequests {
    const known = this.#rules.get(ruleId) ?? { allowed: 0, denied: 0 };
    this.#rules.set(ruleId, known);
    return known;
  }

  #addVerdict(event: PolicyVerdictEvent): void {
    const verdict = verdictOf(event);
    const { source: endpoint, direction, remoteIdentity, protocol, destinationPort } = event;
    const key = `${endpoint} ${direction} ${remoteIdentity} ${protocol} ${destinationPort} ${verdict}`;
    const before = this.#flows.get(key);
    this.#flows.delete(key);
    this.#flows.set(key, { event, verdict, count: (before?.count ?? 0) + 1, seen: this.#now() });
    if (this.#flows.size <= FLOWS_KEPT) return;
    const [first] = this.#flows.keys();
    if (first !== undefined) this.#flows.delete(first);
  }
}
