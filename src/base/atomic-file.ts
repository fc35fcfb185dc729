import { closeSync, constants, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { SystemError } from './errors.ts';

/** Never through a link: beside a file in a folder of others it could lead anywhere. */
const WRITE = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;

function remedyFor(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOSPC' || code === 'EDQUOT') return 'free space on that file system';
  if (code === 'EACCES' || code === 'EROFS' || code === 'EPERM')
    return 'make the folder writable for the agent';
  return code === 'ENOENT' ? 'create the folder' : undefined;
}

function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function writeAll(fd: number, content: Buffer): void {
  for (let offset = 0; offset < content.length; ) offset += writeSync(fd, content, offset);
}

/**
 * Replaces a file by `content`: after a crash at any moment the old content or the new one is there, never a part.
 * @throws SystemError code STATE_UNWRITABLE, with the file unchanged and nothing left beside it
 */
export function writeFileAtomically(path: string, content: string | Buffer): void {
  const temporary = `${path}.new`;
  let made = false;
  try {
    const fd = openSync(temporary, WRITE, 0o640);
    made = true;
    try {
      writeAll(fd, Buffer.from(content));
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
    syncFolder(dirname(path));
  } catch (cause) {
    if (made) rmSync(temporary, { force: true });
    throw new SystemError(`cannot write ${path}`, {
      code: 'STATE_UNWRITABLE',
      hint: remedyFor(cause),
      cause,
    });
  }
}

/** Renames a file that cannot be understood to `<path>.corrupt-<time>`, so that it can be looked at. @returns the new name */
export function setFileAside(path: string, now: Date): string {
  const aside = `${path}.corrupt-${now.toISOString().replaceAll(':', '')}`;
  renameSync(path, aside);
  return aside;
}
