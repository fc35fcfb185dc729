/**
 * What health costs and how soon it sees a death, against the size of the cluster: the plan of one node as the agent
 * makes it, its memory, its series, and deaths on a virtual clock, with every observer of the dead node as a path book
 * of its own. `--svg FILE` draws the table. Nothing is sent; no privileges.
 */
import { writeFileSync } from 'node:fs';
import { Account, PathRecord } from '../probes/engine/constants.ts';
import { silentLog } from '../src/base/log.ts';
import { createHealth, createHealthMetrics, type NodeProvider } from '../src/health/index.ts';
import type { RowTransport } from '../src/health/mesh/index.ts';
import { PathBook } from '../src/health/path-book.ts';
import { observedPeers } from '../src/health/plan/observers.ts';
import { planPaths } from '../src/health/plan/planner.ts';
import { type HealthNode, healthNode } from '../src/health/targets.ts';
import { PROBE_KINDS } from '../src/model/health.ts';
import { element } from '../test/health/fakes.ts';
import { HeapClock, VirtualProber } from '../test/support/virtual-network.ts';
import { drawPanels } from './support/panels.ts';

const SIZES = [2, 10, 50, 100, 500, 1000, 2000, 5000];
const TRIALS = 60;
/** A full mesh has more observers; the first of so many is the first of all, to a few ms. */
const OBSERVERS_MOST = 200;
const RTT_MS = 0.2;
/** struct probe_path and struct probe_account. */
const RECORD_BYTES = (PathRecord.words + Account.words) * Uint32Array.BYTES_PER_ELEMENT;

interface Row {
  readonly nodes: number;
  readonly paths: number;
  readonly packetsPerSecond: number;
  readonly requestsPerSecond: number;
  readonly mebibytes: number;
  readonly series: number;
  readonly observers: number;
  /** One observer, and the first of all: p99 of the time from a death to its declaration. */
  readonly oneMs: number;
  readonly firstMs: number;
}

function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function cluster(count: number): HealthNode[] {
  return Array.from({ length: count }, (_, i) => {
    const tail = `${i >> 8}.${i & 255}`;
    return healthNode(element(`node-${i}`, `10.0.${tail}`, `10.1.${tail}`));
  });
}

/** Kinds that a node without endpoint origin probes: from the host. */
const fromHost = (path: { readonly kind: number }): boolean => PROBE_KINDS[path.kind]?.from === 'host';

function planOf(nodes: readonly HealthNode[]): ReturnType<typeof planPaths> {
  return planPaths(nodes, 'node-0', { periodMs: 1000 }, fromHost);
}

function rate(plan: ReturnType<typeof planPaths>, isHttp: boolean): number {
  let sum = 0;
  for (const { path, periodMs } of plan.values()) {
    if ((PROBE_KINDS[path.kind]?.responder === 'http') === isHttp) sum += 1000 / periodMs;
  }
  return sum;
}

function collectGarbage(): void {
  const { gc } = globalThis as { gc?: () => void };
  gc?.();
}

/** No other node is there; that rows would be exchanged has its series all the same. */
const nobodyAnswers: RowTransport = {
  send: () => Promise.reject(new Error('no answer')),
  stop: () => Promise.resolve(),
};

/** MiB of one node's paths, in JavaScript and in records; and its series. */
async function footprint(nodes: readonly HealthNode[]): Promise<{ mebibytes: number; series: number }> {
  const clock = new HeapClock();
  const provider: NodeProvider = {
    start: () => Promise.resolve(),
    stop: () => Promise.resolve(),
    view: () => ({ self: 'node-0', nodes, stale: undefined }),
    onChange: () => undefined,
  };
  collectGarbage();
  const before = process.memoryUsage();
  const prober = new VirtualProber({ clock, random: seeded(1), fate: () => RTT_MS });
  const health = createHealth(
    { interval: { kind: 'fixed', ms: 1000 } },
    { nodes: provider, probers: [prober], clock, log: silentLog, rows: nobodyAnswers },
  );
  await health.start();
  clock.pass(3000);
  collectGarbage();
  const after = process.memoryUsage();
  const bytes = after.heapUsed - before.heapUsed + after.arrayBuffers - before.arrayBuffers;
  const metrics = createHealthMetrics({
    health: () => health,
    engine: () => undefined,
    diagnosis: () => health.diagnosis(),
    matrix: () => health.matrix(),
    followersCut: () => 0,
    clock,
  });
  const series = (await metrics.text())
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#')).length;
  await health.stop();
  return { mebibytes: (bytes + planOf(nodes).size * RECORD_BYTES) / 2 ** 20, series };
}

/** Ms from a death to each observer's declaration, the soonest first. */
function death(observers: number, seed: number): number[] {
  const clock = new HeapClock();
  const random = seeded(seed);
  const deadMs = 5000 + random() * 1000;
  const told: number[] = [];
  const [dead] = cluster(1);
  if (dead === undefined) return told;
  const now = () => ({ nowMs: clock.nowMs(), wallMs: clock.wallMs() });
  for (let i = 0; i < observers; i++) {
    const prober = new VirtualProber({
      clock,
      random,
      fate: () => (clock.nowMs() < deadMs ? RTT_MS : undefined),
    });
    let isTold = false;
    const book = new PathBook([prober], now, ({ to }) => {
      if (to === 'unreachable' && !isTold) told.push(clock.nowMs() - deadMs);
      isTold ||= to === 'unreachable';
    });
    const plan = planPaths([dead], undefined, { periodMs: 1000 }, (path) => path.kind === 1);
    book.follow(plan);
  }
  clock.pass(deadMs + 3000);
  return told;
}

function p99(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))] ?? Number.NaN;
}

async function measure(count: number): Promise<Row> {
  const nodes = cluster(count);
  const plan = planOf(nodes);
  const names = nodes.map(({ name }) => name);
  const addresses = 2 * count;
  const observers = addresses <= 2000 ? count - 1 : observedPeers('node-0', names, 20).size;
  const trials = Array.from({ length: TRIALS }, (_, i) => death(Math.min(observers, OBSERVERS_MOST), i + 1));
  return {
    nodes: count,
    paths: plan.size,
    packetsPerSecond: rate(plan, false),
    requestsPerSecond: rate(plan, true),
    ...(await footprint(nodes)),
    observers,
    oneMs: p99(trials.flat()),
    firstMs: p99(trials.map(([first = Number.NaN]) => first)),
  };
}

const rows: Row[] = [];
for (const size of SIZES) rows.push(await measure(size));
console.table(
  rows.map((row) =>
    Object.fromEntries(Object.entries(row).map(([name, value]) => [name, Math.round(value * 10) / 10])),
  ),
);
const svg = process.argv[process.argv.indexOf('--svg') + 1];
if (process.argv.includes('--svg') && svg !== undefined) {
  const line = (name: string, unit: string, pick: (row: Row) => number) => ({
    title: name,
    unit,
    points: rows.map((row) => [row.nodes, pick(row)] as const),
  });
  writeFileSync(
    svg,
    drawPanels('What health costs, and how soon it sees a death', 'nodes', [
      line('packets sent by a node', '/s', (row) => row.packetsPerSecond),
      line('HTTP requests of a node', '/s', (row) => row.requestsPerSecond),
      line('memory of its paths', 'MiB', (row) => row.mebibytes),
      line('series of its metrics', '', (row) => row.series),
      line('death seen by one observer, p99', 'ms', (row) => row.oneMs),
      line('death seen by the first, p99', 'ms', (row) => row.firstMs),
    ]),
  );
}
