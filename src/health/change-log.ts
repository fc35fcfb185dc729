import type { Logger } from '../base/log.ts';
import { type PathChange, PROBE_KINDS } from '../model/health.ts';
import type { Clock } from './clock.ts';

/** Changes kept without another number. */
const CHANGES_MAX = 10_000;
/** So many more are thrown away together: one at a time each costs as much as all. */
const SLACK = 1000;
/**
 * Logged in so long a time: a node that is cut off loses the paths to thousands of others at once. Paths that become
 * unreachable have as many lines for themselves, which no other changes take from them.
 */
const LINES_MAX = 100;
const LINES_MS = 10_000;

/** Changes of paths' states: kept, logged, and told to whoever listens. */
export class ChangeLog {
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #max: number;
  /** Changes to be logged since the time began that runs now. */
  #lines = { unreachable: 0, other: 0 };
  #cancel: (() => void) | undefined;
  readonly #changes: PathChange[] = [];
  readonly #listeners: ((change: PathChange) => void)[] = [];

  constructor(log: Logger, clock: Clock, max = CHANGES_MAX) {
    this.#log = log;
    this.#clock = clock;
    this.#max = max;
  }

  onChange(listener: (change: PathChange) => void): void {
    this.#listeners.push(listener);
  }

  add(change: PathChange): void {
    this.#changes.push(change);
    if (this.#changes.length >= this.#max + SLACK) this.#changes.splice(0, this.#changes.length - this.#max);
    if (change.from !== 'unknown' || change.to !== 'reachable') this.#line(change);
    for (const listener of this.#listeners) listener(change);
  }

  #line({ path, from, to, reason }: PathChange): void {
    const lines = this.#lines;
    if (lines.unreachable + lines.other === 0)
      this.#cancel = this.#clock.after(LINES_MS, () => this.#endLines());
    if (++lines[to === 'unreachable' ? to : 'other'] > LINES_MAX) return;
    const { peer, address } = path;
    const fields = { peer, path: PROBE_KINDS[path.kind]?.name, address, from, to, reason };
    if (to === 'unreachable') this.#log.warn(fields, 'path is unreachable');
    else this.#log.info(fields, `path is ${to}`);
  }

  #endLines(): void {
    const { unreachable, other } = this.#lines;
    const changes = Math.max(0, unreachable - LINES_MAX) + Math.max(0, other - LINES_MAX);
    this.#lines = { unreachable: 0, other: 0 };
    if (changes > 0)
      this.#log.warn({ changes }, 'more paths changed their states: `ciliate health history` has them');
  }

  stop(): void {
    this.#cancel?.();
    this.#endLines();
  }

  /** The oldest first; of those after `sinceMs` (realtime). */
  since(sinceMs: number): readonly PathChange[] {
    return this.#changes.slice(-this.#max).filter(({ atMs }) => atMs > sinceMs);
  }
}
