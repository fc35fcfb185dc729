import { errorText } from '../../src/base/errors.ts';
import { loadSockets } from '../../src/base/sockets/index.ts';
import { Streams } from '../../src/base/sockets/streams.ts';
import type { Probe, ProbeCounters, ProbeReadiness, ProbeResult } from '../types.ts';
import { CONNECTIONS_MAX, DEFAULT_TIMEOUT_MS } from './constants.ts';
import { Exchange, type ExchangeDeps, type ExchangeOptions } from './exchange.ts';

export interface HttpProbeOptions extends ExchangeOptions {
  /** For the whole exchange, waiting for a turn included. */
  readonly timeoutMs?: number | undefined;
  readonly connections?: number | undefined;
}

/** A timer that rings so late was held up by ourselves. */
const HELD_UP_MS = 20;

/** One GET over a connection of its own: the time of a kept connection would mean something else. */
class HttpProbe implements Probe {
  readonly protocol = 'http';
  readonly #options: HttpProbeOptions;
  readonly #timeoutMs: number;
  readonly #open = new Set<() => void>();
  readonly #waiting: (() => void)[] = [];
  readonly #totals = { sent: 0, replies: 0, lost: 0, failed: 0 };
  #deps: ExchangeDeps | { readonly reason: string } | undefined;
  #running = 0;
  #stopped = false;

  constructor(options: HttpProbeOptions) {
    this.#options = options;
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  }

  async start(): Promise<void> {
    // Each probe opens its own connection.
  }

  readiness(): ProbeReadiness {
    const deps = this.#load();
    return 'reason' in deps ? { ready: false, reason: deps.reason } : { ready: true, mode: 'tcp' };
  }

  #load(): ExchangeDeps | { readonly reason: string } {
    if (this.#deps !== undefined) return this.#deps;
    try {
      this.#deps = { sockets: loadSockets(), streams: new Streams() };
    } catch (error) {
      this.#deps = { reason: errorText(error) };
    }
    return this.#deps;
  }

  async probe(address: string): Promise<ProbeResult> {
    const deadline = performance.now() + this.#timeoutMs;
    if (this.#running >= (this.#options.connections ?? CONNECTIONS_MAX)) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    if (this.#stopped) return { kind: 'not-probed', reason: 'the probe was stopped' };
    this.#running++;
    try {
      return this.#count(await this.#exchange(address, deadline));
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }

  #count(result: ProbeResult): ProbeResult {
    if (result.kind === 'reply') this.#totals.replies++;
    else if (result.kind === 'failure') {
      this.#totals[result.failure.kind === 'timeout' ? 'lost' : 'failed']++;
    }
    return result;
  }

  #exchange(address: string, deadlineMs: number): Promise<ProbeResult> {
    const deps = this.#load();
    if ('reason' in deps) return Promise.resolve({ kind: 'not-probed', reason: deps.reason });
    return new Promise((resolve) => {
      const leftMs = deadlineMs - performance.now();
      if (leftMs <= 0) {
        resolve({ kind: 'not-probed', reason: 'too many probes are under way' });
        return;
      }
      const exchange = new Exchange(address, this.#options, (result) => {
        cancelTimer();
        this.#open.delete(cancel);
        resolve(result);
      });
      const cancel = (): void => exchange.end({ kind: 'not-probed', reason: 'the probe was stopped' });
      const cancelTimer = afterOurTime(leftMs, () => exchange.timeOut(this.#timeoutMs));
      this.#open.add(cancel);
      this.#totals.sent++;
      exchange.start(deps);
    });
  }

  counters(): ProbeCounters {
    const unseen = { late: 0, duplicate: 0, reordered: 0, foreign: 0, corrupt: 0, ownDrops: 0 };
    return { ...this.#totals, ...unseen, clockSteps: 0, unstamped: 0 };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const cancel of [...this.#open]) cancel();
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

/**
 * Calls back after `ms` in which we could have heard an answer: a deadline that passed while the event loop was blocked
 * is none, and as much time as that took is given once more. @returns what cancels it
 */
function afterOurTime(ms: number, then: () => void): () => void {
  let timer: NodeJS.Timeout;
  const arm = (waitMs: number, mayExtend: boolean): void => {
    const dueMs = performance.now() + waitMs;
    timer = setTimeout(() => {
      const lateMs = performance.now() - dueMs;
      if (mayExtend && lateMs > HELD_UP_MS) arm(Math.min(ms, lateMs), false);
      else then();
    }, Math.ceil(waitMs));
  };
  arm(ms, true);
  return () => clearTimeout(timer);
}

/** GET of the health responder behind the common interface; `Exchange` says what its times mean. */
export function createHttpProbe(options: HttpProbeOptions = {}): Probe {
  return new HttpProbe(options);
}
