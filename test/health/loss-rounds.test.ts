import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLog } from '../../src/base/log.ts';
import { LossRounds } from '../../src/health/loss/loss-rounds.ts';
import type { PathTracker } from '../../src/health/state/path-tracker.ts';
import type { HealthNode } from '../../src/health/targets.ts';
import type { ProbePath } from '../../src/model/health.ts';

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
});
