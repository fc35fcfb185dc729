import { bucketEdgeNs, HISTOGRAM_BUCKETS, type PathCounts } from '../../../probes/engine/index.ts';
import type { PathWindow } from '../../model/health.ts';
import type { Losses } from './judgement.ts';

const SLICES = 7;
const SLICE_MS = 10_000;
/** Slices of what was lost lately: the half minute that ends now. */
const LATE_SLICES = 3;
const FIELDS = [
  'sent',
  'answered',
  'late',
  'duplicate',
  'reordered',
  'echoed',
  'residenceSumNs',
  'missed',
] as const;
type Field = (typeof FIELDS)[number];
const WIDTH = FIELDS.length;

/** A send that the kernel refused is as good as lost: nothing came of it. */
function countOf(counts: PathCounts, field: Field): number {
  return field === 'missed' ? counts.lost + counts.failed : counts[field];
}

/** What is kept of a path to tell the last minute apart from all before: six slices of 10 s, in fixed memory. */
export class WindowRing {
  /** Counts at the beginning of each slice, the oldest first. */
  readonly #marks = new Float64Array(SLICES * WIDTH);
  readonly #markMs: number[] = [];
  /** Histograms at the begin of this half minute and of the one before it. */
  readonly #histograms = [new Uint32Array(HISTOGRAM_BUCKETS), new Uint32Array(HISTOGRAM_BUCKETS)] as const;
  #histogramMs = Number.NEGATIVE_INFINITY;

  /** Forgets what was: the window begins here. What is still under way was sent before, and is no loss of after it. */
  restart(counts: PathCounts, nowMs: number): void {
    this.#markMs.length = 0;
    this.#mark(counts, nowMs);
    this.#marks[FIELDS.indexOf('missed')] = counts.sent - counts.answered;
    for (const histogram of this.#histograms) histogram.set(counts.histogram);
    this.#histogramMs = nowMs;
  }

  /** Called about once a second. */
  roll(counts: PathCounts, nowMs: number): void {
    const last = this.#markMs.at(-1);
    if (last === undefined) this.restart(counts, nowMs);
    else if (nowMs - last >= SLICE_MS) this.#mark(counts, nowMs);
    if (nowMs - this.#histogramMs < 3 * SLICE_MS) return;
    this.#histograms[0].set(this.#histograms[1]);
    this.#histograms[1].set(counts.histogram);
    this.#histogramMs = nowMs;
  }

  #mark(counts: PathCounts, nowMs: number): void {
    if (this.#markMs.length === SLICES) {
      this.#markMs.shift();
      this.#marks.copyWithin(0, WIDTH);
    }
    const at = this.#markMs.length * WIDTH;
    FIELDS.forEach((field, i) => {
      this.#marks[at + i] = countOf(counts, field);
    });
    this.#markMs.push(nowMs);
  }

  /** Of the last half minute: so long others are told of loss, and no longer. */
  lately(counts: PathCounts): Losses {
    const at = Math.max(0, this.#markMs.length - LATE_SLICES) * WIDTH;
    const since = (field: Field): number =>
      Math.max(0, countOf(counts, field) - (this.#marks[at + FIELDS.indexOf(field)] ?? 0));
    return { sent: since('sent'), lost: since('missed') };
  }

  read(counts: PathCounts, nowMs: number): PathWindow & { readonly lost: number } {
    const since = (field: Field): number =>
      Math.max(0, countOf(counts, field) - (this.#marks[FIELDS.indexOf(field)] ?? 0));
    const echoed = since('echoed');
    return {
      spanMs: nowMs - (this.#markMs[0] ?? nowMs),
      sent: since('sent'),
      answered: since('answered'),
      lost: since('missed'),
      late: since('late'),
      duplicate: since('duplicate'),
      reordered: since('reordered'),
      rttNs: quantiles(counts.histogram, this.#histograms[0]),
      residenceNs: echoed === 0 ? undefined : since('residenceSumNs') / echoed,
    };
  }
}

/** Of what a histogram gained; within a bucket, its middle. Undefined when it gained nothing. */
export function quantiles(now: Uint32Array, before: Uint32Array): PathWindow['rttNs'] {
  let total = 0;
  for (let b = 0; b < HISTOGRAM_BUCKETS; b++) total += (now[b] ?? 0) - (before[b] ?? 0);
  if (total <= 0) return undefined;
  const at = (share: number): number => {
    let left = Math.max(1, Math.ceil(share * total));
    for (let b = 0; b < HISTOGRAM_BUCKETS; b++) {
      left -= (now[b] ?? 0) - (before[b] ?? 0);
      if (left <= 0) return middleNs(b);
    }
    return middleNs(HISTOGRAM_BUCKETS - 1);
  };
  return { min: at(0), p50: at(0.5), p99: at(0.99), max: at(1) };
}

function middleNs(bucket: number): number {
  if (bucket === HISTOGRAM_BUCKETS - 1) return bucketEdgeNs(bucket);
  return (bucketEdgeNs(bucket) + bucketEdgeNs(bucket + 1)) / 2;
}
