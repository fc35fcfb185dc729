import { readFileSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { join } from 'node:path';
import { writeFileAtomically } from '../base/atomic-file.ts';
import { errorText, SystemError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { makeFolder } from '../base/make-folder.ts';
import type { ListenAddress } from '../base/option-parsers.ts';

/** What must be released, in the opposite order of its making. */
export class Releases {
  readonly #acts: (() => Promise<void> | void)[] = [];
  #running: Promise<void> | undefined;

  push(act: () => Promise<void> | void): void {
    this.#acts.push(act);
  }

  /** May be called twice. */
  run(): Promise<void> {
    this.#running ??= this.#runAll();
    return this.#running;
  }

  async #runAll(): Promise<void> {
    for (const act of this.#acts.reverse()) await act();
  }
}

/** Listens on TCP. @param what it serves. @returns where, for the log. @throws SystemError code METRICS_LISTEN, DASHBOARD_LISTEN */
export async function listenOnTcp(server: Server, address: ListenAddress, what: string): Promise<string> {
  const { host, port } = address;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      const where = `${host ?? '*'} port ${port}`;
      reject(
        new SystemError(`cannot serve ${what} on ${where}`, { code: `${what.toUpperCase()}_LISTEN`, cause }),
      );
    });
    server.listen({ port, ...(host === undefined ? {} : { host }) }, resolve);
  });
  const bound = server.address();
  return bound === null || typeof bound === 'string' ? '' : `${what} ${bound.address} port ${bound.port}`;
}

/** Writes our pid. @returns what removes it again, unless another process has taken its place */
export function keepPidFile(folder: string, name: string, log: Logger): () => void {
  makeFolder(folder);
  const file = join(folder, name);
  writeFileAtomically(file, `${process.pid}\n`);
  return () => {
    try {
      if (readFileSync(file, 'utf8').trim() === String(process.pid)) rmSync(file, { force: true });
    } catch (error) {
      log.warn({ file, reason: errorText(error) }, 'cannot remove the pid file');
    }
  };
}
