import { DatapathLimit } from '../model/constants.gen.ts';
import { type Identity, type NumericIdentity, ReservedIdentity } from '../model/identity.ts';
import type { ProxyPorts } from '../model/l7.ts';
import {
  type Direction,
  EMPTY_MAP_STATE,
  type MapState,
  type MapStateVerdict,
  mapStateKeyText,
} from '../model/map-state.ts';
import { type CompiledRule, type Grant, grantMeaning } from './compile-rule.ts';
import { ALL_L4, withPortNumber } from './l4.ts';
import { findL7Conflict } from './l7-conflict.ts';
import { type MapStateItem, makeEntry, pruneShadowed, strongerEntry } from './map-state.ts';
import type { PortNames } from './named-ports.ts';
import { EVERY_PEER, type PeerSelector } from './peer-selector.ts';
import { ruleName } from './rule-name.ts';
import type { SelectorCache } from './selector-cache.ts';

/** `default` enforces a direction once a rule of it selects the endpoint, `always` enforces both, `never` none. */
export type EnforcementMode = 'default' | 'always' | 'never';

/** Which directions drop what nothing allows. */
export interface PolicyEnforcement {
  readonly ingress: boolean;
  readonly egress: boolean;
}

export interface ResolveOptions {
  readonly mode: EnforcementMode;
  /** `always`: the node's own processes reach its endpoints unless a rule denies it; `policy`: only as rules say. */
  readonly allowLocalhost: 'always' | 'policy';
  /** Where the proxy listens; default: nowhere, and what must pass it is dropped. */
  readonly proxyPorts?: ProxyPorts | undefined;
}

/** What every peer must match, whatever grants it something. */
export type Requirements = Readonly<Record<Direction, readonly PeerSelector[]>>;

/** The policy of one subject, shared by all its endpoints with the same named ports. Never changes. */
export interface ResolvedPolicy {
  readonly subject: Identity;
  readonly enforcement: PolicyEnforcement;
  readonly mapState: MapState;
  readonly grants: readonly Grant[];
  readonly requirements: Requirements;
  /**
   * There are more entries than the datapath holds for one endpoint: `mapState` is cut off above that number, so that it
   * cannot be written and the endpoint is locked, instead of the agent running out of memory.
   */
  readonly overflow: boolean;
  /** Why the rules contradict each other; nothing passes then. */
  readonly conflict: string | undefined;
}

const DIRECTIONS: readonly Direction[] = ['ingress', 'egress'];
const ALLOW: MapStateVerdict = { kind: 'allow' };
export const NO_REQUIREMENTS: Requirements = { ingress: [], egress: [] };

function isInit(subject: Identity): boolean {
  return subject.labels.some((label) => label.source === 'reserved' && label.key === 'init');
}

/** The directions in which what nothing allows is dropped. An endpoint without labels yet is locked down. */
function defaultDenies(
  subject: Identity,
  rules: readonly CompiledRule[],
  mode: EnforcementMode,
): PolicyEnforcement {
  if (mode === 'never') return { ingress: false, egress: false };
  if (mode === 'always' || isInit(subject)) return { ingress: true, egress: true };
  return {
    ingress: rules.some((rule) => rule.enforces.ingress),
    egress: rules.some((rule) => rule.enforces.egress),
  };
}

function open(direction: Direction): Grant {
  return { direction, peer: EVERY_PEER, l4: [ALL_L4], verdict: ALLOW, ruleId: 0, derivedFrom: [] };
}
const OPEN: Record<Direction, Grant> = { ingress: open('ingress'), egress: open('egress') };

/** The node's own processes on ingress. */
export const LOCALHOST_PEER: PeerSelector = { kind: 'entity', text: 'entity host', entity: 'host' };
const LOCALHOST: Grant = { ...OPEN.ingress, peer: LOCALHOST_PEER };

/** Names of ports: those of the endpoint for what it serves, the cluster's for what it asks for. */
export type PortNamesByDirection = Readonly<Record<Direction, PortNames>>;

function withNumbers(grant: Grant, names: PortNames): Grant {
  if (grant.l4.every(({ portName }) => portName === undefined)) return grant;
  const l4 = grant.l4.map((match) => withPortNumber(match, names));
  return { ...grant, l4, meaning: undefined };
}

/** What a subject is granted in one direction: by the rules that select it, and beside them. */
function grantsOfDirection(request: ResolveRequest, direction: Direction, denies: boolean): readonly Grant[] {
  const { mode, allowLocalhost } = request.options;
  if (mode === 'never') return [OPEN[direction]];
  const names = request.portNames[direction];
  const grants = request.rules.flatMap((rule) =>
    rule.grants[direction].map((grant) => withNumbers(grant, names)),
  );
  const localhost = direction === 'ingress' && allowLocalhost === 'always' && denies;
  return [...(denies ? [] : [OPEN[direction]]), ...grants, ...(localhost ? [LOCALHOST] : [])];
}

