import type { Slices } from '../base/slices.ts';
import { hasLabels, type Label, LabelKey, labelSetText } from '../model/labels.ts';
import { readRuleValue } from './parse-policy.ts';
import type { Rule } from './rule.ts';
import { type RuleJson, ruleJson } from './rule-json.ts';

/** A rule of the repository. Its id stays the same while the rule lives and is never given again. */
export interface StoredRule {
  /** 1..2^32-1. */
  readonly id: number;
  readonly rule: Rule;
}

/** The rule set at one revision. Never changes. */
export interface PolicySnapshot {
  /** > 0. */
  readonly revision: number;
  /** In the order in which they were added. */
  readonly rules: readonly StoredRule[];
}

/** What one change did. `removed` and `added` are empty, and the revision as before, when there was nothing to do. */
export interface RepositoryChange {
  readonly revision: number;
  readonly added: readonly StoredRule[];
  readonly removed: readonly StoredRule[];
}

/** The repository in the form it is kept in across restarts. */
export interface RepositoryJson {
  /** 1 held fewer parts of the language, in the same form. */
  readonly version: 1 | 2;
  readonly revision: number;
  readonly nextRuleId: number;
  readonly rules: readonly { readonly id: number; readonly rule: RuleJson }[];
}

const SAVED_VERSION = 2;
/** Put into words in one slice: some 5 ms. */
const RULES_A_SLICE = 1000;

/** Labels that name the object which a rule comes from. */
const OBJECT_KEYS: readonly string[] = [
  LabelKey.policyName,
  LabelKey.policyNamespace,
  LabelKey.policyDerivedFrom,
];

/**
 * What rules have in common that replace each other: the object they come from, else all of their labels.
 * @returns undefined for a rule without labels, which replaces nothing
 */
function replacementKey({ labels }: Rule): string | undefined {
  const ofObject = labels.filter(({ source, key }) => source === 'k8s' && OBJECT_KEYS.includes(key));
  const isNamed = ofObject.some(({ key }) => key === LabelKey.policyName);
  if (isNamed) return `object ${labelSetText(ofObject)}`;
  return labels.length === 0 ? undefined : `labels ${labelSetText(labels)}`;
}

/** The first revision: that of a repository which never held a rule. */
export const FIRST_REVISION = 1;

/** Stored rule -> its text among the saved ones. Neither changes. */
const savedTexts = new WeakMap<StoredRule, string>();

function savedText(stored: StoredRule): string {
  const text = savedTexts.get(stored) ?? JSON.stringify({ id: stored.id, rule: ruleJson(stored.rule) });
  savedTexts.set(stored, text);
  return text;
}

/** The rules of a node and their revision, which grows by one with every change. */
export class Repository {
  #snapshot: PolicySnapshot;
  #nextRuleId: number;

  private constructor(snapshot: PolicySnapshot, nextRuleId: number) {
    this.#snapshot = snapshot;
    this.#nextRuleId = nextRuleId;
  }

  static empty(): Repository {
    return new Repository({ revision: FIRST_REVISION, rules: [] }, 1);
  }

  get revision(): number {
    return this.#snapshot.revision;
  }

  /** Another repository with the same rules: changes of the one are none of the other. */
  fork(): Repository {
    return new Repository(this.#snapshot, this.#nextRuleId);
  }

  snapshot(): PolicySnapshot {
    return this.#snapshot;
  }

  add(rules: readonly Rule[]): RepositoryChange {
    return this.#change([], rules);
  }

  /** Removes every rule that has all of `labels`, and adds `rules`, as one change. */
  replace(labels: readonly Label[], rules: readonly Rule[]): RepositoryChange {
    return this.#change(this.get(labels), rules);
  }

  /**
   * Puts the rules of an object in the place of all that its former version had, and each other rule in the place of
   * those with exactly the same set of labels. Rules without labels are only added.
   */
  upsert(rules: readonly Rule[]): RepositoryChange {
    const keys = new Set(rules.map(replacementKey));
    keys.delete(undefined);
    const replaced = this.#snapshot.rules.filter(({ rule }) => keys.has(replacementKey(rule)));
    return this.#change(replaced, rules);
  }

  /** Removes every rule that has all of `labels` (their source may be `any`); all rules when `labels` is empty. */
  delete(labels: readonly Label[]): RepositoryChange {
    return this.#change(this.get(labels), []);
  }

  /** Removes the rules with these ids; those that are not there are passed over. */
  remove(ids: ReadonlySet<number>): RepositoryChange {
    return this.#change(
      this.#snapshot.rules.filter(({ id }) => ids.has(id)),
      [],
    );
  }

