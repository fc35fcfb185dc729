import { compileDnsPattern } from '../model/dns-pattern.ts';
import { type Identity, isLocalIdentity, type NumericIdentity } from '../model/identity.ts';
import type { ProxyPorts } from '../model/l7.ts';
import { formatLabels } from '../model/labels.ts';
import { type Direction, type MapState, mapStateKeyText } from '../model/map-state.ts';
import type { NamedPort } from '../model/named-port.ts';
import type { PolicyInventory } from '../model/policy-inventory.ts';
import { diffMapState } from './map-state.ts';
import type { PolicySnapshot } from './repository.ts';
import type { PolicyEnforcement, ResolvedPolicy } from './resolve.ts';
import { PolicyResolver } from './resolver.ts';
import { type TraceOptions, type TraceRule, type TraceVerdict, tracePolicy } from './trace.ts';
import type { TraceL4, TraceParty } from './trace-types.ts';

export interface ImpactEndpoint {
  readonly id: number;
  readonly identity: Identity;
  readonly namedPorts: readonly NamedPort[];
}

/** A kind of flow that was seen, with both ends as they are known. */
export interface ImpactFlow {
  readonly endpoint: number;
  readonly direction: Direction;
  readonly subject: TraceParty;
  /** Undefined: nobody has its identity any more. */
  readonly peer: TraceParty | undefined;
  readonly l4: TraceL4;
  readonly count: number;
  /** RFC 3339; empty when it is not known. */
  readonly lastSeen: string;
}

/** A rule set with the objects that its rules name. */
export interface ImpactRules {
  readonly snapshot: PolicySnapshot;
  readonly inventory: PolicyInventory;
}

export interface ImpactInput {
  readonly before: ImpactRules;
  readonly after: ImpactRules;
  readonly endpoints: readonly ImpactEndpoint[];
  /** All that are known, reserved ones included. */
  readonly identities: readonly Identity[];
  /** Address -> names that it was looked up by; lower case, without the final dot. */
  readonly names?: ReadonlyMap<string, readonly string[]>;
  readonly flows: readonly ImpactFlow[];
  readonly options: Omit<TraceOptions, 'inventory' | 'requestAllowed'>;
}

export interface EndpointImpact {
  readonly endpoint: number;
  readonly identity: NumericIdentity;
  readonly labels: readonly string[];
  readonly before: PolicyEnforcement;
  readonly after: PolicyEnforcement;
  /** Entries of its policy map that would come or change, and go. */
  readonly entriesGained: number;
  readonly entriesLost: number;
  /** The proxy would let other requests through. */
  readonly requestsChanged: boolean;
  /** Why nothing would pass: the rules contradict each other, or are too many. */
  readonly locked?: string | undefined;
}

export interface FlowImpact {
  readonly endpoint: number;
  readonly direction: Direction;
  readonly peer: string;
  readonly l4: TraceL4;
  readonly count: number;
  readonly lastSeen: string;
  readonly before: TraceVerdict;
  readonly after: TraceVerdict;
  readonly reason: string;
  /** Rules that would decide. */
  readonly rules: readonly string[];
}

export interface Impact {
  readonly rulesAdded: number;
  readonly rulesRemoved: number;
  /** Only those that change. */
  readonly endpoints: readonly EndpointImpact[];
  /** Only those whose verdict changes. */
  readonly flows: readonly FlowImpact[];
  readonly flowsSeen: number;
  /** Of these, kinds of flows with peers that are gone: nothing is said of them. */
  readonly flowsUnjudged: number;
  /** Some flow that is allowed now would be denied, or an endpoint locked. */
  readonly cutsOff: boolean;
}

/** Only to tell parsers apart: nothing listens there. */
const STAND_IN_PORTS: ProxyPorts = {
  'http-ingress': 1,
  'http-egress': 2,
  'kafka-ingress': 3,
  'kafka-egress': 4,
  'dns-ingress': 5,
  'dns-egress': 6,
  'memcache-ingress': 7,
  'memcache-egress': 8,
  'cassandra-ingress': 9,
  'cassandra-egress': 10,
  'r2d2-ingress': 11,
  'r2d2-egress': 12,
  'tls-ingress': 13,
  'tls-egress': 14,
};

function lockedBy(policy: ResolvedPolicy): string | undefined {
  return policy.conflict ?? (policy.overflow ? 'more entries than a policy map holds' : undefined);
}

function sameEnforcement(a: PolicyEnforcement, b: PolicyEnforcement): boolean {
  return a.ingress === b.ingress && a.egress === b.egress;
}

/** An endpoint's policy, and what the proxy lets through for it. */
interface Judged {
  readonly policy: ResolvedPolicy;
  readonly requests: string;
}

/** The entries that differ in more than the rule which made them. */
function entryChanges(before: MapState, after: MapState): { readonly gained: number; readonly lost: number } {
  const { upserts, deletes } = diffMapState(before, after);
  const gained = upserts.filter(({ key, entry }) => {
    const old = before.get(mapStateKeyText(key));
    return old === undefined || JSON.stringify(old.entry.verdict) !== JSON.stringify(entry.verdict);
  });
  return { gained: gained.length, lost: deletes.length };
}

