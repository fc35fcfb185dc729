import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { formatAge, formatDuration, parseDuration, parseTime } from '../../src/view/duration.ts';

/** Nanoseconds -> text, as Go's `time.Duration` prints them. */
const TEXTS: readonly (readonly [bigint, string])[] = [
  [0n, '0s'],
  [1n, '1ns'],
  [999n, '999ns'],
  [1_000n, '1µs'],
  [315_254n, '315.254µs'],
  [1_009_679n, '1.009679ms'],
  [1_250_000n, '1.25ms'],
  [999_999_999n, '999.999999ms'],
  [1_000_000_000n, '1s'],
  [65_916_737_320n, '1m5.91673732s'],
  [60_000_000_000n, '1m0s'],
  [7_380_000_000_000n, '2h3m0s'],
  [-1_500_000_000n, '-1.5s'],
];

describe('formatDuration', () => {
  for (const [ns, text] of TEXTS) {
    it(`prints ${ns} ns as ${text}`, () => assert.equal(formatDuration(ns), text));
  }
});

describe('parseDuration', () => {
  for (const [ns, text] of TEXTS) {
    it(`reads ${text}`, () => assert.equal(parseDuration(text), ns));
  }

  it('reads fractions and several units', () => {
    assert.equal(parseDuration('1.5h'), 5_400_000_000_000n);
    assert.equal(parseDuration('0'), 0n);
    assert.equal(parseDuration('10us'), 10_000n);
  });

  it('refuses what is no duration', () => {
    for (const text of ['', '5', 's', '1 s', '1x', '1m5', 'ms1', '--1s']) {
      assert.equal(parseDuration(text), undefined, text);
    }
  });

  it('reads back whatever is printed', () => {
    const property = fc.property(fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n }), (ns) => {
      assert.equal(parseDuration(formatDuration(ns)), ns);
    });
    fc.assert(property, { seed: 20_261_123, numRuns: 500 });
  });
});

describe('formatAge', () => {
  const nowMs = Date.parse('2026-11-22T22:29:41.600Z');
  it('rounds to seconds', () => assert.equal(formatAge('2026-11-22T22:00:00Z', nowMs), '29m42s ago'));
  it('says never for the zero time, none, and text that is no time', () => {
    for (const text of ['0001-01-01T00:00:00.000Z', undefined, null, 'soon'])
      assert.equal(formatAge(text, nowMs), 'never');
  });
  it('reads the zero time as none', () => assert.equal(parseTime('0001-01-01T00:00:00Z'), undefined));
});
