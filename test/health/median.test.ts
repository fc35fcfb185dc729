import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { bucketOf, HISTOGRAM_BUCKETS, noCounts } from '../../probes/engine/index.ts';
import { MedianKeeper } from '../../src/health/state/median.ts';
import { quantiles } from '../../src/health/state/path-window.ts';
import { Random } from '../support/random.ts';

const seed = Number(process.env.SEED ?? Date.now() % 1e9);

describe('the median that is kept', () => {
  it('is that of the whole histogram, after every look of many', () => {
    const random = new Random(seed);
    const counts = noCounts();
    const before = new Uint32Array(HISTOGRAM_BUCKETS);
    const keeper = new MedianKeeper();
    let usualNs = 50_000;
    for (let look = 0; look < 20_000; look++) {
      // Mostly one answer between two looks; the usual round trip moves, jumps, and comes back.
      const answers = random.oneIn(10) ? random.below(6) : 1;
      for (let n = 0; n < answers; n++) {
        counts.answered++;
        if (random.oneIn(20)) {
          counts.unstamped++;
          continue;
        }
        const rttNs = Math.floor(usualNs * (0.5 + random.below(1000) / 1000));
        counts.rttSumNs += rttNs;
        // Of requests the last time is the whole, and only the network's part is in the histogram.
        counts.rttLastNs = rttNs * (1 + random.below(5));
        const bucket = bucketOf(rttNs);
        counts.histogram[bucket] = (counts.histogram[bucket] ?? 0) + 1;
      }
      if (random.oneIn(100)) usualNs = 2 ** (10 + random.below(20));
      if (random.oneIn(60)) {
        before.set(counts.histogram);
        keeper.forget();
      }
      const found = keeper.of(counts, before);
      assert.equal(found, quantiles(counts.histogram, before)?.p50, `SEED=${seed} look ${look}`);
    }
  });
});
