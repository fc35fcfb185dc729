import type { PathCounts } from '../../../probes/engine/index.ts';
import type { Instant } from '../clock.ts';
import { missedOf } from './path-window.ts';

/** A time at which nothing happened yet. Kept as a number: an undefined in its place would make each new time garbage. */
const NEVER = Number.NEGATIVE_INFINITY;

function known(ms: number): number | undefined {
  return ms === NEVER ? undefined : ms;
}

/** What the last look at a path's counts showed that the one before it had not, and when such a thing was last seen. */
export class Outcomes {
  #sent = 0;
  #answered = 0;
  #missed = 0;
  #isFirst = true;
  #isLater = false;
  #isSent = false;
  #isAnswered = false;
  #isMissed = false;
  #sentMs = NEVER;
  #answeredMs = NEVER;
  #answeredNowMs = NEVER;
  #sentNowMs = NEVER;
  #missedNowMs = NEVER;
  #answeredAtMiss = 0;

  look(counts: PathCounts, at: Instant): void {
    const missed = missedOf(counts);
    this.#isLater = !this.#isFirst;
    this.#isFirst = false;
    this.#isSent = counts.sent > this.#sent;
    this.#isAnswered = counts.answered > this.#answered;
    // What was missed before the first look was missed nobody knows when.
    this.#isMissed = this.#isLater && missed > this.#missed;
    this.#sent = counts.sent;
    this.#answered = counts.answered;
    this.#missed = missed;
    this.#note(at, counts.answeredLastNs / 1e6);
  }

  /** @param answeredMs when the last answer came, monotonic; 0: its prober does not tell */
  #note(at: Instant, answeredMs: number): void {
    if (this.#isSent) {
      this.#sentMs = at.wallMs;
      this.#sentNowMs = at.nowMs;
    }
    if (this.#isMissed) {
      this.#missedNowMs = at.nowMs;
      this.#answeredAtMiss = this.#answered;
    }
    if (this.#isAnswered) {
      // Not when it was looked for: what came before another path fell silent says nothing of after it.
      this.#answeredNowMs = answeredMs > 0 ? Math.min(at.nowMs, answeredMs) : at.nowMs;
      this.#answeredMs = at.wallMs - (at.nowMs - this.#answeredNowMs);
    }
  }

  /** Whether more is missed by now than at the last look. */
  misses(counts: PathCounts): boolean {
    return missedOf(counts) > this.#missed;
  }

  /** Whether there was a look before the last one. */
  get isLater(): boolean {
    return this.#isLater;
  }

  /** Whether the last look showed a probe that was sent, answered, or missed: lost, or refused by the kernel. */
  get isSent(): boolean {
    return this.#isSent;
  }

  get isAnswered(): boolean {
    return this.#isAnswered;
  }

  get isMissed(): boolean {
    return this.#isMissed;
  }

  /** Realtime ms; undefined: never. */
  get sentMs(): number | undefined {
    return known(this.#sentMs);
  }

  get answeredMs(): number | undefined {
    return known(this.#answeredMs);
  }

  /** Monotonic ms; undefined: never. */
  get sentNowMs(): number | undefined {
    return known(this.#sentNowMs);
  }

  get missedNowMs(): number | undefined {
    return known(this.#missedNowMs);
  }

  get answeredNowMs(): number | undefined {
    return known(this.#answeredNowMs);
  }

  /** Answers in a row since the last miss, and how long it is over. */
  get answeredSinceMiss(): number {
    return this.#answered - this.#answeredAtMiss;
  }

  sinceMissMs(nowMs: number): number {
    return nowMs - Math.max(0, this.#missedNowMs);
  }
}
