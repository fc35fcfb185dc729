import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { intervalMs, Schedule } from '../../src/health/schedule.ts';
import { VirtualClock } from './virtual-clock.ts';

interface Sent {
  readonly key: string;
  readonly atMs: number;
}

function start(
  keys: string[],
  ms: number,
  random = 0,
): { clock: VirtualClock; sent: Sent[]; schedule: Schedule } {
  const clock = new VirtualClock();
  const sent: Sent[] = [];
  const schedule = new Schedule(
    { kind: 'fixed', ms },
    {
      clock,
      random: () => random,
      keys: () => keys,
      probe: (due) => sent.push(...due.map((key) => ({ key, atMs: clock.nowMs() }))),
    },
  );
  schedule.start();
  return { clock, sent, schedule };
}

describe('the schedule of probes', () => {
  it('looks at everything once within a second, and then once a round, without drift', async () => {
    const keys = Array.from({ length: 100 }, (_, i) => `k${i}`);
    const { clock, sent } = start(keys, 10_000, 0.05);
    await clock.pass(1020);
    assert.equal(new Set(sent.map(({ key }) => key)).size, 100);
    assert.equal(sent.length, 100);
    // Ten rounds from 1500 ms on.
    await clock.pass(101_450 - 1020);
    for (const key of keys) {
      const times = sent.filter((one) => one.key === key).map(({ atMs }) => atMs);
      assert.equal(times.length, 11, key);
      const steady = times.slice(1);
      const gaps = steady.slice(1).map((time, i) => time - (steady[i] ?? 0));
      for (const gap of gaps) assert.ok(Math.abs(gap - 10_000) <= 20, `${key} after ${gap} ms`);
    }
  });

  it('spreads a round evenly: no tenth of it holds more than its share', async () => {
    const keys = Array.from({ length: 200 }, (_, i) => `k${i}`);
    const { clock, sent } = start(keys, 10_000);
    await clock.pass(11_000);
    const tenths = Array<number>(10).fill(0);
    const round = sent.filter(({ atMs }) => atMs > 1000 && atMs <= 11_000).slice(0, 200);
    for (const { atMs } of round) {
      const tenth = Math.min(9, Math.floor((atMs - 1001) / 1000));
      tenths[tenth] = (tenths[tenth] ?? 0) + 1;
    }
    for (const count of tenths) assert.ok(Math.abs(count - 20) <= 1, tenths.join(' '));
  });

  it('probes what is due within one turn together', async () => {
    const keys = Array.from({ length: 1000 }, (_, i) => `k${i}`);
    const { clock, sent } = start(keys, 1000);
    await clock.pass(10_000);
    const wakeUps = new Set(sent.map(({ atMs }) => atMs)).size;
    assert.ok(wakeUps <= 10_000 / 20 + 1, `${wakeUps} wake-ups`);
  });

  it('looks at a new key at once and forgets one that went', async () => {
    const keys = ['a', 'b'];
    const { clock, sent, schedule } = start(keys, 10_000);
    await clock.pass(5000);
    keys.splice(0, 2, 'b', 'c');
    schedule.changed();
    sent.length = 0;
    await clock.pass(100);
    assert.deepEqual(
      sent.map(({ key }) => key),
      ['c'],
    );
    await clock.pass(30_000);
    assert.equal(sent.filter(({ key }) => key === 'a').length, 0);
  });

  it('gives every node its own phase', async () => {
    const [early, late] = [start(['a'], 10_000, 0), start(['a'], 10_000, 0.5)];
    await early.clock.pass(20_000);
    await late.clock.pass(20_000);
    assert.equal(Math.round(((late.sent[1]?.atMs ?? 0) - (early.sent[1]?.atMs ?? 0)) / 100), 50);
  });

  it('sends nothing more after stop', async () => {
    const { clock, sent, schedule } = start(['a'], 1000);
    await clock.pass(100);
    schedule.stop();
    const before = sent.length;
    await clock.pass(10_000);
    assert.equal(sent.length, before);
  });

  it('follows the interval of Cilium 1.19 where asked', () => {
    for (const [addresses, seconds] of [
      [2, 66],
      [4, 97],
      [20, 183],
      [2000, 456],
    ] as const) {
      assert.equal(Math.round(intervalMs({ kind: 'ratio', ratio: 0.5 }, addresses) / 1000), seconds);
    }
  });
});
