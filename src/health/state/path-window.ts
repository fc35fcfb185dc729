import { HISTOGRAM_BUCKETS, type PathCounts } from '../../../probes/engine/index.ts';
import type { PathWindow } from '../../model/health.ts';
import type { Losses } from './judgement.ts';
import { gainOf, MedianKeeper, valueAt } from './median.ts';
import { type Slab, SlabPool } from './slab-pool.ts';

const SLICES = 7;
const SLICE_MS = 10_000;
/** Slices of what was lost lately: the half minute that ends now. */
const LATE_SLICES = 3;
const HALF_MINUTE_MS = 3 * SLICE_MS;
/** In front of the marks: when the next one is due, and the next histogram, monotonic ms. */
const MARK_DUE = 0;
const HISTOGRAM_DUE = 1;
const FIRST = 2;
/** Places of the counts in a mark, and of its time. */
const Mark = {
  sent: 0,
  answered: 1,
  missed: 2,
  late: 3,
  duplicate: 4,
  reordered: 5,
  echoed: 6,
  residenceSumNs: 7,
  atMs: 8,
} as const;
const MARK_WIDTH = 9;
const WORDS = FIRST + SLICES * MARK_WIDTH;
const COUNTS = 2 * HISTOGRAM_BUCKETS;
/** Of a window that is closed. */
const NOTHING: Slab = { words: new Float64Array(WORDS), word: 0, counts: new Uint32Array(COUNTS), count: 0 };

/** Memory for the windows of many paths. */
export function windowPool(): SlabPool {
  return new SlabPool(WORDS, COUNTS);
}

/** A send that the kernel refused is as good as lost: nothing came of it. */
export function missedOf({ lost, failed }: PathCounts): number {
  return lost + failed;
}

/**
 * What is kept of a path to tell the last minute apart from all before: six slices of 10 s. In one piece of memory of a
 * fixed size, and looking at it makes no garbage: there may be 60,000 of them, each looked at once a second.
 */
export class WindowRing {
  readonly #pool: SlabPool;
  #slab: Slab;
  /** When the next ones are due; then counts at the beginning of each slice, the oldest first: from `#first` on. */
  #words: Float64Array;
  #first: number;
  /** At the beginning of the half minute before this one, and of this one: from `#before` on. */
  #histograms: Uint32Array;
  #before: number;
  readonly #median = new MedianKeeper();
  #count = 0;

  constructor(pool: SlabPool = windowPool()) {
    this.#pool = pool;
    this.#slab = pool.take();
    ({ words: this.#words, word: this.#first, counts: this.#histograms, count: this.#before } = this.#slab);
  }

  /** Gives its memory back: from now on it knows of nothing. Once. */
  close(): void {
    this.#pool.give(this.#slab);
    this.#slab = NOTHING;
    ({ words: this.#words, word: this.#first, counts: this.#histograms, count: this.#before } = NOTHING);
    this.#count = 0;
    this.#median.forget();
  }

  /** Forgets what was: the window begins here. What is still under way was sent before, and is no loss of after it. */
  restart(counts: PathCounts, nowMs: number): void {
    this.#count = 0;
    this.#mark(counts, nowMs);
    this.#words[this.#first + FIRST + Mark.missed] = counts.sent - counts.answered;
    this.#histograms.set(counts.histogram, this.#before);
    this.#keepHistogram(counts, nowMs);
  }

  /** Called about once a second. */
  roll(counts: PathCounts, nowMs: number): void {
    if (this.#count === 0) this.restart(counts, nowMs);
    else if (nowMs >= this.#at(MARK_DUE)) this.#mark(counts, nowMs);
    if (nowMs < this.#at(HISTOGRAM_DUE)) return;
    const latest = this.#before + HISTOGRAM_BUCKETS;
    this.#histograms.copyWithin(this.#before, latest, latest + HISTOGRAM_BUCKETS);
    this.#keepHistogram(counts, nowMs);
  }

  #keepHistogram(counts: PathCounts, nowMs: number): void {
    this.#histograms.set(counts.histogram, this.#before + HISTOGRAM_BUCKETS);
    this.#words[this.#first + HISTOGRAM_DUE] = nowMs + HALF_MINUTE_MS;
    this.#median.forget();
  }

  #mark(counts: PathCounts, nowMs: number): void {
    const words = this.#words;
    if (this.#count === SLICES) {
      const oldest = this.#first + FIRST;
      words.copyWithin(oldest, oldest + MARK_WIDTH, oldest + SLICES * MARK_WIDTH);
      this.#count--;
    }
    const at = this.#first + FIRST + this.#count * MARK_WIDTH;
    words[at + Mark.sent] = counts.sent;
    words[at + Mark.answered] = counts.answered;
    words[at + Mark.missed] = missedOf(counts);
    words[at + Mark.late] = counts.late;
    words[at + Mark.duplicate] = counts.duplicate;
    words[at + Mark.reordered] = counts.reordered;
    words[at + Mark.echoed] = counts.echoed;
    words[at + Mark.residenceSumNs] = counts.residenceSumNs;
    words[at + Mark.atMs] = nowMs;
    words[this.#first + MARK_DUE] = nowMs + SLICE_MS;
    this.#count++;
  }

  #at(index: number): number {
    return this.#words[this.#first + index] ?? 0;
  }

  /** Of the minute. */
  losses(counts: PathCounts): Losses {
    return this.#lossesSince(0, counts);
  }

  /** Of the last half minute: so long others are told of loss, and no longer. */
  lately(counts: PathCounts): Losses {
    return this.#lossesSince(Math.max(0, this.#count - LATE_SLICES), counts);
  }

  #lossesSince(slice: number, counts: PathCounts): Losses {
    const at = FIRST + slice * MARK_WIDTH;
    const sent = Math.max(0, counts.sent - this.#at(at + Mark.sent));
    // A probe is lost a while after it was sent: what was under way when the slice began is lost in it, and not sent.
    return { sent, lost: Math.min(sent, Math.max(0, missedOf(counts) - this.#at(at + Mark.missed))) };
  }

  answered(counts: PathCounts): number {
    return Math.max(0, counts.answered - this.#at(FIRST + Mark.answered));
  }

  /** Median round trip of the last half minute to minute, ns; undefined without an answer. */
  medianNs(counts: PathCounts): number | undefined {
    return this.#median.of(counts, this.#histograms, this.#before);
  }

  read(counts: PathCounts, nowMs: number): PathWindow & { readonly lost: number } {
    const since = (field: keyof typeof Mark & keyof PathCounts): number =>
      Math.max(0, counts[field] - this.#at(FIRST + Mark[field]));
    const echoed = since('echoed');
    return {
      spanMs: this.#count === 0 ? 0 : nowMs - this.#at(FIRST + Mark.atMs),
      ...this.losses(counts),
      answered: this.answered(counts),
      late: since('late'),
      duplicate: since('duplicate'),
      reordered: since('reordered'),
      rttNs: quantiles(counts.histogram, this.#histograms, this.#before),
      residenceNs: echoed === 0 ? undefined : since('residenceSumNs') / echoed,
    };
  }
}

/** Of what a histogram gained; within a bucket, its middle. Undefined when it gained nothing. @param at where `before` begins */
export function quantiles(now: Uint32Array, before: Uint32Array, at = 0): PathWindow['rttNs'] {
  const total = gainOf(now, before, at);
  if (total <= 0) return undefined;
  return {
    min: valueAt(1, now, before, at),
    p50: valueAt(Math.ceil(total / 2), now, before, at),
    p99: valueAt(Math.ceil(0.99 * total), now, before, at),
    max: valueAt(total, now, before, at),
  };
}
