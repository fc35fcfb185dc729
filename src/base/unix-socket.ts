import { chmodSync, chownSync, existsSync, lstatSync, readFileSync, unlinkSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';
import { NotPermittedError, SystemError } from './errors.ts';
import { makeFolder } from './make-folder.ts';

export interface UnixSocketOptions {
  readonly path: string;
  /** Groups that may use the socket: the first that exists. Default `ciliate`, then `cilium`; else the process's own. */
  readonly groups?: readonly string[] | undefined;
  /** Default /etc/group. */
  readonly groupFile?: string | undefined;
}

const SOCKET_MODE = 0o660;
/** Takes every right from group and others until the socket has its group. */
const CLOSED_UMASK = 0o177;
const ANSWER_TIMEOUT_MS = 1000;
/** `sun_path` without its final zero, unix(7). */
const MAX_PATH_BYTES = 107;

/**
 * Makes a server listen on a unix socket, mode 0660. A socket that nobody answers on is stale and replaced; one that
 * somebody answers on is left alone.
 * @throws SystemError code SOCKET_IN_USE (somebody answers), SOCKET_FAILED (the path is no socket, its folder cannot
 * be made, ...); NotPermittedError code SOCKET_NOT_PERMITTED.
 */
export async function listenOnUnixSocket(server: Server, options: UnixSocketOptions): Promise<void> {
  const { path } = options;
  try {
    makeFolder(dirname(path));
    await removeStale(path);
    await bind(server, path);
    // Nobody could have connected in between: until here the mode is 0600.
    const group = groupId(options);
    if (group !== undefined && process.getuid?.() === 0) chownSync(path, 0, group);
    chmodSync(path, SOCKET_MODE);
  } catch (cause) {
    if (cause instanceof SystemError) throw cause;
    throw failure(path, cause);
  }
}

/** Removes the socket at `path` if nobody answers on it. */
async function removeStale(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) {
    throw new SystemError(`${path} exists and is no socket`, { code: 'SOCKET_FAILED', hint: 'move it away' });
  }
  if (await answers(path)) {
    throw new SystemError(`${path} is in use: somebody answers on it`, {
      code: 'SOCKET_IN_USE',
      hint: 'stop it first, or give this one a state folder of its own',
    });
  }
  unlinkSync(path);
}

/** Whether somebody accepts connections there. One that is too busy to accept in time is somebody. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const end = (act: () => void): void => {
      socket.destroy();
      act();
    };
    socket.setTimeout(ANSWER_TIMEOUT_MS, () => end(() => resolve(true)));
    socket.on('connect', () => end(() => resolve(true)));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const nobody = error.code === 'ECONNREFUSED' || error.code === 'ENOENT';
      end(() => (nobody ? resolve(false) : error.code === 'EAGAIN' ? resolve(true) : reject(error)));
    });
  });
}

function bind(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    // The socket file is made inside `listen`, before it returns: the mask is this call's alone.
    const before = process.umask(CLOSED_UMASK);
    try {
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
    } finally {
      process.umask(before);
    }
  });
}

function groupId(options: UnixSocketOptions): number | undefined {
  const { groups = ['ciliate', 'cilium'], groupFile = '/etc/group' } = options;
  if (!existsSync(groupFile)) return undefined;
  const lines = readFileSync(groupFile, 'utf8').split('\n');
  const ids = new Map(lines.map((line) => line.split(':')).map((fields) => [fields[0], Number(fields[2])]));
  return groups.map((name) => ids.get(name)).find((id) => id !== undefined && Number.isInteger(id));
}

function failure(path: string, cause: unknown): Error {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    const hint = 'run as root, or choose a state folder that may be written';
    return new NotPermittedError(`not permitted to make the socket ${path}`, {
      code: 'SOCKET_NOT_PERMITTED',
      hint,
      cause,
    });
  }
  const tooLong = Buffer.byteLength(path) > MAX_PATH_BYTES;
  const hint = tooLong
    ? `the path of a unix socket has at most ${MAX_PATH_BYTES} bytes: choose a shorter state folder`
    : undefined;
  return new SystemError(`cannot make the socket ${path}`, { code: 'SOCKET_FAILED', hint, cause });
}
