import { type Clock, type Instant, instantOf } from './clock.ts';
import type { PathBook } from './path-book.ts';

export interface LookRoundsDeps {
  readonly clock: Clock;
  readonly book: Pick<PathBook, 'size' | 'tickSome'>;
  /** All paths have been looked at once more. */
  readonly onRound: (at: Instant) => void;
}

const ROUND_MS = 1000;
/** Looked at in one go, which holds up the event loop for some 3 ms. */
const AT_ONCE = 2000;
const TURNS_MAX = 50;

/** Looks at the counts of all paths once a second, of many paths in several turns. */
export class LookRounds {
  readonly #deps: LookRoundsDeps;
  #turns = 1;
  #turn = 0;
  #dueMs = 0;
  #cancel: (() => void) | undefined;
  #running = false;

  constructor(deps: LookRoundsDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#running = true;
    this.#dueMs = this.#deps.clock.nowMs();
    this.#look();
  }

  stop(): void {
    this.#running = false;
    this.#cancel?.();
  }

  /** Where there are many paths, what follows has a turn of its own as well. */
  #tellRound(at: Instant): void {
    const { clock, onRound } = this.#deps;
    if (this.#turns === 1) onRound(at);
    else clock.after(0, () => this.#running && onRound(at));
  }

  #look(): void {
    const { clock, book } = this.#deps;
    const at = instantOf(clock);
    if (this.#turn === 0) this.#turns = Math.min(TURNS_MAX, Math.max(1, Math.ceil(book.size / AT_ONCE)));
    book.tickSome(Math.ceil(book.size / this.#turns), at);
    this.#turn = (this.#turn + 1) % this.#turns;
    if (this.#turn === 0) this.#tellRound(at);
    if (!this.#running) return;
    // Without drift; after a long sleep what was missed is not made up for.
    this.#dueMs = Math.max(this.#dueMs + ROUND_MS / this.#turns, at.nowMs);
    this.#cancel = clock.after(this.#dueMs - at.nowMs, () => this.#look());
  }
}