/** Puts a grant's entries for one peer among `items`. */
export function addGrant(items: Map<string, MapStateItem>, grant: Grant, identity: NumericIdentity): void {
  const to = grant.l7?.kind === 'tls' ? 'server-names' : 'requests';
  const entry = makeEntry(grant.verdict, grant.ruleId, to);
  for (const { protocol, prefixes } of grant.l4) {
    for (const { port, portPrefixLength } of prefixes) {
      const key = { direction: grant.direction, identity, protocol, port, portPrefixLength };
      const text = mapStateKeyText(key);
      const other = items.get(text);
      items.set(text, { key, entry: other === undefined ? entry : strongerEntry(other.entry, entry) });
    }
  }
}

/** Entries before pruning: a deny may take most of them away again. */
const MAX_COMPILED = 4 * DatapathLimit.policyEntries;

/** Whether no endpoint's map can hold the state. */
export function exceedsDatapath(mapState: MapState): boolean {
  return mapState.size > DatapathLimit.policyEntries;
}

const WILDCARD: ReadonlySet<NumericIdentity> = new Set([ReservedIdentity.unknown]);

function identitiesOfPeer(peer: PeerSelector, cache: SelectorCache): ReadonlySet<NumericIdentity> {
  return peer.kind === 'every' ? WILDCARD : cache.identitiesOf(peer);
}

function intersection(
  a: ReadonlySet<NumericIdentity>,
  b: ReadonlySet<NumericIdentity>,
): ReadonlySet<NumericIdentity> {
  if (a === WILDCARD) return b;
  if (b === WILDCARD) return a;
  const [few, many] = a.size < b.size ? [a, b] : [b, a];
  return new Set([...few].filter((id) => many.has(id)));
}

/** The peers that a grant is for, of those that match what is required; identity 0 stands for every peer. */
export function grantIdentities(
  grant: Grant,
  requirements: Requirements,
  cache: SelectorCache,
): ReadonlySet<NumericIdentity> {
  const peers = identitiesOfPeer(grant.peer, cache);
  const required = requirements[grant.direction];
  if (required.length === 0 || grant.verdict.kind === 'deny') return peers;
  return required.reduce((left, peer) => intersection(left, identitiesOfPeer(peer, cache)), peers);
}

/** Grants without those that another one of the same peer, protocols, ports and verdict stands for: the older rule's. */
export function distinctGrants(grants: readonly Grant[]): readonly Grant[] {
  const byMeaning = new Map<string, Grant>();
  for (const grant of grants) {
    const meaning = grant.meaning ?? grantMeaning(grant);
    const other = byMeaning.get(meaning);
    if (other === undefined || grant.ruleId < other.ruleId) byMeaning.set(meaning, grant);
  }
  return [...byMeaning.values()];
}

/** The map state of grants, with what the datapath could not tell apart by itself already decided. */
function compileMapState(
  grants: readonly Grant[],
  requirements: Requirements,
  cache: SelectorCache,
): Pick<ResolvedPolicy, 'mapState' | 'overflow'> {
  const items = new Map<string, MapStateItem>();
  for (const grant of distinctGrants(grants)) {
    for (const identity of grantIdentities(grant, requirements, cache)) {
      addGrant(items, grant, identity);
      if (items.size <= MAX_COMPILED) continue;
      pruneShadowed(items);
      if (exceedsDatapath(items)) return { mapState: items, overflow: true };
    }
  }
  pruneShadowed(items);
  return { mapState: items, overflow: exceedsDatapath(items) };
}

/** What is enforced at a subject whose policy cannot be worked out: nothing passes. */
export function lockedPolicy(subject: Identity): ResolvedPolicy {
  return {
    subject,
    enforcement: { ingress: true, egress: true },
    mapState: EMPTY_MAP_STATE,
    grants: [],
    requirements: NO_REQUIREMENTS,
    overflow: false,
    conflict: undefined,
  };
}

export interface ResolveRequest {
  readonly subject: Identity;
  /** The rules that select it. */
  readonly rules: readonly CompiledRule[];
  readonly options: ResolveOptions;
  readonly portNames: PortNamesByDirection;
}

const grantName = ({ derivedFrom, ruleId }: Grant): string => `rule ${ruleName(derivedFrom) || ruleId}`;

/**
 * Resolves the policy of one subject from the rules that select it. Every selector of the rules must be in use in
 * `cache`, and with `allowLocalhost: 'always'` also `LOCALHOST_PEER`.
 */
export function resolvePolicy(request: ResolveRequest, cache: SelectorCache): ResolvedPolicy {
  const { subject, rules, options } = request;
  const denies = defaultDenies(subject, rules, options.mode);
  const required = (direction: Direction): readonly PeerSelector[] =>
    options.mode === 'never' ? [] : rules.flatMap((rule) => rule.requires[direction]);
  const requirements = { ingress: required('ingress'), egress: required('egress') };
  const restricted = (direction: Direction): boolean => requirements[direction].length > 0;
  const grants = DIRECTIONS.flatMap((direction) => grantsOfDirection(request, direction, denies[direction]));
  const conflict = findL7Conflict(grants, (grant) => grantIdentities(grant, requirements, cache), grantName);
  if (conflict !== undefined) return { ...lockedPolicy(subject), grants, requirements, conflict };
  return {
    subject,
    enforcement: {
      ingress: denies.ingress || restricted('ingress'),
      egress: denies.egress || restricted('egress'),
    },
    grants,
    requirements,
    ...compileMapState(grants, requirements, cache),
    conflict: undefined,
  };
}
