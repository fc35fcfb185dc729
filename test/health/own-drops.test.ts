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
  let failure: Error | undefined;
  let failures: string[];

  beforeEach(() => {
    clock = new VirtualClock();
    [seen, asked, changes, repeated] = [[], undefined, 0, 0];
    [failure, failures] = [undefined, []];
    drops = new OwnDrops({
      clock,
      read: (path) => {
        if (failure !== undefined) throw failure;
        asked = path;
        return seen;
      },
      onChange: () => changes++,
      onAgain: () => repeated++,
      onFailure: (reason) => failures.push(reason),
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

  it('is what the policy of the node itself drops, whatever is noted at other places', async () => {
    const [now] = dropped(DropReason.policy);
    assert.ok(now !== undefined);
    const elsewhere: Waypoint[] = [
      { ...now, hook: Hook.fromPod },
      { ...now, leg: 'answer' },
    ];
    seen = elsewhere;
    await clock.pass(SOON_MS);
    assert.deepEqual(drops.notes('n2'), []);
    seen = [...elsewhere.map((forged) => ({ ...forged, dropReason: 0 })), ...dropped(DropReason.policy)];
    await clock.pass(SOON_MS);
    assert.equal(drops.notes('n2')[0]?.lossPoint?.hook, 'to_host');
  });

  it('is nothing while it cannot be read, which is said once, and is told when it can', async () => {
    failure = new Error('bpf: no such map');
    await clock.pass(4 * SOON_MS);
    assert.deepEqual([drops.notes('n2'), failures], [[], ['bpf: no such map']]);
    failure = undefined;
    seen = dropped(DropReason.policy);
    await clock.pass(SOON_MS);
    assert.equal(drops.notes('n2').length, 1);
  });

  it('is not looked for any more after the end', async () => {
    drops.stop();
    seen = dropped(DropReason.policy);
    await clock.pass(SOON_MS);
    drops.stop();
    assert.equal(changes, 0);
  });
});
