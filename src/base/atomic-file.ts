import {
  close,
  closeSync,
  constants,
  fsync,
  fsyncSync,
  open,
  openSync,
  rename,
  renameSync,
  rmSync,
  write,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { SystemError } from './errors.ts';

const fsyncAsync = promisify(fsync);
const openAsync = promisify(open);
const writeAsync = promisify(write);
const closeAsync = promisify(close);
const renameAsync = promisify(rename);

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
  const fd = await openAsync(folder, 'r');
  try {
    await fsyncAsync(fd);
  } finally {
    await closeAsync(fd);
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
  discard(): Promise<void>;
}

/**
 * Begins to replace files of one folder by the same `content`, each as `writeFileAtomically` does; the event loop goes on
 * meanwhile. A full disk shows here.
 * @rejects SystemError code STATE_UNWRITABLE, with the files unchanged and nothing left beside them
 */
export async function stageFiles(
  paths: readonly [string, ...string[]],
  content: string | Buffer,
  mode = 0o640,
): Promise<StagedFiles> {
  const bytes = Buffer.from(content);
  const written = await Promise.allSettled(paths.map((path) => stageFile(path, bytes, mode)));
  const staged = written.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const end = async (isGiven: boolean): Promise<void> => {
    for (const { path, fd } of staged.splice(0)) {
      await closeAsync(fd);
      if (!isGiven) rmSync(`${path}.new`, { force: true });
    }
  };
  for (const one of written) {
    if (one.status === 'fulfilled') continue;
    await end(false);
    throw one.reason;
  }
  return {
    commit: async () => {
      try {
        await Promise.all(staged.map(({ fd }) => fsyncAsync(fd)));
        for (const { path } of staged) await renameAsync(`${path}.new`, path);
        await end(true);
        await syncFolderAsync(dirname(paths[0]));
      } catch (cause) {
        await end(false);
        throw unwritable(paths[0], cause);
      }
    },
    discard: () => end(false),
  };
}

/** @rejects SystemError code STATE_UNWRITABLE, with nothing left of it */
async function stageFile(path: string, bytes: Buffer, mode: number): Promise<{ path: string; fd: number }> {
  let fd: number | undefined;
  try {
    fd = await openAsync(`${path}.new`, WRITE, mode);
    for (let offset = 0; offset < bytes.length; )
      offset += (await writeAsync(fd, bytes, offset)).bytesWritten;
    return { path, fd };
  } catch (cause) {
    if (fd !== undefined) {
      await closeAsync(fd);
      rmSync(`${path}.new`, { force: true });
    }
    throw unwritable(path, cause);
  }
}

/** Renames a file that cannot be understood to `<path>.corrupt-<time>`, so that it can be looked at. @returns the new name */
export function setFileAside(path: string, now: Date): string {
  const aside = `${path}.corrupt-${now.toISOString().replaceAll(':', '')}`;
  renameSync(path, aside);
  return aside;
}
