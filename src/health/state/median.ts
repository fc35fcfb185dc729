import { bucketEdgeNs, bucketOf, HISTOGRAM_BUCKETS, type PathCounts } from '../../../probes/engine/index.ts';

/** The middle of each bucket, ns; the last one has none. */
const MIDDLES_NS = Float64Array.from({ length: HISTOGRAM_BUCKETS }, (_, bucket) => {
  const above = bucket === HISTOGRAM_BUCKETS - 1 ? bucket : bucket + 1;
  return (bucketEdgeNs(bucket) + bucketEdgeNs(above)) / 2;
});
const NOT_KNOWN = -1;

/** How many more a histogram holds than it did before. @param at where that begins in `before` */
export function gainOf(now: Uint32Array, before: Uint32Array, at = 0): number {
  let total = 0;
  for (let b = 0; b < HISTOGRAM_BUCKETS; b++) total += (now[b] ?? 0) - (before[at + b] ?? 0);
  return total;
}

/** The middle of the bucket of what comes at this place, from 1 on, in the order of what was gained. */
export function valueAt(place: number, now: Uint32Array, before: Uint32Array, at = 0): number {
  let left = place;
  let bucket = -1;
  while (left > 0 && ++bucket < HISTOGRAM_BUCKETS - 1)
    left -= (now[bucket] ?? 0) - (before[at + bucket] ?? 0);
  return MIDDLES_NS[bucket] ?? 0;
}

/** Answers that have a time. */
function timedOf({ answered, unstamped }: PathCounts): number {
  return answered - unstamped;
}

/**
 * The median of what a live histogram gained. A histogram is 384 bytes, and of ten thousands of paths none of them is in a
 * cache: so it is read only where that is needed. In steps:
 *
 * 1. what was read is kept as the bucket of the median, with how many lie below it and in it;
 * 2. of one more answer the sum of round trips tells the bucket: as long as the middle place stays within the median's
 *    bucket, the median is the same;
 * 3. after several answers, or when the middle place leaves that bucket, the histogram is read.
 */
export class MedianKeeper {
  #bucket = 0;
  #below = 0;
  #within = 0;
  #total = 0;
  #timed = NOT_KNOWN;
  #sumNs = 0;

  /** The histogram that is compared with is another one. */
  forget(): void {
    this.#timed = NOT_KNOWN;
  }

  /** Ns; undefined: nothing was gained. @param at where the earlier histogram begins in `before` */
  of(counts: PathCounts, before: Uint32Array, at = 0): number | undefined {
    const timed = timedOf(counts);
    const more = timed - this.#timed;
    const isKnown =
      this.#timed !== NOT_KNOWN && (more === 0 || (more === 1 && this.#add(counts.rttSumNs - this.#sumNs)));
    this.#timed = timed;
    this.#sumNs = counts.rttSumNs;
    if (!isKnown) this.#read(counts.histogram, before, at);
    return this.#total === 0 ? undefined : MIDDLES_NS[this.#bucket];
  }

  /** @returns whether the median has stayed in its bucket */
  #add(rttNs: number): boolean {
    if (this.#total === 0) return false;
    const bucket = bucketOf(rttNs);
    this.#total++;
    if (bucket < this.#bucket) this.#below++;
    else if (bucket === this.#bucket) this.#within++;
    const place = Math.ceil(this.#total / 2);
    return place > this.#below && place <= this.#below + this.#within;
  }

  #read(now: Uint32Array, before: Uint32Array, at: number): void {
    this.#total = Math.max(0, gainOf(now, before, at));
    const place = Math.ceil(this.#total / 2);
    this.#below = 0;
    this.#within = 0;
    this.#bucket = 0;
    for (let b = 0; b < HISTOGRAM_BUCKETS && this.#below + this.#within < place; b++) {
      this.#below += this.#within;
      this.#within = (now[b] ?? 0) - (before[at + b] ?? 0);
      this.#bucket = b;
    }
  }
}
