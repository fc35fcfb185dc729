import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import type { Waypoint } from '../../src/base/waypoint.ts';
import { OwnDrops } from '../../src/health/loss/own-drops.ts';
import type { PathId } from '../../src/health/loss/sightings.ts';
import { DropReason, Hook } from '../../src/model/constants.gen.ts';
import { VirtualClock } from './virtual-clock.ts';

const SOON_MS = 300;
const OVER_MS = 2300;

describe('what a node says that it drops of others itself', () => {
  let clock: VirtualClock;
  let drops: OwnDrops;
  let seen: readonly Waypoint[];
  let asked: PathId | undefined;
  let changes: number;
  let repeated: number;

  beforeEach(() => {
    clock = new VirtualClock();
    [seen, asked, changes, repeated] = [[], undefined, 0, 0];
    drops = new OwnDrops({
      clock,
      read: (path) => {
        asked = path;
        return seen;
      },
      onChange: () => changes++,
      onAgain: () => repeated++,
    });
    drops.start();
  });

  const dropped = (dropReason: number): readonly Waypoint[] => [
    { hook: Hook.toHost, leg: 'request', atNs: clock.nowMs() * 1e6, dropReason },
  ];

  it('is nothing while it drops nothing, and of nobody in particular', async () => {
    await clock.pass(SOON_MS);
    assert.deepEqual(drops.notes('n2'), []);
    assert.deepEqual([asked, changes], [{ prober: 0, path: 0 }, 0]);
  });

  it('is told once, soon after the first, and taken back soon after the last', async () => {
    await clock.pass(10_000);
    seen = dropped(DropReason.policy);
    await clock.pass(SOON_MS);
    const lossPoint = { node: 'n2', hook: 'to_host', leg: 'request', reason: 'Policy denied' };
    const [note, ...others] = drops.notes('n2');
    const { peer, fault, kind, family, sinceMs = 0 } = note ?? {};
    assert.deepEqual([others, peer, fault, kind, family], [[], 'n2', 'policy-drop', 1, 4]);
    assert.deepEqual(note?.lossPoint, lossPoint);
    for (let i = 0; i < 5; i++) {
      seen = dropped(DropReason.policy);
      await clock.pass(1000);
    }
    assert.equal(changes, 1);
    assert.equal(drops.notes('n2')[0]?.sinceMs, sinceMs, 'it is no news');
    await clock.pass(OVER_MS);
    assert.deepEqual([drops.notes('n2'), changes], [[], 2]);
  });

  it('is told again when others ask, with the next drop, once', async () => {
    drops.repeat();
    await clock.pass(SOON_MS);
    seen = dropped(DropReason.policy);
    await clock.pass(1000);
    drops.repeat();
    await clock.pass(500);
    assert.deepEqual([changes, repeated], [1, 0], 'it may be over');
    seen = dropped(DropReason.policy);
    await clock.pass(SOON_MS);
    seen = dropped(DropReason.policy);
    await clock.pass(SOON_MS);
    assert.deepEqual([changes, repeated], [1, 1]);
  });

  it('is nothing when what it drops is no matter of policy, or lets it pass', async () => {
    seen = dropped(DropReason.invalidSip);
    await clock.pass(SOON_MS);
    seen = dropped(0);
    await clock.pass(SOON_MS);
    assert.deepEqual([drops.notes('n2'), changes], [[], 0]);
  });

  it('is not looked for any more after the end', async () => {
    drops.stop();
    seen = dropped(DropReason.policy);
    await clock.pass(SOON_MS);
    drops.stop();
    assert.equal(changes, 0);
  });
});
