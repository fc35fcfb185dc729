import type { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { errorText } from '../../base/errors.ts';
import type { Identity, NumericIdentity } from '../../model/identity.ts';
import { type Label, labelSetText } from '../../model/labels.ts';
import type { ClusterNode } from '../../model/node.ts';
import { StoreUnavailableError } from '../errors.ts';
import type { IpIdentity, Store, StoreChange, StoreLog, StoreStatus } from '../types.ts';
import { applyChange, diffViews, emptyView, type StoreView, viewAsChanges } from '../view.ts';
import { ChangeSignal } from './change-signal.ts';
import { fileIdOf, type OpenDatabase, openDatabase, setAside, writeTransaction } from './database.ts';
import {
  changesAfter,
  findIdentity,
  lastChange,
  readView,
  writeChanges,
  writeIdentity,
  writeNodeIps,
} from './records.ts';
import { isBusy, isCorrupt, remedy } from './sqlite-errors.ts';

export interface LocalStoreOptions {
  /** The SQLite file that the agents of one machine share. */
  readonly path: string;
  /** How long a call goes on trying while other processes hold the lock. Default 5 s. */
  readonly busyDeadlineMs?: number;
  /** Period of the safety net behind inotify. Default 2 s. */
  readonly pollMs?: number;
}

export interface LocalStoreDeps {
  readonly log: StoreLog;
  /** [0, 1), for jitter and the start of an identity search. */
  readonly random?: () => number;
  readonly now?: () => Date;
}

type Listener = (changes: readonly StoreChange[], initial: boolean) => void;

const BUSY_DEADLINE_MS = 5_000;
const POLL_MS = 2_000;
const FIRST_BACKOFF_MS = 1;
const LONGEST_BACKOFF_MS = 50;

/**
 * Shared state in one SQLite file. Every process keeps the whole content as its view and brings it up to date from the
 * log of changes, so that reads and watchers go on while the file is locked, full or gone.
 */
export class LocalStore implements Store {
  readonly kind = 'local';
  readonly #options: LocalStoreOptions;
  readonly #log: StoreLog;
  readonly #random: () => number;
  readonly #now: () => Date;
  readonly #signal: ChangeSignal;
  readonly #listeners = new Set<Listener>();
  #open: OpenDatabase | undefined;
  #view: StoreView = emptyView();
  #seq = 0;
  #dataVersion: unknown;
  #status: StoreStatus = { state: 'Disabled', message: 'not started' };
  /** Names of corrupt files that were set aside since the start. */
  #setAside: string[] = [];
  /** What the file holds that this program did not write. */
  readonly #malformed = new Set<string>();
  #started = false;
  #stopped = false;

  constructor(options: LocalStoreOptions, deps: LocalStoreDeps) {
    this.#options = options;
    this.#log = deps.log;
    this.#random = deps.random ?? Math.random;
    this.#now = deps.now ?? ((): Date => new Date());
    this.#signal = new ChangeSignal({
      path: options.path,
      pollMs: options.pollMs ?? POLL_MS,
      onSignal: () => this.#catchUp(),
      onWarning: (message) => this.#log.warn(message),
    });
  }

  async start(): Promise<void> {
    if (this.#started) return;
    await this.#attempt('open', () => undefined);
    this.#started = true;
    this.#catchUp();
    this.#signal.start();
  }

  async stop(): Promise<void> {
    this.#started = false;
    this.#stopped = true;
    this.#signal.stop();
    this.#listeners.clear();
    this.#close();
    this.#status = { state: 'Disabled', message: 'stopped' };
  }

  status(): StoreStatus {
    const notes = [
      ...(this.#setAside.length > 0 ? [`was corrupt, set aside: ${this.#setAside.join(', ')}`] : []),
      ...(this.#malformed.size > 0
        ? [`not understood and left out: ${[...this.#malformed].join(', ')}`]
        : []),
    ];
    if (this.#status.state !== 'Ok' || notes.length === 0) return this.#status;
    return { state: 'Warning', message: `${this.#status.message}; ${notes.join('; ')}` };
  }

  async allocateIdentity(labels: readonly Label[]): Promise<Identity> {
    const known = labelSetText(labels);
    const held = this.#view.identityByLabels.get(known);
    if (held !== undefined) return held;
    return this.#write(
      'allocate identity',
      (db) => findIdentity(db, known) ?? writeIdentity(db, labels, this.#random),
    );
  }

  async getIdentity(id: NumericIdentity): Promise<Identity | undefined> {
    this.#catchUp();
    return this.#view.identities.get(id);
  }

  async listIdentities(): Promise<readonly Identity[]> {
    this.#catchUp();
    return [...this.#view.identities.values()].sort((a, b) => a.id - b.id);
  }

  async putNode(node: ClusterNode): Promise<void> {
    await this.#write(`put node ${node.name}`, (db) => writeChanges(db, [{ kind: 'node-upsert', node }]));
  }

  async deleteNode(name: string): Promise<void> {
    await this.#write(`delete node ${name}`, (db) => writeChanges(db, [{ kind: 'node-delete', name }]));
  }

  async listNodes(): Promise<readonly ClusterNode[]> {
    this.#catchUp();
    return [...this.#view.nodes.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async putIps(ips: readonly IpIdentity[]): Promise<void> {
    await this.#write('put addresses', (db) =>
      writeChanges(
        db,
        ips.map((ip): StoreChange => ({ kind: 'ip-upsert', ip })),
      ),
    );
  }

  async deleteIps(cidrs: readonly string[], node: string): Promise<void> {
    const changes = cidrs.map((cidr): StoreChange => ({ kind: 'ip-delete', cidr, node }));
    await this.#write('delete addresses', (db) => writeChanges(db, changes));
  }

  async replaceIps(node: string, ips: readonly IpIdentity[]): Promise<void> {
    await this.#write(`replace addresses of ${node}`, (db) => writeNodeIps(db, node, ips));
  }

  async listIps(): Promise<readonly IpIdentity[]> {
    this.#catchUp();
    return [...this.#view.ips.values()];
  }

  async watch(listener: Listener): Promise<() => void> {
    this.#catchUp();
    listener(viewAsChanges(this.#view), true);
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #write<T>(what: string, body: (db: DatabaseSync) => T): Promise<T> {
    const result = await this.#attempt(what, (db) => writeTransaction(db, body));
    this.#dataVersion = undefined;
    this.#catchUp();
    return result;
  }

  /** Runs `body` on the open file; waits out other processes' locks; opens, reopens or replaces the file as needed. */
  async #attempt<T>(what: string, body: (db: DatabaseSync) => T): Promise<T> {
    const deadline = performance.now() + (this.#options.busyDeadlineMs ?? BUSY_DEADLINE_MS);
    for (let backoff = FIRST_BACKOFF_MS; ; backoff = Math.min(2 * backoff, LONGEST_BACKOFF_MS)) {
      try {
        const result = body(this.#database());
        this.#good();
        return result;
      } catch (error) {
        const again = this.#recover(error) || (isBusy(error) && performance.now() < deadline);
        if (!again) throw this.#refusal(what, error);
      }
      await delay(backoff * (0.5 + this.#random()));
    }
  }

  /** The handle, opened anew if the file on disk is no longer the one that we hold. */
  #database(): DatabaseSync {
    if (this.#stopped) throw new StoreUnavailableError(`store ${this.#options.path} is stopped`);
    if (this.#open !== undefined && fileIdOf(this.#options.path) !== this.#open.fileId) {
      this.#log.warn(`store ${this.#options.path} was replaced: reopening`);
      this.#close();
    }
    if (this.#open === undefined) {
      const opened = openDatabase(this.#options.path);
      try {
        this.#giveBack(opened.db);
      } catch (error) {
        opened.db.close();
        throw error;
      }
      this.#open = opened;
      this.#dataVersion = undefined;
    }
    return this.#open.db;
  }

  /** Writes what this process still knows into a file that lacks it: after a corrupt or deleted one. */
  #giveBack(db: DatabaseSync): void {
    if (!this.#started) return;
    const { nodes, identities, ips } = readView(db, (what) => this.#malformed.add(what));
    if (nodes.size > 0 || identities.size > 0 || ips.size > 0) {
      const missing = [...this.#view.identities.values()].filter(({ id }) => !identities.has(id));
      writeTransaction(db, () =>
        writeChanges(
          db,
          missing.map((identity): StoreChange => ({ kind: 'identity-upsert', identity })),
        ),
      );
      return;
    }
    writeTransaction(db, () => writeChanges(db, viewAsChanges(this.#view)));
    this.#log.warn(
      `store ${this.#options.path} was empty: wrote back ${viewAsChanges(this.#view).length} objects`,
    );
  }

  /** @returns whether the cause was removed, so that the call may be made again at once */
  #recover(error: unknown): boolean {
    if (!isCorrupt(error)) return false;
    const fileId = this.#open?.fileId ?? fileIdOf(this.#options.path);
    this.#close();
    const aside = setAside(this.#options.path, fileId, this.#now());
    if (aside === undefined) return fileIdOf(this.#options.path) !== fileId;
    this.#setAside.push(aside);
    this.#log.warn(`store ${this.#options.path} is corrupt (${errorText(error)}): set aside as ${aside}`);
    return true;
  }

  #refusal(what: string, error: unknown): unknown {
    if (!(error instanceof Error) || !('errcode' in error)) return error;
    const message = `store ${this.#options.path}: cannot ${what}`;
    this.#bad(`${message}: ${error.message}`);
    return new StoreUnavailableError(message, { cause: error, hint: remedy(error) });
  }

  #good(): void {
    if (this.#status.state === 'Failure') this.#log.info(`store ${this.#options.path} is back`);
    this.#status = { state: 'Ok', message: `local: ${this.#options.path}` };
  }

  #bad(message: string): void {
    if (this.#status.state === 'Failure') return;
    this.#log.warn(message);
    this.#status = { state: 'Failure', message: `${message} (since ${this.#now().toISOString()})` };
  }

  /** Brings the view up to date and tells the watchers. Never throws: the last view stays. */
  #catchUp(): void {
    try {
      const changes = this.#newChanges(this.#database());
      this.#good();
      if (changes.length === 0) return;
      for (const change of changes) applyChange(this.#view, change);
      for (const listener of [...this.#listeners]) listener(changes, false);
    } catch (error) {
      if (isBusy(error)) return;
      if (this.#recover(error)) {
        setImmediate(() => this.#started && this.#catchUp());
        return;
      }
      this.#bad(`store ${this.#options.path}: cannot read: ${errorText(error)}`);
    }
  }

  #newChanges(db: DatabaseSync): StoreChange[] {
    const version = db.prepare('PRAGMA data_version').get()?.data_version;
    if (version === this.#dataVersion) return [];
    const found = changesAfter(db, this.#seq);
    if (found !== undefined && this.#seq !== 0) {
      this.#seq = found.last;
      this.#dataVersion = version;
      return found.changes;
    }
    db.exec('BEGIN');
    try {
      this.#malformed.clear();
      const changes = diffViews(
        this.#view,
        readView(db, (what) => this.#malformed.add(what)),
      );
      this.#seq = lastChange(db);
      this.#dataVersion = version;
      return changes;
    } finally {
      db.exec('COMMIT');
    }
  }

  #close(): void {
    this.#open?.db.close();
    this.#open = undefined;
    this.#seq = 0;
    this.#dataVersion = undefined;
  }
}
