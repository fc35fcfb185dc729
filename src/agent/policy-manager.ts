import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setFileAside, writeFileAtomically } from '../base/atomic-file.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Identity, NumericIdentity } from '../model/identity.ts';
import { formatLabels, type Label } from '../model/labels.ts';
import {
  type EnforcementMode,
  type IdentityChanges,
  PolicyResolver,
  Repository,
  type RepositoryChange,
  type RepositoryJson,
  readPolicy,
  type SelectorUse,
  type StoredRule,
} from '../policy/index.ts';
import type { EndpointPolicy } from './endpoint.ts';
import { AgentEventType, agentEvent, type EmitEvent } from './events.ts';

export interface PolicyManagerOptions {
  readonly stateDir: string;
  readonly clusterName: string;
  readonly mode: EnforcementMode;
  readonly allowLocalhost: 'always' | 'policy';
}

export interface PolicyManagerDeps {
  readonly log: Logger;
  readonly emit: EmitEvent;
  readonly now: () => Date;
  /** The policy of these subjects is another one now, or the revision moved (then `touched` may be empty). */
  readonly onChange: (touched: ReadonlySet<NumericIdentity>, reason: string) => void;
}

/**
 * The rules of this node and what they mean for its endpoints. The rule set is on disk before it takes effect, twice:
 * without its rules an endpoint would be open to everybody, so one damaged file must not lose them.
 */
export class PolicyManager {
  readonly #files: readonly [string, string];
  readonly #deps: PolicyManagerDeps;
  readonly #resolver: PolicyResolver;
  readonly #allowLocalhost: 'always' | 'policy';
  #mode: EnforcementMode;
  #repository = Repository.empty();
  #lost: string | undefined;
  #damage: string | undefined;
  #importErrors = 0;

  constructor(options: PolicyManagerOptions, deps: PolicyManagerDeps) {
    this.#files = [join(options.stateDir, 'policy.json'), join(options.stateDir, 'policy.backup.json')];
    this.#deps = deps;
    this.#mode = options.mode;
    this.#allowLocalhost = options.allowLocalhost;
    this.#resolver = new PolicyResolver(options);
  }

  get revision(): number {
    return this.#repository.revision;
  }

  get mode(): EnforcementMode {
    return this.#mode;
  }

  get ruleCount(): number {
    return this.#repository.snapshot().rules.length;
  }

  get importErrors(): number {
    return this.#importErrors;
  }

  /** Why the rules of the last run are unknown; undefined when they are not. Until the next import nothing is opened. */
  get lost(): string | undefined {
    return this.#lost;
  }

  /** Which file of the rules was corrupt when the other one was taken; until the next import. */
  get damage(): string | undefined {
    return this.#damage;
  }

