import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { ProbePath } from '../../model/health.ts';
import type { NodeView } from '../node-view.ts';
import type { PathBook } from '../path-book.ts';

export interface LossRoundsDeps {
  readonly book: Pick<PathBook, 'ailing' | 'findLoss'>;
  readonly view: () => NodeView;
  readonly log: Logger;
  /** More is known of where probes are lost. */
  readonly onFound: () => void;
}

/** Paths that are asked about a second. */
const AT_ONCE = 8;

/** Asks again and again where the probes of dead paths are lost, as long as nobody has said it. */
export class LossRounds {
  readonly #deps: LossRoundsDeps;
  #left = AT_ONCE;
  #stopped = false;

  constructor(deps: LossRoundsDeps) {
    this.#deps = deps;
  }

  /** Of paths without a loss point a few are asked about: their peer may not have answered the last time. */
  tick(): void {
    this.#left = AT_ONCE;
    const unexplained = [...this.#deps.book.ailing].filter(
      ({ state, lossPoint }) => state === 'unreachable' && lossPoint?.reason === undefined,
    );
    for (const { path } of unexplained.slice(0, AT_ONCE)) this.#ask(path);
  }

  /** A path has just died: as long as there are few, its peer is asked without waiting for the next round. */
  died(path: ProbePath): void {
    if (this.#left <= 0) return;
    this.#left--;
    this.#ask(path);
  }

  stop(): void {
    this.#stopped = true;
  }

  #ask(path: ProbePath): void {
    const { book, view, log, onFound } = this.#deps;
    const { self, nodes } = view();
    const hosts = nodes.find(({ name }) => name === path.peer)?.targets.filter(({ kind }) => kind === 'node');
    const host = hosts?.find(({ family }) => family === path.family) ?? hosts?.[0];
    if (self === undefined || host === undefined || this.#stopped) return;
    book
      .findLoss(path, self, host.address)
      .then((found) => {
        if (found && !this.#stopped) onFound();
      })
      .catch((error: unknown) =>
        log.warn({ peer: path.peer, error: errorText(error) }, 'loss point not found'),
      );
  }
}
