import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LiveCounts } from '../../probes/engine/index.ts';
import { instantOf } from '../../src/health/clock.ts';
import { LookRounds } from '../../src/health/look-rounds.ts';
import { PathBook } from '../../src/health/path-book.ts';
import type { PlannedPath } from '../../src/health/plan/planner.ts';
import { probePathKey } from '../../src/model/health.ts';
import { HeapClock } from '../support/virtual-network.ts';
import { FakeProber } from './metrics-fakes.ts';

/** Tells which paths are looked at, and how many in one go. */
class LookedProber extends FakeProber {
  readonly looks = new Map<number, number>();
  readonly #clock: HeapClock;
  readonly goes = new Map<number, number>();

  constructor(clock: HeapClock) {
    super();
    this.#clock = clock;
  }

  override read(handle: number, into: LiveCounts): void {
    const nowMs = this.#clock.nowMs();
    this.looks.set(handle, (this.looks.get(handle) ?? 0) + 1);
    this.goes.set(nowMs, (this.goes.get(nowMs) ?? 0) + 1);
    super.read(handle, into);
  }

  forget(): void {
    this.looks.clear();
    this.goes.clear();
  }
}

function plan(from: number, to: number): ReadonlyMap<string, PlannedPath> {
  return new Map(
    Array.from({ length: to - from }, (_, i) => {
      const path = { peer: `n${from + i}`, kind: 1, family: 4, address: '10.0.0.1', primary: true } as const;
      return [probePathKey(path), { path, periodMs: 1000 }];
    }),
  );
}

function bench(paths: number) {
  const clock = new HeapClock();
  const prober = new LookedProber(clock);
  const now = () => instantOf(clock);
  const book = new PathBook([prober], now, () => undefined);
  book.follow(plan(0, paths));
  const rounds: number[] = [];
  const looks = new LookRounds({ clock, book, onRound: ({ nowMs }) => rounds.push(nowMs) });
  return { clock, prober, book, now, looks, rounds };
}

describe('looks at the counts of all paths', () => {
  it('come once a second, at once where there are few', () => {
    const { clock, prober, looks, rounds } = bench(100);
    looks.start();
    clock.pass(3500);
    assert.deepEqual(rounds, [0, 1000, 2000, 3000]);
    assert.deepEqual(
      [...prober.goes],
      [0, 1000, 2000, 3000].map((ms) => [ms, 100]),
    );
    assert.deepEqual([...new Set(prober.looks.values())], [4]);
  });

  it('of many paths come in turns, each path once a second all the same', () => {
    const { clock, prober, looks, rounds } = bench(9001);
    looks.start();
    clock.pass(999);
    assert.equal(prober.goes.size, 5);
    assert.ok(Math.max(...prober.goes.values()) <= 2000);
    assert.equal(prober.looks.size, 9001);
    assert.deepEqual(rounds, [800]);
    clock.pass(9000);
    assert.equal(rounds.length, 10);
    const times = [...prober.looks.values()];
    assert.ok(
      Math.min(...times) === 10 && Math.max(...times) <= 11,
      `${Math.min(...times)}..${Math.max(...times)}`,
    );
  });

  it('miss no path while others come and go', () => {
    const { clock, prober, book, looks } = bench(5000);
    looks.start();
    for (let s = 0; s < 10; s++) {
      book.follow(plan(s * 300, 5000 + s * 300));
      prober.forget();
      clock.pass(2000);
      assert.equal([...prober.paths.keys()].filter((handle) => !prober.looks.has(handle)).length, 0);
    }
  });

  it('end when they are told to, and look at nothing where there is nothing', () => {
    const { clock, prober, looks, rounds } = bench(0);
    looks.start();
    clock.pass(1500);
    assert.deepEqual([rounds.length, prober.looks.size], [2, 0]);
    looks.stop();
    looks.stop();
    clock.pass(5000);
    assert.equal(rounds.length, 2);
  });
});
