/** A path that has just become narrow is looked at again after so long, then each time after twice as long, at most so long. */
const LEAST_MS = 10_000;
const MOST_MS = 120_000;

interface Known {
  waitMs: number;
  /** Undefined: it is wide. */
  dueMs: number | undefined;
  wideMs: number;
}

/**
 * When paths are looked at again on which a router says that less passes than our device takes. No canary tells that one
 * became wide again: what is sent is as long as passes. Times are monotonic ms.
 */
export class NarrowPaths<Path> {
  readonly #known = new Map<Path, Known>();

  /** What was measured. One that is narrow again soon after it was wide goes on to be looked at as seldom as before. */
  measured(path: Path, isNarrow: boolean, nowMs: number): void {
    const known = this.#known.get(path);
    if (isNarrow && (known === undefined || isLongWide(known, nowMs))) {
      this.#known.set(path, { waitMs: LEAST_MS, dueMs: nowMs + LEAST_MS, wideMs: nowMs });
    } else if (isNarrow) {
      this.isStill(path, nowMs);
    } else if (known?.dueMs !== undefined) {
      known.dueMs = undefined;
      known.wideMs = nowMs;
      // Others may have gone by the same link.
      for (const other of this.#known.values()) if (other.dueMs !== undefined) other.dueMs = nowMs;
    }
  }

  /** It was looked at, and no more passes than before. */
  isStill(path: Path, nowMs: number): void {
    const known = this.#known.get(path);
    if (known === undefined) return;
    known.waitMs = Math.min(MOST_MS, 2 * known.waitMs);
    known.dueMs = nowMs + known.waitMs;
  }

  forget(path: Path): void {
    this.#known.delete(path);
  }

  /** Those to be looked at now. */
  *due(nowMs: number): Generator<Path> {
    for (const [path, { dueMs }] of this.#known) if (dueMs !== undefined && dueMs <= nowMs) yield path;
  }
}

function isLongWide({ dueMs, wideMs }: Known, nowMs: number): boolean {
  return dueMs === undefined && nowMs - wideMs > MOST_MS;
}
