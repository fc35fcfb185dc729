import { type FSWatcher, watch } from 'node:fs';
import { basename, dirname } from 'node:path';

const DEBOUNCE_MS = 2;

export interface ChangeSignalOptions {
  /** The database file; its write-ahead log `<file>-wal` is what other processes write to. */
  readonly path: string;
  /** Safety net for file systems without inotify, in milliseconds. */
  readonly pollMs: number;
  readonly onSignal: () => void;
  readonly onWarning: (message: string) => void;
}

/** Says "something may have changed": by inotify on the folder of the store, and by a slow poll. Says it too often rather than too seldom. */
export class ChangeSignal {
  readonly #options: ChangeSignalOptions;
  #watcher: FSWatcher | undefined;
  #poll: NodeJS.Timeout | undefined;
  #pending: NodeJS.Timeout | undefined;

  constructor(options: ChangeSignalOptions) {
    this.#options = options;
  }

  start(): void {
    this.#poll = setInterval(this.#options.onSignal, this.#options.pollMs).unref();
    this.#watch();
  }

  stop(): void {
    clearInterval(this.#poll);
    clearTimeout(this.#pending);
    this.#pending = undefined;
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  #watch(): void {
    const file = basename(this.#options.path);
    try {
      this.#watcher = watch(dirname(this.#options.path), { persistent: false }, (_event, name) => {
        if (name === null || name === file || name === `${file}-wal`) this.#signalSoon();
      });
      this.#watcher.on('error', (error) => this.#fallBack(error));
    } catch (error) {
      this.#fallBack(error);
    }
  }

  #fallBack(error: unknown): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    const text = error instanceof Error ? error.message : String(error);
    this.#options.onWarning(`no change notices for ${this.#options.path} (${text}): polling instead`);
  }

  #signalSoon(): void {
    this.#pending ??= setTimeout(() => {
      this.#pending = undefined;
      this.#options.onSignal();
    }, DEBOUNCE_MS);
  }
}
