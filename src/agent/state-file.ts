import { existsSync, readFileSync } from 'node:fs';
import { setFileAside, writeFileAtomically } from '../base/atomic-file.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';

export interface StateFileDeps {
  readonly log: Logger;
  readonly now: () => Date;
}

/** A small JSON file of the state folder: replaced whole, and set aside when it cannot be understood. */
export class StateFile<T> {
  readonly path: string;
  readonly #parse: (value: unknown) => T;
  readonly #deps: StateFileDeps;
  #damage: string | undefined;

  /** @param parse reads what the file holds and trusts nothing in it; throws what is wrong */
  constructor(path: string, parse: (value: unknown) => T, deps: StateFileDeps) {
    this.path = path;
    this.#parse = parse;
    this.#deps = deps;
  }

  /** Which file was set aside at the last `read`, and why. */
  get damage(): string | undefined {
    return this.#damage;
  }

  /** @returns undefined when there is no file, or only a damaged one, which is set aside and told */
  read(): T | undefined {
    this.#damage = undefined;
    if (!existsSync(this.path)) return undefined;
    try {
      return this.#parse(JSON.parse(readFileSync(this.path, 'utf8')));
    } catch (error) {
      const aside = setFileAside(this.path, this.#deps.now());
      this.#damage = `${this.path} is corrupt (${errorText(error)}), set aside as ${aside}`;
      this.#deps.log.error(
        { file: this.path, aside, error: errorText(error) },
        'state file is corrupt, set aside',
      );
      return undefined;
    }
  }

  /** @throws SystemError code STATE_UNWRITABLE, with the file as it was */
  write(value: unknown): void {
    writeFileAtomically(this.path, `${JSON.stringify(value)}\n`);
  }
}
