import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

/**
 * Makes a folder and those above it; one that is there is fine. Node 24's own `recursive` never returns, at full speed,
 * where a folder can be seen and nothing can be made in it because the kernel says ENOENT: /proc, a dangling link.
 * @throws the error of mkdir(2)
 */
export function makeFolder(folder: string, mode = 0o755): void {
  if (tryMake(folder, mode)) return;
  makeFolder(dirname(folder), mode);
  mkdirSync(folder, { mode });
}

/** @returns false when what is above it is missing */
function tryMake(folder: string, mode: number): boolean {
  try {
    mkdirSync(folder, { mode });
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return true;
    if (codeOf(error) === 'ENOENT' && dirname(folder) !== folder) return false;
    throw error;
  }
}
