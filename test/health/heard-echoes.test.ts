import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { HeardEchoes } from '../../src/health/heard-echoes.ts';
import { PathTracker } from '../../src/health/state/path-tracker.ts';
import { PROBE_KINDS } from '../../src/model/health.ts';
import { HeapClock } from '../support/virtual-network.ts';

const KINDS = ['host-host/echo', 'host-host/icmp', 'host-host/http', 'host-endpoint/icmp'].map((name) =>
  PROBE_KINDS.findIndex((kind) => kind.name === name),
);

interface Bench {
  readonly clock: HeapClock;
  readonly echoes: HeardEchoes;
  /** What was asked, how often, and when. */
  readonly asked: { readonly what: string; readonly count: number; readonly atMs: number }[];
}

function bench(nodes: number, random: () => number = () => 0.5): Bench {
  const clock = new HeapClock();
  const asked: Bench['asked'] = [];
  const trackers = (peer = ''): PathTracker[] =>
    KINDS.map((kind) => {
      const path = { peer, kind, family: 4, address: '10.0.0.1', primary: true } as const;
      return new PathTracker(path, 1000, { nowMs: 0, wallMs: 0 });
    });
  const burst = (paths: readonly PathTracker[], count: number): void => {
    for (const { path } of paths)
      asked.push({ what: `${path.peer} ${PROBE_KINDS[path.kind]?.name}`, count, atMs: clock.nowMs() });
  };
  const watches = (peer: string): boolean => peer.startsWith('w');
  const echoes = new HeardEchoes({
    clock,
    book: { trackers, burst },
    nodes: () => nodes,
    watches,
    random,
  });
  return { clock, echoes, asked };
}

describe('echoes to a peer of which another node told a fault', () => {
  it('go to the stack of one that is watched, so many that silence is one', () => {
    const { clock, echoes, asked } = bench(3);
    echoes.heard(['w1', 'swept']);
    clock.pass(1000);
    assert.deepEqual(
      asked.map(({ what, count }) => `${what} ${count}`),
      ['w1 host-host/icmp 6'],
    );
  });

  it('come from all nodes at 10,000 a second, and within 100 ms of the news', () => {
    const at = (nodes: number, share: number): number | undefined => {
      const { clock, echoes, asked } = bench(nodes, () => share);
      echoes.heard(['w1']);
      clock.pass(1000);
      return asked[0]?.atMs;
    };
    assert.deepEqual([at(100, 0), at(100, 0.5), at(500, 0.5), at(5000, 0.5)], [0, 5, 25, 50]);
  });

  it('come once a second, however many tell of the peer', () => {
    const { clock, echoes, asked } = bench(3);
    for (let tenths = 0; tenths < 50; tenths++) {
      echoes.heard(['w1']);
      clock.pass(100);
    }
    assert.equal(asked.length, 5);
  });

  it('go to 20 peers a second, however many are told of', () => {
    const { clock, echoes, asked } = bench(3);
    for (let second = 0; second < 5; second++) {
      echoes.heard(Array.from({ length: 100 }, (_, i) => `w${second}-${i}`));
      clock.pass(1000);
    }
    assert.equal(asked.length, 100);
  });

  it('come no more after the end', () => {
    const { clock, echoes, asked } = bench(3);
    echoes.heard(['w1']);
    echoes.stop();
    echoes.heard(['w2']);
    clock.pass(1000);
    assert.deepEqual(asked, []);
  });
});
