import { type PathReport, PROBE_KINDS, type ProbePath, probePathKey } from '../../model/health.ts';
import type { Clock } from '../clock.ts';

export interface SeriesDeps {
  readonly peers: () => readonly string[];
  readonly reports: (peer: string) => readonly Pick<PathReport, 'path' | 'window'>[];
  readonly clock: Clock;
}

export interface SeriesAnswer {
  /** From one point to the next; each tells of the minute before it. */
  readonly 'step-ms': number;
  /** Realtime of the last point. */
  readonly 'end-ms': number;
  readonly paths: readonly {
    readonly kind: string;
    readonly address: string;
    /** Round trips, ns; null: no answer. The oldest first. */
    readonly 'p50-ns': readonly (number | null)[];
    readonly 'p99-ns': readonly (number | null)[];
    /** 0..1; null: nothing was sent. */
    readonly loss: readonly (number | null)[];
  }[];
}

const STEP_MS = 15_000;
const POINTS = 240;
/** Peers are read bit by bit, lest all of them be read in one go. */
const SLICES = 15;
/** 1.2 KiB each. Further paths are not recorded. */
const PATHS_MAX = 20_000;
const NO_LOSS_KNOWN = 255;
const LOSS_STEPS = 254;
/** Times are kept as logarithms: 16 bits from 1 ns on, steps of 0.04 %. */
const LOG_STEPS = 2500;

class Ring {
  readonly path: ProbePath;
  readonly p50 = new Uint16Array(POINTS);
  readonly p99 = new Uint16Array(POINTS);
  readonly loss = new Uint8Array(POINTS).fill(NO_LOSS_KNOWN);
  /** Number of the step that was written last. */
  lastStep = -1;

  constructor(path: ProbePath) {
    this.path = path;
  }
}

function packedTime(ns: number | undefined): number {
  return ns === undefined || ns < 1 ? 0 : Math.min(65_535, 1 + Math.round(Math.log(ns) * LOG_STEPS));
}

function time(packed: number): number | null {
  return packed === 0 ? null : Math.round(Math.exp((packed - 1) / LOG_STEPS));
}

/** A loss that is not 0 never becomes 0. */
function packedLoss(sent: number, answered: number): number {
  if (sent === 0) return NO_LOSS_KNOWN;
  return Math.min(LOSS_STEPS, Math.ceil((LOSS_STEPS * Math.max(0, sent - answered)) / sent));
}

/** An hour of each path of this node, in fixed memory a path. */
export class PathSeries {
  readonly #deps: SeriesDeps;
  readonly #rings = new Map<string, Ring>();
  #slice = 0;
  #cancel: (() => void) | undefined;

  constructor(deps: SeriesDeps) {
    this.#deps = deps;
  }

  /** Begins to record; once begun, it does nothing. */
  start(): void {
    if (this.#cancel !== undefined) return;
    this.#record(this.#deps.peers());
    this.#schedule();
  }

  #schedule(): void {
    this.#cancel = this.#deps.clock.after(STEP_MS / SLICES, () => {
      this.#schedule();
      this.#slice = (this.#slice + 1) % SLICES;
      this.#record(this.#deps.peers().filter((_, i) => i % SLICES === this.#slice));
      if (this.#slice === 0) this.#forget();
    });
  }

  /** May be called twice. */
  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #record(peers: readonly string[]): void {
    const step = Math.floor(this.#deps.clock.nowMs() / STEP_MS);
    for (const peer of peers) {
      for (const { path, window } of this.#deps.reports(peer)) {
        const ring = this.#ringOf(path);
        if (ring === undefined) continue;
        clearBetween(ring, step);
        const at = step % POINTS;
        ring.p50[at] = packedTime(window.rttNs?.p50);
        ring.p99[at] = packedTime(window.rttNs?.p99);
        ring.loss[at] = packedLoss(window.sent, window.answered);
      }
    }
  }

  #ringOf(path: ProbePath): Ring | undefined {
    const key = probePathKey(path);
    const known = this.#rings.get(key);
    if (known !== undefined || this.#rings.size >= PATHS_MAX) return known;
    const ring = new Ring(path);
    this.#rings.set(key, ring);
    return ring;
  }

  /** Paths that are gone for as long as is kept. */
  #forget(): void {
    const step = Math.floor(this.#deps.clock.nowMs() / STEP_MS);
    for (const [key, ring] of this.#rings) if (step - ring.lastStep >= POINTS) this.#rings.delete(key);
  }

  get size(): number {
    return this.#rings.size;
  }

  /** What is kept of the paths to a peer. */
  answer(peer: string): SeriesAnswer {
    const { clock } = this.#deps;
    const step = Math.floor(clock.nowMs() / STEP_MS);
    const rings = [...this.#rings.values()].filter(({ path }) => path.peer === peer);
    const paths = rings.map((ring) => {
      const from = (values: ArrayLike<number>, none: number): number[] =>
        Array.from({ length: POINTS }, (_, i) => {
          const at = step - POINTS + 1 + i;
          const known = at >= 0 && at <= ring.lastStep && at > ring.lastStep - POINTS;
          return known ? (values[at % POINTS] ?? none) : none;
        });
      return {
        kind: PROBE_KINDS[ring.path.kind]?.name ?? String(ring.path.kind),
        address: ring.path.address,
        'p50-ns': from(ring.p50, 0).map(time),
        'p99-ns': from(ring.p99, 0).map(time),
        loss: from(ring.loss, NO_LOSS_KNOWN).map((value) =>
          value === NO_LOSS_KNOWN ? null : value / LOSS_STEPS,
        ),
      };
    });
    return { 'step-ms': STEP_MS, 'end-ms': clock.wallMs(), paths };
  }
}

/** Points between the last one and this one were never taken. */
function clearBetween(ring: Ring, step: number): void {
  const first = Math.max(ring.lastStep + 1, step - POINTS + 1);
  for (let i = first; i <= step; i++) {
    ring.p50[i % POINTS] = 0;
    ring.p99[i % POINTS] = 0;
    ring.loss[i % POINTS] = NO_LOSS_KNOWN;
  }
  ring.lastStep = step;
}
