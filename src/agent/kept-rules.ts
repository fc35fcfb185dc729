import { isDeepStrictEqual } from 'node:util';
import type { StagedFiles } from '../base/atomic-file.ts';
import { allInTurns } from '../base/slices.ts';
import type { Label } from '../model/labels.ts';
import { EMPTY_INVENTORY, type PolicyInventory } from '../model/policy-inventory.ts';
import {
  type PolicySnapshot,
  type PolicyUpdate,
  Repository,
  type RepositoryChange,
  type StoredRule,
} from '../policy/index.ts';
import { RuleFiles, type SavedRules } from './rule-files.ts';
import type { StateFileDeps } from './state-file.ts';

/** How long a change waits for the disk before it is enforced: much longer than writing takes when nobody else writes. */
const STAGE_MS = 2;

/** Waits for a promise, but not for long. @rejects as it does, if it does in time */
async function inTime(promise: Promise<unknown>, limitMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise((resolve) => {
    timer = setTimeout(resolve, limitMs);
  });
  await Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

/** Leaves the files as they were, also when writing them fails only now. */
async function discard(staging: Promise<StagedFiles>): Promise<void> {
  const staged = await staging.catch(() => undefined);
  await staged?.discard();
}

/** What is to become of the rules, and of the groups and services that they may name. */
export interface RuleChange {
  readonly apply: (repository: Repository) => RepositoryChange;
  readonly merge?: ((inventory: PolicyInventory) => PolicyInventory) | undefined;
}

/** What a change of the rules does to those who live by them. */
export interface RuleFollower {
  /** Works out what the rules mean now. */
  follow(): readonly PolicyUpdate[];
  /**
   * Puts it in force.
   * @param wasLost nobody knew the rules before
   */
  enforce(updates: readonly PolicyUpdate[], revision: number, wasLost: boolean): void;
  /** The former rules are there again: works them out, and puts them in force. */
  takeBack(): void;
}

/** The rules of this node, with the groups and services that they may name: in memory and on disk, changed as one. */
export class KeptRules {
  readonly #files: RuleFiles;
  readonly #follower: RuleFollower;
  #now: SavedRules = {
    ...{ repository: Repository.empty(), inventory: EMPTY_INVENTORY, lost: undefined, damage: undefined },
  };
  #changes = 0;
  /** The change under way. */
  #changing: Promise<unknown> = Promise.resolve();

  constructor(stateDir: string, deps: StateFileDeps, follower: RuleFollower) {
    this.#files = new RuleFiles(stateDir, deps);
    this.#follower = follower;
  }

  get revision(): number {
    return this.#now.repository.revision;
  }

  /** Changes that were taken, since the start. */
  get changes(): number {
    return this.#changes;
  }

  /** Why the rules of the last run are unknown; undefined when they are not. */
  get lost(): string | undefined {
    return this.#now.lost;
  }

  /** Which file was corrupt when the other one was taken, until the next change. */
  get damage(): string | undefined {
    return this.#now.damage;
  }

  /** The groups and services that rules may name. */
  get inventory(): PolicyInventory {
    return this.#now.inventory;
  }

  rules(labels: readonly Label[]): readonly StoredRule[] {
    return this.#now.repository.get(labels);
  }

  snapshot(): PolicySnapshot {
    return this.#now.repository.snapshot();
  }

  /** Reads the rules of the last run; nobody follows them yet. */
  load(): void {
    this.#now = this.#files.load();
  }

  /**
   * One change after the other: each is on disk, or taken back, before the next one begins.
   * @rejects SystemError STATE_UNWRITABLE, and whatever `apply` or the follower throws: what was enforced meanwhile is
   * taken back
   */
  change(
    apply: (repository: Repository) => RepositoryChange,
    merge?: (inventory: PolicyInventory) => PolicyInventory,
  ): Promise<RepositoryChange> {
    return this.changeBy(() => Promise.resolve({ apply, merge }));
  }

  /**
   * A change that is worked out, once those before it are done, in as many turns of the event loop as that takes: until
   * then all is as it was.
   * @rejects as `change` does, and as `prepare` does
   */
  changeBy(prepare: () => Promise<RuleChange>): Promise<RepositoryChange> {
    const changed = this.#changing.then(prepare).then((change) => this.#changeNow(change));
    this.#changing = changed.catch(() => undefined);
    return changed;
  }

  /**
   * 1. The rules are written, so that a full disk shows before anything else; a disk that is busy is not waited for;
   * 2. worked out, and enforced from then on; 3. meanwhile made safe from a power cut. Where that fails they are taken
   * back, and the former ones enforced again.
   */
  async #changeNow({ apply, merge = (same) => same }: RuleChange): Promise<RepositoryChange> {
    const before = this.#now;
    const wasLost = before.lost !== undefined;
    const repository = before.repository.fork();
    const change = apply(repository);
    const inventory = merge(before.inventory);
    const same = isDeepStrictEqual(inventory, before.inventory);
    if (change.added.length === 0 && change.removed.length === 0 && same && !wasLost) return change;
    await allInTurns(repository.saveSlices());
    const staging = this.#files.stage(repository, inventory);
    await inTime(staging, STAGE_MS);
    this.#now = { ...before, repository, inventory };
    let saved: Promise<void> | undefined;
    try {
      const updates = this.#follower.follow();
      saved = staging.then((staged) => staged.commit());
      // What was enforced under rules that are lost cannot be brought back.
      if (wasLost) await saved;
      this.#now = { ...this.#now, lost: undefined, damage: undefined };
      this.#follower.enforce(updates, change.revision, wasLost);
      await saved;
    } catch (error) {
      if (saved === undefined) await discard(staging);
      await saved?.catch(() => undefined);
      this.#takeBack(before, saved !== undefined);
      throw error;
    }
    this.#changes++;
    return change;
  }

  #takeBack(before: SavedRules, isOnDisk: boolean): void {
    this.#now = before;
    if (isOnDisk) this.#files.takeBack(before.repository, before.inventory);
    this.#follower.takeBack();
  }
}
