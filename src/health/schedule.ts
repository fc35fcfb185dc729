import type { Clock } from './clock.ts';

/** How long one round over all addresses takes. */
export type ProbeInterval =
  | { readonly kind: 'fixed'; readonly ms: number }
  /** As Cilium 1.19: it grows with the logarithm of the number of addresses; `ratio` 0..1, its default 0.5. */
  | { readonly kind: 'ratio'; readonly ratio: number };

/** Length of a round over `addresses` addresses, in ms. */
export function intervalMs(interval: ProbeInterval, addresses: number): number {
  if (interval.kind === 'fixed') return interval.ms;
  return (10 + 100 * interval.ratio) * Math.log1p(Math.max(1, addresses)) * 1000;
}

export interface ScheduleDeps {
  readonly clock: Clock;
  /** A number in [0, 1): the nodes of a cluster must not fall into step. */
  readonly random: () => number;
  /** The keys of what is to be probed now, in order. */
  readonly keys: () => readonly string[];
  /** Probes these now. */
  readonly probe: (keys: readonly string[]) => void;
  /** A round begins. */
  readonly onRound?: ((atMs: number) => void) | undefined;
}

/** Least time between two wake-ups: what is due within one leaves together. */
const TURN_MS = 20;
/** A key that was never probed is not left waiting for its turn of a long round. */
const FIRST_LOOK_MS = 1000;

/**
 * Spreads probes evenly: in steps,
 *
 * 1. a round takes the keys that are there at its start and gives the i-th of n the time `start + i * interval / n`;
 * 2. a key that appears meanwhile is probed at once, spread over at most a second, and joins the next round;
 * 3. what is due within one turn leaves in one batch, so that wake-ups stay few.
 */
export class Schedule {
  readonly #interval: ProbeInterval;
  readonly #deps: ScheduleDeps;
  #round: readonly string[] = [];
  #next = 0;
  #startMs = 0;
  #lengthMs = 0;
  #known = new Set<string>();
  #fresh: { readonly key: string; readonly dueMs: number }[] = [];
  #cancel: (() => void) | undefined;
  #running = false;

  constructor(interval: ProbeInterval, deps: ScheduleDeps) {
    this.#interval = interval;
    this.#deps = deps;
  }

  /** Length of the present round in ms. */
  get lengthMs(): number {
    return this.#lengthMs > 0 ? this.#lengthMs : intervalMs(this.#interval, this.#deps.keys().length);
  }

  start(): void {
    this.#running = true;
    // The first round of steady probing starts at a random phase; first looks come before it.
    const lengthMs = intervalMs(this.#interval, this.#deps.keys().length);
    this.#startMs = this.#deps.clock.nowMs() + FIRST_LOOK_MS + this.#deps.random() * lengthMs;
    this.#lengthMs = 0;
    this.changed();
  }

  stop(): void {
    this.#running = false;
    this.#cancel?.();
  }

  /** The keys have changed. */
  changed(): void {
    if (!this.#running) return;
    const keys = this.#deps.keys();
    const added = keys.filter((key) => !this.#known.has(key));
    this.#known = new Set(keys);
    this.#fresh = this.#fresh.filter(({ key }) => this.#known.has(key));
    const nowMs = this.#deps.clock.nowMs();
    const spreadMs = Math.min(FIRST_LOOK_MS, intervalMs(this.#interval, keys.length));
    added.forEach((key, i) => {
      this.#fresh.push({ key, dueMs: nowMs + (i * spreadMs) / added.length });
    });
    this.#arm();
  }

  #arm(): void {
    this.#cancel?.();
    if (!this.#running) return;
    const waitMs = Math.max(TURN_MS, this.#nextDueMs() - this.#deps.clock.nowMs());
    this.#cancel = this.#deps.clock.after(waitMs, () => this.#turn());
  }

  #nextDueMs(): number {
    return Math.min(this.#dueMs(this.#next), ...this.#fresh.slice(0, 1).map(({ dueMs }) => dueMs));
  }

  /** When the i-th of the round is due; the i past the last is the start of the next round. */
  #dueMs(i: number): number {
    if (this.#round.length === 0 || i >= this.#round.length) return this.#startMs + this.#lengthMs;
    return this.#startMs + (i * this.#lengthMs) / this.#round.length;
  }

  #turn(): void {
    const nowMs = this.#deps.clock.nowMs();
    const due = new Set<string>();
    while (this.#fresh[0] !== undefined && this.#fresh[0].dueMs <= nowMs) {
      due.add(this.#fresh.shift()?.key ?? '');
    }
    if (this.#next >= this.#round.length && this.#dueMs(this.#next) <= nowMs) this.#newRound(nowMs);
    while (this.#next < this.#round.length && this.#dueMs(this.#next) <= nowMs) {
      due.add(this.#round[this.#next++] ?? '');
    }
    const present = [...due].filter((key) => this.#known.has(key));
    if (present.length > 0) this.#deps.probe(present);
    this.#arm();
  }

  #newRound(nowMs: number): void {
    const fresh = new Set(this.#fresh.map(({ key }) => key));
    this.#round = this.#deps.keys().filter((key) => !fresh.has(key));
    const length = intervalMs(this.#interval, this.#round.length);
    // Rounds follow each other without drift; after a long sleep what was missed is not made up for.
    const dueMs = this.#startMs + this.#lengthMs;
    this.#startMs = nowMs - dueMs > length ? nowMs : dueMs;
    this.#lengthMs = length;
    this.#next = 0;
    this.#deps.onRound?.(this.#startMs);
  }
}
