import {
  cellState,
  type HealthCell,
  type MatrixView,
  probeKindIndex,
  type RowNote,
} from '../model/health.ts';
import type { Clock } from './clock.ts';
import type { PathBook } from './path-book.ts';

export interface OwnFilterDeps {
  readonly clock: Clock;
  readonly book: Pick<PathBook, 'trackers' | 'burst'>;
  readonly matrix: () => MatrixView;
  /** That requests of others do not come through though this agent lives, or that they do again. */
  readonly onChange: () => void;
  /** Others tell that fault once more, and it still is none of this agent. */
  readonly onAgain: () => void;
}

const AGENT = probeKindIndex('host-host/http');
const LOOK_MS = 500;
/** A look that is so late was held up: others were right that this agent did not answer. */
const HELD_UP_MS = 500;
/** After that they are asked to believe it again once they have asked it themselves, and told each other. */
const ALIVE_MS = 3000;
/** What a row tells that is older is no news. */
const FRESH_MS = 20_000;

/**
 * Whether others tell that this agent does not answer, though it answers itself and was not held up: something between takes their
 * requests. They cannot tell that from an agent that hangs, so that it must say by itself that it does not.
 */
export class OwnFilter {
  readonly #deps: OwnFilterDeps;
  #isSuspected = false;
  #isAgain = false;
  #note: Pick<RowNote, 'family' | 'sinceMs'> | undefined;
  /** When the last look was, and since when none was held up, monotonic ms. */
  #lookedMs = Number.NEGATIVE_INFINITY;
  #aliveMs = Number.NEGATIVE_INFINITY;
  #cancel: (() => void) | undefined;

  constructor(deps: OwnFilterDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#lookedMs = this.#deps.clock.nowMs();
    this.#aliveMs = this.#lookedMs;
    this.#arm();
  }

  /** May be called twice. */
  stop(): void {
    this.#cancel?.();
  }

  #arm(): void {
    this.#cancel = this.#deps.clock.after(LOOK_MS, () => {
      this.#arm();
      this.#look();
    });
  }

  /** A note of this node on itself, while requests to it do not come through. */
  notes(self: string): readonly RowNote[] {
    if (this.#note === undefined) return [];
    return [{ peer: self, kind: AGENT, fault: 'http-filtered', lossPoint: undefined, ...this.#note }];
  }

  /** Others tell that a fault of this node came or went. */
  heard(): void {
    this.#isAgain = this.#note !== undefined;
    if (this.#isSuspected) return;
    this.#isSuspected = true;
    const { book, matrix } = this.#deps;
    book.burst(
      book.trackers(matrix().self).filter(({ path }) => path.kind === AGENT),
      1,
      0,
    );
  }

  #look(): void {
    const { clock, onChange, onAgain } = this.#deps;
    const nowMs = clock.nowMs();
    if (nowMs - this.#lookedMs > LOOK_MS + HELD_UP_MS) this.#aliveMs = nowMs;
    this.#lookedMs = nowMs;
    if (!this.#isSuspected) return;
    const missing = this.#missing();
    if (missing === undefined) this.#isSuspected = false;
    const isFiltered = missing !== undefined && nowMs - this.#aliveMs >= ALIVE_MS && this.#answersItself();
    const [wasFiltered, isAgain] = [this.#note !== undefined, this.#isAgain];
    this.#isAgain = false;
    if (isFiltered !== wasFiltered) {
      this.#note = isFiltered ? { ...missing, sinceMs: Math.floor(clock.wallMs()) } : undefined;
      onChange();
    } else if (isFiltered && isAgain) onAgain();
  }

  #answersItself(): boolean {
    const { book, matrix } = this.#deps;
    return book
      .trackers(matrix().self)
      .some(({ path, state }) => path.kind === AGENT && state === 'reachable');
  }

  /** Over which family any of the others misses this agent now; undefined: nobody does. */
  #missing(): Pick<RowNote, 'family'> | undefined {
    const matrix = this.#deps.matrix();
    for (const { name } of matrix.nodes) {
      const ageMs = matrix.ageMs(name);
      if (name === matrix.self || ageMs === undefined || ageMs > FRESH_MS) continue;
      const cell = matrix.row(name)?.cells.get(matrix.self);
      const family = ([4, 6] as const).find((one) => cell !== undefined && isMissed(cell, one));
      if (family !== undefined) return { family };
    }
    return undefined;
  }
}

function isMissed(cell: HealthCell, family: 4 | 6): boolean {
  return cellState(cell, family, AGENT) === 'unreachable';
}