  /** Reads the rules of the last run. */
  load(): void {
    const problems: string[] = [];
    const read = this.#files.some((file) => this.#read(file, problems));
    this.#resolver.setRules(this.#repository.snapshot());
    if (!read) problems.push(...this.#setAsideEarlier(problems));
    if (problems.length === 0) return;
    if (read) this.#repair(problems.join('; '));
    else this.#lost = problems.join('; ');
  }

  /** Rules that an earlier start lost stay lost until an import, however often the agent starts in between. */
  #setAsideEarlier(problems: readonly string[]): string[] {
    const folder = dirname(this.#files[0]);
    if (problems.length > 0 || !existsSync(folder)) return [];
    const prefixes = this.#files.map((file) => `${basename(file)}.corrupt-`);
    const names = readdirSync(folder).filter((name) => prefixes.some((prefix) => name.startsWith(prefix)));
    if (names.length === 0) return [];
    return [`the rules were set aside as ${names.sort().join(', ')}, and none were imported since`];
  }

  /** @returns whether the rules are those of `file` now; a damaged one is set aside and told */
  #read(file: string, problems: string[]): boolean {
    if (!existsSync(file)) return false;
    try {
      this.#repository = Repository.fromJSON(JSON.parse(readFileSync(file, 'utf8')), file);
      return true;
    } catch (error) {
      const aside = setFileAside(file, this.#deps.now());
      problems.push(`${file} is corrupt (${errorText(error)}), set aside as ${aside}`);
      this.#deps.log.error({ file, aside, error: errorText(error) }, 'policy file is corrupt, set aside');
      return false;
    }
  }

  /** Writes the damaged file again. The rules are known all the same: a full disk is no reason to doubt them. */
  #repair(damage: string): void {
    this.#damage = damage;
    try {
      this.#persist();
    } catch (error) {
      this.#deps.log.error(
        { error: errorText(error) },
        'the damaged copy of the rules could not be replaced',
      );
    }
  }

  /**
   * What an identity's endpoints are to enforce; followed until `forget`.
   * @returns undefined when the rules are lost
   */
  resolve(identity: Identity): EndpointPolicy | undefined {
    if (this.#lost !== undefined) return undefined;
    return { revision: this.revision, policy: this.#resolver.resolve(identity) };
  }

  forget(subject: NumericIdentity): void {
    this.#resolver.forget(subject);
  }

  /**
   * Takes a text of rules; rules with the same labels as present ones replace them.
   * @throws PolicyInvalidError (nothing changed), SystemError STATE_UNWRITABLE (nothing changed)
   */
  import(text: string, file: string): RepositoryChange {
    try {
      const rules = readPolicy(text, { file });
      const change = this.#change((repository) => repository.upsert(rules));
      this.#announce(AgentEventType.policyUpdated, change, change.added);
      return change;
    } catch (error) {
      this.#importErrors++;
      throw error;
    }
  }

  /** Removes every rule with all of `labels`; all rules when it is empty. @throws SystemError STATE_UNWRITABLE */
  delete(labels: readonly Label[]): RepositoryChange {
    const change = this.#change((repository) => repository.delete(labels));
    this.#announce(AgentEventType.policyDeleted, change, change.removed);
    return change;
  }

  rules(labels: readonly Label[]): readonly StoredRule[] {
    return this.#repository.get(labels);
  }

  setMode(mode: EnforcementMode): void {
    if (mode === this.#mode) return;
    this.#mode = mode;
    const updates = this.#resolver.setOptions({ mode, allowLocalhost: this.#allowLocalhost });
    this.#deps.onChange(new Set(updates.map(({ subject }) => subject)), `policy enforcement is ${mode}`);
  }

  updateIdentities(changes: IdentityChanges): void {
    const touched = new Set(this.#resolver.updateIdentities(changes).map(({ subject }) => subject));
    if (touched.size > 0) this.#deps.onChange(touched, 'identities changed');
  }

  selectors(): readonly SelectorUse[] {
    return this.#resolver.selectors();
  }

  #change(apply: (repository: Repository) => RepositoryChange): RepositoryChange {
    const before = this.#repository.toJSON();
    const change = apply(this.#repository);
    const wasLost = this.#lost !== undefined;
    if (change.added.length === 0 && change.removed.length === 0 && !wasLost) return change;
    try {
      this.#persist();
    } catch (error) {
      this.#takeBack(before);
      throw error;
    }
    this.#lost = undefined;
    this.#damage = undefined;
    const updates = this.#resolver.setRules(this.#repository.snapshot());
    const touched = new Set(updates.map(({ subject }) => subject));
    this.#deps.onChange(touched, `policy revision ${change.revision}`);
    return change;
  }

  #persist(): void {
    const text = `${JSON.stringify(this.#repository.toJSON())}\n`;
    for (const file of this.#files) writeFileAtomically(file, text);
  }

  /** The first of the two files may have been written already; if it cannot be put back, the next change writes it. */
  #takeBack(before: RepositoryJson): void {
    this.#repository = Repository.fromJSON(before);
    this.#resolver.setRules(this.#repository.snapshot());
    try {
      writeFileAtomically(this.#files[0], `${JSON.stringify(before)}\n`);
    } catch (error) {
      this.#deps.log.error({ error: errorText(error) }, 'policy file could not be put back');
    }
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
