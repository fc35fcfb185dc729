import type * as Api from '../api/schema.ts';
import { CtState, ObservationPoint } from '../model/constants.gen.ts';
import type { PolicyVerdictEvent, TraceEvent } from '../model/event.ts';
import { isOutsideIdentity, type NumericIdentity } from '../model/identity.ts';
import type { Direction } from '../model/map-state.ts';

/*
 * Kinds of flows, from two kinds of events:
 * 1. verdicts, which there are where a rule has a say, and of everything that is refused;
 * 2. traces of packets that open a flow and go on. If there was no verdict of the same packet, no rule had a say in that
 *    direction and the flow passed: without these nobody could be told what a first policy cuts off.
 * Peers in the cluster are told apart by identity, those outside by address, whatever identity it had: rules to come may
 * tell addresses apart that those in force do not.
 */

/** Kinds that are remembered with peers in the cluster, and as many with peers outside; the one seen longest ago goes first. */
const FLOWS_KEPT = 4096;
/** The verdict and the trace of one packet are written within this. */
const SAME_PACKET_NS = 10_000_000n;

type Verdict = 'allow' | 'deny' | 'redirect';
type SeenEvent = PolicyVerdictEvent | TraceEvent;

/** The order of kinds follows when they were last seen by no more than this. */
const ORDER_MS = 1000;

/** One direction of a flow, as its event tells it. */
interface Sighting {
  readonly event: SeenEvent;
  readonly endpoint: number;
  readonly identity: NumericIdentity;
  readonly direction: Direction;
  readonly remote: NumericIdentity;
  readonly verdict: Verdict;
  readonly ruleId: number;
}

/** The last sighting of a kind. Put into words when somebody asks: events come by thousands a second. */
interface SeenKind {
  last: Sighting;
  count: number;
  /** Realtime, milliseconds. */
  seenMs: number;
  /** When it took its place in the order. */
  placedMs: number;
}

function verdictOf({ verdict }: PolicyVerdictEvent): Verdict {
  if (verdict < 0) return 'deny';
  return verdict > 0 ? 'redirect' : 'allow';
}

function ofVerdict(event: PolicyVerdictEvent): Sighting {
  const { source: endpoint, direction, remoteIdentity: remote, ruleId } = event;
  const identity = direction === 'ingress' ? event.dstIdentity : event.srcIdentity;
  return { event, endpoint, identity, direction, remote, verdict: verdictOf(event), ruleId };
}

/** Both directions of a flow that goes on: of the ends that are endpoints of this node. */
function ofTrace(event: TraceEvent): readonly Sighting[] {
  const { source, dstEndpoint, srcIdentity, dstIdentity, state, observationPoint } = event;
  const opens = state === CtState.new || state === CtState.reopened;
  // What comes from the proxy was seen on its way to it.
  if (!opens || observationPoint === ObservationPoint.fromProxy) return [];
  const passes = { event, verdict: 'allow', ruleId: 0 } as const;
  const found: Sighting[] = [];
  if (source !== 0 && source !== dstEndpoint)
    found.push({
      ...passes,
      endpoint: source,
      identity: srcIdentity,
      direction: 'egress',
      remote: dstIdentity,
    });
  if (dstEndpoint !== 0)
    found.push({
      ...passes,
      endpoint: dstEndpoint,
      identity: dstIdentity,
      direction: 'ingress',
      remote: srcIdentity,
    });
  return found;
}

/** Both addresses of `src:port -> dst:port tcp SYN`. */
function endsOf(summary: string): { readonly source?: string; readonly destination?: string } {
  const [, source, destination] = /^(\S+) -> (\S+)/.exec(summary) ?? [];
  return { ...(source !== undefined && { source }), ...(destination !== undefined && { destination }) };
}

/** The peer's address without its port. */
function peerAddress({ event, direction }: Sighting): string {
  const { summary } = event;
  const arrow = summary.indexOf(' -> ');
  const start = direction === 'ingress' ? 0 : arrow + 4;
  const stop = direction === 'ingress' ? arrow : summary.indexOf(' ', start);
  const end = summary.slice(start, stop < 0 ? undefined : stop);
  const colon = end.lastIndexOf(':');
  // Of IPv4 there is one colon at most.
  if (!end.startsWith('[')) return colon === end.indexOf(':') && colon >= 0 ? end.slice(0, colon) : end;
  return end.replace(/^\[(.*)\](?::\d+)?$/, '$1');
}

function samePacket(a: SeenEvent, b: SeenEvent): boolean {
  return (
    a.hash === b.hash && a.kind !== b.kind && BigInt(b.monotonicNs) - BigInt(a.monotonicNs) < SAME_PACKET_NS
  );
}

function shown({ last, count, seenMs }: SeenKind): Api.PolicyFlow {
  const { event, endpoint, identity, direction, remote, verdict, ruleId } = last;
  return {
    endpoint,
    identity,
    direction,
    'remote-identity': remote,
    protocol: event.protocol,
    'destination-port': event.destinationPort,
    verdict,
    'rule-id': ruleId,
    count,
    'last-seen': new Date(seenMs).toISOString(),
    ...endsOf(event.summary),
  };
}

/** The kinds of flows that were seen of late, each with its last verdict. */
export class SeenFlows {
  readonly #now: () => Date;
  /** In the order in which they were last seen. */
  readonly #inside = new Map<string, SeenKind>();
  readonly #outside = new Map<string, SeenKind>();

  constructor(now: () => Date) {
    this.#now = now;
  }

  add(event: SeenEvent): void {
    if (event.kind === 'policy-verdict') this.#add(ofVerdict(event));
    else for (const sighting of ofTrace(event)) this.#add(sighting);
  }

  /** The endpoint is gone: its number may soon be another's. */
  removeEndpoint(id: number): void {
    for (const kinds of [this.#inside, this.#outside])
      for (const [key, { last }] of kinds) if (last.endpoint === id) kinds.delete(key);
  }

  /** Newest first. */
  list(): readonly Api.PolicyFlow[] {
    const all = [...this.#inside.values(), ...this.#outside.values()].reverse();
    return all.sort((a, b) => b.seenMs - a.seenMs).map(shown);
  }

  #add(sighting: Sighting): void {
    const { event, endpoint, direction, remote } = sighting;
    const outside = isOutsideIdentity(remote);
    const kinds = outside ? this.#outside : this.#inside;
    const peer = outside ? peerAddress(sighting) : remote;
    const key = `${endpoint} ${direction} ${peer} ${event.protocol} ${event.destinationPort}`;
    const known = kinds.get(key);
    const now = this.#now().getTime();
    if (known !== undefined) {
      if (event.kind === 'trace' && samePacket(known.last.event, event)) return;
      Object.assign(known, { last: sighting, count: known.count + 1, seenMs: now });
      if (now - known.placedMs < ORDER_MS) return;
      kinds.delete(key);
    }
    const { count = 1 } = known ?? {};
    kinds.set(key, { last: sighting, count, seenMs: now, placedMs: now });
    if (kinds.size <= FLOWS_KEPT) return;
    const [first] = kinds.keys();
    if (first !== undefined) kinds.delete(first);
  }
}
