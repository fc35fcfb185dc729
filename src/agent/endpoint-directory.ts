import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setFileAside, writeFileAtomically } from '../base/atomic-file.ts';
import { errorText, SystemError } from '../base/errors.ts';
import { makeFolder } from '../base/make-folder.ts';
import { type EndpointRecord, formatRecord, parseRecord } from './endpoint-record.ts';

const FILE = 'state.json';

/** A record that could not be understood. */
export interface CorruptRecord {
  /** From the directory's name; the rest is unknown. */
  readonly id: number;
  /** Where the file is now. */
  readonly aside: string;
  readonly reason: string;
}

/** The endpoints' records on disk: one directory an endpoint, `<root>/<id>/state.json`. */
export class EndpointDirectory {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  /** @throws SystemError code STATE_UNWRITABLE, with the old record in place */
  write(record: EndpointRecord): void {
    const folder = this.#folder(record.spec.id);
    try {
      makeFolder(folder, 0o750);
    } catch (cause) {
      throw new SystemError(`cannot make ${folder}`, {
        code: 'STATE_UNWRITABLE',
        cause,
      });
    }
    writeFileAtomically(join(folder, FILE), formatRecord(record));
  }

  remove(id: number): void {
    rmSync(this.#folder(id), { recursive: true, force: true });
  }

  /** Every readable record; the others are set aside and told. */
  readAll(now: Date): {
    readonly records: readonly EndpointRecord[];
    readonly corrupt: readonly CorruptRecord[];
  } {
    const records: EndpointRecord[] = [];
    const corrupt: CorruptRecord[] = [];
    for (const id of this.#ids()) {
      const path = join(this.#folder(id), FILE);
      const text = this.#readFile(path);
      if (text === undefined) {
        this.#removeUnborn(id);
        continue;
      }
      try {
        const record = parseRecord(text, path);
        if (record.spec.id !== id) throw new SystemError(`${path}: names endpoint ${record.spec.id}`);
        records.push(record);
      } catch (error) {
        corrupt.push({ id, aside: setFileAside(path, now), reason: errorText(error) });
      }
    }
    return { records, corrupt };
  }

  /** A directory without a record: the agent died before the first write, and nothing was attached yet. */
  #removeUnborn(id: number): void {
    const folder = this.#folder(id);
    // What was set aside as corrupt stays for whoever wants to look at it.
    if (readdirSync(folder).every((name) => name === `${FILE}.new`)) this.remove(id);
  }

  #folder(id: number): string {
    return join(this.#root, String(id));
  }

  #ids(): number[] {
    makeFolder(this.#root, 0o750);
    return readdirSync(this.#root, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && /^[1-9]\d{0,4}$/.test(entry.name))
      .map((entry) => Number(entry.name))
      .sort((a, b) => a - b);
  }

  #readFile(path: string): string | undefined {
    try {
      return readFileSync(path, 'utf8');
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
      throw error;
    }
  }
}
