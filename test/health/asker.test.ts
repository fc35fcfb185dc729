import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Asker } from '../../src/health/asker.ts';
import { PathTracker } from '../../src/health/state/path-tracker.ts';
import { PROBE_KINDS } from '../../src/model/health.ts';
import { HeapClock } from '../support/virtual-network.ts';

const indexOf = (name: string): number => PROBE_KINDS.findIndex((kind) => kind.name === name);
const KINDS = ['host-host/icmp', 'host-host/http', 'host-endpoint/http', 'policy-denied/http'].map(indexOf);

interface Bench {
  readonly clock: HeapClock;
  readonly asker: Asker;
  /** What was asked, and when. */
  readonly asked: { readonly what: string; readonly atMs: number }[];
  suspect(peer: string, kind: string): void;
}

function bench(nodes: number, random: () => number = () => 0.5): Bench {
  const clock = new HeapClock();
  clock.pass(60_000);
  const asked: Bench['asked'] = [];
  const at = { nowMs: 0, wallMs: 0 };
  const pathOf = (peer: string, kind: number) => {
    return { peer, kind, family: 4, address: '10.0.0.1', primary: true } as const;
  };
  const trackers = (peer = ''): PathTracker[] =>
    KINDS.map((kind) => new PathTracker(pathOf(peer, kind), 1000, at));
  const burst = (paths: readonly PathTracker[]): void => {
    for (const { path } of paths)
      asked.push({ what: `${path.peer} ${PROBE_KINDS[path.kind]?.name}`, atMs: clock.nowMs() });
  };
  const asker = new Asker({ clock, book: { trackers, burst }, nodes: () => nodes, random });
  const suspect = (peer: string, kind: string): void => asker.suspect(pathOf(peer, indexOf(kind)));
  return { clock, asker, asked, suspect };
}

describe('questions to peers besides their pace', () => {
  it('go to all paths of a peer by HTTP when one is late, those from host to host first, and never to a canary', () => {
    const { asked, suspect } = bench(3);
    suspect('n2', 'host-endpoint/http');
    assert.deepEqual(
      asked.map(({ what }) => what),
      ['n2 host-host/http', 'n2 host-endpoint/http'],
    );
    suspect('n3', 'host-host/icmp');
    assert.equal(asked.length, 2, 'an echo that is late asks for itself');
  });

  it('are 10 a second at most, however many peers are late or told of', () => {
    const { clock, asker, asked, suspect } = bench(1000);
    for (let peer = 0; peer < 1000; peer++) suspect(`n${peer}`, 'host-host/http');
    assert.equal(asked.length, 10);
    asker.heard(Array.from({ length: 1000 }, (_, i) => `m${i}`));
    for (let second = 0; second < 10; second++) clock.pass(1000);
    assert.ok(asked.length <= 10 * 11, String(asked.length));
  });

  it('come to a peer from all nodes that hear of it at 200 a second, not at once', () => {
    const first = [0, 0.25, 0.5, 0.75, 0.999].map((share) => {
      const { clock, asker, asked } = bench(1000, () => share);
      const begunMs = clock.nowMs();
      asker.heard(['n2']);
      clock.pass(20_000);
      assert.deepEqual(
        asked.map(({ what }) => what),
        ['n2 host-host/http'],
      );
      return (asked[0]?.atMs ?? 0) - begunMs;
    });
    assert.deepEqual(first, [0, 1250, 2500, 3750, 4995]);
  });

  it('come once in five seconds from each, whoever tells what of the peer', () => {
    const { clock, asker, asked } = bench(3);
    for (let tenths = 0; tenths < 100; tenths++) {
      asker.heard(['n2']);
      clock.pass(100);
    }
    assert.ok(asked.length === 2, String(asked.length));
  });

  it('come to the agent of a peer that does not exchange rows, as if another node told of it', () => {
    const { clock, asker, asked } = bench(3);
    for (let n = 0; n < 5; n++) asker.missed('n2');
    clock.pass(1000);
    assert.deepEqual(
      asked.map(({ what }) => what),
      ['n2 host-host/http'],
    );
  });

  it('come once more, later, where a peer is told of too soon after it was asked: that may be its end', () => {
    const { clock, asker, asked } = bench(3);
    asker.heard(['n2']);
    clock.pass(1000);
    assert.equal(asked.length, 1);
    for (let n = 0; n < 5; n++) asker.heard(['n2']);
    clock.pass(20_000);
    assert.equal(asked.length, 2);
    asker.heard(['n2']);
    asker.stop();
    clock.pass(20_000);
    assert.equal(asked.length, 2, 'none after the end');
  });

  it('are ever more seldom while a peer is told of all the time, and as before once it is not', () => {
    const { clock, asker, asked } = bench(3);
    const tell = (ms: number): void => {
      for (let passed = 0; passed < ms; passed += 100) {
        asker.heard(['n2']);
        clock.pass(100);
      }
    };
    tell(600_000);
    const apart = asked.slice(1).map(({ atMs }, i) => Math.round((atMs - (asked[i]?.atMs ?? 0)) / 1000));
    assert.deepEqual(apart, [5, 10, 20, 40, 80, 80, 80, 80, 80, 80]);
    clock.pass(200_000);
    const before = asked.length;
    tell(6000);
    assert.equal(asked.length, before + 2);
  });
});
