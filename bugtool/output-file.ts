import { constants, createWriteStream } from 'node:fs';
import { type FileHandle, link, lstat, open, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Writable } from 'node:stream';
import { errnoOf, NotPermittedError, SystemError } from '../src/base/errors.ts';

/** A place for the archive that becomes visible under its name only when it is whole. */
export interface Output {
  readonly stream: Writable;
  /** Absolute path, or `-`. */
  readonly name: string;
  /** Gives the file its name. @throws SystemError OUTPUT_EXISTS when somebody took the name meanwhile */
  commit(): Promise<void>;
  /** Removes what was written. */
  discard(): Promise<void>;
}

const ELSEWHERE = 'name another file with -o, or - for standard output';

/** An error of writing the archive, sorted by what the user can do about it. */
export function writeError(name: string, cause: unknown): Error {
  if (cause instanceof SystemError || cause instanceof NotPermittedError) return cause;
  const errno = errnoOf(cause);
  if (errno === 'EACCES' || errno === 'EPERM' || errno === 'EROFS')
    return new NotPermittedError(`not permitted to write ${name}`, {
      code: 'OUTPUT_NOT_PERMITTED',
      hint: ELSEWHERE,
      cause,
    });
  const hint =
    errno === 'ENOSPC' || errno === 'EDQUOT'
      ? `free some space, or ${ELSEWHERE}`
      : errno === 'ENOENT' || errno === 'ENOTDIR'
        ? 'make its folder first'
        : undefined;
  return new SystemError(`cannot write ${name}`, { code: 'OUTPUT_FAILED', hint, cause });
}

function exists(name: string, cause?: unknown): SystemError {
  return new SystemError(`${name} exists`, {
    code: 'OUTPUT_EXISTS',
    hint: 'an archive is never written over; name another file',
    cause,
  });
}

async function isThere(path: string): Promise<boolean> {
  try {
    // A link counts as being there, wherever it leads.
    await lstat(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw writeError(path, error);
  }
}

/** Beside its final name, readable by the owner alone; an existing file or link is never opened. */
async function openPart(path: string, name: string): Promise<FileHandle> {
  const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;
  try {
    return await open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  } catch (error) {
    throw errnoOf(error) === 'EEXIST' ? exists(path, error) : writeError(name, error);
  }
}

/** @throws SystemError OUTPUT_EXISTS, OUTPUT_FAILED; NotPermittedError OUTPUT_NOT_PERMITTED */
export async function openOutputFile(file: string): Promise<Output> {
  const name = resolve(file);
  if (await isThere(name)) throw exists(name);
  const part = join(dirname(name), `.${basename(name)}.${process.pid}.partial`);
  const handle = await openPart(part, name);
  return {
    name,
    stream: createWriteStream(part, { fd: handle }),
    async commit() {
      try {
        // link() refuses a name that is taken, rename() would write over it.
        await link(part, name);
      } catch (error) {
        throw errnoOf(error) === 'EEXIST' ? exists(name, error) : writeError(name, error);
      } finally {
        await rm(part, { force: true });
      }
    },
    discard: () => rm(part, { force: true }),
  };
}

/** Standard output as the place; nothing else may be printed there then. */
export function standardOutput(stream: Writable): Output {
  return { name: '-', stream, commit: () => Promise.resolve(), discard: () => Promise.resolve() };
}
