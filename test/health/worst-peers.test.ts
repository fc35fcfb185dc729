import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type PeerScore, WorstPeers } from '../../src/health/worst-peers.ts';

function peer(
  name: string,
  score: number,
  grade: PeerScore['grade'] = score > 90 ? 2 : score > 20 ? 1 : 0,
): PeerScore {
  return { peer: name, score, grade, lossRatio: 0 };
}

describe('the worst peers', () => {
  const minute = 60_000;
  function names(worst: WorstPeers, scores: readonly PeerScore[], nowMs: number): string {
    return worst
      .take(scores, nowMs)
      .map((one) => one.peer)
      .join(' ');
  }

  it('are none while all are well', () => {
    assert.equal(names(new WorstPeers(), [peer('a', 0), peer('b', 2.9)], 0), '');
  });

  it('keep their places until they were well for five minutes, whoever else scores a little more', () => {
    const worst = new WorstPeers({ places: 2 });
    assert.equal(names(worst, [peer('a', 30), peer('b', 31), peer('c', 29)], 0), 'a b');
    assert.equal(names(worst, [peer('a', 0), peer('b', 31), peer('c', 30)], minute), 'b c');
  });

  it('keep one that has recovered as long as nobody worse needs the place', () => {
    const worst = new WorstPeers({ places: 2 });
    names(worst, [peer('a', 30), peer('b', 0)], 0);
    assert.equal(names(worst, [peer('a', 0), peer('b', 0)], 4.9 * minute), 'a');
    assert.equal(names(worst, [peer('a', 0), peer('b', 0)], 5 * minute), '');
  });

  it('do not change when scores of one grade change their order at every scrape', () => {
    const worst = new WorstPeers();
    const changes = new Set<string>();
    for (let scrape = 0; scrape < 1000; scrape++) {
      const scores = Array.from({ length: 50 }, (_, i) =>
        peer(`p${i}`, 30 + ((i * 7919 + scrape * 104_729) % 50)),
      );
      changes.add(names(worst, scores, scrape * 15_000));
    }
    assert.equal(changes.size, 1);
  });

  it('make room at once for one that is worse by a whole grade', () => {
    const worst = new WorstPeers({ places: 2 });
    names(worst, [peer('a', 40), peer('b', 30)], 0);
    assert.equal(names(worst, [peer('a', 40), peer('b', 30), peer('dead', 100)], 1000), 'a dead');
  });

  it('forget one that left the node list', () => {
    const worst = new WorstPeers();
    names(worst, [peer('a', 100)], 0);
    assert.equal(names(worst, [], 1000), '');
  });
});
