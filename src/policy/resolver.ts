import { type Identity, NODE_IDENTITY_SCOPE, type NumericIdentity } from '../model/identity.ts';
import type { DnsPattern, L7Policy, L7SubjectPolicy } from '../model/l7.ts';
import { labelSetText } from '../model/labels.ts';
import { diffMapState, sameMapState } from '../model/map-state-diff.ts';
import type { NamedPort } from '../model/named-port.ts';
import { EMPTY_INVENTORY, type PolicyInventory } from '../model/policy-inventory.ts';
import { type LabelSelector, matchesSelector } from '../model/selector.ts';
import {
  type CompiledRule,
  type CompileOptions,
  compileRule,
  peersOfRule,
  prefixesOfRule,
  usesInventory,
} from './compile-rule.ts';
import { mergedL7Policy, redirects } from './l7-policy.ts';
import { LocalIdentities, type LocalIdentitiesJson } from './local-identities.ts';
import { namedPortsText, PortNames } from './named-ports.ts';
import { NodeIdentities, type PolicyNode } from './node-identities.ts';
import { patchPolicy } from './patch-policy.ts';
import type { PeerSelector } from './peer-selector.ts';
import type { FqdnSelector, PolicyEngine, PolicyUpdate } from './policy-engine.ts';
import type { PrefixChanges, PrefixIdentity } from './prefix-changes.ts';
import type { PolicySnapshot, StoredRule } from './repository.ts';
import {
  LOCALHOST_PEER,
  lockedPolicy,
  type ResolvedPolicy,
  type ResolveOptions,
  resolvePolicy,
} from './resolve.ts';
import { RuleContext } from './rule-context.ts';
import {
  type IdentityChanges,
  SelectorCache,
  type SelectorDelta,
  type SelectorUse,
} from './selector-cache.ts';

export interface ResolverOptions extends ResolveOptions {
  /** Name of this cluster: workloads that name another one are not `cluster`. */
  readonly clusterName: string;
  /** Numbers of an earlier run. */
  readonly localIdentities?: LocalIdentitiesJson | undefined;
  /** Addresses of the cluster's API server beside those that the inventory tells; default none. */
  readonly apiServers?: readonly string[];
}

/** Rules that share a subject selector: it is matched once for all of them. */
interface SubjectGroup {
  readonly subject: LabelSelector;
  readonly subjectKind: CompiledRule['subjectKind'];
  readonly rules: readonly CompiledRule[];
}

/** Endpoints of a subject that name their ports alike. */
interface Variant {
  readonly namedPorts: readonly NamedPort[];
  policy: ResolvedPolicy;
}

interface Followed {
  readonly identity: Identity;
  /** By the text of the named ports. Without named ports in the rules they share one policy. */
  readonly variants: Map<string, Variant>;
  /** Texts of the selectors that the policies depend on. */
  readonly selectors: ReadonlySet<string>;
  /** What the proxy must know; `stale` until somebody asks for it. */
  l7: L7SubjectPolicy | undefined | 'stale';
}

const BOTH = ['ingress', 'egress'] as const;

/** Policies of subjects, each resolved once; a change works out again only the subjects that it touches. */
export class PolicyResolver implements PolicyEngine {
  #options: ResolverOptions;
  readonly #cache: SelectorCache;
  readonly #local: LocalIdentities;
  readonly #nodes: NodeIdentities;
  #apiServers: readonly string[];
  #snapshot: PolicySnapshot = { revision: 0, rules: [] };
  #context = new RuleContext(EMPTY_INVENTORY);
  readonly #compiled = new Map<StoredRule, CompiledRule>();
  #groups: readonly SubjectGroup[] = [];
  #clusterPorts = new PortNames();
  readonly #followed = new Map<NumericIdentity, Followed>();
  /** Selector text -> subjects whose policy depends on it. */
  readonly #users = new Map<string, Set<NumericIdentity>>();
  /** Text of an FQDN selector -> it, and how often rules have it. */
  readonly #fqdns = new Map<string, { readonly pattern: DnsPattern; users: number }>();

