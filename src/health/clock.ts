/** Time as the health agent sees it; tests give their own. */
export interface Clock {
  /** Monotonic ms: of `CLOCK_MONOTONIC`, as the kernel and its programs stamp packets. */
  nowMs(): number;
  /** Realtime, ms since the epoch: for telling, never for measuring. */
  wallMs(): number;
  /** Calls once after `ms`. @returns a function that cancels */
  after(ms: number, act: () => void): () => void;
}

export const systemClock: Clock = {
  nowMs: () => {
    const [seconds, ns] = process.hrtime();
    return seconds * 1e3 + ns / 1e6;
  },
  wallMs: () => Date.now(),
  after: (ms, act) => {
    const timer = setTimeout(act, ms);
    return () => clearTimeout(timer);
  },
};

/** One moment by both clocks. */
export interface Instant {
  /** Monotonic ms. */
  readonly nowMs: number;
  /** Realtime ms, for telling. */
  readonly wallMs: number;
}

export function instantOf(clock: Pick<Clock, 'nowMs' | 'wallMs'>): Instant {
  return { nowMs: clock.nowMs(), wallMs: clock.wallMs() };
}
