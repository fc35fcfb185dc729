import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { ProbePath } from '../../model/health.ts';
import type { Clock } from '../clock.ts';
import type { NodeView } from '../node-view.ts';
import type { PathBook } from '../path-book.ts';
import type { PathTracker } from '../state/path-tracker.ts';
import { hostTargets } from '../targets.ts';

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

/** The first of each peer, then the second of each, and so on: a dead node has many paths, and others wait behind them. */
function byTurns(paths: readonly ProbePath[]): ProbePath[] {
  const seen = new Map<string, number>();
  const turns = paths.map((path) => {
    const turn = seen.get(path.peer) ?? 0;
    seen.set(path.peer, turn + 1);
    return { path, turn };
  });
  return turns.sort((a, b) => a.turn - b.turn).map(({ path }) => path);
}

/**
 * Asks again and again where the probes of dead paths are lost, as long as nobody has said it: all of them in turn, since of
 * some nobody ever says it.
 */
export class LossRounds {
  readonly #deps: LossRoundsDeps;
  #left = AT_ONCE;
  /** Paths that had their turn, since all had theirs. */
  #asked = new WeakSet<ProbePath>();
  #cancel: (() => void) | undefined;
  #stopped = false;

  constructor(deps: LossRoundsDeps) {
    this.#deps = deps;
  }

  /** Of paths without a loss point a few are asked about: their peer may not have answered the last time. */
  tick(): void {
    this.#left = AT_ONCE;
    const unexplained = [...this.#deps.book.ailing]
      .filter(({ state, lossPoint }) => state === 'unreachable' && lossPoint?.reason === undefined)
      .map(({ path }) => path);
    let waiting = unexplained.filter((path) => !this.#asked.has(path));
    if (waiting.length === 0) {
      this.#asked = new WeakSet();
      waiting = unexplained;
    }
    for (const path of byTurns(waiting).slice(0, AT_ONCE)) this.#ask(path);
  }

  /** A path has just died: as long as there are few, its peer is asked without waiting for the next round. */
  died(path: ProbePath): void {
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
    this.#asked.add(path);
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
