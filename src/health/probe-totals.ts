import { bucketEdgeNs, HISTOGRAM_BUCKETS, type PathCounts } from '../../probes/engine/index.ts';
import { PROBE_KINDS } from '../model/health.ts';
import type { PathTracker } from './state/path-tracker.ts';

/** What is summed of the paths of one kind. */
export const PROBE_RESULTS = [
  'answered',
  'lost',
  'failed',
  'late',
  'duplicate',
  'reordered',
  'unstamped',
] as const;
export type ProbeResultName = (typeof PROBE_RESULTS)[number];

/** Labels of one sum: `type` is what is probed, as in Cilium's metrics. */
export interface TotalKey {
  readonly type: 'node' | 'endpoint';
  readonly protocol: string;
  readonly addressType: 'primary' | 'secondary';
}

export interface ProbeTotal {
  readonly key: TotalKey;
  readonly results: Record<ProbeResultName, number>;
  readonly histogram: Float64Array;
  sumNs: number;
}

interface Seen {
  readonly counts: Omit<PathCounts, 'histogram'>;
  readonly histogram: Uint32Array;
}

/** Sums over paths that come and go, and never fall: each path adds what it gained since it was last looked at. */
export class ProbeTotals {
  readonly #totals = new Map<string, ProbeTotal>();
  readonly #seen = new WeakMap<PathTracker, Seen>();

  take(trackers: readonly PathTracker[]): void {
    for (const tracker of trackers) {
      const { counts } = tracker;
      const kind = PROBE_KINDS[tracker.path.kind];
      if (counts === undefined || kind?.from !== 'host') continue;
      const before = this.#seen.get(tracker);
      this.#seen.set(tracker, { counts: { ...counts }, histogram: counts.histogram.slice() });
      this.#add(this.#totalOf(tracker), counts, before);
    }
  }

  #totalOf(tracker: PathTracker): ProbeTotal {
    const kind = PROBE_KINDS[tracker.path.kind];
    const key: TotalKey = {
      type: kind?.to === 'endpoint' ? 'endpoint' : 'node',
      protocol: kind?.responder ?? 'icmp',
      addressType: tracker.path.primary ? 'primary' : 'secondary',
    };
    const text = Object.values(key).join(' ');
    const have = this.#totals.get(text);
    if (have !== undefined) return have;
    const results = { answered: 0, lost: 0, failed: 0, late: 0, duplicate: 0, reordered: 0, unstamped: 0 };
    const total = { key, results, histogram: new Float64Array(HISTOGRAM_BUCKETS), sumNs: 0 };
    this.#totals.set(text, total);
    return total;
  }

  #add(total: ProbeTotal, counts: PathCounts, before: Seen | undefined): void {
    for (const name of PROBE_RESULTS) {
      total.results[name] += Math.max(0, counts[name] - (before?.counts[name] ?? 0));
    }
    total.sumNs += Math.max(0, counts.rttSumNs - (before?.counts.rttSumNs ?? 0));
    for (let b = 0; b < HISTOGRAM_BUCKETS; b++) {
      const gained = (counts.histogram[b] ?? 0) - (before?.histogram[b] ?? 0);
      total.histogram[b] = (total.histogram[b] ?? 0) + Math.max(0, gained);
    }
  }

  all(): readonly ProbeTotal[] {
    return [...this.#totals.values()];
  }
}

/** Answers not slower than each bound (ns, rising); a bucket that a bound cuts counts as slower. */
export function cumulative(histogram: Float64Array, boundsNs: readonly number[]): number[] {
  let [sum, bucket] = [0, 0];
  return boundsNs.map((bound) => {
    while (bucket < HISTOGRAM_BUCKETS - 1 && bucketEdgeNs(bucket + 1) <= bound)
      sum += histogram[bucket++] ?? 0;
    return sum;
  });
}
