import { HISTOGRAM_BUCKETS, type PathCounts } from '../../probes/engine/index.ts';

/** Counts of a path that was never probed. */
export function noCounts(): PathCounts {
  return {
    sent: 0,
    answered: 0,
    lost: 0,
    late: 0,
    duplicate: 0,
    reordered: 0,
    unstamped: 0,
    failed: 0,
    echoed: 0,
    rttSumNs: 0,
    rttMaxNs: 0,
    rttLastNs: 0,
    residenceSumNs: 0,
    sentLastNs: 0,
    answeredLastNs: 0,
    lostInARow: 0,
    hopLimitLast: 0,
    histogram: new Uint32Array(HISTOGRAM_BUCKETS),
  };
}
