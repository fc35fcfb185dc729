import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { NarrowPaths } from '../../src/health/mtu/narrow-paths.ts';

const LEAST_MS = 10_000;
const MOST_MS = 120_000;

describe('paths on which a router says that less passes', () => {
  let paths: NarrowPaths<string>;
  beforeEach(() => {
    paths = new NarrowPaths();
  });
  const due = (nowMs: number): string[] => [...paths.due(nowMs)];

  /** From one look at a path that stays narrow to the next, s. */
  const waits = (path: string, fromMs: number, looks: number): number[] => {
    let atMs = fromMs;
    return Array.from({ length: looks }, () => {
      const beganMs = atMs;
      while (!due(atMs).includes(path)) atMs += 1000;
      paths.isStill(path, atMs);
      return (atMs - beganMs) / 1000;
    });
  };

  it('are looked at again soon, and ever more seldom while they stay so', () => {
    paths.measured('a', true, 0);
    assert.deepEqual(due(LEAST_MS - 1), []);
    assert.deepEqual(waits('a', 0, 7), [10, 20, 40, 80, 120, 120, 120]);
  });

  it('are not looked at once they are wide, nor those that always were, nor those that are gone', () => {
    paths.measured('a', true, 0);
    paths.measured('b', false, 0);
    paths.measured('c', true, 0);
    paths.forget('c');
    assert.deepEqual(due(MOST_MS), ['a']);
    paths.measured('a', false, MOST_MS);
    assert.deepEqual(due(10 * MOST_MS), []);
  });

  it('are looked at all at once when one of them has become wide', () => {
    for (const path of ['a', 'b', 'c']) paths.measured(path, true, 0);
    waits('b', 0, 4);
    paths.measured('a', false, 151_000);
    assert.deepEqual(due(151_000), ['b', 'c']);
  });

  it('begin anew when they were wide for long, and go on as before when it was for a moment', () => {
    paths.measured('a', true, 0);
    waits('a', 0, 3);
    paths.measured('a', false, 70_000);
    paths.measured('a', true, 71_000);
    assert.deepEqual(waits('a', 71_000, 1), [120]);
    paths.measured('a', false, 200_000);
    paths.measured('a', true, 200_000 + MOST_MS + 1000);
    assert.deepEqual(waits('a', 200_000 + MOST_MS + 1000, 1), [10]);
  });
});
