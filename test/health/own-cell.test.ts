import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ownCell } from '../../src/health/own-cell.ts';
import type { PathTracker } from '../../src/health/state/path-tracker.ts';
import { cellState, type PathState, PROBE_KINDS } from '../../src/model/health.ts';

interface Known {
  readonly state: PathState;
  /** Monotonic ms; undefined: never, or it is not dead. */
  readonly answeredMs?: number;
  readonly deadMs?: number;
  readonly askedAgainMs?: number;
  readonly reason?: string;
}

const KNOWN: Known = { state: 'reachable' };

/** What a cell reads of a path. */
function tracked(name: string, sent: number, lost: number, known = KNOWN): PathTracker {
  const kind = PROBE_KINDS.findIndex((each) => each.name === name);
  const path = { peer: 'n2', kind, family: 4, address: '10.0.0.2', primary: true };
  const { state, answeredMs = 0, deadMs, askedAgainMs, reason } = known;
  const read = { path, state, deadMs, askedAgainMs, lossPoint: { reason }, medianNs: 1000 };
  const told = { stateSince: () => state, hasAnsweredSince: (ms: number) => answeredMs >= ms };
  return { ...read, ...told, lately: () => ({ sent, lost }) } as unknown as PathTracker;
}

const counts = (...paths: readonly PathTracker[]): readonly number[] => {
  const { sent, lost } = ownCell('n2', paths, 0);
  return [sent, lost];
};

describe('what a node tells of a peer', () => {
  it('takes no request that a busy agent answered too late for lost packets', () => {
    const icmp = tracked('host-host/icmp', 60, 1);
    assert.deepEqual(
      counts(icmp, tracked('host-host/echo', 6, 1), tracked('host-host/http', 30, 9)),
      [66, 2],
    );
  });

  it('counts requests where nothing else is answered', () => {
    const http = tracked('host-host/http', 30, 9);
    assert.deepEqual(counts(tracked('host-host/icmp', 60, 60, { state: 'unknown' }), http), [30, 9]);
  });

  it('counts no request of an outage when echoes are answered again, and none was sent since', () => {
    const http = tracked('host-host/http', 4, 3, { state: 'unreachable' });
    assert.deepEqual(counts(tracked('host-host/icmp', 0, 0), http), [0, 0]);
  });

  it('counts nothing of a canary', () => {
    assert.deepEqual(counts(tracked('policy-denied/http', 30, 30)), [0, 0]);
  });

  describe('of what a silent path means', () => {
    const DEAD_MS = 10_000;
    const dead = { state: 'unreachable', deadMs: DEAD_MS } as const;
    const before = { state: 'reachable', answeredMs: DEAD_MS - 500 } as const;
    const since = { state: 'reachable', answeredMs: DEAD_MS + 5 } as const;

    /** Of echo, icmp and http of the host. */
    const told = (ms: number, ...known: readonly Known[]): readonly PathState[] => {
      const names = ['host-host/echo', 'host-host/icmp', 'host-host/http'];
      const paths = names.map((name, i) => tracked(name, 60, 0, known[i]));
      const cell = ownCell('n2', paths, DEAD_MS + ms);
      return paths.map(({ path }) => cellState(cell, 4, path.kind));
    };

    it('tells no agent as dead before echoes to its host were heard of', () => {
      assert.deepEqual(told(50, before, before, dead), ['reachable', 'reachable', 'unknown']);
      assert.deepEqual(told(50, since, before, dead), ['reachable', 'reachable', 'unknown']);
      assert.deepEqual(told(50, since, since, dead), ['reachable', 'reachable', 'unreachable']);
      assert.deepEqual(told(50, before, dead, dead), ['reachable', 'unreachable', 'unknown']);
      assert.deepEqual(told(50, since, dead, dead), ['reachable', 'unreachable', 'unreachable']);
      assert.deepEqual(told(50, dead, dead, dead), ['unreachable', 'unreachable', 'unreachable']);
    });

    it('tells an agent as dead after a second, whatever echoes nobody sends', () => {
      assert.deepEqual(told(1000, before, before, dead), ['reachable', 'reachable', 'unreachable']);
    });

    it('tells no kernel as silent beside an agent that answers before it was asked once more', () => {
      const again = (ms: number): Known => ({ ...dead, askedAgainMs: DEAD_MS + ms });
      assert.equal(told(200, since, dead, since)[1], 'unknown');
      assert.equal(told(450, since, again(100), since)[1], 'unknown');
      assert.equal(told(500, since, again(100), since)[1], 'unreachable');
      assert.equal(told(200, since, dead, before)[1], 'unreachable', 'the agent did not answer since');
      assert.equal(told(200, since, { ...dead, reason: 'Policy denied' }, since)[1], 'unreachable');
    });

    it('counts nothing of what it tells nothing of', () => {
      const paths = [tracked('host-host/icmp', 60, 9, dead), tracked('host-host/http', 60, 0, since)];
      const { sent, lost } = ownCell('n2', paths, DEAD_MS + 200);
      assert.deepEqual([sent, lost], [0, 0]);
    });
  });
});
