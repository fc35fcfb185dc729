import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { SystemError } from '../base/errors.ts';
import { ensurePrivateFile } from '../base/private-file.ts';

const SQLITE_BUSY = 5;

function holderText(pidFile: string): string {
  if (!existsSync(pidFile)) return '';
  const pid = /^\d+/.exec(readFileSync(pidFile, 'utf8'))?.[0];
  return pid === undefined ? '' : ` (pid ${pid})`;
}

/**
 * Makes this process the only agent of a state folder until it is released or dies: the kernel drops the lock even
 * after SIGKILL, so there is nothing stale to clean up. It is SQLite's file lock, since Node has no flock.
 * @throws SystemError code STATE_IN_USE, STATE_UNWRITABLE
 * @returns a function that gives the lock back
 */
export function lockState(stateDir: string, agentPidFile: string): () => void {
  const path = join(stateDir, 'agent.lock');
  let db: DatabaseSync | undefined;
  try {
    ensurePrivateFile(path);
    db = new DatabaseSync(path, { timeout: 0 });
    db.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE;');
    const held = db;
    return () => held.close();
  } catch (cause) {
    db?.close();
    const busy = cause instanceof Error && 'errcode' in cause && cause.errcode === SQLITE_BUSY;
    if (busy) {
      throw new SystemError(`another agent${holderText(agentPidFile)} runs on the state folder ${stateDir}`, {
        code: 'STATE_IN_USE',
        hint: 'stop it first, or give this agent a folder of its own with --state-dir',
      });
    }
    throw new SystemError(`cannot lock the state folder ${stateDir}`, {
      code: 'STATE_UNWRITABLE',
      hint: 'make the folder writable for the agent',
      cause,
    });
  }
}
