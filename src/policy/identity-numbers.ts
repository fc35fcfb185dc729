import { SystemError } from '../base/errors.ts';
import type { Identity, NumericIdentity } from '../model/identity.ts';
import type { Label } from '../model/labels.ts';

/** How many numbers a scope has. */
const SCOPE_SIZE = 1 << 24;

/** One number with what it stands for. */
export interface NumberedEntry<Meaning> {
  readonly key: string;
  readonly meaning: Meaning;
  readonly identity: Identity;
  /** How many prefixes and addresses name it. */
  users: number;
}

export interface IdentityNumbersOptions<Meaning> {
  /** First number of the scope. */
  readonly first: NumericIdentity;
  /** The same exactly for equal meanings. */
  readonly keyOf: (meaning: Meaning) => string;
  readonly labelsOf: (meaning: Meaning) => readonly Label[];
}

export interface SavedNumbers<Meaning> {
  /** The number that is tried first for the next new one. */
  readonly next: NumericIdentity;
  readonly entries: readonly { readonly id: NumericIdentity; readonly meaning: Meaning }[];
}

/**
 * Numbers of one scope of this node. One is released in two steps: what nobody names any more keeps its number, and is
 * known, until `forget`.
 */
export class IdentityNumbers<Meaning> {
  readonly #options: IdentityNumbersOptions<Meaning>;
  readonly #entries = new Map<string, NumberedEntry<Meaning>>();
  readonly #byId = new Map<NumericIdentity, NumberedEntry<Meaning>>();
  #next: NumericIdentity;
  #fresh: Identity[] = [];

  /** @param saved numbers of the last run: they stay in force until they are found unused and forgotten */
  constructor(options: IdentityNumbersOptions<Meaning>, saved?: SavedNumbers<Meaning>) {
    this.#options = options;
    this.#next = saved?.next ?? options.first;
    for (const { id, meaning } of saved?.entries ?? []) this.#enter(options.keyOf(meaning), id, meaning);
  }

  /** The entry of a meaning; a new one is given the next free number. @throws SystemError LOCAL_IDENTITIES_EXHAUSTED */
  of(meaning: Meaning): NumberedEntry<Meaning> {
    const key = this.#options.keyOf(meaning);
    return this.#entries.get(key) ?? this.#enter(key, this.#allocate(), meaning);
  }

  /** Identities that came to be since the last call. */
  takeNew(): readonly Identity[] {
    const fresh = this.#fresh;
    this.#fresh = [];
    return fresh;
  }

  /** The numbers that nobody names, ascending. */
  releasable(): readonly NumericIdentity[] {
    const unused = [...this.#byId.values()].filter(({ users }) => users === 0);
    return unused.map(({ identity }) => identity.id).sort((a, b) => a - b);
  }

  /** Gives numbers up, but for those in use and those of other scopes. @returns those that are gone */
  forget(ids: readonly NumericIdentity[]): readonly NumericIdentity[] {
    const gone: NumericIdentity[] = [];
    for (const id of ids) {
      const entry = this.#byId.get(id);
      if (entry === undefined || entry.users > 0) continue;
      this.#byId.delete(id);
      this.#entries.delete(entry.key);
      gone.push(id);
    }
    return gone;
  }

  saved(): SavedNumbers<Meaning> {
    const entries = [...this.#byId.values()].map(({ identity, meaning }) => ({ id: identity.id, meaning }));
    return { next: this.#next, entries };
  }

  #enter(key: string, id: NumericIdentity, meaning: Meaning): NumberedEntry<Meaning> {
    const identity = { id, labels: this.#options.labelsOf(meaning) };
    const entry = { key, meaning, identity, users: 0 };
    this.#entries.set(key, entry);
    this.#byId.set(id, entry);
    this.#fresh.push(identity);
    return entry;
  }

  #allocate(): NumericIdentity {
    const { first } = this.#options;
    for (let tried = 0; tried < SCOPE_SIZE; tried++) {
      const id = this.#next;
      // In turn: a number that was just given up stays unused as long as possible.
      this.#next = id + 1 < first + SCOPE_SIZE ? id + 1 : first;
      if (!this.#byId.has(id)) return id;
    }
    throw new SystemError('all numbers of this node for prefixes and names, or for nodes, are in use', {
      code: 'LOCAL_IDENTITIES_EXHAUSTED',
      hint: 'let rules name fewer prefixes and names',
    });
  }
}
