/**
 * What an answer of `GET /v1beta/status` costs at a node of a cluster of 5,000, beside the same written anew by
 * `JSON.stringify`, in turns in one run; and what one change of a path costs.
 */
import { noCounts } from '../probes/engine/index.ts';
import type { Instant } from '../src/health/clock.ts';
import { pathsTo } from '../src/health/plan/planner.ts';
import { NodeStates } from '../src/health/state/node-states.ts';
import { PathTracker } from '../src/health/state/path-tracker.ts';
import { statusResponse } from '../src/health/status-response.ts';
import { StatusText } from '../src/health/status-text.ts';
import { healthNode } from '../src/health/targets.ts';
import { element } from '../test/health/fakes.ts';
import { Random } from '../test/support/random.ts';
import { interleave, median, report } from './support/measure.ts';

const NODES = 5000;
const ROUNDS = 31;
/** Paths that are probed in a second by a node of such a cluster (`docs/health.md`). */
const PROBED = 160;

const random = new Random(1);
const at: Instant = { nowMs: 0, wallMs: Date.UTC(2026, 0, 1) };
const nodes = Array.from({ length: NODES }, (_, i) => {
  const [high, low] = [i >> 8, i & 255];
  return healthNode(element(`node-${i}`, `10.0.${high}.${low}`, `10.1.${high}.${low}`));
});
const paths = nodes.flatMap(({ targets }) => targets.flatMap(pathsTo));
const trackers = paths.map((path) => new PathTracker(path, 1000, at));
let sent = 0;

function probe(tracker: PathTracker): void {
  sent++;
  const counts = { ...noCounts(), sent, answered: sent, rttLastNs: 100_000 + random.below(100_000) };
  const now = { nowMs: at.nowMs + sent, wallMs: at.wallMs + sent };
  tracker.onCounts(counts, now);
  tracker.onEvent({ kind: 'answer', reason: undefined }, now);
}

for (const tracker of trackers) probe(tracker);
const ready = { ready: true, mode: 'raw' } as const;
const frame = {
  view: { self: 'node-0', nodes, stale: undefined },
  roundMs: at.wallMs,
  intervalMs: 1000,
  icmp: { 4: ready, 6: ready },
};
const text = new StatusText();
const input = { ...frame, layout: 1, states: () => new NodeStates(trackers) };
text.refresh(input);

function timed(act: () => unknown): number {
  const start = performance.now();
  act();
  return performance.now() - start;
}

function probeSome(count: number): void {
  for (let n = 0; n < count; n++) probe(random.pick(trackers));
}

const figures = await interleave(
  [
    {
      name: 'anew',
      run: () => timed(() => Buffer.from(JSON.stringify(statusResponse({ ...frame, trackers })))),
    },
    {
      name: 'stringify alone',
      run: () => {
        const answer = statusResponse({ ...frame, trackers });
        return timed(() => Buffer.from(JSON.stringify(answer)));
      },
    },
    {
      name: 'kept',
      run: () => {
        probeSome(PROBED);
        return timed(() => text.text(input));
      },
    },
    {
      name: 'one change',
      run: () => {
        text.refresh(input);
        probeSome(1);
        return timed(() => text.refresh(input));
      },
    },
  ],
  ROUNDS,
);
const of = (name: string): number => median(figures.get(name) ?? []);

report(`GET /status of ${NODES} nodes, ${(text.text(input).length / 1e6).toFixed(1)} MB of JSON`, [
  { what: `kept texts, ${PROBED} paths probed since`, value: of('kept'), unit: 'ms', aim: '<= 10' },
  { what: 'one change of a path', value: of('one change'), unit: 'ms', aim: '<= 1' },
  { what: 'made and written anew', value: of('anew'), unit: 'ms' },
  { what: 'JSON.stringify of it alone', value: of('stringify alone'), unit: 'ms' },
  { what: 'made and written anew / kept texts', value: of('anew') / of('kept'), unit: 'x' },
]);
