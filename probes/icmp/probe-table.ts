import { Outcome } from './constants.ts';
import type { OutcomeBatch } from './outcome-batch.ts';

const SlotState = { free: 0, waiting: 1, answered: 2, expired: 3 } as const;

/**
 * Probes of one socket that are under way, and those that lately ended, so that a second or late reply is told apart
 * from a foreign one. Matching, in steps:
 *
 * 1. A probe gets the next 32-bit sequence; its slot is the sequence modulo the capacity.
 * 2. The n-th packet that the kernel took is stamped under number n; `sequenceOfStamp` leads from n to the slot.
 * 3. A reply is ours if its slot holds the same path and sequence. It is the answer if the probe still waits and the
 *    two kernel stamps lie within the deadline; late if the probe expired or the stamps say so; else a duplicate.
 * 4. All probes have the same deadline, so those to expire first are those sent first: expiry walks from the oldest.
 *
 * All times are monotonic ns since the socket was opened.
 */
export class ProbeTable {
  readonly capacity: number;
  readonly timeoutNs: number;
  readonly #mask: number;
  readonly #state: Uint8Array;
  readonly #path: Uint32Array;
  readonly #sequence: Uint32Array;
  readonly #sentNs: Float64Array;
  /** Kernel transmit stamp; NaN until it came. */
  readonly #stampNs: Float64Array;
  readonly #sequenceOfStamp: Uint32Array;
  /** By path: highest sequence answered, to notice reordering. */
  #highest = new Uint32Array(64);
  #next = 1;
  #oldest = 1;
  #stamps = 0;
  reordered = 0;

  /** @param capacity power of two */
  constructor(capacity: number, timeoutNs: number) {
    this.capacity = capacity;
    this.timeoutNs = timeoutNs;
    this.#mask = capacity - 1;
    this.#state = new Uint8Array(capacity);
    this.#path = new Uint32Array(capacity);
    this.#sequence = new Uint32Array(capacity);
    this.#sentNs = new Float64Array(capacity);
    this.#stampNs = new Float64Array(capacity).fill(Number.NaN);
    this.#sequenceOfStamp = new Uint32Array(capacity);
  }

