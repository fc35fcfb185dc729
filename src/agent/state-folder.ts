import { accessSync, constants, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomically } from '../base/atomic-file.ts';
import { errnoOf, NotPermittedError, SystemError } from '../base/errors.ts';
import { makeFolder } from '../base/make-folder.ts';
import type { NodePaths } from '../base/paths.ts';
import { lockState } from './state-lock.ts';

export function agentPidFile(paths: NodePaths): string {
  return join(paths.pidDir, 'agent.pid');
}

/**
 * What this process writes in a folder of another user, that user can turn into anything.
 * @throws SystemError code STATE_FOREIGN
 */
function refuseForeign(folder: string): void {
  const { uid, mode } = statSync(folder);
  const own = uid === 0 || uid === process.getuid?.();
  if (own && (mode & 0o002) === 0) return;
  throw new SystemError(
    `the state folder ${folder} ${own ? 'is writable for everybody' : `belongs to user ${uid}`}`,
    { code: 'STATE_FOREIGN', hint: 'name a folder with --state-dir that only the agent may write' },
  );
}

/**
 * Makes the folders of a node, proves that files can be written there, and locks them for this agent.
 * @returns a function that gives the lock back
 * @throws SystemError code STATE_UNWRITABLE, STATE_FOREIGN, STATE_IN_USE · NotPermittedError code STATE_UNWRITABLE
 */
export function openStateFolder(paths: NodePaths): () => void {
  try {
    for (const folder of [paths.stateDir, paths.endpointsDir, paths.pidDir, paths.logDir]) {
      makeFolder(folder);
      if (!statSync(folder).isDirectory()) throw new Error(`${folder} is no folder`);
      accessSync(folder, constants.W_OK | constants.X_OK);
    }
  } catch (cause) {
    const errno = errnoOf(cause);
    const Refused = errno === 'EACCES' || errno === 'EPERM' ? NotPermittedError : SystemError;
    throw new Refused(`cannot use the state folder ${paths.stateDir}`, {
      code: 'STATE_UNWRITABLE',
      hint: 'run as its owner, who may write there, or name another one with --state-dir',
      cause,
    });
  }
  refuseForeign(paths.stateDir);
  const release = lockState(paths.stateDir, agentPidFile(paths));
  try {
    writeFileAtomically(agentPidFile(paths), `${process.pid}\n`);
  } catch (error) {
    release();
    throw error;
  }
  return () => {
    writeFileSync(agentPidFile(paths), '');
    release();
  };
}
