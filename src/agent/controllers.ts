import { randomUUID } from 'node:crypto';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';

export interface ControllerSpec {
  /** Unique: what `status` shows. */
  readonly name: string;
  /** What is done. Rejecting is a failure that is tried again with growing pauses. */
  readonly run: () => Promise<void>;
  /** Pause between successful runs in milliseconds; without it only `trigger` runs it. */
  readonly intervalMs?: number | undefined;
  /** First pause after a failure; doubles up to `LONGEST_RETRY_MS`. Default 500 ms. */
  readonly retryBaseMs?: number | undefined;
}

export interface ControllerReport {
  readonly name: string;
  readonly uuid: string;
  readonly intervalMs: number | undefined;
  readonly retryBaseMs: number;
  readonly successes: number;
  readonly failures: number;
  readonly consecutiveFailures: number;
  readonly lastSuccess: Date | undefined;
  readonly lastFailure: Date | undefined;
  readonly lastFailureMessage: string | undefined;
}

const RETRY_BASE_MS = 500;
const LONGEST_RETRY_MS = 60_000;

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

class Controller {
  readonly spec: ControllerSpec;
  readonly #log: Logger;
  readonly #uuid = randomUUID();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #again = false;
  #stopped = false;
  #waiters: Waiter[] = [];
  #successes = 0;
  #failures = 0;
  #consecutiveFailures = 0;
  #lastSuccess: Date | undefined;
  #lastFailure: Date | undefined;
  #lastFailureMessage: string | undefined;

  constructor(spec: ControllerSpec, log: Logger) {
    this.spec = spec;
    this.#log = log;
  }

  /** Runs as soon as possible; settles as the first run does that begins after this call. */
  trigger(): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    const promise = new Promise<void>((resolve, reject) => this.#waiters.push({ resolve, reject }));
    // Whoever does not wait reads the failure in `status`.
    promise.catch(() => undefined);
    if (this.#running === undefined) this.#begin();
    else this.#again = true;
    return promise;
  }

  /** No further run begins; resolves when the present one has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
    for (const { resolve } of this.#waiters.splice(0)) resolve();
  }

  report(): ControllerReport {
    return {
      name: this.spec.name,
      uuid: this.#uuid,
      intervalMs: this.spec.intervalMs,
      retryBaseMs: this.spec.retryBaseMs ?? RETRY_BASE_MS,
      successes: this.#successes,
      failures: this.#failures,
      consecutiveFailures: this.#consecutiveFailures,
      lastSuccess: this.#lastSuccess,
      lastFailure: this.#lastFailure,
      lastFailureMessage: this.#lastFailureMessage,
    };
  }

  #begin(): void {
    clearTimeout(this.#timer);
    this.#again = false;
    this.#running = this.#runOnce(this.#waiters.splice(0)).finally(() => {
      this.#running = undefined;
      this.#scheduleNext();
    });
  }

  async #runOnce(waiters: readonly Waiter[]): Promise<void> {
    try {
      await this.spec.run();
      this.#successes++;
      this.#consecutiveFailures = 0;
      this.#lastSuccess = new Date();
      this.#lastFailureMessage = undefined;
      for (const { resolve } of waiters) resolve();
    } catch (error) {
      this.#failures++;
      this.#consecutiveFailures++;
      this.#lastFailure = new Date();
      this.#lastFailureMessage = errorText(error);
      this.#log.warn({ controller: this.spec.name, error: errorText(error) }, 'controller failed');
      for (const { reject } of waiters) reject(error);
    }
  }

  #scheduleNext(): void {
    if (this.#stopped) return;
    if (this.#again) {
      this.#begin();
      return;
    }
    const pauseMs = this.#pauseMs();
    if (pauseMs !== undefined) this.#timer = setTimeout(() => this.#begin(), pauseMs).unref();
  }

  #pauseMs(): number | undefined {
    if (this.#consecutiveFailures === 0) return this.spec.intervalMs;
    const base = this.spec.retryBaseMs ?? RETRY_BASE_MS;
    return Math.min(base * 2 ** (this.#consecutiveFailures - 1), LONGEST_RETRY_MS);
  }
}

/** What the agent does again and again, each named, retried after a failure and shown in `status`. */
export class Controllers {
  readonly #log: Logger;
  readonly #controllers = new Map<string, Controller>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Adds a controller; it first runs when triggered. One of the same name is replaced. */
  add(spec: ControllerSpec): { trigger(): Promise<void> } {
    const controller = new Controller(spec, this.#log);
    void this.#controllers.get(spec.name)?.stop();
    this.#controllers.set(spec.name, controller);
    return controller;
  }

  async remove(name: string): Promise<void> {
    const controller = this.#controllers.get(name);
    this.#controllers.delete(name);
    await controller?.stop();
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#controllers.values()].map((controller) => controller.stop()));
  }

  reports(): readonly ControllerReport[] {
    return [...this.#controllers.values()].map((controller) => controller.report());
  }
}