  /** Sequences given out and not yet past expiry; includes answered ones behind one that still waits. */
  get window(): number {
    return (this.#next - this.#oldest) >>> 0;
  }

  get room(): number {
    return this.capacity - this.window;
  }

  /** Send time of the probe that expires next; undefined when none waits. */
  get oldestSentNs(): number | undefined {
    this.#skipEnded();
    return this.window === 0 ? undefined : this.#sentNs[this.#oldest & this.#mask];
  }

  /** The sequence of a new probe; the caller has looked at `room`. */
  add(path: number, sentNs: number): number {
    const sequence = this.#next;
    const slot = sequence & this.#mask;
    this.#next = (sequence + 1) >>> 0;
    this.#state[slot] = SlotState.waiting;
    this.#path[slot] = path;
    this.#sequence[slot] = sequence;
    this.#sentNs[slot] = sentNs;
    this.#stampNs[slot] = Number.NaN;
    return sequence;
  }

  /** Takes back the newest `count` probes, which the kernel did not take. */
  retract(count: number): void {
    for (let i = 0; i < count; i++) {
      this.#next = (this.#next - 1) >>> 0;
      this.#state[this.#next & this.#mask] = SlotState.free;
    }
  }

  /** The kernel took the `count` probes from `sequence` on: their stamps will come in this order. */
  taken(sequence: number, count: number): void {
    for (let i = 0; i < count; i++) {
      this.#sequenceOfStamp[this.#stamps & this.#mask] = (sequence + i) >>> 0;
      this.#stamps = (this.#stamps + 1) >>> 0;
    }
  }

  /** The kernel numbers stamps from 0 again. */
  resetStamps(): void {
    this.#stamps = 0;
    this.#sequenceOfStamp.fill(0);
  }

  stamp(stampId: number, stampNs: number): void {
    const sequence = this.#sequenceOfStamp[stampId & this.#mask] ?? 0;
    const slot = sequence & this.#mask;
    // A stamp before the send call, or of a slot that has moved on, belongs to another packet.
    if (this.#sequence[slot] !== sequence || stampNs < (this.#sentNs[slot] ?? Infinity)) return;
    this.#stampNs[slot] = stampNs;
  }

  /** @returns false when no probe of this table has that path and sequence */
  reply(path: number, sequence: number, receivedNs: number, hopLimit: number, batch: OutcomeBatch): boolean {
    const slot = sequence & this.#mask;
    const state = this.#state[slot];
    if (this.#sequence[slot] !== sequence || this.#path[slot] !== path || state === SlotState.free) {
      // Genuine by its cookie, but its slot has been used again since.
      batch.push(Outcome.late, path, sequence, Number.NaN, hopLimit);
      return false;
    }
    const kernelNs = this.#stampNs[slot] ?? Number.NaN;
    const stamped = !Number.isNaN(kernelNs);
    const latencyNs = receivedNs - (stamped ? kernelNs : (this.#sentNs[slot] ?? Number.NaN));
    if (state === SlotState.answered) {
      batch.push(Outcome.duplicate, path, sequence, latencyNs, hopLimit);
    } else if (state === SlotState.expired || latencyNs > this.timeoutNs) {
      if (state === SlotState.waiting) batch.push(Outcome.timeout, path, sequence, Number.NaN, 0);
      this.#state[slot] = SlotState.answered;
      batch.push(Outcome.late, path, sequence, latencyNs, hopLimit);
    } else {
      this.#state[slot] = SlotState.answered;
      this.#noteOrder(path, sequence);
      batch.push(Outcome.reply, path, sequence, latencyNs, hopLimit, stamped);
    }
    return true;
  }

  /** Ends a waiting probe for another reason than a reply. @returns false when it does not wait */
  fail(sequence: number, outcome: Outcome, detail: number, batch: OutcomeBatch): boolean {
    const slot = sequence & this.#mask;
    if (this.#sequence[slot] !== sequence || this.#state[slot] !== SlotState.waiting) return false;
    this.#state[slot] = SlotState.answered;
    batch.push(outcome, this.#path[slot] ?? 0, sequence, Number.NaN, detail);
    return true;
  }

  /** Of a probe that waits. */
  sentNsOf(sequence: number): number | undefined {
    const slot = sequence & this.#mask;
    return this.#sequence[slot] === sequence ? this.#sentNs[slot] : undefined;
  }

  pathOf(sequence: number): number | undefined {
    const slot = sequence & this.#mask;
    return this.#sequence[slot] === sequence && this.#state[slot] !== SlotState.free
      ? this.#path[slot]
      : undefined;
  }

  /** The newest waiting probe whose sequence ends in these 16 bits and whose path is right. */
  findShort(low16: number, isRight: (path: number) => boolean): number | undefined {
    let sequence = (this.#next - 1 - ((this.#next - 1 - low16) & 0xffff)) >>> 0;
    for (let back = (this.#next - sequence) >>> 0; back <= this.window; back += 0x10000) {
      const slot = sequence & this.#mask;
      if (this.#state[slot] === SlotState.waiting && isRight(this.#path[slot] ?? 0)) return sequence;
      sequence = (sequence - 0x10000) >>> 0;
    }
    return undefined;
  }

  /** Ends every probe sent before `nowNs` minus the timeout. */
  expire(nowNs: number, batch: OutcomeBatch): void {
    const limit = nowNs - this.timeoutNs;
    while (this.window > 0) {
      const slot = this.#oldest & this.#mask;
      if (this.#state[slot] === SlotState.waiting) {
        if ((this.#sentNs[slot] ?? 0) > limit) return;
        this.#state[slot] = SlotState.expired;
        batch.push(Outcome.timeout, this.#path[slot] ?? 0, this.#oldest, Number.NaN, 0);
      }
      this.#oldest = (this.#oldest + 1) >>> 0;
    }
  }

  #skipEnded(): void {
    while (this.window > 0 && this.#state[this.#oldest & this.#mask] !== SlotState.waiting) {
      this.#oldest = (this.#oldest + 1) >>> 0;
    }
  }

  #noteOrder(path: number, sequence: number): void {
    if (path >= this.#highest.length) {
      const grown = new Uint32Array(2 ** Math.ceil(Math.log2(path + 1)));
      grown.set(this.#highest);
      this.#highest = grown;
    }
    const highest = this.#highest[path] ?? 0;
    // Signed distance: right across the wrap at 2^32.
    if (highest !== 0 && (sequence - highest) << 0 < 0) this.reordered++;
    else this.#highest[path] = sequence;
  }
}