  constructor(options: ResolverOptions) {
    this.#options = options;
    this.#cache = new SelectorCache({ clusterName: options.clusterName });
    this.#cache.acquire(LOCALHOST_PEER);
    this.#local = new LocalIdentities(options.localIdentities);
    this.#nodes = new NodeIdentities(options.localIdentities?.nodes);
    this.#apiServers = options.apiServers ?? [];
    this.#local.setApiServers(this.#apiServers);
    this.#nodes.setApiServers(this.#apiServers);
    this.#cache.update({ upserts: this.#takeNew() });
  }

  get revision(): number {
    return this.#snapshot.revision;
  }

  selectors(): readonly SelectorUse[] {
    return this.#cache.selectors();
  }

  resolve(subject: Identity, namedPorts: readonly NamedPort[] = []): ResolvedPolicy {
    const known = this.#followed.get(subject.id);
    const text = namedPortsText(namedPorts);
    if (known !== undefined && sameLabels(known.identity, subject)) {
      const variant = known.variants.get(text);
      if (variant !== undefined) return variant.policy;
      const policy =
        this.#sharedPolicy(known) ?? interned(this.#resolve(known.identity, namedPorts), known.variants);
      known.variants.set(text, { namedPorts, policy });
      known.l7 = 'stale';
      return policy;
    }
    const policy = this.#resolve(subject, namedPorts);
    this.#follow(subject, [[text, { namedPorts, policy }]]);
    return policy;
  }

  forget(subject: NumericIdentity): void {
    const followed = this.#followed.get(subject);
    if (followed === undefined) return;
    for (const text of followed.selectors) {
      const users = this.#users.get(text);
      users?.delete(subject);
      if (users?.size === 0) this.#users.delete(text);
    }
    this.#followed.delete(subject);
  }

