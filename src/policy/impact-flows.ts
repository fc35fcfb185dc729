import { type Cidr, formatCidr } from '../base/ip.ts';
import { type NumericIdentity, ReservedIdentity } from '../model/identity.ts';
import type { L7Filter, L7SubjectPolicy } from '../model/l7.ts';
import { type Direction, Protocol } from '../model/map-state.ts';
import { evaluateMapState } from './evaluate-map-state.ts';
import type { PrefixIdentity } from './prefix-changes.ts';
import { PrefixSet } from './prefix-set.ts';
import type { ResolvedPolicy } from './resolve.ts';
import type { TraceL4 } from './trace-types.ts';

/*
 * What policies that are worked out would do with flows that were seen: by the map state, as the datapath would, and for
 * requests by the filters that the proxy would be told. So thousands of flows cost no more than their look-ups.
 */

/** The other end of a flow. */
export interface ImpactPeer {
  /** What people call it. */
  readonly title: string;
  readonly identity: NumericIdentity;
  /** Its address, of a peer outside of the cluster: that decides then, not the identity that it had. */
  readonly address?: Cidr | undefined;
}

/** A request that the proxy saw. */
export interface ImpactRequest {
  /** `POST /v1/x`, or what else tells it from others. */
  readonly title: string;
  /** What the proxy said. */
  readonly allowed: boolean;
  /** What it would say by these filters, which match peer and port; undefined: that depends on what is not known. */
  readonly judge: (filters: readonly L7Filter[]) => boolean | undefined;
}

/** A kind of flow or of requests that was seen, with both ends as they are known. */
export interface ImpactFlow {
  readonly endpoint: number;
  readonly direction: Direction;
  /** Undefined: nobody has its identity any more. */
  readonly peer: ImpactPeer | undefined;
  readonly l4: TraceL4;
  readonly request?: ImpactRequest | undefined;
  readonly count: number;
  /** RFC 3339; empty when it is not known. */
  readonly lastSeen: string;
}

/** `undecided`: a request whose verdict depends on what is not known of it, such as headers. */
export type FlowVerdict = 'allowed' | 'redirected' | 'denied' | 'undecided';

export interface JudgedFlow {
  readonly verdict: FlowVerdict;
  readonly reason: string;
  /** Numbers of the rules that decide. */
  readonly rules: readonly number[];
}

/** The policy of one endpoint under a rule set, and what the proxy would be told of its subject. */
export interface JudgedPolicy {
  readonly policy: ResolvedPolicy;
  readonly l7: L7SubjectPolicy | undefined;
  /** Why nothing would pass. */
  readonly locked: string | undefined;
}

/** Addresses outside as a rule set knows them: the identity of the longest prefix that holds them, else the world's. */
export class AddressIdentities {
  readonly #set: PrefixSet;
  readonly #ids: ReadonlyMap<string, NumericIdentity>;

  constructor(prefixes: readonly PrefixIdentity[]) {
    this.#set = new PrefixSet(prefixes.map(({ prefix }) => prefix));
    this.#ids = new Map(prefixes.map(({ prefix, identity }) => [formatCidr(prefix), identity.id]));
  }

  of(address: Cidr): NumericIdentity {
    const prefix = this.#set.narrowest(address);
    const id = prefix === undefined ? undefined : this.#ids.get(formatCidr(prefix));
    return id ?? ReservedIdentity.world;
  }
}

const ICMP = { 4: Protocol.icmp, 6: Protocol.icmpv6 } as const;

function ofPacket(l4: TraceL4): { readonly protocol: number; readonly port: number } {
  if (l4.kind === 'port') return l4;
  return l4.kind === 'icmp'
    ? { protocol: ICMP[l4.family], port: l4.type }
    : { protocol: Protocol.any, port: 0 };
}

/** The filters of a flow's direction that match its peer and port. */
function filtersOf({ l7 }: JudgedPolicy, flow: ImpactFlow, identity: NumericIdentity): readonly L7Filter[] {
  const { protocol, port } = ofPacket(flow.l4);
  return (l7?.[flow.direction] ?? []).filter(
    (filter) =>
      (filter.protocol === Protocol.any || filter.protocol === protocol) &&
      filter.firstPort <= port &&
      port <= filter.lastPort &&
      (filter.peers === undefined || filter.peers.includes(identity)),
  );
}

function judgeRequest(request: ImpactRequest, filters: readonly L7Filter[]): JudgedFlow {
  const rules = [...new Set(filters.map(({ ruleId }) => ruleId))];
  switch (request.judge(filters)) {
    case true:
      return { verdict: 'allowed', reason: 'the proxy lets the request pass', rules };
    case false:
      return { verdict: 'denied', reason: 'the proxy denies the request: no rule allows it', rules };
    case undefined:
      return { verdict: 'undecided', reason: 'rules ask for headers, which are not kept', rules };
  }
}

function judgeRedirected(judged: JudgedPolicy, flow: ImpactFlow, identity: NumericIdentity): JudgedFlow {
  const filters = filtersOf(judged, flow, identity);
  if (flow.request !== undefined) return judgeRequest(flow.request, filters);
  const rules = [...new Set(filters.map(({ ruleId }) => ruleId))];
  const open = filters.some(({ l7 }) => l7 === undefined);
  const what = open ? 'where every request passes' : 'which judges each request';
  return { verdict: 'redirected', reason: `through the proxy, ${what}`, rules };
}

/** What a policy would do with a flow. */
export function judgeFlow(judged: JudgedPolicy, flow: ImpactFlow, identity: NumericIdentity): JudgedFlow {
  const { policy, locked } = judged;
  if (locked !== undefined) return { verdict: 'denied', reason: `nothing passes: ${locked}`, rules: [] };
  const { direction } = flow;
  const verdict = evaluateMapState(policy.mapState, policy.enforcement, {
    direction,
    identity,
    ...ofPacket(flow.l4),
  });
  const rules = [verdict.entry?.ruleId ?? 0].filter((id) => id !== 0);
  if (verdict.kind === 'deny') {
    const reason = verdict.entry === undefined ? 'nothing allows it' : 'a rule denies it';
    return { verdict: 'denied', reason, rules };
  }
  if (verdict.kind === 'redirect') {
    if (verdict.proxyPort !== 0) return judgeRedirected(judged, flow, identity);
    return { verdict: 'denied', reason: 'nothing can judge its protocol', rules };
  }
  if (rules.length > 0) return { verdict: 'allowed', reason: 'a rule allows it', rules };
  const reason = policy.enforcement[direction]
    ? "the node's own processes reach its endpoints"
    : `not enforced: no rule closes ${direction}`;
  return { verdict: 'allowed', reason, rules };
}

/** Whether the proxy would be told the same of a flow's requests, whatever rules say it. */
export function sameRequests(
  before: readonly [JudgedPolicy, NumericIdentity],
  after: readonly [JudgedPolicy, NumericIdentity],
  flow: ImpactFlow,
): boolean {
  const meaning = ([judged, identity]: readonly [JudgedPolicy, NumericIdentity]): string =>
    JSON.stringify(filtersOf(judged, flow, identity).map(({ l7 }) => l7 ?? null));
  return meaning(before) === meaning(after);
}