function endpointImpact(
  { id, identity }: ImpactEndpoint,
  old: Judged,
  next: Judged,
): readonly EndpointImpact[] {
  const [before, after] = [old.policy.enforcement, next.policy.enforcement];
  const { gained, lost } = entryChanges(old.policy.mapState, next.policy.mapState);
  const locked = lockedBy(next.policy);
  const requestsChanged = old.requests !== next.requests;
  const same = gained + lost === 0 && !requestsChanged && sameEnforcement(before, after);
  if (same && locked === lockedBy(old.policy)) return [];
  const who = { endpoint: id, identity: identity.id, labels: formatLabels(identity.labels) };
  return [{ ...who, before, after, entriesGained: gained, entriesLost: lost, requestsChanged, locked }];
}

/** What the proxy is told of each subject, without the names of the rules. */
function requestTexts(resolver: PolicyResolver): ReadonlyMap<NumericIdentity, string> {
  const nameless = (key: string, value: unknown): unknown =>
    key === 'ruleId' || key === 'ruleName' ? undefined : value;
  const { subjects } = resolver.l7Policy();
  return new Map(subjects.map((one) => [one.subject, JSON.stringify(one, nameless)]));
}

/** Which selectors of `toFQDNs` each address matches by its names. */
function selectorsOfAddresses(
  resolver: PolicyResolver,
  names: ReadonlyMap<string, readonly string[]>,
): ReadonlyMap<string, ReadonlySet<string>> {
  const selectors = resolver
    .fqdnSelectors()
    .map(({ text, pattern }) => ({ text, matches: compileDnsPattern(pattern) }));
  return new Map(
    [...names].map(([address, called]) => [
      address,
      new Set(selectors.filter(({ matches }) => called.some(matches)).map(({ text }) => text)),
    ]),
  );
}

/** One resolver goes from one rule set to the other, so that prefixes keep their identities where both have them. */
function endpointImpacts(input: ImpactInput): readonly EndpointImpact[] {
  const { before, after, endpoints, options } = input;
  const resolver = new PolicyResolver({ ...options, proxyPorts: STAND_IN_PORTS });
  // The resolver numbers prefixes itself: those of the agent's could be of others here.
  resolver.updateIdentities({ upserts: input.identities.filter(({ id }) => !isLocalIdentity(id)) });
  resolver.setNamedPorts(endpoints.flatMap(({ namedPorts }) => namedPorts));
  const judge = (rules: ImpactRules): readonly Judged[] => {
    resolver.setInventory(rules.inventory);
    resolver.setRules(rules.snapshot);
    resolver.setFqdnAddresses(selectorsOfAddresses(resolver, input.names ?? new Map()));
    const policies = endpoints.map(({ identity, namedPorts }) => resolver.resolve(identity, namedPorts));
    const requests = requestTexts(resolver);
    return policies.map((policy) => ({ policy, requests: requests.get(policy.subject.id) ?? '' }));
  };
  const now = judge(before);
  const then = judge(after);
  return endpoints.flatMap((endpoint, i) => {
    const [old, next] = [now[i], then[i]];
    return old === undefined || next === undefined ? [] : endpointImpact(endpoint, old, next);
  });
}

function traceRules({ snapshot }: ImpactRules): readonly TraceRule[] {
  return snapshot.rules.map(({ id, rule }) => ({ id, rule, place: `#${id}` }));
}

/** What the rules say of a flow in its direction: the other end's own policy is not this one's matter. */
function judge(rules: readonly TraceRule[], flow: ImpactFlow, peer: TraceParty, options: TraceOptions) {
  const [source, destination] = flow.direction === 'ingress' ? [peer, flow.subject] : [flow.subject, peer];
  return tracePolicy(rules, { source, destination, l4: flow.l4 }, options)[flow.direction];
}

function flowImpacts({ before, after, flows, options }: ImpactInput): readonly FlowImpact[] {
  const [now, then] = [traceRules(before), traceRules(after)];
  return flows.flatMap((flow) => {
    const { endpoint, direction, peer, l4, count, lastSeen } = flow;
    if (peer === undefined) return [];
    const old = judge(now, flow, peer, { ...options, inventory: before.inventory });
    const next = judge(then, flow, peer, { ...options, inventory: after.inventory });
    if (old.verdict === next.verdict) return [];
    const rules = next.rules
      .filter(({ decides }) => decides)
      .map(({ name, place }) => (name === '' ? place : name));
    const seen = { endpoint, direction, peer: peer.title, l4, count, lastSeen };
    return [{ ...seen, before: old.verdict, after: next.verdict, reason: next.reason, rules }];
  });
}

/** What would change for the endpoints of a node, and for flows that it saw, if one rule set took the place of another. */
export function policyImpact(input: ImpactInput): Impact {
  const kept = new Set(input.after.snapshot.rules.map(({ id }) => id));
  const had = new Set(input.before.snapshot.rules.map(({ id }) => id));
  const endpoints = endpointImpacts(input);
  const flows = flowImpacts(input);
  return {
    rulesAdded: [...kept].filter((id) => !had.has(id)).length,
    rulesRemoved: [...had].filter((id) => !kept.has(id)).length,
    endpoints,
    flows,
    flowsSeen: input.flows.length,
    flowsUnjudged: input.flows.filter(({ peer }) => peer === undefined).length,
    cutsOff:
      flows.some(({ after }) => after === 'denied') || endpoints.some(({ locked }) => locked !== undefined),
  };
}
