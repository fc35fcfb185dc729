import type { Logger } from '../base/log.ts';
import { type PathChange, PROBE_KINDS } from '../model/health.ts';

/** Changes kept without another number. */
const CHANGES_MAX = 10_000;
/** So many more are thrown away together: one at a time each costs as much as all. */
const SLACK = 1000;

/** Changes of paths' states: kept, logged, and told to whoever listens. */
export class ChangeLog {
  readonly #log: Logger;
  readonly #max: number;
  readonly #changes: PathChange[] = [];
  readonly #listeners: ((change: PathChange) => void)[] = [];

  constructor(log: Logger, max = CHANGES_MAX) {
    this.#log = log;
    this.#max = max;
  }

  onChange(listener: (change: PathChange) => void): void {
    this.#listeners.push(listener);
  }

  add(change: PathChange): void {
    this.#changes.push(change);
    if (this.#changes.length >= this.#max + SLACK) this.#changes.splice(0, this.#changes.length - this.#max);
    const { path, from, to, reason } = change;
    const { peer, address } = path;
    const fields = { peer, path: PROBE_KINDS[path.kind]?.name, address, from, to, reason };
    if (to === 'unreachable') this.#log.warn(fields, 'path is unreachable');
    else if (from !== 'unknown' || to !== 'reachable') this.#log.info(fields, `path is ${to}`);
    for (const listener of this.#listeners) listener(change);
  }

  /** The oldest first; of those after `sinceMs` (realtime). */
  since(sinceMs: number): readonly PathChange[] {
    return this.#changes.slice(-this.#max).filter(({ atMs }) => atMs > sinceMs);
  }
}
