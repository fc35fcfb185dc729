/**
 * What an answer of `GET /v1beta/status` costs at a node of a cluster of 5,000, beside the same written anew by
 * `JSON.stringify`, in turns in one run: the text alone, and the whole answer over a unix socket to a client in another
 * thread. And what one change costs: of a path in the status, and of a row in the stream of events to one follower.
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
import { RowEvents } from './support/row-events.ts';
import { type StatusRoute, StatusServer } from './support/status-server.ts';
import { threadMs } from './support/thread-ms.ts';

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

const server = new StatusServer({
  kept: () => text.text(input),
  anew: () => statusResponse({ ...frame, trackers }),
});
const rowEvents = new RowEvents(NODES);

/** Processor time of the server's thread for each answer, ms. */
const answerCpu = new Map<StatusRoute, number[]>();

async function answerMs(path: StatusRoute): Promise<number> {
  probeSome(PROBED);
  const before = threadMs();
  const { tookMs, bytes } = await server.get(path);
  const cpu = answerCpu.get(path) ?? [];
  answerCpu.set(path, [...cpu, threadMs() - before]);
  const want = text.text(input).length;
  if (bytes < want - 100 || bytes > want + 100) throw new Error(`${path} has ${bytes} bytes, not ${want}`);
  return tookMs;
}

function timed(act: () => unknown): number {
  const start = performance.now();
  act();
  return performance.now() - start;
}

function probeSome(count: number): void {
  for (let n = 0; n < count; n++) probe(random.pick(trackers));
}

await server.start();
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
    { name: 'answer', run: () => answerMs('/v1beta/status') },
    { name: 'answer anew', run: () => answerMs('/anew') },
    { name: 'bytes', run: () => answerMs('/bytes') },
    { name: 'event', run: () => rowEvents.change(1) },
    { name: 'no event', run: () => rowEvents.change(0) },
  ],
  ROUNDS,
);
await server.stop();
const of = (name: string): number => median(figures.get(name) ?? []);
const cpuOf = (path: StatusRoute): number => median(answerCpu.get(path) ?? []);

report(`GET /status of ${NODES} nodes, ${(text.text(input).length / 1e6).toFixed(1)} MB of JSON`, [
  { what: `kept texts, ${PROBED} paths probed since`, value: of('kept'), unit: 'ms', aim: '<= 10' },
  { what: 'one change of a path', value: of('one change'), unit: 'ms', aim: '<= 1' },
  { what: 'made and written anew', value: of('anew'), unit: 'ms' },
  { what: 'JSON.stringify of it alone', value: of('stringify alone'), unit: 'ms' },
  { what: 'made and written anew / kept texts', value: of('anew') / of('kept'), unit: 'x' },
]);
report(`The whole answer over a unix socket, ${PROBED} paths probed since`, [
  { what: 'from the request to its last byte', value: of('answer'), unit: 'ms', aim: '<= 10' },
  { what: 'the same, made and written anew', value: of('answer anew'), unit: 'ms' },
  { what: 'as many bytes that are there already', value: of('bytes'), unit: 'ms' },
  { what: 'made and written anew / kept texts', value: of('answer anew') / of('answer'), unit: 'x' },
  { what: "server's processor time", value: cpuOf('/v1beta/status'), unit: 'ms', aim: '<= 10' },
  { what: 'the same, made and written anew', value: cpuOf('/anew'), unit: 'ms' },
  { what: 'as many bytes that are there already', value: cpuOf('/bytes'), unit: 'ms' },
]);
report(`Events of ${NODES} nodes with 20 cells each, to one follower`, [
  { what: 'one row changed', value: of('event'), unit: 'ms', aim: '<= 1' },
  { what: 'nothing changed', value: of('no event'), unit: 'ms' },
]);
