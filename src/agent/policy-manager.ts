import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { allInTurns } from '../base/slices.ts';
import { type Identity, isAllocatedIdentity, type NumericIdentity } from '../model/identity.ts';
import type { L7Policy, ProxyPorts } from '../model/l7.ts';
import { formatLabels, type Label } from '../model/labels.ts';
import type { NamedPort } from '../model/named-port.ts';
import { mergeInventory, type PolicyInventory } from '../model/policy-inventory.ts';
import {
  formatPolicyObject,
  objectOfRule,
  type PolicyObjectRef,
  withoutObjects,
} from '../model/policy-object.ts';
import type { FqdnChange } from '../policy/fqdn.ts';
import {
  type EnforcementMode,
  type FqdnSelector,
  type IdentityChanges,
  type PolicyEngine,
  PolicyInvalidError,
  type PolicyNode,
  PolicyResolver,
  type PolicyUpdate,
  type PrefixChanges,
  parsePolicySlices,
  type RepositoryChange,
  type SelectorUse,
  type StoredRule,
} from '../policy/index.ts';
import type { EndpointPolicy } from './endpoint.ts';
import { AgentEventType, agentEvent, type EmitEvent } from './events.ts';
import { KeptRules, type RuleChange } from './kept-rules.ts';
import { type OrderedChange, PolicyOrder } from './policy-order.ts';
import { isEmptyChange, type PrefixWriter } from './prefix-writer.ts';
import { needsProxy } from './redirects.ts';

interface BeginOptions extends Partial<Pick<OrderedChange, 'endpoints' | 'identities' | 'barrier'>> {
  /** Tell of it also when it touches nobody: the revision moved. */
  readonly always?: boolean;
}

export interface PolicyManagerOptions {
  readonly stateDir: string;
  readonly clusterName: string;
  readonly mode: EnforcementMode;
  readonly allowLocalhost: 'always' | 'policy';
  /** Addresses of the cluster's API server beside those that imported objects tell. Text form. */
  readonly apiServers: readonly string[];
  /** Whether nodes have identities by their labels: without, rules about these are refused. */
  readonly nodeLabels: boolean;
  /** Rules of the agent's own, in force beside those of the user and shown nowhere. */
  readonly generated?: readonly StoredRule[] | undefined;
}

export interface PolicyManagerDeps {
  readonly log: Logger;
  readonly emit: EmitEvent;
  readonly now: () => Date;
  /** The policy of these subjects is another one now, or the revision moved (then `touched` may be empty). */
  readonly onChange: (touched: ReadonlySet<NumericIdentity>, reason: string) => void;
  /** Local endpoints of these identities, and all of them. */
  readonly endpointsOf: (subjects: ReadonlySet<NumericIdentity>) => readonly number[];
  readonly allEndpoints: () => readonly number[];
  /** Lets nothing pass an endpoint until its policy is written anew. */
  readonly close: (endpoint: number) => Promise<void>;
  /** Writes prefixes with their identities to the ipcache. */
  readonly prefixes: PrefixWriter;
  /** Addresses of the cluster's API server, all of them. */
  readonly onApiServers: (addresses: readonly string[]) => void;
  /** What the proxy must know changed. */
  readonly onL7Change: () => void;
  /** A change is in force: what the proxy only had to know on the way may go. */
  readonly onL7Done: () => void;
  /** A change of the rules is enforced, so long after it was taken. */
  readonly onImplemented: (delayMs: number) => void;
  /** The names of `toFQDNs` in force may be others. @returns what that changed of addresses */
  readonly selectNames: (selectors: readonly FqdnSelector[]) => readonly FqdnChange[];
}

/**
 * The rules of this node and what they mean for its endpoints: keeps them, follows what they depend on, and puts each
 * change in force in the order that opens and closes nothing else on the way (ADR 0009).
 */
export class PolicyManager {
  readonly #deps: PolicyManagerDeps;
  readonly #kept: KeptRules;
  readonly #options: PolicyManagerOptions;
  readonly #order: PolicyOrder;
  #engine: PolicyEngine;
  #mode: EnforcementMode;
  #needsProxy = false;
  #importErrors = 0;
  /** Identities that the cluster gave up, and policies hold as long as somebody has them here. */
  readonly #leaving = new Set<NumericIdentity>();
  /** Changes of the ipcache that wait: until the endpoints of the last run are found, or their numbers are on disk. */
  #held: readonly PrefixChanges[] = [];
  #starting = true;
  /** To be called when lost rules were replaced, and that is in force. */
  #onKnown: (() => void)[] = [];

