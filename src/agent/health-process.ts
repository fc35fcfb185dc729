import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { writeFileAtomically } from '../base/atomic-file.ts';
import { SystemError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { isRunning, type ProcessRef, processRef, signalProcess } from './process-ref.ts';

export interface HealthProcessOptions {
  /** Program and first words, `[".../bin/ciliate", "health-agent"]`. */
  readonly command: readonly string[];
  /** Where pid, start time and settings of the process are kept for a later agent. */
  readonly startedFile: string;
  /** Where its standard streams go. */
  readonly outputFile: string;
}

/** What the process is to be started with. A running one with other settings is replaced. */
export interface HealthProcessSettings {
  readonly args: readonly string[];
  /** Where its listening sockets live: the namespaces' inodes; another one makes the old sockets useless. */
  readonly place: string;
  /** Opens the listening sockets; each is handed over as `--listen-fd`. */
  readonly openListeners: () => readonly number[];
}

interface Saved extends ProcessRef {
  readonly settings: string;
}

const FIRST_FD = 3;
const STOP_GRACE_MS = 3_000;
const POLL_MS = 50;
/** One that ends earlier than this counts as a failed start. */
const LEAST_LIFETIME_MS = 10_000;

/** The node's health process: started, found again by a later agent, replaced when its settings change. */
export class HealthProcess {
  readonly #options: HealthProcessOptions;
  readonly #log: Logger;
  /** It ended: somebody should call `ensure`. */
  readonly #onExit: () => void;
  #current: Saved | undefined;
  #startedAt = 0;
  #quickDeaths = 0;

  constructor(options: HealthProcessOptions, log: Logger, onExit: () => void) {
    this.#options = options;
    this.#log = log;
    this.#onExit = onExit;
  }

  get isRunning(): boolean {
    return this.#current !== undefined && isRunning(this.#current);
  }

  /**
   * Makes sure that the process runs with these settings.
   * @throws SystemError code HEALTH_PROCESS when it keeps ending right after its start
   */
  async ensure(settings: HealthProcessSettings): Promise<void> {
    const text = JSON.stringify([settings.args, settings.place]);
    this.#current ??= this.#readSaved();
    if (this.#current !== undefined && isRunning(this.#current)) {
      if (this.#current.settings === text) return;
      this.#log.info({ pid: this.#current.pid }, 'health process has other settings: replaced');
      await this.stop();
    } else this.#judgeDeath();
    this.#start(settings, text);
  }

  /** Ends the process, if it runs. */
  async stop(): Promise<void> {
    const ref = this.#current ?? this.#readSaved();
    this.#current = undefined;
    if (ref === undefined) return;
    signalProcess(ref, 'SIGTERM');
    const deadline = performance.now() + STOP_GRACE_MS;
    while (isRunning(ref)) {
      if (performance.now() > deadline) signalProcess(ref, 'SIGKILL');
      await delay(POLL_MS);
    }
  }

  /** A first death is answered by a new start at once; later ones wait for the caller's growing pauses. */
  #judgeDeath(): void {
    if (this.#current === undefined) return;
    const livedMs = performance.now() - this.#startedAt;
    this.#quickDeaths = livedMs < LEAST_LIFETIME_MS ? this.#quickDeaths + 1 : 0;
    this.#log.warn(
      { pid: this.#current.pid, livedMs: Math.round(livedMs) },
      'health process ended: started again',
    );
    this.#current = undefined;
    if (this.#quickDeaths <= 1) return;
    throw new SystemError(`the health process ended ${this.#quickDeaths} times right after its start`, {
      code: 'HEALTH_PROCESS',
      hint: `its output is in ${this.#options.outputFile}`,
    });
  }

  #start(settings: HealthProcessSettings, text: string): void {
    const listeners = settings.openListeners();
    const output = openSync(this.#options.outputFile, 'a', 0o640);
    try {
      const [file = '', ...words] = this.#options.command;
      const fds = listeners.flatMap((_, i) => ['--listen-fd', String(FIRST_FD + i)]);
      const child = spawn(file, [...words, ...settings.args, ...fds], {
        detached: true,
        stdio: ['ignore', output, output, ...listeners],
      });
      child.on('error', (error) =>
        this.#log.warn({ error: error.message }, 'health process could not be started'),
      );
      // One that was ended on purpose is nobody's any more: to tell of it would start the next one at once.
      child.on('exit', () => {
        if (this.#current?.pid === child.pid) this.#onExit();
      });
      child.unref();
      this.#keep(child.pid, text);
    } finally {
      closeSync(output);
      for (const fd of listeners) closeSync(fd);
    }
  }

  /** A process without a record would hold its ports for ever, as no later agent knows of it: it is ended. */
  #keep(pid: number | undefined, settings: string): void {
    const ref = pid === undefined ? undefined : processRef(pid);
    if (ref === undefined)
      throw new SystemError('the health process did not start', { code: 'HEALTH_PROCESS' });
    const saved: Saved = { ...ref, settings };
    try {
      writeFileAtomically(this.#options.startedFile, `${JSON.stringify(saved)}\n`);
    } catch (error) {
      signalProcess(ref, 'SIGKILL');
      throw error;
    }
    this.#current = saved;
    this.#startedAt = performance.now();
    this.#log.info({ pid: ref.pid }, 'health process started');
  }

  #readSaved(): Saved | undefined {
    try {
      const saved: unknown = JSON.parse(readFileSync(this.#options.startedFile, 'utf8'));
      return isSaved(saved) && isRunning(saved) ? saved : undefined;
    } catch (error) {
      if (error instanceof SyntaxError) return undefined;
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
      throw error;
    }
  }
}

function isSaved(value: unknown): value is Saved {
  if (typeof value !== 'object' || value === null) return false;
  const { pid, startTicks, settings } = value as Record<string, unknown>;
  return Number.isInteger(pid) && typeof startTicks === 'string' && typeof settings === 'string';
}
