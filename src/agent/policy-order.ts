import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';

/** What a change of policy still has to do once policies are worked out. */
export interface OrderedChange {
  /** Endpoints whose policy maps it changes. */
  readonly endpoints: readonly number[];
  /** To be done when all of them were written, or could not be: the ipcache. What rejects is tried again. */
  readonly finish: () => Promise<void>;
}

export interface PolicyOrderOptions {
  /** How long a change waits for an endpoint that is not written. Default 10 s. */
  readonly waitMs?: number;
  /** First pause after a failed `finish`; doubles up to 30 s. Default 100 ms. */
  readonly retryBaseMs?: number;
}

const WAIT_MS = 10_000;
const RETRY_BASE_MS = 100;
const LONGEST_RETRY_MS = 30_000;

interface Waiter {
  readonly sequence: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The order of changes (ADR 0009): 1. a change is worked out and gets its number; 2. the policy maps that it touches are
 * written, each with what is worked out by then; 3. the ipcache. Step 3 of one change never comes before that of an
 * earlier one. An endpoint that cannot be written holds nobody up: what it does not know of it drops.
 */
export class PolicyOrder {
  readonly #log: Logger;
  readonly #waitMs: number;
  readonly #retryBaseMs: number;
  #sequence = 0;
  #done = 0;
  #chain: Promise<void> = Promise.resolve();
  /** Endpoint -> number of the last change that its map holds, or was to hold when writing it failed. */
  readonly #attempted = new Map<number, number>();
  #waiters: Waiter[] = [];
  /** Called when an endpoint got somewhere. */
  readonly #progress = new Set<() => void>();
  #stopped = false;

  constructor(log: Logger, options: PolicyOrderOptions = {}) {
    this.#log = log;
    this.#waitMs = options.waitMs ?? WAIT_MS;
    this.#retryBaseMs = options.retryBaseMs ?? RETRY_BASE_MS;
  }

  /** Number of the last change that was worked out; what is resolved now holds it. */
  get sequence(): number {
    return this.#sequence;
  }

  /** A change is worked out. Settles when it is in force; never rejects. */
  begin(change: OrderedChange): Promise<void> {
    const sequence = ++this.#sequence;
    this.#chain = this.#chain.then(() => this.#finish(sequence, change));
    return this.#chain;
  }

  /** The map of an endpoint holds every change up to this one, or was not to be written. */
  attempted(endpoint: number, sequence: number): void {
    if (sequence > (this.#attempted.get(endpoint) ?? 0)) this.#attempted.set(endpoint, sequence);
    for (const wake of this.#progress) wake();
  }

  /** The endpoint is gone: nobody waits for it. */
  forget(endpoint: number): void {
    this.#attempted.set(endpoint, Number.POSITIVE_INFINITY);
    for (const wake of this.#progress) wake();
    this.#attempted.delete(endpoint);
  }

  /** Settles when every change up to this one is in force. @rejects with what its last step failed for; that goes on */
  settled(sequence: number): Promise<void> {
    if (sequence <= this.#done || this.#stopped) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiters.push({ sequence, resolve, reject }));
  }

  /** No further step is done; whoever waits goes on. */
  stop(): void {
    this.#stopped = true;
    for (const wake of this.#progress) wake();
    for (const { resolve } of this.#waiters.splice(0)) resolve();
  }

  async #finish(sequence: number, { endpoints, finish }: OrderedChange): Promise<void> {
    await this.#written(sequence, new Set(endpoints));
    for (let failures = 0; !this.#stopped; failures++) {
      try {
        await finish();
        break;
      } catch (error) {
        this.#log.warn({ error: errorText(error) }, 'a change of policy could not be finished yet');
        this.#tell(sequence, ({ reject }) => reject(error));
        const pauseMs = Math.min(this.#retryBaseMs * 2 ** failures, LONGEST_RETRY_MS);
        await new Promise((resolve) => setTimeout(resolve, pauseMs).unref());
      }
    }
    this.#done = sequence;
    this.#tell(sequence, ({ resolve }) => resolve());
  }

  #tell(sequence: number, tell: (waiter: Waiter) => void): void {
    const told = this.#waiters.filter((waiter) => waiter.sequence <= sequence);
    this.#waiters = this.#waiters.filter((waiter) => waiter.sequence > sequence);
    for (const waiter of told) tell(waiter);
  }

  /** Waits until each endpoint was attempted with this change. */
  #written(sequence: number, missing: Set<number>): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#progress.delete(look);
        resolve();
      };
      const look = (): void => {
        for (const id of missing) if ((this.#attempted.get(id) ?? 0) >= sequence) missing.delete(id);
        if (missing.size === 0 || this.#stopped) end();
      };
      const timer = setTimeout(() => {
        this.#log.warn({ endpoints: [...missing] }, 'endpoints are not written in time: the ipcache goes on');
        end();
      }, this.#waitMs).unref();
      this.#progress.add(look);
      look();
    });
  }
}
