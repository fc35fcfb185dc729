import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { LossPoint, ProbePath } from '../../model/health.ts';
import type { Clock } from '../clock.ts';
import type { NodeView } from '../node-view.ts';
import type { PathBook } from '../path-book.ts';
import type { PathTracker } from '../state/path-tracker.ts';
import { hostTargets } from '../targets.ts';
import { NEVER_CAME } from './loss-finder.ts';

export interface LossRoundsDeps {
  readonly book: Pick<PathBook, 'findLoss'> & {
    readonly ailing: Iterable<Pick<PathTracker, 'path' | 'state' | 'lossPoint'>>;
  };
  readonly clock: Pick<Clock, 'after'>;
  readonly view: () => NodeView;
  readonly log: Logger;
  /** More is known of where probes are lost: of one path or of several. */
  readonly onFound: () => void;
}

/** Paths that are asked about a second. */
const AT_ONCE = 8;
/** What is found within this time after the first is told with it: all notes are made anew for it. */
const JOIN_MS = 50;

/** From one question about a path to the next, at most, s: each time twice as long as the time before. */
const APART_MOST = 16;

/** How often a path was asked about since it died, and the tick at which it may be again. */
interface Asked {
  readonly times: number;
  readonly due: number;
}

/** Nobody has said it, or it was concluded from what the peer did not say. */
function isOpen(point: LossPoint | undefined): boolean {
  return point?.reason === undefined || point.reason === NEVER_CAME;
}

/**
 * Asks again and again where the probes of dead paths are lost, as long as nobody has said it: all of them in turn, since of
 * some nobody ever says it, and ever more seldom.
 */
export class LossRounds {
  readonly #deps: LossRoundsDeps;
  #left = AT_ONCE;
  #tick = 0;
  readonly #asked = new WeakMap<ProbePath, Asked>();
  #cancel: (() => void) | undefined;
  #stopped = false;

  constructor(deps: LossRoundsDeps) {
    this.#deps = deps;
  }

  /** Of paths without a loss point a few are asked about: their peer may not have answered the last time. Once a second. */
  tick(): void {
    this.#left = AT_ONCE;
    this.#tick++;
    const waiting = [...this.#deps.book.ailing]
      .filter(({ state, lossPoint }) => state === 'unreachable' && isOpen(lossPoint))
      .map(({ path }) => path)
      .filter((path) => (this.#asked.get(path)?.due ?? 0) <= this.#tick);
    for (const path of this.#byTurns(waiting).slice(0, AT_ONCE)) this.#ask(path);
  }

  /**
   * Those asked about the fewest times, of them the first of each peer, then the second of each, and so on: a dead node has
   * many paths, and others wait behind them.
   */
  #byTurns(paths: readonly ProbePath[]): ProbePath[] {
    const seen = new Map<string, number>();
    const turns = paths.map((path) => {
      const turn = seen.get(path.peer) ?? 0;
      seen.set(path.peer, turn + 1);
      return { path, turn, times: this.#asked.get(path)?.times ?? 0 };
    });
    return turns.sort((a, b) => a.times - b.times || a.turn - b.turn).map(({ path }) => path);
  }

  /** A path has just died: as long as there are few, its peer is asked without waiting for the next round. */
  died(path: ProbePath): void {
    this.#asked.delete(path);
    if (this.#left <= 0) return;
    this.#left--;
    this.#ask(path);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
  }

  #found(): void {
    if (this.#stopped || this.#cancel !== undefined) return;
    const { clock, onFound } = this.#deps;
    this.#cancel = clock.after(JOIN_MS, () => {
      this.#cancel = undefined;
      onFound();
    });
  }

  #ask(path: ProbePath): void {
    const times = (this.#asked.get(path)?.times ?? 0) + 1;
    this.#asked.set(path, { times, due: this.#tick + Math.min(APART_MOST, 2 ** (times - 1)) });
    const { book, view, log } = this.#deps;
    const { self, nodes } = view();
    const node = nodes.find(({ name }) => name === path.peer);
    const hosts = node === undefined ? [] : hostTargets(node);
    const host = hosts.find(({ family }) => family === path.family) ?? hosts[0];
    if (self === undefined || host === undefined || this.#stopped) return;
    book
      .findLoss(path, self, host.address)
      .then((found) => {
        if (found) this.#found();
      })
      .catch((error: unknown) =>
        log.warn({ peer: path.peer, error: errorText(error) }, 'loss point not found'),
      );
  }
}