  /** The rules that have all of `labels`; all rules when it is empty. */
  get(labels: readonly Label[]): readonly StoredRule[] {
    return this.#snapshot.rules.filter(({ rule }) => hasLabels(rule.labels, labels));
  }

  #change(removed: readonly StoredRule[], rules: readonly Rule[]): RepositoryChange {
    if (removed.length === 0 && rules.length === 0)
      return { revision: this.revision, added: [], removed: [] };
    const gone = new Set(removed.map(({ id }) => id));
    const added = rules.map((rule) => ({ id: this.#nextRuleId++, rule }));
    const kept = this.#snapshot.rules.filter(({ id }) => !gone.has(id));
    this.#snapshot = { revision: this.revision + 1, rules: [...kept, ...added] };
    return { revision: this.revision, added, removed };
  }

  /** Puts rules into words slice by slice, so that `savedFields` has them. */
  *saveSlices(): Slices<void> {
    let count = 0;
    for (const stored of this.#snapshot.rules) {
      if (savedTexts.has(stored)) continue;
      savedText(stored);
      if (++count % RULES_A_SLICE === 0) yield;
    }
  }

  /** The fields of the text of `toJSON`, without the braces. A rule is put into words once. */
  savedFields(): string {
    const { revision, rules } = this.#snapshot;
    const texts = rules.map(savedText);
    const head = { version: SAVED_VERSION, revision, nextRuleId: this.#nextRuleId };
    return `${JSON.stringify(head).slice(1, -1)},"rules":[${texts.join(',')}]`;
  }

  toJSON(): RepositoryJson {
    return {
      version: SAVED_VERSION,
      revision: this.revision,
      nextRuleId: this.#nextRuleId,
      rules: this.#snapshot.rules.map(({ id, rule }) => ({ id, rule: ruleJson(rule) })),
    };
  }

  /**
   * Restores what `toJSON` gave, revision and ids included.
   * @throws PolicyInvalidError when a rule in it is not valid; TypeError when it is not such a value at all
   */
  static fromJSON(value: unknown, file = 'the saved policy'): Repository {
    const saved = checkSaved(value);
    const stored = saved.rules.map(({ id, rule }, i) => ({
      id,
      rule: readRuleValue(rule, file, `rules[${i}].rule`),
    }));
    return new Repository({ revision: saved.revision, rules: stored }, saved.nextRuleId);
  }
}

const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value > 0;

function checkSaved(value: unknown): RepositoryJson {
  if (typeof value !== 'object' || value === null) throw new TypeError('the saved policy is not an object');
  const { version, revision, nextRuleId, rules } = value as Record<string, unknown>;
  if (version !== 1 && version !== SAVED_VERSION)
    throw new TypeError(`the saved policy has version ${String(version)}, not 1 or ${SAVED_VERSION}`);
  if (!isCount(revision)) throw new TypeError('the saved policy has no revision');
  if (!isCount(nextRuleId)) throw new TypeError('the saved policy has no nextRuleId');
  if (!Array.isArray(rules)) throw new TypeError('the saved policy has no rules');
  const seen = new Set<number>();
  for (const item of rules as unknown[]) {
    const id = (item as { id?: unknown } | null)?.id;
    if (!isCount(id) || id >= nextRuleId || seen.has(id))
      throw new TypeError('the saved policy has a rule with a wrong id');
    seen.add(id);
  }
  return { version, revision, nextRuleId, rules: rules as RepositoryJson['rules'] };
}