  setRules(snapshot: PolicySnapshot): readonly PolicyUpdate[] {
    const kept = new Set(snapshot.rules);
    const added = snapshot.rules.filter((stored) => !this.#compiled.has(stored));
    const removed = [...this.#compiled.keys()].filter((stored) => !kept.has(stored));
    this.#snapshot = snapshot;
    return this.#exchange(removed, added);
  }

  setOptions(options: Partial<ResolveOptions>): readonly PolicyUpdate[] {
    const before = JSON.stringify(this.#options.proxyPorts);
    this.#options = { ...this.#options, ...options };
    if (JSON.stringify(this.#options.proxyPorts) !== before) this.#recompile([...this.#compiled.keys()]);
    return this.#resolveAgain(() => true);
  }

  setInventory(inventory: PolicyInventory): readonly PolicyUpdate[] {
    this.#context = new RuleContext(inventory);
    this.#apiServers = [...new Set([...(this.#options.apiServers ?? []), ...this.#context.apiServers()])];
    this.#local.setApiServers(this.#apiServers);
    this.#nodes.setApiServers(this.#apiServers);
    const using = [...this.#compiled.keys()].filter(({ rule }) => usesInventory(rule));
    return this.#exchange(using, using);
  }

  apiServers(): readonly string[] {
    return this.#apiServers;
  }

  setNodes(nodes: readonly PolicyNode[]): readonly PolicyUpdate[] {
    this.#nodes.setNodes(nodes);
    return this.updateIdentities({ upserts: this.#takeNew() });
  }

  setNamedPorts(ports: readonly NamedPort[]): readonly PolicyUpdate[] {
    const before = this.#clusterPorts;
    this.#clusterPorts = new PortNames(ports);
    const moved = [...this.#compiled.values()].filter((rule) =>
      rule.grants.egress.some(({ l4 }) =>
        l4.some(
          ({ portName, protocol }) =>
            portName !== undefined &&
            before.number(portName, protocol) !== this.#clusterPorts.number(portName, protocol),
        ),
      ),
    );
    const touched = groupBySubject(moved);
    return this.#resolveAgain((subject) => touched.some((group) => selects(group, subject)));
  }

  updateIdentities(changes: IdentityChanges): readonly PolicyUpdate[] {
    return this.#patchAll(this.#cache.update(changes));
  }

  setFqdnAddresses(changes: ReadonlyMap<string, ReadonlySet<string>>): readonly PolicyUpdate[] {
    for (const [address, selectors] of changes) this.#local.setAddress(address, selectors);
    return this.updateIdentities({ upserts: this.#takeNew() });
  }

  fqdnSelectors(): readonly FqdnSelector[] {
    return [...this.#fqdns]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([text, { pattern }]) => ({ text, pattern }));
  }

  prefixes(): readonly PrefixIdentity[] {
    return [...this.#local.prefixes(), ...this.#nodes.prefixes()];
  }

  takePrefixChanges(): PrefixChanges {
    const nodes = this.#nodes.takeChanges();
    const any = nodes.upserts.length + nodes.deletes.length > 0;
    return { ...this.#local.takeChanges(), ...(any && { nodes }) };
  }

  releasable(): readonly NumericIdentity[] {
    return [...this.#local.releasable(), ...this.#nodes.releasable()];
  }

  release(ids: readonly NumericIdentity[]): readonly PolicyUpdate[] {
    return this.updateIdentities({ deletes: [...this.#local.forget(ids), ...this.#nodes.forget(ids)] });
  }

  localIdentities(): LocalIdentitiesJson {
    const nodes = this.#nodes.toJSON();
    const any = nodes.identities.length > 0 || nodes.next !== NODE_IDENTITY_SCOPE;
    return { ...this.#local.toJSON(), ...(any && { nodes }) };
  }

  l7Policy(): L7Policy {
    const subjects = [...this.#followed.values()].flatMap((followed) => this.#l7Of(followed) ?? []);
    return { revision: this.revision, subjects };
  }

  get #compileOptions(): CompileOptions {
    return { context: this.#context, proxyPorts: this.#options.proxyPorts };
  }

  #takeNew(): readonly Identity[] {
    return [...this.#local.takeNew(), ...this.#nodes.takeNew()];
  }

  /** Puts rules in the place of others. New prefixes get their identities before any policy is worked out. */
  #exchange(removed: readonly StoredRule[], added: readonly StoredRule[]): readonly PolicyUpdate[] {
    const gone = removed.flatMap((stored) => this.#compiled.get(stored) ?? []);
    for (const stored of removed) this.#compiled.delete(stored);
    const come = added.map((stored) => compileRule(stored, this.#compileOptions));
    for (const [i, rule] of come.entries()) {
      const stored = added[i];
      if (stored !== undefined) this.#compiled.set(stored, rule);
      this.#hold(rule);
    }
    for (const rule of gone) this.#release(rule);
    this.#regroup();
    const deltas = this.#cache.update({ upserts: this.#takeNew() });
    const touched = groupBySubject([...gone, ...come]);
    const isTouched = (subject: Identity): boolean => touched.some((group) => selects(group, subject));
    const again = this.#resolveAgain(isTouched);
    const done = new Set(again.map(({ subject }) => subject));
    return [...again, ...this.#patchAll(deltas, done)];
  }

  /** Compiles rules anew under other options; what they select stays. */
  #recompile(rules: readonly StoredRule[]): void {
    for (const stored of rules) this.#compiled.set(stored, compileRule(stored, this.#compileOptions));
    this.#regroup();
  }

  #regroup(): void {
    const order = this.#snapshot.rules.flatMap((stored) => this.#compiled.get(stored) ?? []);
    this.#groups = groupBySubject(order);
  }

  #hold(rule: CompiledRule): void {
    for (const prefix of prefixesOfRule(rule)) this.#local.acquire(prefix);
    for (const peer of peersOfRule(rule)) {
      this.#cache.acquire(peer);
      if (peer.kind !== 'fqdn') continue;
      const held = this.#fqdns.get(peer.name);
      if (held === undefined) this.#fqdns.set(peer.name, { pattern: peer.pattern, users: 1 });
      else held.users++;
    }
  }

  #release(rule: CompiledRule): void {
    for (const prefix of prefixesOfRule(rule)) this.#local.release(prefix);
    for (const peer of peersOfRule(rule)) {
      this.#cache.release(peer);
      const held = peer.kind === 'fqdn' ? this.#fqdns.get(peer.name) : undefined;
      if (held !== undefined && --held.users === 0 && peer.kind === 'fqdn') this.#fqdns.delete(peer.name);
    }
  }

  #rulesOf(subject: Identity): readonly CompiledRule[] {
    return this.#groups.flatMap((group) => (selects(group, subject) ? group.rules : []));
  }

  #resolve(
    subject: Identity,
    namedPorts: readonly NamedPort[],
    rules: readonly CompiledRule[] = this.#rulesOf(subject),
  ): ResolvedPolicy {
    const portNames = { ingress: new PortNames(namedPorts), egress: this.#clusterPorts };
    return resolvePolicy({ subject, rules, options: this.#options, portNames }, this.#cache);
  }

  /** The policy of the other variants, if no rule names a port that the endpoint serves. */
  #sharedPolicy({ identity, variants }: Followed): ResolvedPolicy | undefined {
    if (this.#rulesOf(identity).some((rule) => rule.namedPorts.ingress)) return undefined;
    return [...variants.values()][0]?.policy;
  }

  #follow(identity: Identity, variants: readonly (readonly [string, Variant])[]): Followed {
    this.forget(identity.id);
    const selectors = new Set(variants.flatMap(([, { policy }]) => selectorTexts(policy)));
    const followed: Followed = { identity, variants: new Map(variants), selectors, l7: 'stale' };
    this.#followed.set(identity.id, followed);
    for (const text of selectors) {
      const users = this.#users.get(text) ?? new Set();
      users.add(identity.id);
      this.#users.set(text, users);
    }
    return followed;
  }

  #l7Of(followed: Followed): L7SubjectPolicy | undefined {
    if (followed.l7 !== 'stale') return followed.l7;
    const names = new Map<ResolvedPolicy, string[]>();
    for (const [text, { policy }] of followed.variants)
      names.set(policy, [...(names.get(policy) ?? []), text]);
    const variants = [...names].map(([policy, portNames]) => ({ policy, portNames }));
    followed.l7 = mergedL7Policy(variants, this.#cache);
    return followed.l7;
  }

  #resolveAgain(touched: (subject: Identity) => boolean): PolicyUpdate[] {
    return [...this.#followed.values()].flatMap((old) => (touched(old.identity) ? this.#again(old) : []));
  }

  #again(old: Followed): PolicyUpdate[] {
    const { identity, variants } = old;
    // First, so that nobody is given the old one where no new one can be worked out.
    this.forget(identity.id);
    try {
      const rules = this.#rulesOf(identity);
      const named = rules.some((rule) => rule.namedPorts.ingress);
      let shared: ResolvedPolicy | undefined;
      const fresh = [...variants].map(([text, { namedPorts }]) => {
        shared = named ? undefined : shared;
        const policy = shared ?? interned(this.#resolve(identity, namedPorts, rules), variants);
        shared = policy;
        return [text, { namedPorts, policy }] as const;
      });
      const followed = this.#follow(identity, fresh);
      return this.#updates(old, followed);
    } catch (failure) {
      const policy = lockedPolicy(identity);
      return [...variants.values()].map((variant) => ({
        ...updateOf(variant, policy, isJudged(old)),
        failure,
      }));
    }
  }

  #updates(old: Followed, next: Followed): PolicyUpdate[] {
    const l7Changed = this.#l7Differs(old, next);
    return [...old.variants].flatMap(([text, variant]) => {
      const policy = next.variants.get(text)?.policy;
      return policy === undefined ? [] : [updateOf(variant, policy, l7Changed)];
    });
  }

  /** Of what was never asked for nobody can tell: it counts as changed. */
  #l7Differs(old: Followed, next: Followed): boolean {
    if (!isJudged(old) && !isJudged(next)) return false;
    return old.l7 === 'stale' || JSON.stringify(old.l7) !== JSON.stringify(this.#l7Of(next));
  }

  /** Works out anew what selectors gained and lost, in the policies that depend on them. */
  #patchAll(
    deltas: ReadonlyMap<string, SelectorDelta>,
    done: ReadonlySet<NumericIdentity> = new Set(),
  ): readonly PolicyUpdate[] {
    const peersBySubject = new Map<NumericIdentity, Set<NumericIdentity>>();
    for (const [text, delta] of deltas) {
      for (const subject of this.#users.get(text) ?? []) {
        if (done.has(subject)) continue;
        const peers = peersBySubject.get(subject) ?? new Set();
        for (const id of delta.added) peers.add(id);
        for (const id of delta.removed) peers.add(id);
        peersBySubject.set(subject, peers);
      }
    }
    return [...peersBySubject].flatMap(([subject, peers]) => this.#patch(subject, peers));
  }

  /** Works out anew the entries of some peers in the policies of one subject. */
  #patch(subject: NumericIdentity, peers: ReadonlySet<NumericIdentity>): PolicyUpdate[] {
    const followed = this.#followed.get(subject);
    if (followed === undefined) return [];
    const patched = new Map<ResolvedPolicy, Pick<PolicyUpdate, 'policy' | 'diff'>>();
    for (const { policy } of followed.variants.values()) {
      if (patched.has(policy)) continue;
      const patch = patchPolicy(policy, peers, this.#cache);
      if (patch === undefined) return this.#again(followed);
      patched.set(policy, patch);
    }
    // The rules by which a peer's requests are judged may change where no entry of a map does.
    const l7Changed = isJudged(followed);
    if (l7Changed) followed.l7 = 'stale';
    const changed: PolicyUpdate[] = [];
    for (const variant of followed.variants.values()) {
      const patch = patched.get(variant.policy);
      if (patch === undefined || (patch.policy === variant.policy && !l7Changed)) continue;
      variant.policy = patch.policy;
      changed.push({ subject, namedPorts: variant.namedPorts, ...patch, l7Changed });
    }
    return changed;
  }
}

/** Whether flows of the subject pass the proxy. */
function isJudged({ variants }: Followed): boolean {
  return [...variants.values()].some(
    ({ policy }) => redirects(policy, 'ingress') || redirects(policy, 'egress'),
  );
}

/** The policy with the map state of a known one that has the same entries: who holds that need not compare. */
function interned(policy: ResolvedPolicy, known: ReadonlyMap<string, Variant>): ResolvedPolicy {
  for (const {
    policy: { mapState },
  } of known.values())
    if (sameMapState(mapState, policy.mapState)) return { ...policy, mapState };
  return policy;
}

function updateOf(old: Variant, policy: ResolvedPolicy, l7Changed: boolean): PolicyUpdate {
  return {
    subject: policy.subject.id,
    namedPorts: old.namedPorts,
    policy,
    diff: diffMapState(old.policy.mapState, policy.mapState),
    l7Changed,
  };
}

function sameLabels(a: Identity, b: Identity): boolean {
  if (a.labels.length !== b.labels.length) return false;
  const inOrder = a.labels.every(({ source, key, value }, i) => {
    const other = b.labels[i];
    return source === other?.source && key === other.key && value === other.value;
  });
  return inOrder || labelSetText(a.labels) === labelSetText(b.labels);
}

function selectorTexts({ grants, requirements }: ResolvedPolicy): readonly string[] {
  const peers: PeerSelector[] = grants.map(({ peer }) => peer);
  for (const direction of BOTH) peers.push(...requirements[direction]);
  return peers.map(({ text }) => text);
}

/** Rules of nodes select the host alone, and all others never do. */
function selects({ subject, subjectKind }: Omit<SubjectGroup, 'rules'>, { labels }: Identity): boolean {
  const isHost = labels.some(({ source, key }) => source === 'reserved' && key === 'host');
  return isHost === (subjectKind === 'node') && matchesSelector(subject, labels);
}

function groupBySubject(rules: readonly CompiledRule[]): readonly SubjectGroup[] {
  const groups = new Map<string, SubjectGroup & { rules: CompiledRule[] }>();
  for (const rule of rules) {
    const { subject, subjectKind, subjectText } = rule;
    const group = groups.get(subjectText) ?? { subject, subjectKind, rules: [] };
    group.rules.push(rule);
    groups.set(subjectText, group);
  }
  return [...groups.values()];
}
