import { DatapathLimit } from '../model/constants.gen.ts';
import type { Identity, NumericIdentity } from '../model/identity.ts';
import { labelSetText } from '../model/labels.ts';
import { type MapState, type MapStateDiff, type MapStateKey, mapStateKeyText } from '../model/map-state.ts';
import { type LabelSelector, matchesSelector, selectorText } from '../model/selector.ts';
import { diffMapState, type MapStateItem, pruneShadowed, sameEntry } from './map-state.ts';
import type { PeerSelector } from './peer-selector.ts';
import type { PolicySnapshot, StoredRule } from './repository.ts';
import {
  addGrant,
  type CompiledRule,
  compileRule,
  distinctGrants,
  exceedsDatapath,
  grantIdentities,
  LOCALHOST_PEER,
  lockedPolicy,
  type ResolvedPolicy,
  type ResolveOptions,
  resolvePolicy,
} from './resolve.ts';
import { type IdentityChanges, SelectorCache, type SelectorUse } from './selector-cache.ts';

export interface ResolverOptions extends ResolveOptions {
  /** Name of this cluster: workloads that name another one are not `cluster`. */
  readonly clusterName: string;
}

/** The policy of a subject changed. */
export interface PolicyUpdate {
  readonly subject: NumericIdentity;
  readonly policy: ResolvedPolicy;
  /** Why the policy could not be worked out: `policy` lets nothing pass then, and `resolve` tries again. */
  readonly failure?: unknown;
  /** From the policy that the subject had before. */
  readonly diff: MapStateDiff;
}

/** Rules that share a subject selector: it is matched once for all of them. */
interface SubjectGroup {
  readonly subject: LabelSelector;
  readonly rules: readonly CompiledRule[];
}

const BOTH = ['ingress', 'egress'] as const;

/**
 * The policies of the subjects of one node: resolves each once, and when rules or identities change works out again
 * only the subjects that the change touches.
 */
export class PolicyResolver {
  #options: ResolverOptions;
  readonly #cache: SelectorCache;
  #snapshot: PolicySnapshot = { revision: 0, rules: [] };
  readonly #compiled = new Map<StoredRule, CompiledRule>();
  #groups: readonly SubjectGroup[] = [];
  readonly #policies = new Map<NumericIdentity, ResolvedPolicy>();
  /** Selector text -> subjects whose policy depends on it. */
  readonly #users = new Map<string, Set<NumericIdentity>>();

  constructor(options: ResolverOptions) {
    this.#options = options;
    this.#cache = new SelectorCache({ clusterName: options.clusterName });
    this.#cache.acquire(LOCALHOST_PEER);
  }

  /** The revision whose rules the policies follow; 0 before the first `setRules`. */
  get revision(): number {
    return this.#snapshot.revision;
  }

  /** The selectors of peers in use. */
  selectors(): readonly SelectorUse[] {
    return this.#cache.selectors();
  }

  /** The subject's policy; the same object as long as it does not change. The subject is followed from now on. */
  resolve(subject: Identity): ResolvedPolicy {
    const known = this.#policies.get(subject.id);
    if (known !== undefined && sameLabels(known.subject, subject)) return known;
    const policy = this.#resolve(subject);
    this.#keep(policy);
    return policy;
  }

  /** Stops following a subject: no endpoint has it any more. */
  forget(subject: NumericIdentity): void {
    const policy = this.#policies.get(subject);
    if (policy === undefined) return;
    for (const { peer } of policy.grants) {
      const users = this.#users.get(peer.text);
      users?.delete(subject);
      if (users?.size === 0) this.#users.delete(peer.text);
    }
    this.#policies.delete(subject);
  }

  /** Follows another rule set. */
  setRules(snapshot: PolicySnapshot): readonly PolicyUpdate[] {
    const kept = new Set(snapshot.rules);
    const changed: CompiledRule[] = [];
    for (const stored of snapshot.rules) {
      if (this.#compiled.has(stored)) continue;
      const rule = compileRule(stored);
      this.#compiled.set(stored, rule);
      for (const peer of peersOf(rule)) this.#cache.acquire(peer);
      changed.push(rule);
    }
    for (const [stored, rule] of this.#compiled) {
      if (kept.has(stored)) continue;
      this.#compiled.delete(stored);
      for (const peer of peersOf(rule)) this.#cache.release(peer);
      changed.push(rule);
    }
    this.#snapshot = snapshot;
    // The map keeps the order of the repository: new rules are added behind the others there too.
    this.#groups = groupBySubject([...this.#compiled.values()]);
    const touched = groupBySubject(changed);
    return this.#resolveAgain((subject) =>
      touched.some((group) => matchesSelector(group.subject, subject.labels)),
    );
  }

  /** Changes how policies are enforced. */
  setOptions(options: ResolveOptions): readonly PolicyUpdate[] {
    this.#options = { ...this.#options, ...options };
    return this.#resolveAgain(() => true);
  }

