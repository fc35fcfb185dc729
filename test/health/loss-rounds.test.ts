import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLog } from '../../src/base/log.ts';
import { LossRounds } from '../../src/health/loss/loss-rounds.ts';
import type { PathTracker } from '../../src/health/state/path-tracker.ts';
import type { HealthNode } from '../../src/health/targets.ts';
import type { ProbePath } from '../../src/model/health.ts';
import { VirtualClock } from './virtual-clock.ts';

function node(name: string, address: string): HealthNode {
  return { name, targets: [{ node: name, kind: 'node', primary: true, address, family: 4 }] };
}

/** A path without an answer that nothing is known of yet. */
function dead(peer: string, address: string): Pick<PathTracker, 'path' | 'state' | 'lossPoint'> {
  return { path: { peer, address, family: 4 } as ProbePath, state: 'unreachable', lossPoint: undefined };
}

describe('the search for loss points', () => {
  const nodes = [node('gone', '10.0.0.2'), node('cut', '10.0.0.3')];
  const gone = Array.from({ length: 22 }, (_, i) => dead('gone', `10.1.0.${i}`));
  const cut = Array.from({ length: 4 }, (_, i) => dead('cut', `10.2.0.${i}`));

  it('comes to every dead path, however many of another node nobody can explain', () => {
    const asked: string[] = [];
    const rounds = new LossRounds({
      book: {
        ailing: new Set([...gone, ...cut]),
        findLoss: async (path) => {
          asked.push(path.address);
          return false;
        },
      },
      clock: new VirtualClock(),
      view: () => ({ self: 'here', nodes, stale: undefined }),
      log: silentLog,
      onFound: () => undefined,
    });
    rounds.tick();
    assert.equal(asked.length, 8);
    assert.deepEqual(
      cut.filter(({ path }) => !asked.includes(path.address)),
      [],
      'one node does not take the turn of another',
    );
    for (let i = 0; i < 3; i++) rounds.tick();
    assert.equal(new Set(asked).size, gone.length + cut.length);
    rounds.tick();
    assert.ok(asked.length > new Set(asked).size, 'and begins anew');
    rounds.stop();
  });

  it('tells what is found at about the same time once, what comes later again, and nothing after the stop', async () => {
    const clock = new VirtualClock();
    let told = 0;
    const rounds = new LossRounds({
      book: { ailing: new Set(), findLoss: async ({ address }) => !address.endsWith('.9') },
      clock,
      view: () => ({ self: 'here', nodes, stale: undefined }),
      log: silentLog,
      onFound: () => void told++,
    });
    const die = (...tails: readonly number[]): void => {
      for (const tail of tails) rounds.died(dead('gone', `10.1.0.${tail}`).path);
    };
    die(0, 1, 2, 3);
    await clock.pass(10);
    die(4);
    await clock.pass(100);
    assert.equal(told, 1);
    rounds.tick();
    die(9);
    await clock.pass(100);
    assert.equal(told, 1, 'nothing was found');
    die(5);
    await clock.pass(100);
    assert.equal(told, 2);
    die(6);
    await clock.pass(10);
    rounds.stop();
    await clock.pass(100);
    assert.equal(told, 2);
  });

  it('asks ever more seldom of a path that nobody can explain, and at once when it dies again', () => {
    const path = dead('gone', '10.1.0.1');
    const ticks: number[] = [];
    let now = 0;
    const rounds = new LossRounds({
      book: { ailing: new Set([path]), findLoss: async () => ticks.push(now) < 0 },
      view: () => ({ self: 'here', nodes, stale: undefined }),
      clock: new VirtualClock(),
      log: silentLog,
      onFound: () => undefined,
    });
    for (now = 1; now <= 64; now++) rounds.tick();
    assert.deepEqual(ticks, [1, 2, 4, 8, 16, 32, 48, 64]);
    rounds.died(path.path);
    rounds.tick();
    assert.equal(ticks.length, 10);
  });
});
