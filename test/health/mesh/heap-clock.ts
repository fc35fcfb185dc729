import type { Clock } from '../../../src/health/index.ts';

interface Timer {
  readonly dueMs: number;
  /** Timers of the same time run in the order in which they were set. */
  readonly order: number;
  act: (() => void) | undefined;
}

/** Time that passes only when a simulation says so, with room for hundreds of thousands of timers. */
export class HeapClock implements Clock {
  readonly #startMs: number;
  readonly #heap: Timer[] = [];
  #nowMs = 0;
  #order = 0;

  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.#startMs = startMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#startMs + Math.floor(this.#nowMs);
  }

  after(ms: number, act: () => void): () => void {
    const timer: Timer = { dueMs: this.#nowMs + Math.max(0, ms), order: this.#order++, act };
    this.#heap.push(timer);
    this.#rise(this.#heap.length - 1);
    return () => {
      timer.act = undefined;
    };
  }

  /** Lets `ms` pass; promises settle between timers. */
  async pass(ms: number): Promise<void> {
    const until = this.#nowMs + ms;
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.dueMs > until) break;
      this.#removeFirst();
      if (next.act === undefined) continue;
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.act();
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#nowMs = until;
  }

  #rise(from: number): void {
    for (let at = from; at > 0; ) {
      const parent = (at - 1) >> 1;
      if (!this.#swapIfEarlier(at, parent)) return;
      at = parent;
    }
  }

  #removeFirst(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    for (let at = 0; ; ) {
      const left = 2 * at + 1;
      const child = this.#isEarlier(left + 1, left) ? left + 1 : left;
      if (!this.#swapIfEarlier(child, at)) return;
      at = child;
    }
  }

  #isEarlier(a: number, b: number): boolean {
    const [x, y] = [this.#heap[a], this.#heap[b]];
    if (x === undefined || y === undefined) return false;
    return x.dueMs < y.dueMs || (x.dueMs === y.dueMs && x.order < y.order);
  }

  #swapIfEarlier(child: number, parent: number): boolean {
    if (!this.#isEarlier(child, parent)) return false;
    const [x, y] = [this.#heap[child], this.#heap[parent]];
    if (x === undefined || y === undefined) return false;
    this.#heap[child] = y;
    this.#heap[parent] = x;
    return true;
  }
}
