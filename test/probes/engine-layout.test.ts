import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  Account,
  Command,
  Event,
  Option,
  PathRecord,
  PROBE_MARK,
  RECORDS_A_BLOCK,
  Self,
} from '../../probes/engine/constants.ts';
import { bucketEdgeNs, HISTOGRAM_BUCKETS } from '../../probes/engine/index.ts';
import { nativeEngine } from '../../probes/engine/native.ts';

describe('layouts shared with the engine addon', () => {
  it('are the same in C and in constants.ts', () => {
    assert.deepEqual(
      [...nativeEngine().layout()],
      [
        Option.count,
        Self.count,
        Command.words * 4,
        Command.address * 4,
        Event.words * 4,
        Event.kind * 4,
        Event.offender * 4,
        Account.words * 4,
        Account.lostInARow * 4,
        Account.generation * 4,
        PathRecord.words * 4,
        PathRecord.answered * 4,
        PathRecord.hopLimitLast * 4,
        PathRecord.histogram * 4,
        HISTOGRAM_BUCKETS,
        RECORDS_A_BLOCK,
        PROBE_MARK,
      ],
    );
  });

  it('keep a record of a path below 1 KiB', () => {
    assert.ok(PathRecord.words * 4 + Account.words * 4 <= 1024);
  });

  it('are refused, not believed, when the caller gets them wrong', () => {
    const native = nativeEngine();
    const create = native.create as (...words: unknown[]) => unknown;
    assert.throws(() => create(), /wrong|expected/);
    assert.throws(() => create(new Int32Array(3), new Uint8Array(16)), /too short/);
    assert.throws(() => create(new Int32Array(Option.count), new Uint8Array(3)), /too short/);
    const calls = native as unknown as Record<string, (...words: unknown[]) => unknown>;
    for (const name of ['openSockets', 'start', 'command', 'events', 'memory', 'share', 'self', 'stop']) {
      assert.throws(() => calls[name]?.({}), /expected/);
    }
  });
});

describe('edges of the histogram', () => {
  it('rise by a quarter, fifth, sixth or seventh, from 1280 ns to 15 s', () => {
    assert.equal(bucketEdgeNs(1), 1280);
    for (let b = 2; b < HISTOGRAM_BUCKETS; b++) {
      const ratio = bucketEdgeNs(b) / bucketEdgeNs(b - 1);
      assert.ok(ratio > 1.14 && ratio <= 1.25, `${b}: ${ratio}`);
    }
    assert.equal(Math.round(bucketEdgeNs(HISTOGRAM_BUCKETS - 1) / 1e9), 15);
  });
});
