import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  BATCH_MAX,
  COOKIE_BYTES,
  Counter,
  NoticeRecord,
  Param,
  ReplyRecord,
  SendRecord,
} from '../../probes/icmp/constants.ts';
import { nativeIcmp } from '../../probes/icmp/native.ts';

describe('layouts shared with the ICMP addon', () => {
  it('are the same in C and in constants.ts', () => {
    assert.deepEqual(
      [...nativeIcmp().layout()],
      [
        SendRecord.bytes,
        ReplyRecord.bytes,
        NoticeRecord.bytes,
        Param.count,
        Counter.count,
        ReplyRecord.class * 4,
        ReplyRecord.flags * 4,
        NoticeRecord.kind * 4,
        NoticeRecord.mtu * 4,
        NoticeRecord.offenderByte,
        NoticeRecord.target * 4,
        BATCH_MAX,
        COOKIE_BYTES,
      ],
    );
  });

  it('are refused, not believed, when the caller gets them wrong', () => {
    const native = nativeIcmp();
    const call = native.open as (...words: unknown[]) => unknown;
    assert.throws(() => call(), /expected/);
    assert.throws(() => call(new Int32Array(3), new Uint8Array(16), new Uint8Array(0)), /too short/);
    assert.throws(() => call(new Int32Array(Param.count), new Uint8Array(16), new Uint8Array(0)), /range/);
    const calls = native as unknown as Record<'now' | 'close', (...words: unknown[]) => unknown>;
    for (const call of [calls.now, calls.close]) {
      assert.throws(() => call(), /expected/);
      assert.throws(() => call({}), /handle/);
    }
  });
});
