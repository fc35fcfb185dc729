import { closeSync, constants, fsync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { SystemError } from './errors.ts';

const fsyncAsync = promisify(fsync);

/** Never through a link: beside a file in a folder of others it could lead anywhere. */
const WRITE = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;

function remedyFor(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOSPC' || code === 'EDQUOT') return 'free space on that file system';
  if (code === 'EACCES' || code === 'EROFS' || code === 'EPERM')
    return 'make the folder writable for the agent';
  return code === 'ENOENT' ? 'create the folder' : undefined;
}

function unwritable(path: string, cause: unknown): SystemError {
  return new SystemError(`cannot write ${path}`, { code: 'STATE_UNWRITABLE', hint: remedyFor(cause), cause });
}

function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

async function syncFolderAsync(folder: string): Promise<void> {
  const fd = openSync(folder, 'r');
  try {
    await fsyncAsync(fd);
  } finally {
    closeSync(fd);
  }
}

function writeAll(fd: number, content: Buffer): void {
  for (let offset = 0; offset < content.length; ) offset += writeSync(fd, content, offset);
}

/**
 * Replaces a file by `content`: after a crash at any moment the old content or the new one is there, never a part.
 * @param mode of the new file, less what the umask takes away
 * @throws SystemError code STATE_UNWRITABLE, with the file unchanged and nothing left beside it
 */
export function writeFileAtomically(path: string, content: string | Buffer, mode = 0o640): void {
  const temporary = `${path}.new`;
  let made = false;
  try {
    const fd = openSync(temporary, WRITE, mode);
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
    throw unwritable(path, cause);
  }
}

/** Files that are to replace others: written, not yet sure to survive a power cut, and not yet in their place. */
export interface StagedFiles {
  /**
   * Puts each in its place and makes sure of it; the event loop goes on meanwhile.
   * @rejects SystemError code STATE_UNWRITABLE, with nothing left beside them; some may be in their place then
   */
  commit(): Promise<void>;
  /** Leaves everything as it was. */
  discard(): void;
}

/**
 * Begins to replace files of one folder by the same `content`, each as `writeFileAtomically` does. A full disk shows here.
 * @throws SystemError code STATE_UNWRITABLE, with the files unchanged and nothing left beside them
 */
export function stageFiles(
  paths: readonly [string, ...string[]],
  content: string | Buffer,
  mode = 0o640,
): StagedFiles {
  const staged: { readonly path: string; readonly fd: number }[] = [];
  const bytes = Buffer.from(content);
  const end = (isGiven: boolean): void => {
    for (const { path, fd } of staged.splice(0)) {
      closeSync(fd);
      if (!isGiven) rmSync(`${path}.new`, { force: true });
    }
  };
  for (const path of paths) {
    try {
      const fd = openSync(`${path}.new`, WRITE, mode);
      staged.push({ path, fd });
      writeAll(fd, bytes);
    } catch (cause) {
      end(false);
      throw unwritable(path, cause);
    }
  }
  return {
    commit: async () => {
      try {
        await Promise.all(staged.map(({ fd }) => fsyncAsync(fd)));
        for (const { path } of staged) renameSync(`${path}.new`, path);
        end(true);
        await syncFolderAsync(dirname(paths[0]));
      } catch (cause) {
        end(false);
        throw unwritable(paths[0], cause);
      }
    },
    discard: () => end(false),
  };
}

/** Renames a file that cannot be understood to `<path>.corrupt-<time>`, so that it can be looked at. @returns the new name */
export function setFileAside(path: string, now: Date): string {
  const aside = `${path}.corrupt-${now.toISOString().replaceAll(':', '')}`;
  renameSync(path, aside);
  return aside;
}
