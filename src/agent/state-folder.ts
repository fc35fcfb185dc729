import { accessSync, constants, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomically } from '../base/atomic-file.ts';
import { SystemError } from '../base/errors.ts';
import type { NodePaths } from '../base/paths.ts';
import { lockState } from './state-lock.ts';

export function agentPidFile(paths: NodePaths): string {
  return join(paths.pidDir, 'agent.pid');
}

/**
 * Makes the folders of a node, proves that files can be written there, and locks them for this agent.
 * @returns a function that gives the lock back
 * @throws SystemError code STATE_UNWRITABLE, STATE_IN_USE
 */
export function openStateFolder(paths: NodePaths): () => void {
  try {
    for (const folder of [paths.stateDir, paths.endpointsDir, paths.pidDir, paths.logDir]) {
      mkdirSync(folder, { recursive: true, mode: 0o755 });
      accessSync(folder, constants.W_OK | constants.X_OK);
    }
  } catch (cause) {
    throw new SystemError(`cannot use the state folder ${paths.stateDir}`, {
      code: 'STATE_UNWRITABLE',
      hint: 'make it writable for the agent, or name another one with --state-dir',
      cause,
    });
  }
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
