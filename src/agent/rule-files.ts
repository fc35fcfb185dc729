import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type StagedFiles, setFileAside, stageFiles, writeFileAtomically } from '../base/atomic-file.ts';
import { errorText } from '../base/errors.ts';
import { EMPTY_INVENTORY, type PolicyInventory } from '../model/policy-inventory.ts';
import {
  inventoryObjects,
  OWN_DOCUMENT_LIMITS,
  PolicyInvalidError,
  parsePolicy,
  Repository,
} from '../policy/index.ts';
import type { StateFileDeps } from './state-file.ts';

/** What an earlier agent left of the rules. */
export interface SavedRules {
  readonly repository: Repository;
  /** The groups and services that the rules may name. */
  readonly inventory: PolicyInventory;
  /** Why the rules are unknown; undefined when they are not. */
  readonly lost: string | undefined;
  /** What was corrupt where the other copy could be read. */
  readonly damage: string | undefined;
}

/** Mode of the files: they may hold values of Secrets. */
const OWNER_ONLY = 0o600;

function fileText(rules: Repository, inventory: PolicyInventory): string {
  return `{${rules.savedFields()},"inventory":${JSON.stringify(inventoryObjects(inventory, 'written'))}}\n`;
}

/** @throws PolicyInvalidError */
function savedInventory(saved: unknown, file: string): PolicyInventory {
  const { inventory } = (saved ?? {}) as { readonly inventory?: unknown };
  if (!Array.isArray(inventory) || inventory.length === 0) return EMPTY_INVENTORY;
  const parsed = parsePolicy(JSON.stringify(inventory), { file, limits: OWN_DOCUMENT_LIMITS });
  if (parsed.errors.length > 0) throw new PolicyInvalidError(parsed.errors);
  return parsed.inventory;
}

/** The rules on disk, twice: without them an endpoint would be open to everybody, so one damaged file must not lose them. */
export class RuleFiles {
  readonly #files: readonly [string, string];
  readonly #deps: StateFileDeps;

  constructor(stateDir: string, deps: StateFileDeps) {
    this.#files = [join(stateDir, 'policy.json'), join(stateDir, 'policy.backup.json')];
    this.#deps = deps;
  }

  /** Reads the rules of the last run; a file that is damaged is set aside, and replaced if the other one is not. */
  load(): SavedRules {
    const problems: string[] = [];
    for (const file of this.#files) {
      const saved = this.#read(file, problems);
      if (saved === undefined) continue;
      if (problems.length > 0) this.#repair(saved);
      const damage = problems.length === 0 ? undefined : problems.join('; ');
      return { ...saved, lost: undefined, damage };
    }
    problems.push(...this.#setAsideEarlier(problems));
    const lost = problems.length === 0 ? undefined : problems.join('; ');
    return { repository: Repository.empty(), inventory: EMPTY_INVENTORY, lost, damage: undefined };
  }

  /** Begins to write the rules. @rejects SystemError STATE_UNWRITABLE, with the files as they were */
  stage(rules: Repository, inventory: PolicyInventory): Promise<StagedFiles> {
    return stageFiles(this.#files, fileText(rules, inventory), OWNER_ONLY);
  }

  /** Puts the files back after `commit` rejected; if they cannot be, the next change writes them. */
  takeBack(rules: Repository, inventory: PolicyInventory): void {
    try {
      this.#write(rules, inventory);
    } catch (error) {
      this.#deps.log.error({ error: errorText(error) }, 'policy files could not be put back');
    }
  }

  /** @throws SystemError STATE_UNWRITABLE; the first of the two files may have been written already */
  #write(rules: Repository, inventory: PolicyInventory): void {
    const text = fileText(rules, inventory);
    for (const file of this.#files) writeFileAtomically(file, text, OWNER_ONLY);
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

  #read(file: string, problems: string[]): Pick<SavedRules, 'repository' | 'inventory'> | undefined {
    if (!existsSync(file)) return undefined;
    try {
      const saved: unknown = JSON.parse(readFileSync(file, 'utf8'));
      return { repository: Repository.fromJSON(saved, file), inventory: savedInventory(saved, file) };
    } catch (error) {
      const aside = setFileAside(file, this.#deps.now());
      problems.push(`${file} is corrupt (${errorText(error)}), set aside as ${aside}`);
      this.#deps.log.error({ file, aside, error: errorText(error) }, 'policy file is corrupt, set aside');
      return undefined;
    }
  }

  /** The rules are known all the same: a full disk is no reason to doubt them. */
  #repair({ repository, inventory }: Pick<SavedRules, 'repository' | 'inventory'>): void {
    try {
      this.#write(repository, inventory);
    } catch (error) {
      this.#deps.log.error(
        { error: errorText(error) },
        'the damaged copy of the rules could not be replaced',
      );
    }
  }
}