  /** Takes over identities that came, changed or went; touches only the subjects with a selector that this changes. */
  updateIdentities(changes: IdentityChanges): readonly PolicyUpdate[] {
    const peersBySubject = new Map<NumericIdentity, Set<NumericIdentity>>();
    for (const [text, delta] of this.#cache.update(changes)) {
      for (const subject of this.#users.get(text) ?? []) {
        const peers = peersBySubject.get(subject) ?? new Set();
        for (const id of [...delta.added, ...delta.removed]) peers.add(id);
        peersBySubject.set(subject, peers);
      }
    }
    return [...peersBySubject].flatMap(([subject, peers]) => this.#patch(subject, peers));
  }

  #resolve(subject: Identity): ResolvedPolicy {
    const rules = this.#groups.flatMap((group) =>
      matchesSelector(group.subject, subject.labels) ? group.rules : [],
    );
    return resolvePolicy(subject, rules, this.#cache, this.#options);
  }

  #keep(policy: ResolvedPolicy): void {
    this.forget(policy.subject.id);
    this.#policies.set(policy.subject.id, policy);
    for (const { peer } of policy.grants) {
      const users = this.#users.get(peer.text) ?? new Set();
      users.add(policy.subject.id);
      this.#users.set(peer.text, users);
    }
  }

  #resolveAgain(touched: (subject: Identity) => boolean): PolicyUpdate[] {
    const updates: PolicyUpdate[] = [];
    for (const old of [...this.#policies.values()]) {
      if (!touched(old.subject)) continue;
      updates.push(...this.#again(old));
    }
    return updates;
  }

  #again(old: ResolvedPolicy): PolicyUpdate[] {
    const { subject } = old;
    const update = (policy: ResolvedPolicy) => {
      return { subject: subject.id, policy, diff: diffMapState(old.mapState, policy.mapState) };
    };
    // First, so that nobody is given the old one where no new one can be worked out.
    this.forget(subject.id);
    try {
      return [update(this.resolve(subject))];
    } catch (failure) {
      return [{ ...update(lockedPolicy(subject)), failure }];
    }
  }

  /** Works out anew the entries of some peers in one policy. */
  #patch(subject: NumericIdentity, peers: ReadonlySet<NumericIdentity>): PolicyUpdate[] {
    const old = this.#policies.get(subject);
    if (old === undefined) return [];
    if (old.overflow || entriesOf(old, peers) > DatapathLimit.policyEntries) return this.#again(old);
    const { mapState, diff } = patchMapState(old, peers, this.#cache);
    if (diff.upserts.length === 0 && diff.deletes.length === 0) return [];
    if (exceedsDatapath(mapState)) return this.#again(old);
    const policy = { ...old, mapState };
    this.#policies.set(subject, policy);
    return [{ subject, policy, diff }];
  }
}

/** The most entries that these peers can have in the policy. */
function entriesOf({ grants }: ResolvedPolicy, peers: ReadonlySet<NumericIdentity>): number {
  let each = 0;
  for (const { l4 } of grants) for (const { prefixes } of l4) each += prefixes.length;
  return each * peers.size;
}

function sameLabels(a: Identity, b: Identity): boolean {
  return a.labels === b.labels || labelSetText(a.labels) === labelSetText(b.labels);
}

function peersOf(rule: CompiledRule): readonly PeerSelector[] {
  return BOTH.flatMap((direction) => rule.grants[direction].map(({ peer }) => peer));
}

function groupBySubject(rules: readonly CompiledRule[]): readonly SubjectGroup[] {
  const groups = new Map<string, { subject: LabelSelector; rules: CompiledRule[] }>();
  for (const rule of rules) {
    const text = selectorText(rule.subject);
    const group = groups.get(text) ?? { subject: rule.subject, rules: [] };
    group.rules.push(rule);
    groups.set(text, group);
  }
  return [...groups.values()];
}

function patchMapState(
  old: ResolvedPolicy,
  peers: ReadonlySet<NumericIdentity>,
  cache: SelectorCache,
): { mapState: MapState; diff: MapStateDiff } {
  const wanted = new Map<string, MapStateItem>();
  const present = new Map<string, MapStateItem>();
  const grants = distinctGrants(old.grants);
  for (const id of peers) {
    const items = new Map<string, MapStateItem>();
    for (const grant of grants) {
      const possible = new Map<string, MapStateItem>();
      addGrant(possible, grant, id);
      for (const text of possible.keys()) {
        const item = old.mapState.get(text);
        if (item !== undefined) present.set(text, item);
      }
      if (grant.peer.kind !== 'every' && grantIdentities(grant, cache).has(id)) addGrant(items, grant, id);
    }
    pruneShadowed(items);
    for (const [text, item] of items) wanted.set(text, item);
  }
  return applyPatch(old.mapState, present, wanted);
}

function applyPatch(
  mapState: MapState,
  present: ReadonlyMap<string, MapStateItem>,
  wanted: ReadonlyMap<string, MapStateItem>,
): { mapState: MapState; diff: MapStateDiff } {
  const upserts: MapStateItem[] = [];
  const deletes: MapStateKey[] = [];
  const next = new Map(mapState);
  for (const [text, item] of present) {
    if (wanted.has(text)) continue;
    deletes.push(item.key);
    next.delete(text);
  }
  for (const [text, item] of wanted) {
    const before = mapState.get(mapStateKeyText(item.key));
    if (before !== undefined && sameEntry(before.entry, item.entry)) continue;
    upserts.push(item);
    next.set(text, item);
  }
  return { mapState: next, diff: { upserts, deletes } };
}
