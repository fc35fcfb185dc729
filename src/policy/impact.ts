import { compileDnsPattern } from '../model/dns-pattern.ts';
import { type Identity, isLocalIdentity, type NumericIdentity } from '../model/identity.ts';
import type { ProxyPorts } from '../model/l7.ts';
import { formatLabels } from '../model/labels.ts';
import { type Direction, type MapState, mapStateKeyText } from '../model/map-state.ts';
import { diffMapState } from '../model/map-state-diff.ts';
import type { NamedPort } from '../model/named-port.ts';
import type { PolicyInventory } from '../model/policy-inventory.ts';
import {
  AddressIdentities,
  type FlowVerdict,
  type ImpactFlow,
  type JudgedPolicy,
  judgeFlow,
  sameRequests,
} from './impact-flows.ts';
import type { PolicySnapshot } from './repository.ts';
import type { PolicyEnforcement, ResolvedPolicy } from './resolve.ts';
import { PolicyResolver, type ResolverOptions } from './resolver.ts';
import { ruleName } from './rule-name.ts';
import type { TraceL4 } from './trace-types.ts';

export interface ImpactEndpoint {
  readonly id: number;
  readonly identity: Identity;
  readonly namedPorts: readonly NamedPort[];
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
  readonly options: Omit<ResolverOptions, 'proxyPorts' | 'localIdentities'>;
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
  /** Of requests, what tells them from others. */
  readonly request?: string | undefined;
  readonly count: number;
  readonly lastSeen: string;
  readonly before: FlowVerdict;
  readonly after: FlowVerdict;
  readonly reason: string;
  /** Names of the rules that would decide. */
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

/** What a rule set makes of the endpoints of a node. */
interface JudgedRules {
  /** By endpoint. */
  readonly policies: ReadonlyMap<number, JudgedPolicy>;
  readonly addresses: AddressIdentities;
  /** Name of a rule. */
  readonly nameOf: (rule: number) => string;
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

/** What the proxy is told, without the names of the rules. */
function requestText({ l7 }: JudgedPolicy): string {
  const nameless = (key: string, value: unknown): unknown =>
    key === 'ruleId' || key === 'ruleName' ? undefined : value;
  return JSON.stringify(l7, nameless) ?? '';
}

function endpointImpact(
  { id, identity }: ImpactEndpoint,
  old: JudgedPolicy,
  next: JudgedPolicy,
): readonly EndpointImpact[] {
  const [before, after] = [old.policy.enforcement, next.policy.enforcement];
  const { gained, lost } = entryChanges(old.policy.mapState, next.policy.mapState);
  const { locked } = next;
  const requestsChanged = requestText(old) !== requestText(next);
  const same = gained + lost === 0 && !requestsChanged && sameEnforcement(before, after);
  if (same && locked === old.locked) return [];
  const who = { endpoint: id, identity: identity.id, labels: formatLabels(identity.labels) };
  return [{ ...who, before, after, entriesGained: gained, entriesLost: lost, requestsChanged, locked }];
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

function judgeRules(resolver: PolicyResolver, rules: ImpactRules, input: ImpactInput): JudgedRules {
  resolver.setInventory(rules.inventory);
  resolver.setRules(rules.snapshot);
  resolver.setFqdnAddresses(selectorsOfAddresses(resolver, input.names ?? new Map()));
  const resolved = input.endpoints.map(
    ({ id, identity, namedPorts }) => [id, resolver.resolve(identity, namedPorts)] as const,
  );
  const l7 = new Map(resolver.l7Policy().subjects.map((one) => [one.subject, one]));
  const names = new Map(rules.snapshot.rules.map(({ id, rule }) => [id, ruleName(rule.labels)]));
  return {
    policies: new Map(
      resolved.map(([id, policy]) => [
        id,
        { policy, l7: l7.get(policy.subject.id), locked: lockedBy(policy) },
      ]),
    ),
    addresses: new AddressIdentities(resolver.prefixes()),
    nameOf: (rule) => names.get(rule) || `#${rule}`,
  };
}

/** One resolver goes from one rule set to the other, so that prefixes keep their identities where both have them. */
function judgeBoth(input: ImpactInput): readonly [JudgedRules, JudgedRules] {
  const resolver = new PolicyResolver({ ...input.options, proxyPorts: STAND_IN_PORTS });
  // It numbers prefixes itself: the agent's numbers could be those of other prefixes here.
  resolver.updateIdentities({ upserts: input.identities.filter(({ id }) => !isLocalIdentity(id)) });
  resolver.setNamedPorts(input.endpoints.flatMap(({ namedPorts }) => namedPorts));
  const before = judgeRules(resolver, input.before, input);
  return [before, judgeRules(resolver, input.after, input)];
}

function flowImpact(flow: ImpactFlow, before: JudgedRules, after: JudgedRules): readonly FlowImpact[] {
  const { endpoint, direction, peer, l4, request, count, lastSeen } = flow;
  const [old, next] = [before.policies.get(endpoint), after.policies.get(endpoint)];
  if (peer === undefined || old === undefined || next === undefined) return [];
  const identityIn = ({ addresses }: JudgedRules): NumericIdentity =>
    peer.address === undefined ? peer.identity : addresses.of(peer.address);
  const [was, is] = [identityIn(before), identityIn(after)];
  const now = judgeFlow(old, flow, was);
  const then = judgeFlow(next, flow, is);
  // Of a request that only the proxy knows all of, what it said counts.
  const verdict = now.verdict === 'undecided' ? (request?.allowed ? 'allowed' : 'denied') : now.verdict;
  if (verdict === then.verdict) return [];
  if (then.verdict === 'undecided' && sameRequests([old, was], [next, is], flow)) return [];
  const seen = { endpoint, direction, peer: peer.title, l4, request: request?.title, count, lastSeen };
  const rules = then.rules.map(after.nameOf);
  return [{ ...seen, before: verdict, after: then.verdict, reason: then.reason, rules }];
}

/** What would change for the endpoints of a node, and for flows that it saw, if one rule set took the place of another. */
export function policyImpact(input: ImpactInput): Impact {
  const kept = new Set(input.after.snapshot.rules.map(({ id }) => id));
  const had = new Set(input.before.snapshot.rules.map(({ id }) => id));
  const [before, after] = judgeBoth(input);
  const endpoints = input.endpoints.flatMap((endpoint) => {
    const [old, next] = [before.policies.get(endpoint.id), after.policies.get(endpoint.id)];
    return old === undefined || next === undefined ? [] : endpointImpact(endpoint, old, next);
  });
  const flows = input.flows.flatMap((flow) => flowImpact(flow, before, after));
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
