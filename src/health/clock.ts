/** Time as the health agent sees it; tests give their own. */
export interface Clock {
  /** Monotonic ms. */
  nowMs(): number;
  /** Realtime, ms since the epoch: for telling, never for measuring. */
  wallMs(): number;
  /** Calls once after `ms`. @returns a function that cancels */
  after(ms: number, act: () => void): () => void;
}

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  after: (ms, act) => {
    const timer = setTimeout(act, ms);
    return () => clearTimeout(timer);
  },
};
