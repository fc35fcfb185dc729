import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { noCounts, type PathCounts } from '../../probes/engine/index.ts';
import { PathTracker } from '../../src/health/state/path-tracker.ts';
import { PROBE_KINDS } from '../../src/model/health.ts';

const KIND = PROBE_KINDS.findIndex(({ name }) => name === 'endpoint-endpoint/icmp');
const PATH = { peer: 'n2', kind: KIND, family: 4, address: '10.0.0.2', primary: true } as const;
const PERIOD_MS = 10_000;

function instant(nowMs: number) {
  return { nowMs, wallMs: nowMs };
}

function counts(sent: number, answered: number, lost: number, sentLastMs: number): PathCounts {
  return { ...noCounts(), sent, answered, lost, sentLastNs: sentLastMs * 1e6 };
}

describe('the state of a path whose peer was dead for a while', () => {
  it('is well after it, also when probes were lost and others answered between two looks', () => {
    const tracker = new PathTracker(PATH, PERIOD_MS, instant(0));
    tracker.onEvent({ kind: 'answer', reason: undefined }, instant(0));
    for (let ms = 0; ms <= 12_000; ms += 1000) {
      const sent = 1 + Math.floor(ms / 1000);
      tracker.onCounts(counts(sent, sent, 0, ms), instant(ms));
    }
    // Six are sent while the peer is dead, and it comes back before they are known to be lost.
    tracker.forgetOutage(12_100, counts(19, 13, 0, 12_200), instant(12_400));
    // Six more are answered before the next look.
    tracker.onCounts(counts(25, 19, 6, 12_500), instant(13_000));
    assert.equal(tracker.state, 'reachable');
    assert.equal(tracker.lately().lost, 0);
  });

  it('tells the loss of after it', () => {
    const tracker = new PathTracker(PATH, PERIOD_MS, instant(0));
    tracker.onEvent({ kind: 'answer', reason: undefined }, instant(0));
    tracker.onCounts(counts(13, 13, 0, 12_000), instant(12_000));
    tracker.forgetOutage(12_100, counts(13, 13, 0, 12_000), instant(12_400));
    tracker.onCounts(counts(33, 25, 8, 13_500), instant(14_000));
    assert.equal(tracker.state, 'degraded');
  });
});

describe('the state that is told of a path that lost probes', () => {
  it('is degraded for as long as any were lost in the last half minute, and not until the minute is over', () => {
    const tracker = new PathTracker(PATH, 1000, instant(0));
    tracker.onEvent({ kind: 'answer', reason: undefined }, instant(0));
    let lost = 0;
    const told: [number, string, string][] = [];
    for (let s = 1; s <= 75; s++) {
      if (s <= 30 && s % 5 === 0) lost++;
      tracker.onCounts(counts(s, s - lost, lost, s * 1000), instant(s * 1000));
      if (s % 15 === 0) told.push([s, tracker.state, tracker.stateSince(0, s * 1000)]);
    }
    assert.deepEqual(told, [
      [15, 'reachable', 'reachable'],
      [30, 'degraded', 'degraded'],
      [45, 'degraded', 'degraded'],
      [60, 'degraded', 'reachable'],
      [75, 'degraded', 'reachable'],
    ]);
  });
});

describe('the time of the last answer of a path', () => {
  it('is when it came, not when it was looked for', () => {
    const tracker = new PathTracker(PATH, 1000, instant(0));
    tracker.onCounts({ ...counts(1, 1, 0, 9000), answeredLastNs: 9_100e6 }, { nowMs: 9900, wallMs: 50_000 });
    assert.equal(tracker.answeredNowMs, 9100);
    assert.equal(tracker.report(9900, undefined).lastAnsweredMs, 49_200);
  });
});
