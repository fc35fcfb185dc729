import { linkSync, renameSync, rmSync, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { errorText, SystemError } from '../../base/errors.ts';
import { ensurePrivateFile } from '../../base/private-file.ts';
import { isBusy, isCorrupt } from './sqlite-errors.ts';

const SCHEMA_VERSION = 1;
const SQLITE_CANTOPEN = 14;

/** `changes` is the log that watchers follow; its newest CHANGES_KEPT rows stay. */
const SCHEMA = `
CREATE TABLE IF NOT EXISTS nodes (name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS identities (id INTEGER PRIMARY KEY, label_key TEXT NOT NULL UNIQUE, body TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS ips (cidr TEXT NOT NULL, node TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (node, cidr)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes (seq INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL) STRICT;
PRAGMA user_version = ${SCHEMA_VERSION};
`;

/** An open store file, and which file on disk it is: another process may have set the old one aside. */
export interface OpenDatabase {
  readonly db: DatabaseSync;
  /** Of the file when it was opened: `device:inode`. */
  readonly fileId: string;
}

export function fileIdOf(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false, bigint: true });
  return stat === undefined ? undefined : `${stat.dev}:${stat.ino}`;
}

function readPragma(db: DatabaseSync, name: string): unknown {
  const row = db.prepare(`PRAGMA ${name}`).get();
  return row === undefined ? undefined : Object.values(row)[0];
}

function checkSchema(db: DatabaseSync, path: string): void {
  const version = readPragma(db, 'user_version');
  if (version === SCHEMA_VERSION) return;
  if (version !== 0) {
    throw new SystemError(
      `store ${path} has schema ${String(version)}, this program knows ${SCHEMA_VERSION}`,
      {
        code: 'STORE_SCHEMA',
        hint: 'run agents of one version on one store file',
      },
    );
  }
  db.exec(`BEGIN IMMEDIATE; ${SCHEMA} COMMIT;`);
}

/** SQLite gives its WAL the rights of the file. A failure is told as SQLite would: the file cannot be opened. */
function makePrivate(path: string): void {
  try {
    ensurePrivateFile(path);
  } catch (cause) {
    throw Object.assign(new Error(`unable to open database file: ${errorText(cause)}`, { cause }), {
      errcode: SQLITE_CANTOPEN,
    });
  }
}

/**
 * Opens or creates the file. Never waits for a lock: throws SQLITE_BUSY, which the caller retries, because a blocked
 * thread would stop everything else the agent does.
 */
export function openDatabase(path: string): OpenDatabase {
  makePrivate(path);
  const db = new DatabaseSync(path, { timeout: 0 });
  try {
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = OFF;');
    checkSchema(db, path);
    const verdict = readPragma(db, 'quick_check(1)');
    if (verdict !== 'ok') throw Object.assign(new Error(`quick_check: ${String(verdict)}`), { errcode: 11 });
    const fileId = fileIdOf(path);
    if (fileId === undefined) throw Object.assign(new Error(`${path} vanished`), { errcode: 5 });
    return { db, fileId };
  } catch (error) {
    db.close();
    throw error;
  }
}

/**
 * Moves a corrupt file, with its WAL, out of the way as `<path>.corrupt-<time>`; only if it is still the file that was
 * found corrupt, since another agent may have replaced it already.
 * @returns the new name, or undefined when somebody else had done it
 */
export function setAside(path: string, corruptFileId: string | undefined, now: Date): string | undefined {
  if (corruptFileId === undefined || fileIdOf(path) !== corruptFileId) return undefined;
  const aside = `${path}.corrupt-${now.toISOString().replaceAll(':', '')}`;
  renameSync(path, aside);
  if (fileIdOf(aside) !== corruptFileId) {
    linkSync(aside, path);
    rmSync(aside);
    return undefined;
  }
  for (const suffix of ['-wal', '-shm']) {
    if (fileIdOf(path + suffix) !== undefined) renameSync(path + suffix, aside + suffix);
  }
  return aside;
}

/** Runs `body` in one write transaction. `body` is synchronous: no transaction lives across an await. */
export function writeTransaction<T>(db: DatabaseSync, body: (db: DatabaseSync) => T): T {
  db.exec('BEGIN IMMEDIATE');
  try {
    const result = body(db);
    db.exec('COMMIT');
    return result;
  } catch (error) {
    rollback(db, error);
    throw error;
  }
}

function rollback(db: DatabaseSync, reason: unknown): void {
  if (!db.isTransaction) return;
  try {
    db.exec('ROLLBACK');
  } catch (error) {
    if (!isBusy(error) && !isCorrupt(error)) throw new AggregateError([reason, error], 'rollback failed');
  }
}
