import { DatapathLimit } from '../model/constants.gen.ts';
import { type Identity, type NumericIdentity, ReservedIdentity } from '../model/identity.ts';
import type { Label } from '../model/labels.ts';
import { type Direction, type MapState, type MapStateVerdict, mapStateKeyText } from '../model/map-state.ts';
import type { LabelSelector } from '../model/selector.ts';
import { ALL_L4, type L4Match, l4Matches } from './l4.ts';
import { type MapStateItem, makeEntry, pruneShadowed, strongerEntry } from './map-state.ts';
import { EVERY_PEER, type PeerSelector, peerSelectors } from './peer-selector.ts';
import type { StoredRule } from './repository.ts';
import type { RuleItem } from './rule.ts';
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
}

/** One selector of peers with what a rule grants it; an item of a rule makes one for each of its selectors. */
export interface Grant {
  readonly direction: Direction;
  readonly peer: PeerSelector;
  readonly l4: readonly L4Match[];
  readonly verdict: MapStateVerdict;
  /** 0 for what no rule made. */
  readonly ruleId: number;
  /** Labels of the rule. */
  readonly derivedFrom: readonly Label[];
}

/** The policy of one subject identity, shared by all its endpoints. Never changes. */
export interface ResolvedPolicy {
  readonly subject: Identity;
  readonly enforcement: PolicyEnforcement;
  readonly mapState: MapState;
  readonly grants: readonly Grant[];
  /**
   * There are more entries than the datapath holds for one endpoint: `mapState` is cut off above that number, so that it
   * cannot be written and the endpoint is locked, instead of the agent running out of memory.
   */
  readonly overflow: boolean;
}

const DIRECTIONS: readonly Direction[] = ['ingress', 'egress'];
const ALLOW: MapStateVerdict = { kind: 'allow' };

function isInit(subject: Identity): boolean {
  return subject.labels.some((label) => label.source === 'reserved' && label.key === 'init');
}

/** The directions that are enforced for a subject which `rules` select. An endpoint without labels yet is locked down. */
function enforcementOf(
  subject: Identity,
  rules: readonly CompiledRule[],
  mode: EnforcementMode,
): PolicyEnforcement {
  if (mode === 'never') return { ingress: false, egress: false };
  if (mode === 'always' || isInit(subject)) return { ingress: true, egress: true };
  return {
    ingress: rules.some((rule) => rule.names.ingress),
    egress: rules.some((rule) => rule.names.egress),
  };
}

/** Without peers an item with ports is for every peer, and one without ports for nobody. */
function selectorsOfItem(item: RuleItem): readonly PeerSelector[] {
  if (item.peers !== undefined) return peerSelectors(item.peers);
  return item.ports === undefined ? [] : [EVERY_PEER];
}

function grantsOfRule(stored: StoredRule, direction: Direction): Grant[] {
  return (stored.rule[direction] ?? []).flatMap((item) => {
    const l4 = l4Matches(item.ports);
    return selectorsOfItem(item).map((peer) => ({
      direction,
      peer,
      l4,
      verdict: ALLOW,
      ruleId: stored.id,
      derivedFrom: stored.rule.labels,
    }));
  });
}

/** A rule worked out as far as it goes without knowing identities. */
export interface CompiledRule {
  readonly subject: LabelSelector;
  /** Whether the rule has items of the direction, and so enforces it. */
  readonly names: Readonly<Record<Direction, boolean>>;
  readonly grants: Readonly<Record<Direction, readonly Grant[]>>;
}

export function compileRule(stored: StoredRule): CompiledRule {
  const { subject, ingress, egress } = stored.rule;
  return {
    subject,
    names: { ingress: (ingress?.length ?? 0) > 0, egress: (egress?.length ?? 0) > 0 },
    grants: { ingress: grantsOfRule(stored, 'ingress'), egress: grantsOfRule(stored, 'egress') },
  };
}

const OPEN: Record<Direction, Grant> = {
  ingress: {
    direction: 'ingress',
    peer: EVERY_PEER,
    l4: [ALL_L4],
    verdict: ALLOW,
    ruleId: 0,
    derivedFrom: [],
  },
  egress: { direction: 'egress', peer: EVERY_PEER, l4: [ALL_L4], verdict: ALLOW, ruleId: 0, derivedFrom: [] },
};

/** The node's own processes on ingress. */
export const LOCALHOST_PEER: PeerSelector = { kind: 'entity', text: 'entity host', entity: 'host' };
const LOCALHOST: Grant = { ...OPEN.ingress, peer: LOCALHOST_PEER };

/** What a subject is granted by the rules that select it, in both directions. */
function grantsFor(
  rules: readonly CompiledRule[],
  enforcement: PolicyEnforcement,
  options: ResolveOptions,
): readonly Grant[] {
  return DIRECTIONS.flatMap((direction) => {
    if (!enforcement[direction]) return [OPEN[direction]];
    const grants = rules.flatMap((rule) => rule.grants[direction]);
    return direction === 'ingress' && options.allowLocalhost === 'always' ? [...grants, LOCALHOST] : grants;
  });
}

/** Puts a grant's entries for one peer among `items`. */
export function addGrant(items: Map<string, MapStateItem>, grant: Grant, identity: NumericIdentity): void {
  const entry = makeEntry(grant.verdict, grant.ruleId);
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

/** The peers that a grant is for; identity 0 stands for every peer. */
export function grantIdentities(grant: Grant, cache: SelectorCache): ReadonlySet<NumericIdentity> {
  return grant.peer.kind === 'every' ? WILDCARD : cache.identitiesOf(grant.peer);
}

/** Grants without those that another one of the same peer, protocols, ports and verdict stands for: the older rule's. */
export function distinctGrants(grants: readonly Grant[]): readonly Grant[] {
  const byMeaning = new Map<string, Grant>();
  for (const grant of grants) {
    const l4 = grant.l4.map(({ protocol, port, endPort }) => `${protocol}/${port}-${endPort ?? port}`);
    const meaning = JSON.stringify([grant.direction, grant.peer.kind, grant.peer.text, grant.verdict, l4]);
    const other = byMeaning.get(meaning);
    if (other === undefined || grant.ruleId < other.ruleId) byMeaning.set(meaning, grant);
  }
  return [...byMeaning.values()];
}

/** The map state of grants, with what the datapath could not tell apart by itself already decided. */
function compileMapState(
  grants: readonly Grant[],
  cache: SelectorCache,
): Pick<ResolvedPolicy, 'mapState' | 'overflow'> {
  const items = new Map<string, MapStateItem>();
  for (const grant of distinctGrants(grants)) {
    for (const identity of grantIdentities(grant, cache)) {
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
    mapState: new Map(),
    grants: [],
    overflow: false,
  };
}

/**
 * Resolves the policy of one subject from the rules that select it. Every selector of the rules must be in use in
 * `cache`, and with `allowLocalhost: 'always'` also `LOCALHOST_PEER`.
 */
export function resolvePolicy(
  subject: Identity,
  selecting: readonly CompiledRule[],
  cache: SelectorCache,
  options: ResolveOptions,
): ResolvedPolicy {
  const enforcement = enforcementOf(subject, selecting, options.mode);
  const grants = grantsFor(selecting, enforcement, options);
  return { subject, enforcement, grants, ...compileMapState(grants, cache) };
}
