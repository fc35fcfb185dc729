import { bucketEdgeNs, HISTOGRAM_BUCKETS, type PathCounts } from '../../../probes/engine/index.ts';
import type { PathWindow } from '../../model/health.ts';
import type { Losses } from './judgement.ts';

const SLICES = 7;
const SLICE_MS = 10_000;
/** Slices of what was lost lately: the half minute that ends now. */
const LATE_SLICES = 3;
/** Places of the counts in a mark. */
const Mark = {
  sent: 0,
  answered: 1,
  missed: 2,
  late: 3,
  duplicate: 4,
  reordered: 5,
  echoed: 6,
  residenceSumNs: 7,
} as const;
const MARK_WIDTH = 8;
/** Behind the marks: when each was made. */
const TIMES = SLICES * MARK_WIDTH;
const HALF_MINUTE_MS = 3 * SLICE_MS;

/** The middle of each bucket, ns; the last one has none. */
const MIDDLES_NS = Float64Array.from({ length: HISTOGRAM_BUCKETS }, (_, bucket) => {
  const above = bucket === HISTOGRAM_BUCKETS - 1 ? bucket : bucket + 1;
  return (bucketEdgeNs(bucket) + bucketEdgeNs(above)) / 2;
});

/** A send that the kernel refused is as good as lost: nothing came of it. */
export function missedOf({ lost, failed }: PathCounts): number {
  return lost + failed;
}

/**
 * What is kept of a path to tell the last minute apart from all before: six slices of 10 s. In one piece of memory of a
 * fixed size, and looking at it makes no garbage: there may be 60,000 of them, each looked at once a second.
 */
export class WindowRing {
  /** Counts at the beginning of each slice, the oldest first, and the times of that. */
  readonly #marks: Float64Array;
  /** At the beginning of the half minute before this one, and of this one. */
  readonly #histograms: Uint32Array;
  #count = 0;
  #histogramMs = Number.NEGATIVE_INFINITY;
  /** The median, NaN: none, when so many were answered; -1: not known. */
  #medianNs = Number.NaN;
  #medianAnswered = -1;

  constructor() {
    const marks = TIMES + SLICES;
    const memory = new ArrayBuffer(marks * 8 + 2 * HISTOGRAM_BUCKETS * 4);
    this.#marks = new Float64Array(memory, 0, marks);
    this.#histograms = new Uint32Array(memory, marks * 8);
  }

  /** Forgets what was: the window begins here. What is still under way was sent before, and is no loss of after it. */
  restart(counts: PathCounts, nowMs: number): void {
    this.#count = 0;
    this.#mark(counts, nowMs);
    this.#marks[Mark.missed] = counts.sent - counts.answered;
    this.#histograms.set(counts.histogram);
    this.#keepHistogram(counts, nowMs);
  }

  /** Called about once a second. */
  roll(counts: PathCounts, nowMs: number): void {
    if (this.#count === 0) this.restart(counts, nowMs);
    else if (nowMs - this.#at(TIMES + this.#count - 1) >= SLICE_MS) this.#mark(counts, nowMs);
    if (nowMs - this.#histogramMs < HALF_MINUTE_MS) return;
    this.#histograms.copyWithin(0, HISTOGRAM_BUCKETS);
    this.#keepHistogram(counts, nowMs);
  }

  #keepHistogram(counts: PathCounts, nowMs: number): void {
    this.#histograms.set(counts.histogram, HISTOGRAM_BUCKETS);
    this.#histogramMs = nowMs;
    this.#medianAnswered = -1;
  }

  #mark(counts: PathCounts, nowMs: number): void {
    const marks = this.#marks;
    if (this.#count === SLICES) {
      marks.copyWithin(0, MARK_WIDTH, TIMES);
      marks.copyWithin(TIMES, TIMES + 1);
      this.#count--;
    }
    const at = this.#count * MARK_WIDTH;
    marks[at + Mark.sent] = counts.sent;
    marks[at + Mark.answered] = counts.answered;
    marks[at + Mark.missed] = missedOf(counts);
    marks[at + Mark.late] = counts.late;
    marks[at + Mark.duplicate] = counts.duplicate;
    marks[at + Mark.reordered] = counts.reordered;
    marks[at + Mark.echoed] = counts.echoed;
    marks[at + Mark.residenceSumNs] = counts.residenceSumNs;
    marks[TIMES + this.#count] = nowMs;
    this.#count++;
  }

  #at(index: number): number {
    return this.#marks[index] ?? 0;
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
    const at = slice * MARK_WIDTH;
    return {
      sent: Math.max(0, counts.sent - this.#at(at + Mark.sent)),
      lost: Math.max(0, missedOf(counts) - this.#at(at + Mark.missed)),
    };
  }

  answered(counts: PathCounts): number {
    return Math.max(0, counts.answered - this.#at(Mark.answered));
  }

  /** Median round trip of the last half minute to minute, ns; undefined without an answer. */
  medianNs(counts: PathCounts): number | undefined {
    if (this.#medianAnswered !== counts.answered) {
      this.#medianAnswered = counts.answered;
      this.#medianNs = medianOf(counts.histogram, this.#histograms) ?? Number.NaN;
    }
    return Number.isNaN(this.#medianNs) ? undefined : this.#medianNs;
  }

  read(counts: PathCounts, nowMs: number): PathWindow & { readonly lost: number } {
    const echoed = counts.echoed - this.#at(Mark.echoed);
    const residenceNs = counts.residenceSumNs - this.#at(Mark.residenceSumNs);
    return {
      spanMs: this.#count === 0 ? 0 : nowMs - this.#at(TIMES),
      ...this.losses(counts),
      answered: this.answered(counts),
      late: Math.max(0, counts.late - this.#at(Mark.late)),
      duplicate: Math.max(0, counts.duplicate - this.#at(Mark.duplicate)),
      reordered: Math.max(0, counts.reordered - this.#at(Mark.reordered)),
      rttNs: quantiles(counts.histogram, this.#histograms),
      residenceNs: echoed <= 0 ? undefined : Math.max(0, residenceNs) / echoed,
    };
  }
}

function gained(now: Uint32Array, before: Uint32Array): number {
  let total = 0;
  for (let b = 0; b < HISTOGRAM_BUCKETS; b++) total += (now[b] ?? 0) - (before[b] ?? 0);
  return total;
}

/** The middle of the bucket of what comes at this place in the order of what was gained; the first is 1. */
function valueAt(place: number, now: Uint32Array, before: Uint32Array): number {
  let left = place;
  let bucket = -1;
  while (left > 0 && ++bucket < HISTOGRAM_BUCKETS - 1) left -= (now[bucket] ?? 0) - (before[bucket] ?? 0);
  return MIDDLES_NS[bucket] ?? 0;
}

function medianOf(now: Uint32Array, before: Uint32Array): number | undefined {
  const total = gained(now, before);
  return total <= 0 ? undefined : valueAt(Math.ceil(total / 2), now, before);
}

/** Of what a histogram gained; within a bucket, its middle. Undefined when it gained nothing. */
export function quantiles(now: Uint32Array, before: Uint32Array): PathWindow['rttNs'] {
  const total = gained(now, before);
  if (total <= 0) return undefined;
  return {
    min: valueAt(1, now, before),
    p50: valueAt(Math.ceil(total / 2), now, before),
    p99: valueAt(Math.ceil(0.99 * total), now, before),
    max: valueAt(total, now, before),
  };
}
