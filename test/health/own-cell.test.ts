import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ownCell } from '../../src/health/own-cell.ts';
import type { PathTracker } from '../../src/health/state/path-tracker.ts';
import { type PathState, PROBE_KINDS } from '../../src/model/health.ts';

/** What a cell reads of a path. */
function tracked(name: string, sent: number, lost: number, state: PathState = 'reachable'): PathTracker {
  const kind = PROBE_KINDS.findIndex((each) => each.name === name);
  const path = { peer: 'n2', kind, family: 4, address: '10.0.0.2', primary: true };
  const read = { path, state, deadMs: undefined, medianNs: 1000, stateSince: () => state };
  return { ...read, lately: () => ({ sent, lost }) } as unknown as PathTracker;
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
    assert.deepEqual(counts(tracked('host-host/icmp', 60, 60, 'unknown'), http), [30, 9]);
  });

  it('counts no request of an outage when echoes are answered again, and none was sent since', () => {
    const http = tracked('host-host/http', 4, 3, 'unreachable');
    assert.deepEqual(counts(tracked('host-host/icmp', 0, 0), http), [0, 0]);
  });

  it('counts nothing of a canary', () => {
    assert.deepEqual(counts(tracked('policy-denied/http', 30, 30)), [0, 0]);
  });
});