  constructor(options: PolicyManagerOptions, deps: PolicyManagerDeps) {
    this.#deps = deps;
    this.#options = options;
    this.#mode = options.mode;
    this.#kept = new KeptRules(options.stateDir, deps, {
      follow: () => this.#followAndKeep(),
      enforce: (...change) => this.#enforce(...change),
      takeBack: () => this.#begin(this.#follow(), `policy revision ${this.revision}`, { always: true }),
    });
    this.#order = new PolicyOrder(deps);
    this.#engine = new PolicyResolver(options);
  }

  get revision(): number {
    return this.#kept.revision;
  }

  get mode(): EnforcementMode {
    return this.#mode;
  }

  get ruleCount(): number {
    return this.#kept.snapshot().rules.length;
  }

  /** Changes of the rules that were taken, since the start. */
  get changes(): number {
    return this.#kept.changes;
  }

  get importErrors(): number {
    return this.#importErrors;
  }

  /** Why the rules of the last run are unknown; undefined when they are not. Until the next import nothing is opened. */
  get lost(): string | undefined {
    return this.#kept.lost;
  }

  /** Whether the rules, or the endpoints that they are for, are not known. */
  get isUnknown(): boolean {
    return this.#starting || this.lost !== undefined;
  }

  /** Which file of the rules was corrupt when the other one was taken, until the next import; or that of the local identities. */
  get damage(): string | undefined {
    const { damage } = this.#kept;
    const rules = damage === undefined ? undefined : `${damage}: the other copy was taken`;
    const damages = [rules, this.#deps.prefixes.damage].filter((text) => text !== undefined);
    return damages.length === 0 ? undefined : damages.join('; ');
  }

  /** Settles when the rules are known and in force: until then what an earlier agent wrote rests on rules that nobody knows. */
  rulesKnown(): Promise<void> {
    if (this.lost === undefined) return Promise.resolve();
    return new Promise((resolve) => this.#onKnown.push(resolve));
  }

  /** Whether a rule in force needs the proxy. */
  get needsProxy(): boolean {
    return this.#needsProxy;
  }

  /** The order in which changes get in force. */
  get order(): PolicyOrder {
    return this.#order;
  }

  /** Reads the rules of the last run, and the numbers of its prefixes and names. The ipcache waits for `endpointsFound`. */
  load(): void {
    this.#engine = new PolicyResolver({ ...this.#options, localIdentities: this.#deps.prefixes.load() });
    this.#kept.load();
    this.#begin(this.#follow(), 'rules of the last run');
  }

  /**
   * The endpoints of the last run are known, and will be regenerated: the ipcache follows once their policy maps are
   * written, and then this settles.
   */
  endpointsFound(ids: readonly number[]): Promise<void> {
    this.#starting = false;
    return this.#begin([], 'prefixes of the last run', { endpoints: ids, barrier: true });
  }

  /**
   * Whether the datapath may be told that somebody has the identity: every policy map that picks it knows it. Those of
   * prefixes and names follow their change (`#finish`) and need not be asked for.
   */
  mayName(identity: NumericIdentity): boolean {
    if (!isAllocatedIdentity(identity)) return true;
    return !this.isUnknown && this.#order.mayName(identity);
  }

  /**
   * What an identity's endpoints are to enforce; followed until `forget`.
   * @returns undefined when the rules are lost
   */
  resolve(identity: Identity, namedPorts: readonly NamedPort[] = []): EndpointPolicy | undefined {
    if (this.lost !== undefined) return undefined;
    return { revision: this.revision, policy: this.#engine.resolve(identity, namedPorts) };
  }

  forget(subject: NumericIdentity): void {
    this.#engine.forget(subject);
    this.#deps.onL7Change();
  }

  /**
   * Takes a text of rules, and of groups and services that they name; rules with the same labels as present ones replace
   * them.
   * @rejects PolicyInvalidError (nothing changed), SystemError STATE_UNWRITABLE (what was enforced meanwhile is taken back)
   */
  async import(text: string, file: string): Promise<RepositoryChange> {
    try {
      const change = await this.#kept.changeBy(() => this.#read(text, file));
      this.#announce(AgentEventType.policyUpdated, change, change.added);
      return change;
    } catch (error) {
      this.#importErrors++;
      throw error;
    }
  }

  /** @rejects PolicyInvalidError */
  async #read(text: string, file: string): Promise<RuleChange> {
    const { nodeLabels } = this.#options;
    const { rules, inventory, errors } = await allInTurns(parsePolicySlices(text, { file, nodeLabels }));
    if (errors.length > 0) throw new PolicyInvalidError(errors);
    return {
      apply: (repository) => repository.upsert(rules.map(({ rule }) => rule)),
      merge: (old) => mergeInventory(old, inventory),
    };
  }

  /** Removes every rule with all of `labels`; all rules when it is empty. @rejects as `import` does */
  async delete(labels: readonly Label[]): Promise<RepositoryChange> {
    const change = await this.#kept.change((repository) => repository.delete(labels));
    this.#announce(AgentEventType.policyDeleted, change, change.removed);
    return change;
  }

  /**
   * Removes the rules that come from these objects, and these groups and services.
   * @rejects as `import` does
   */
  async deleteObjects(refs: readonly PolicyObjectRef[]): Promise<RepositoryChange> {
    const names = new Set(refs.map(formatPolicyObject));
    const isOfThem = ({ rule }: StoredRule): boolean => {
      const ref = objectOfRule(rule.labels);
      return ref !== undefined && names.has(formatPolicyObject(ref));
    };
    const change = await this.#kept.change(
      (repository) =>
        repository.remove(
          new Set(
            repository
              .get([])
              .filter(isOfThem)
              .map(({ id }) => id),
          ),
        ),
      (old) => withoutObjects(old, refs),
    );
    this.#announce(AgentEventType.policyDeleted, change, change.removed);
    return change;
  }

  /** The groups and services that rules may name. */
  get inventory(): PolicyInventory {
    return this.#kept.inventory;
  }

  rules(labels: readonly Label[]): readonly StoredRule[] {
    return this.#kept.rules(labels);
  }

  setMode(mode: EnforcementMode): void {
    if (mode === this.#mode) return;
    this.#mode = mode;
    this.#begin(this.#engine.setOptions({ mode }), `policy enforcement is ${mode}`);
  }

  /** Where the proxy listens. */
  setProxyPorts(proxyPorts: ProxyPorts): void {
    this.#begin(this.#engine.setOptions({ proxyPorts }), 'proxy ports');
  }

  /** Those that went leave the policies once nobody has them any more, here and in the ipcache. */
  updateIdentities({ upserts = [], deletes = [] }: IdentityChanges): void {
    for (const id of deletes) this.#leaving.add(id);
    for (const { id } of upserts) this.#leaving.delete(id);
    const identities = upserts.map(({ id }) => id).filter(isAllocatedIdentity);
    this.#begin(this.#engine.updateIdentities({ upserts }), 'identities changed', { identities });
    this.ipcacheWritten();
  }

  /** The ipcache is what it should be: policies forget the identities that went with that. */
  ipcacheWritten(): void {
    if (this.#leaving.size === 0) return;
    const named = this.#deps.prefixes.named();
    const gone = [...this.#leaving].filter(
      (id) => !named.has(id) && this.#deps.endpointsOf(new Set([id])).length === 0,
    );
    if (gone.length === 0) return;
    for (const id of gone) this.#leaving.delete(id);
    this.#order.unknow(gone);
    this.#begin(this.#engine.updateIdentities({ deletes: gone }), 'identities are gone');
  }

  /** The nodes of the cluster, all of them; settles when what that changed of their identities is in force. */
  setNodes(nodes: readonly PolicyNode[]): Promise<void> {
    return this.#begin(this.#engine.setNodes(nodes), 'nodes changed');
  }

  /** The named ports of all endpoints of the cluster. */
  setNamedPorts(ports: readonly NamedPort[]): void {
    this.#begin(this.#engine.setNamedPorts(ports), 'named ports changed');
  }

  /** Which selectors addresses of names match now; settles when that is in force. */
  setFqdnAddresses(changes: readonly FqdnChange[]): Promise<void> {
    return this.#begin(this.#applyNames(changes), 'addresses of names changed');
  }

  selectors(): readonly SelectorUse[] {
    return this.#engine.selectors();
  }

  fqdnSelectors(): readonly FqdnSelector[] {
    return this.#engine.fqdnSelectors();
  }

  /** Identities of prefixes and names that the ipcache may name now. */
  localIdentities(): readonly Identity[] {
    const byId = new Map(this.#engine.prefixes().map(({ identity }) => [identity.id, identity]));
    return [...byId.values()].sort((a, b) => a.id - b.id);
  }

  l7Policy(): L7Policy {
    return this.#engine.l7Policy();
  }

  /** Tries again to keep numbers that could not be kept; gives those up that nothing names any more. */
  async tidy(): Promise<void> {
    if (this.#starting) return;
    if (this.#held.length > 0) {
      this.#deps.prefixes.keep(this.#engine.localIdentities());
      await this.#begin([], 'numbers of prefixes are kept');
    }
    this.#releaseUnused();
  }

  stop(): void {
    this.#order.stop();
  }

  #followAndKeep(): readonly PolicyUpdate[] {
    const updates = this.#follow();
    this.#deps.prefixes.keep(this.#engine.localIdentities());
    return updates;
  }

  #enforce(updates: readonly PolicyUpdate[], revision: number, wasLost: boolean): void {
    // Nothing followed the rules that were lost: nobody knows whose map they touch, nor which identities it lacks.
    const all = wasLost ? { endpoints: this.#deps.allEndpoints(), barrier: true } : {};
    const begun = performance.now();
    const done = this.#begin(updates, `policy revision ${revision}`, { ...all, always: true });
    if (wasLost) void done.then(() => this.#tellKnown());
    void done.then(() => this.#deps.onImplemented(performance.now() - begun));
  }

  #tellKnown(): void {
    for (const tell of this.#onKnown.splice(0)) tell();
  }

  /** Makes the engine follow the repository, and names follow the engine. */
  #follow(): readonly PolicyUpdate[] {
    const snapshot = this.#kept.snapshot();
    this.#needsProxy = snapshot.rules.some(({ rule }) => needsProxy(rule));
    const rules = [...(this.#options.generated ?? []), ...snapshot.rules];
    const updates = [
      ...this.#engine.setInventory(this.#kept.inventory),
      ...this.#engine.setRules({ ...snapshot, rules }),
    ];
    this.#deps.onApiServers(this.#engine.apiServers());
    const names = this.#deps.selectNames(this.#engine.fqdnSelectors());
    return names.length === 0 ? updates : [...updates, ...this.#applyNames(names)];
  }

  #applyNames(changes: readonly FqdnChange[]): readonly PolicyUpdate[] {
    return this.#engine.setFqdnAddresses(
      new Map(changes.map(({ address, selectors }) => [address, new Set(selectors)])),
    );
  }

  /** Puts in force what the engine worked out; settles when it is. */
  #begin(updates: readonly PolicyUpdate[], reason: string, more: BeginOptions = {}): Promise<void> {
    const { endpoints = [], identities = [], barrier = false, always = false } = more;
    const prefixes = this.#takePrefixes();
    const touched = new Set(updates.map(({ subject }) => subject));
    if (updates.some(({ l7Changed }) => l7Changed)) this.#deps.onL7Change();
    if (touched.size === 0 && prefixes.length === 0 && !always && !barrier) {
      this.#order.know(identities);
      return Promise.resolve();
    }
    const sequence = this.#order.sequence + 1;
    const done = this.#order.begin({
      endpoints: [...endpoints, ...this.#deps.endpointsOf(touched)],
      identities,
      barrier,
      finish: () => this.#finish(sequence, prefixes),
    });
    if (touched.size > 0 || always) this.#deps.onChange(touched, reason);
    return done;
  }

  /** What the ipcache is to be told now; nothing while it has to wait. */
  #takePrefixes(): readonly PrefixChanges[] {
    const fresh = this.#engine.takePrefixChanges();
    const all = isEmptyChange(fresh) ? this.#held : [...this.#held, fresh];
    this.#held = all;
    if (this.#starting || all.length === 0) return [];
    try {
      this.#deps.prefixes.keep(this.#engine.localIdentities());
    } catch (error) {
      this.#deps.log.error(
        { error: errorText(error) },
        'numbers of prefixes cannot be kept: the ipcache waits',
      );
      return [];
    }
    this.#held = [];
    return all;
  }

  async #finish(sequence: number, prefixes: readonly PrefixChanges[]): Promise<void> {
    await this.#deps.prefixes.write(prefixes);
    this.#deps.onL7Done();
    // A later change may name again, or still have to take from the ipcache, what seems unused now.
    if (sequence === this.#order.sequence) this.#releaseUnused();
  }

  /** Takes identities that no ipcache entry names out of the policy maps. */
  #releaseUnused(): void {
    if (this.#held.length > 0) return;
    const ids = this.#deps.prefixes.unnamed(this.#engine.releasable());
    if (ids.length > 0) this.#begin(this.#engine.release(ids), 'identities are not used any more');
  }

  #announce(
    type: typeof AgentEventType.policyUpdated | typeof AgentEventType.policyDeleted,
    change: RepositoryChange,
    rules: readonly StoredRule[],
  ): void {
    const labels = [...new Set(rules.flatMap(({ rule }) => formatLabels(rule.labels)))];
    this.#deps.emit(agentEvent(type, { labels, revision: change.revision, rule_count: rules.length }));
    this.#deps.log.info({ revision: change.revision, labels }, type.toLowerCase());
  }
}
