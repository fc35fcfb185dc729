import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { writeFileAtomically } from '../base/atomic-file.ts';
import { SystemError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { isRunning, type ProcessRef, processRef, signalProcess } from './process-ref.ts';

export interface SurvivingProcessOptions {
  /** `health`, `proxy`: how messages call it; their code is `HEALTH_PROCESS`. */
  readonly name: string;
  /** Program and first words, `[".../bin/ciliate", "health-agent"]`. */
  readonly command: readonly string[];
  /** Where pid, start time and settings of the process are kept for a later agent. */
  readonly startedFile: string;
  /** Where its standard streams go. */
  readonly outputFile: string;
}

/** A descriptor that the process inherits; this process's copy is closed once it has it. */
export interface Inherited {
  readonly fd: number;
  /** The words that tell the process of it, by the number that it has there. */
  readonly words: (fd: number) => readonly string[];
}

/** What the process is to be started with. A running one with other settings is replaced. */
export interface ProcessSettings {
  readonly args: readonly string[];
  /** What its descriptors belong to, such as the namespaces' inodes: another one makes the old ones useless. */
  readonly place: string;
  /** Opens what it inherits. */
  readonly open: () => readonly Inherited[] | Promise<readonly Inherited[]>;
}

interface Saved extends ProcessRef {
  readonly settings: string;
}

const FIRST_FD = 3;
const STOP_GRACE_MS = 3_000;
const POLL_MS = 50;
/** One that ends earlier than this counts as a failed start. */
const LEAST_LIFETIME_MS = 10_000;
/** Pause after a second failed start; doubles with each further one. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 60_000;

/** A process of the node that outlives its agent: started, found again by a later agent, replaced when its settings change. */
export class SurvivingProcess {
  readonly #options: SurvivingProcessOptions;
  readonly #log: Logger;
  /** It ended: somebody should call `ensure`. */
  readonly #onExit: () => void;
  #current: Saved | undefined;
  #startedAt = 0;
  /** Failed starts in a row with these settings, and when the next may come (monotonic). */
  #failed = { settings: '', deaths: 0, notBefore: 0 };

  constructor(options: SurvivingProcessOptions, log: Logger, onExit: () => void) {
    this.#options = options;
    this.#log = log;
    this.#onExit = onExit;
  }

  get isRunning(): boolean {
    return this.#current !== undefined && isRunning(this.#current);
  }

  /** Of the process that was started or taken over last. */
  get pid(): number | undefined {
    return this.#current?.pid;
  }

  /** Takes over the process of an earlier agent. @returns whether there is one that runs */
  find(): boolean {
    this.#current ??= this.#readSaved();
    return this.isRunning;
  }

  /**
   * Makes sure that the process runs with these settings.
   * @throws SystemError code `<NAME>_PROCESS` when it keeps ending right after its start
   */
  async ensure(settings: ProcessSettings): Promise<void> {
    const text = JSON.stringify([settings.args, settings.place]);
    if (this.find()) {
      if (this.#current?.settings === text) return;
      this.#log.info(
        { pid: this.#current?.pid },
        `${this.#options.name} process has other settings: replaced`,
      );
      await this.stop();
    } else {
      this.#judgeDeath();
      this.#refuseEarly(text);
    }
    await this.#start(settings, text);
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

  #judgeDeath(): void {
    if (this.#current === undefined) return;
    const { pid, settings } = this.#current;
    const now = performance.now();
    const livedMs = Math.round(now - this.#startedAt);
    const before = this.#failed.settings === settings ? this.#failed.deaths : 0;
    const deaths = livedMs < LEAST_LIFETIME_MS ? before + 1 : 0;
    const pauseMs = deaths < 2 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** (deaths - 2), LONGEST_PAUSE_MS);
    this.#failed = { settings, deaths, notBefore: now + pauseMs };
    this.#log.warn({ pid, livedMs, pauseMs }, `${this.#options.name} process ended`);
    this.#current = undefined;
  }

  /** A first death is answered by a new start at once, later ones after growing pauses. */
  #refuseEarly(text: string): void {
    const { settings, deaths, notBefore } = this.#failed;
    if (settings !== text || performance.now() >= notBefore) return;
    const { name, outputFile } = this.#options;
    throw this.#failure(`the ${name} process ended ${deaths} times right after its start`, {
      hint: `its output is in ${outputFile}`,
    });
  }

  async #start(settings: ProcessSettings, text: string): Promise<void> {
    const { command, outputFile, name } = this.#options;
    const inherited = await settings.open();
    let output: number | undefined;
    try {
      output = openSync(outputFile, 'a', 0o640);
      const [file = '', ...words] = command;
      const told = inherited.flatMap((one, i) => one.words(FIRST_FD + i));
      const child = spawn(file, [...words, ...settings.args, ...told], {
        detached: true,
        stdio: ['ignore', output, output, ...inherited.map(({ fd }) => fd)],
      });
      child.on('error', (error) =>
        this.#log.warn({ error: error.message }, `${name} process could not be started`),
      );
      // One that was ended on purpose is nobody's any more: to tell of it would start the next one at once.
      child.on('exit', () => {
        if (this.#current?.pid === child.pid) this.#onExit();
      });
      child.unref();
      this.#keep(child.pid, text);
    } finally {
      if (output !== undefined) closeSync(output);
      for (const { fd } of inherited) closeSync(fd);
    }
  }

  /** A process without a record would hold its ports for ever, as no later agent knows of it: it is ended. */
  #keep(pid: number | undefined, settings: string): void {
    const { name, startedFile } = this.#options;
    const ref = pid === undefined ? undefined : processRef(pid);
    if (ref === undefined) throw this.#failure(`the ${name} process did not start`);
    const saved: Saved = { ...ref, settings };
    try {
      writeFileAtomically(startedFile, `${JSON.stringify(saved)}\n`);
    } catch (error) {
      signalProcess(ref, 'SIGKILL');
      throw error;
    }
    this.#current = saved;
    this.#startedAt = performance.now();
    this.#log.info({ pid: ref.pid }, `${name} process started`);
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

  #failure(message: string, more: { hint?: string } = {}): SystemError {
    return new SystemError(message, { code: `${this.#options.name.toUpperCase()}_PROCESS`, ...more });
  }
}

function isSaved(value: unknown): value is Saved {
  if (typeof value !== 'object' || value === null) return false;
  const { pid, startTicks, settings } = value as Record<string, unknown>;
  return Number.isInteger(pid) && typeof startTicks === 'string' && typeof settings === 'string';
}
