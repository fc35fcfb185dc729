import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { noCounts, type PathCounts } from '../../probes/engine/index.ts';
import type { Instant } from '../../src/health/clock.ts';
import { pathsTo } from '../../src/health/plan/planner.ts';
import { NodeStates } from '../../src/health/state/node-states.ts';
import { PathTracker } from '../../src/health/state/path-tracker.ts';
import { type StatusFrame, statusResponse } from '../../src/health/status-response.ts';
import { StatusText, type StatusTextInput } from '../../src/health/status-text.ts';
import { healthNode } from '../../src/health/targets.ts';
import { PROBE_KINDS } from '../../src/model/health.ts';
import { Random } from '../support/random.ts';
import { element } from './fakes.ts';

const START = Date.UTC(2026, 0, 1);
const seed = Number(process.env.SEED ?? Date.now() % 1e9);

class Cluster {
  readonly random = new Random(seed);
  nodes = Array.from({ length: 12 }, (_, i) =>
    healthNode(element(`n${i} "ü"`, `10.0.0.${i}`, `10.1.0.${i}`)),
  );
  layout = 1;
  at: Instant = { nowMs: 0, wallMs: START };
  trackers = this.#made();
  readonly #counts = new Map<PathTracker, PathCounts>();

  #made(): PathTracker[] {
    const paths = this.nodes.flatMap(({ targets }) => targets.flatMap(pathsTo));
    return paths.map((path) => new PathTracker(path, 1000, this.at));
  }

  /** Nodes come and go, and their paths with them. */
  turnOver(): void {
    this.nodes = [...this.nodes.slice(1), healthNode(element(`m${this.layout}`, '10.2.0.1'))];
    this.layout++;
    const kept = this.trackers.filter(({ path }) => this.nodes.some(({ name }) => name === path.peer));
    const known = new Set(kept.map(({ path }) => path.peer));
    this.trackers = [...kept, ...this.#made().filter(({ path }) => !known.has(path.peer))];
  }

  step(): void {
    const { random } = this;
    this.at = { nowMs: this.at.nowMs + 700, wallMs: this.at.wallMs + 700 };
    for (let n = random.below(6); n > 0; n--) {
      const tracker = random.pick(this.trackers);
      const before = this.#counts.get(tracker) ?? noCounts();
      const isAnswered = random.oneIn(3);
      const counts = {
        ...before,
        sent: before.sent + random.below(2),
        answered: before.answered + (isAnswered ? 1 : 0),
        rttLastNs: isAnswered ? random.below(1e6) : before.rttLastNs,
      };
      this.#counts.set(tracker, counts);
      tracker.onCounts(counts, this.at);
      const kind = random.pick(['answer', 'silent', 'error', 'suspect'] as const);
      const reason = kind === 'error' ? random.pick(['no route', 'refused "x"']) : undefined;
      tracker.onEvent({ kind, reason }, this.at);
    }
  }

  frame(): StatusFrame {
    const stale = this.random.oneIn(2) ? { sinceMs: this.at.wallMs, reason: 'away' } : undefined;
    const ready = { ready: true, mode: 'raw' } as const;
    const view = { self: this.nodes[0]?.name, nodes: this.nodes, stale };
    return { view, roundMs: this.at.wallMs, intervalMs: 1000, icmp: { 4: ready, 6: ready } };
  }
}

describe('the text of the status', () => {
  it('says the same as the whole answer written anew, after each of many changes', () => {
    const cluster = new Cluster();
    const text = new StatusText();
    for (let step = 0; step < 2000; step++) {
      cluster.step();
      if (cluster.random.oneIn(50)) cluster.turnOver();
      const frame = cluster.frame();
      const states = (): NodeStates => new NodeStates(cluster.trackers);
      const read: unknown = JSON.parse(text.text({ ...frame, layout: cluster.layout, states }).toString());
      const naive: unknown = JSON.parse(
        JSON.stringify(statusResponse({ ...frame, trackers: cluster.trackers })),
      );
      assert.deepEqual(read, naive, `SEED=${seed} step ${step}`);
    }
  });

  it('writes anew only the nodes of which something is shown differently', () => {
    const cluster = new Cluster();
    const text = new StatusText();
    const input = (): StatusTextInput => {
      return { ...cluster.frame(), layout: cluster.layout, states: () => new NodeStates(cluster.trackers) };
    };
    assert.equal(text.refresh(input()), 12);
    assert.equal(text.refresh(input()), 0);
    const shown = cluster.trackers.find(({ path }) => PROBE_KINDS[path.kind]?.name === 'host-host/icmp');
    shown?.onCounts({ ...noCounts(), sent: 1, rttLastNs: 5 }, cluster.at);
    assert.equal(text.refresh(input()), 1);
    shown?.onCounts({ ...noCounts(), sent: 1, rttLastNs: 5 }, cluster.at);
    assert.equal(text.refresh(input()), 0);
  });
});
