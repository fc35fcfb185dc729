import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PathBook } from '../../src/health/path-book.ts';
import { planPaths } from '../../src/health/plan/planner.ts';
import { healthNode } from '../../src/health/targets.ts';
import type { PathChange } from '../../src/model/health.ts';
import { type Fate, HeapClock, VirtualProber } from '../support/virtual-network.ts';
import { element } from './fakes.ts';

interface Watch {
  readonly clock: HeapClock;
  readonly changes: PathChange[];
  readonly states: () => string[];
}

/** One node that watches `count` others, by packets, with seeded chance. */
function watch(count: number, fate: (random: () => number, clock: HeapClock) => Fate, seed = 1): Watch {
  const clock = new HeapClock();
  const random = seeded(seed);
  const changes: PathChange[] = [];
  const now = () => ({ nowMs: clock.nowMs(), wallMs: clock.wallMs() });
  const prober = new VirtualProber({ clock, random, fate: fate(random, clock) });
  const book = new PathBook([prober], now, (change) => changes.push(change));
  const nodes = Array.from({ length: count }, (_, i) =>
    healthNode(element(`n${i}`, `10.0.${i >> 8}.${i & 255}`)),
  );
  const plan = planPaths(
    nodes,
    undefined,
    { periodMs: 1000 },
    (path) => prober.readiness(path).ready && path.kind === 1,
  );
  book.follow(plan);
  const tick = (): void => {
    book.tick(now());
    clock.after(1000, tick);
  };
  tick();
  return { clock, changes, states: () => book.trackers().map(({ state }) => state) };
}

function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const RTT_MS = 0.2;

describe('states of paths, on a virtual clock', () => {
  it('declare a dead node within 1.2 s by one observer, whenever it dies, and its return within 1 s, by one change each', () => {
    let deadAt = Number.POSITIVE_INFINITY;
    let backAt = Number.POSITIVE_INFINITY;
    const late: number[] = [];
    for (let trial = 0; trial < 200; trial++) {
      deadAt = 5000 + trial * 5;
      backAt = deadAt + 10_000;
      const { clock, changes } = watch(
        1,
        (_, at) => () => (at.nowMs() >= deadAt && at.nowMs() < backAt ? undefined : RTT_MS),
        trial + 1,
      );
      clock.pass(30_000);
      const told = changes.map(({ from, to }) => `${from} ${to}`);
      assert.deepEqual(told, ['unknown reachable', 'reachable unreachable', 'unreachable reachable']);
      late.push((changes[1]?.atMs ?? 0) - clock.wallMs() + 30_000 - deadAt);
      const back = (changes[2]?.atMs ?? 0) - clock.wallMs() + 30_000 - backAt;
      assert.ok(back >= 0 && back <= 1001, `return seen after ${back} ms`);
    }
    assert.ok(Math.max(...late) <= 1200, `${Math.max(...late)} ms`);
  });

  it('are not moved by chance: 1 % of loss at 200 paths for an hour makes nothing unreachable or degraded', () => {
    const { clock, changes } = watch(200, (random) => () => (random() < 0.01 ? undefined : RTT_MS));
    clock.pass(3_600_000);
    const bad = changes.filter(({ to }) => to !== 'reachable');
    assert.deepEqual(bad, []);
  });

  it('are degraded by loss that lasts, say how much, and recover once, without flapping', () => {
    const share = { loss: 0 };
    const { clock, changes } = watch(1, (random) => () => (random() < share.loss ? undefined : RTT_MS), 7);
    clock.pass(60_000);
    share.loss = 0.2;
    clock.pass(120_000);
    share.loss = 0;
    clock.pass(300_000);
    const told = changes.slice(1).map(({ to }) => to);
    assert.deepEqual(told, ['degraded', 'reachable']);
    assert.match(changes[1]?.reason ?? '', /^\d+ % of probes lost$/);
  });

  it('recover from a loss of 30 % within 45 s of its end, and from one of 10 % when the minute is over', () => {
    for (const [loss, withinMs] of [
      [0.3, 45_000],
      [0.1, 75_000],
    ] as const) {
      const share = { loss: 0 };
      const { clock, changes } = watch(1, (random) => () => (random() < share.loss ? undefined : RTT_MS), 7);
      clock.pass(10_000);
      share.loss = loss;
      clock.pass(180_000);
      const endMs = clock.wallMs();
      share.loss = 0;
      clock.pass(withinMs);
      const last = changes.at(-1);
      assert.equal(last?.to, 'reachable');
      assert.ok(last.atMs > endMs, 'it was degraded until the end');
    }
  });

  it('are degraded by slowness against what is usual for the path', () => {
    const rtt = { ms: 1 };
    const { clock, changes } = watch(1, () => () => rtt.ms);
    clock.pass(120_000);
    rtt.ms = 20;
    clock.pass(120_000);
    rtt.ms = 1.5;
    clock.pass(120_000);
    assert.deepEqual(
      changes.slice(1).map(({ to }) => to),
      ['degraded', 'reachable'],
    );
    assert.match(
      changes[1]?.reason ?? '',
      /^median 2\d\.\d\d ms, usual 1\.\d\d ms$|^median 1\d\.\d\d ms, usual/,
    );
  });

  it('call a round trip that jumps from 1 to 200 ms slow, not dead for longer than it takes to see an answer', () => {
    const rtt = { ms: 1 };
    const { clock, changes, states } = watch(1, () => () => rtt.ms);
    clock.pass(60_000);
    rtt.ms = 200;
    clock.pass(60_000);
    assert.deepEqual(states(), ['degraded']);
    const outage = changes.filter(({ to }) => to === 'unreachable');
    assert.ok(outage.length <= 1, JSON.stringify(changes.map(({ to }) => to)));
  });
});
