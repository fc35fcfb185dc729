import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { bucketOf, HISTOGRAM_BUCKETS, noCounts, type PathCounts } from '../../probes/engine/index.ts';
import { quantiles, WindowRing } from '../../src/health/state/path-window.ts';

function counts(some: Partial<PathCounts>): PathCounts {
  return { ...noCounts(), ...some };
}

function histogram(...times: readonly number[]): Uint32Array {
  const counts = new Uint32Array(HISTOGRAM_BUCKETS);
  for (const ns of times) counts[bucketOf(ns)] = (counts[bucketOf(ns)] ?? 0) + 1;
  return counts;
}

describe('quantiles of a histogram', () => {
  it('are within a bucket of the times, the least too', () => {
    const times = [20_000, 30_000, 30_000, 30_000, 900_000];
    const found = quantiles(histogram(...times), histogram());
    assert.ok(found);
    const expected = { min: 20_000, p50: 30_000, p99: 900_000, max: 900_000 };
    for (const name of ['min', 'p50', 'p99', 'max'] as const) {
      const error = Math.abs(found[name] / expected[name] - 1);
      assert.ok(error <= 0.15, `${name}: ${found[name]} for ${expected[name]}`);
    }
  });

  it('are of what was gained only, and of nothing there are none', () => {
    const before = histogram(1_000_000, 1_000_000);
    assert.equal(quantiles(before, before), undefined);
    const found = quantiles(histogram(1_000_000, 1_000_000, 50_000), before);
    assert.ok(found !== undefined && found.min === found.max && found.max < 60_000);
  });
});

describe('a window', () => {
  it('counts what the kernel refused to send as lost', () => {
    const ring = new WindowRing();
    ring.roll(counts({}), 0);
    const { sent, lost } = ring.read(counts({ sent: 10, answered: 4, lost: 1, failed: 5 }), 1000);
    assert.deepEqual([sent, lost], [10, 6]);
  });

  it('tells of what was lost lately for half a minute and no longer, and of the whole minute beside it', () => {
    const ring = new WindowRing();
    const at = (second: number): PathCounts =>
      counts({ sent: second, answered: Math.max(0, second - 5), lost: Math.min(second, 5) });
    for (let second = 0; second <= 35; second++) {
      ring.roll(at(second), second * 1000);
      const { sent, lost } = ring.lately(at(second));
      if (second < 30) assert.deepEqual([sent, lost], [second, Math.min(second, 5)], `after ${second} s`);
      else assert.deepEqual([sent, lost], [second - 10, 0], `after ${second} s`);
    }
    assert.equal(ring.read(at(35), 35_000).lost, 5);
  });

  it('never tells of more that was lost than was sent, though a probe is lost later than it is sent', () => {
    const ring = new WindowRing();
    // Nothing answers, and each look finds the probe before under way.
    const at = (second: number): PathCounts => counts({ sent: second + 1, lost: Math.max(0, second - 1) });
    for (let second = 0; second <= 100; second++) {
      ring.roll(at(second), second * 1000);
      const { sent, lost } = ring.lately(counts({ sent: second + 1, lost: second + 1 }));
      assert.ok(lost <= sent, `${lost} of ${sent} after ${second} s`);
      if (second > 40) assert.ok(lost >= 20, `${lost} after ${second} s`);
    }
  });
});
