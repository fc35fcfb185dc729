import { errorText } from '../base/errors.ts';
import type { Endpoint } from './endpoint.ts';

export interface RegeneratorDeps {
  /** Brings the datapath to what the rules ask; rejects when it could not. */
  readonly regenerate: (endpoint: Endpoint, reasons: readonly string[]) => Promise<void>;
  /** Waits until what was brought to the datapath is in force; holds up no other endpoint. @returns whether to regenerate again */
  readonly settle?: (endpoint: Endpoint) => Promise<boolean>;
  /** How each attempt went. */
  readonly onDone?: (endpoint: Endpoint, durationMs: number, error: unknown) => void;
}

export interface RegeneratorOptions {
  /**
   * Endpoints that are built at the same time. Default 128: those of one change are put in force together, and what takes
   * long of a build is waiting, for the kernel or for the store.
   */
  readonly concurrency?: number;
  /** First pause after a failure; doubles up to 60 s. Default 1 s. */
  readonly retryBaseMs?: number;
}

const CONCURRENCY = 128;
const RETRY_BASE_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

interface Queue {
  readonly endpoint: Endpoint;
  reasons: Set<string>;
  waiters: Waiter[];
  running: Promise<void> | undefined;
  failures: number;
  retry: NodeJS.Timeout | undefined;
  ended: boolean;
}

/**
 * One queue per endpoint: at most one regeneration runs, requests that come meanwhile become one more run, a failed one
 * is tried again with growing pauses. Across endpoints a bounded number runs at a time, in the order of request.
 */
export class Regenerator {
  readonly #deps: RegeneratorDeps;
  readonly #concurrency: number;
  readonly #retryBaseMs: number;
  readonly #queues = new Map<number, Queue>();
  #waiting: Queue[] = [];
  #running = 0;
  #stopped = false;

  constructor(deps: RegeneratorDeps, options: RegeneratorOptions = {}) {
    this.#deps = deps;
    this.#concurrency = options.concurrency ?? CONCURRENCY;
    this.#retryBaseMs = options.retryBaseMs ?? RETRY_BASE_MS;
  }

  /** Asks for a regeneration; settles as the first run does that begins after this call. */
  request(endpoint: Endpoint, reason: string): Promise<void> {
    const queue = this.#queue(endpoint);
    if (queue.ended || this.#stopped) return Promise.reject(new Error(`endpoint ${endpoint.id} is going`));
    if (endpoint.state === 'ready' || endpoint.state === 'not-ready') {
      endpoint.moveTo('waiting-to-regenerate', `Triggering regeneration: ${reason}`);
    }
    queue.reasons.add(reason);
    const promise = new Promise<void>((resolve, reject) => queue.waiters.push({ resolve, reject }));
    // Whoever does not wait sees the failure in the endpoint's state and log.
    promise.catch(() => undefined);
    this.#enqueue(queue);
    return promise;
  }

  /** Ends an endpoint's queue: pending requests reject, resolves when a run in progress is over. */
  async end(endpoint: Endpoint): Promise<void> {
    const queue = this.#queue(endpoint);
    queue.ended = true;
    clearTimeout(queue.retry);
    this.#waiting = this.#waiting.filter((other) => other !== queue);
    for (const { reject } of queue.waiters.splice(0)) reject(new Error(`endpoint ${endpoint.id} is going`));
    await queue.running;
    this.#queues.delete(endpoint.id);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all([...this.#queues.values()].map((queue) => this.end(queue.endpoint)));
  }

  #queue(endpoint: Endpoint): Queue {
    const found = this.#queues.get(endpoint.id);
    if (found !== undefined) return found;
    const queue: Queue = {
      endpoint,
      reasons: new Set(),
      waiters: [],
      running: undefined,
      failures: 0,
      retry: undefined,
      ended: false,
    };
    this.#queues.set(endpoint.id, queue);
    return queue;
  }

  #enqueue(queue: Queue): void {
    clearTimeout(queue.retry);
    if (queue.running === undefined && !this.#waiting.includes(queue)) this.#waiting.push(queue);
    this.#startSome();
  }

  #startSome(): void {
    while (this.#running < this.#concurrency) {
      const queue = this.#waiting.shift();
      if (queue === undefined) return;
      queue.running = this.#run(queue).finally(() => {
        queue.running = undefined;
        if (!queue.ended && queue.reasons.size > 0 && queue.failures === 0) this.#enqueue(queue);
      });
    }
  }

  async #run(queue: Queue): Promise<void> {
    const reasons = [...queue.reasons];
    const waiters = queue.waiters.splice(0);
    queue.reasons.clear();
    const begun = performance.now();
    try {
      do await this.#regenerate(queue.endpoint, reasons);
      while (await this.#deps.settle?.(queue.endpoint));
      queue.failures = 0;
      this.#deps.onDone?.(queue.endpoint, performance.now() - begun, undefined);
      for (const { resolve } of waiters) resolve();
    } catch (error) {
      this.#deps.onDone?.(queue.endpoint, performance.now() - begun, error);
      for (const { reject } of waiters) reject(error);
      this.#retryLater(queue, error);
    }
  }

  /** In one of the places that there are. */
  async #regenerate(endpoint: Endpoint, reasons: readonly string[]): Promise<void> {
    this.#running++;
    try {
      await this.#deps.regenerate(endpoint, reasons);
    } finally {
      this.#running--;
      this.#startSome();
    }
  }

  #retryLater(queue: Queue, error: unknown): void {
    if (queue.ended) return;
    const pauseMs = Math.min(this.#retryBaseMs * 2 ** queue.failures++, LONGEST_RETRY_MS);
    queue.retry = setTimeout(() => {
      void this.request(queue.endpoint, `retry after: ${errorText(error)}`);
    }, pauseMs).unref();
  }
}
