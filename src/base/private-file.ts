import { chmodSync, closeSync, openSync, statSync } from 'node:fs';

const MODE = 0o600;

/**
 * Makes sure that a file is there which nobody else may even read: who can open it can hold a lock on it, and with that
 * keep a program waiting for ever. An existing file is not opened, since closing it would drop this process's own locks.
 * @throws what the system calls say
 */
export function ensurePrivateFile(path: string): void {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) {
    try {
      closeSync(openSync(path, 'ax', MODE));
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    }
  } else if (stat.uid === process.getuid?.() && (stat.mode & 0o077) !== 0) chmodSync(path, MODE);
}
