import type { Clock } from './clock.ts';
import type { PathBook } from './path-book.ts';
import type { PathTracker } from './state/path-tracker.ts';

const LOOK_MS = 20;

export interface ProbeRoundOptions {
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly running: () => boolean;
}

/** Probes every path once now, and waits until all have an outcome or the time is up. */
export async function probeRound(
  book: Pick<PathBook, 'trackers' | 'burst' | 'countsOf'>,
  { timeoutMs, clock, running }: ProbeRoundOptions,
): Promise<void> {
  const ended = (tracker: PathTracker): number => {
    const counts = book.countsOf(tracker);
    return counts === undefined ? 0 : counts.answered + counts.lost + counts.failed;
  };
  const trackers = book.trackers();
  const before = new Map(trackers.map((tracker) => [tracker, ended(tracker)]));
  const deadlineMs = clock.nowMs() + timeoutMs;
  book.burst(trackers, 1, 1);
  // One that has just begun to fail is asked again by its prober: its answer is not in yet.
  const waits = (tracker: PathTracker): boolean =>
    ended(tracker) === before.get(tracker) ||
    (tracker.state !== 'unreachable' && (book.countsOf(tracker)?.lostInARow ?? 0) > 0);
  while (running() && clock.nowMs() < deadlineMs && trackers.some(waits)) {
    await new Promise<void>((resolve) => void clock.after(LOOK_MS, resolve));
  }
}
