import { bucketEdgeNs, HISTOGRAM_BUCKETS, type PathCounts } from '../../probes/engine/index.ts';
import type { IpFamily } from '../base/ip.ts';
import type { ProbePath } from '../model/health.ts';

/** What is summed of the paths of one kind. */
const PROBE_RESULTS = ['answered', 'lost', 'failed', 'late', 'duplicate', 'reordered', 'unstamped'] as const;
export type ProbeResultName = (typeof PROBE_RESULTS)[number];

/** The sum over all paths of one kind and family, those to first addresses apart. */
export interface ProbeTotal {
  /** Index into `PROBE_KINDS`. */
  readonly kind: number;
  readonly family: IpFamily;
  readonly primary: boolean;
  readonly results: Record<ProbeResultName, number>;
  /** Of round-trip times: buckets of the engine. */
  readonly histogram: Float64Array;
  sumNs: number;
}

/** A path with its counts since it was opened. */
export interface CountedPath {
  readonly path: Pick<ProbePath, 'kind' | 'family' | 'primary'>;
  /** Undefined: not looked at yet. */
  readonly counts: PathCounts | undefined;
}

type Totals = Map<string, ProbeTotal>;

/**
 * Sums over paths that come and go: those that are open as they stand, and those that were closed as they stood last. So
 * nothing is lost between two scrapes, no sum ever falls, and no path costs memory for it.
 */
export class ProbeTotals {
  readonly #closed: Totals = new Map();

  /** Takes the last counts of a path that ends. */
  close(ended: CountedPath): void {
    add(this.#closed, ended);
  }

  /** All that was, and is, counted. */
  sum(open: readonly CountedPath[]): readonly ProbeTotal[] {
    const totals: Totals = new Map();
    for (const [key, total] of this.#closed) {
      totals.set(key, { ...total, results: { ...total.results }, histogram: total.histogram.slice() });
    }
    for (const one of open) add(totals, one);
    return [...totals.values()];
  }
}

function add(totals: Totals, { path, counts }: CountedPath): void {
  const total = totalOf(totals, path);
  if (counts === undefined) return;
  for (const name of PROBE_RESULTS) total.results[name] += counts[name];
  total.sumNs += counts.rttSumNs;
  for (let b = 0; b < HISTOGRAM_BUCKETS; b++) {
    total.histogram[b] = (total.histogram[b] ?? 0) + (counts.histogram[b] ?? 0);
  }
}

function totalOf(totals: Totals, { kind, family, primary }: CountedPath['path']): ProbeTotal {
  const key = `${kind} ${family} ${primary}`;
  const have = totals.get(key);
  if (have !== undefined) return have;
  const results = { answered: 0, lost: 0, failed: 0, late: 0, duplicate: 0, reordered: 0, unstamped: 0 };
  const histogram = new Float64Array(HISTOGRAM_BUCKETS);
  const total = { kind, family, primary, results, histogram, sumNs: 0 };
  totals.set(key, total);
  return total;
}

/** Answers not slower than each bound (ns, rising); of a bucket that a bound cuts, the share below it. */
export function cumulative(histogram: Float64Array, boundsNs: readonly number[]): number[] {
  let [sum, bucket] = [0, 0];
  return boundsNs.map((bound) => {
    while (bucket < HISTOGRAM_BUCKETS - 1 && bucketEdgeNs(bucket + 1) <= bound) {
      sum += histogram[bucket++] ?? 0;
    }
    if (bucket === HISTOGRAM_BUCKETS - 1) return sum;
    const [from, to] = [bucketEdgeNs(bucket), bucketEdgeNs(bucket + 1)];
    return Math.floor(sum + ((histogram[bucket] ?? 0) * (bound - from)) / (to - from));
  });
}
