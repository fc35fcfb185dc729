/**
 * `memory-child.ts @FILE`: the paths of a node as the health agent keeps them, a probe engine and a book of paths, in the
 * namespace it was started in. Prints one line of JSON: what so many paths take, or resident memory along a long run of
 * probes. Wants `--expose-gc`.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { PerformanceObserver } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { PathRecord } from '../../probes/engine/constants.ts';
import { createProbeEngine, type ProbeEngine } from '../../probes/engine/index.ts';
import type { Instant } from '../../src/health/clock.ts';
import { EngineProber, systemClock } from '../../src/health/index.ts';
import { PathBook } from '../../src/health/path-book.ts';
import type { PlannedPath } from '../../src/health/plan/planner.ts';
import { PROBE_KINDS, probePathKey } from '../../src/model/health.ts';
import { median } from './measure.ts';

export interface MemoryTask {
  /** Index of the device that programs stand on. */
  readonly device: number;
  readonly pathsMax: number;
  readonly targets: readonly string[];
  /** Probes of all targets together, in steps of so many; 0: only what the paths take. */
  readonly probes: number;
  readonly step: number;
}

export interface MemoryOutcome {
  /** Bytes of a record of the maps of records, and of all maps of the engine, as the kernel counts them. */
  readonly recordBytes: number;
  readonly mapsBytes: number;
  /** By opening the paths and probing them: JavaScript's heap with its buffers, and resident memory. */
  readonly heapBytes: number;
  readonly residentBytes: number;
  readonly reachable: number;
  /** Of one look at all counts: how long it blocks the event loop, ms. */
  readonly lookMs: { readonly median: number; readonly longest: number };
  /** Collections of garbage along `LOOKS` looks, one a second: all of their pauses, and the longest, ms. */
  readonly collections: { readonly count: number; readonly sumMs: number; readonly longestMs: number };
  /** Resident memory after so many probes. */
  readonly samples: readonly { readonly probes: number; readonly residentBytes: number }[];
}

const KIND = PROBE_KINDS.findIndex(({ name }) => name === 'host-host/icmp');
const PERIOD_MS = 1000;
const SETTLE_MS = 4000;
const LOOKS = 20;
/** More than windows reach back. */
const WINDOWS_S = 80;
const PAUSE_MS = 10;
const LOOK_MS = 50;
const ASK_MS = 500;
/** Beyond what a core sends; memory of probes under way is taken for so many. */
const PACKETS_PER_SECOND = 250_000;

function collectGarbage(): void {
  const { gc } = globalThis as { gc?: () => void };
  if (gc === undefined) throw new Error('--expose-gc is missing');
  gc();
}

function residentBytes(): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024;
}

function heapBytes(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

interface MapSize {
  readonly entries: number;
  readonly valueBytes: number;
  readonly bytes: number;
}

/** Our BPF maps; a map may have several descriptors. */
function maps(): MapSize[] {
  const found = new Map<number, MapSize>();
  for (const fd of readdirSync('/proc/self/fdinfo')) {
    let text = '';
    try {
      text = readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8');
    } catch (error) {
      // The descriptor that the list itself was read by.
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    }
    const number = (field: string): number =>
      Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);
    if (text.includes('map_type:'))
      found.set(number('map_id'), {
        entries: number('max_entries'),
        valueBytes: number('value_size'),
        bytes: number('memlock'),
      });
  }
  return [...found.values()];
}

const now = (): Instant => ({ nowMs: systemClock.nowMs(), wallMs: systemClock.wallMs() });

function plan(targets: readonly string[]): ReadonlyMap<string, PlannedPath> {
  const paths = targets.map((address, i) => {
    const path = { peer: `node-${i}`, kind: KIND, family: 4, address, primary: true } as const;
    return [probePathKey(path), { path, periodMs: PERIOD_MS }] as const;
  });
  return new Map(paths);
}

async function paths(engine: ProbeEngine, book: PathBook, task: MemoryTask): Promise<MemoryOutcome> {
  const planned = plan(task.targets);
  collectGarbage();
  const before = { heap: heapBytes(), resident: residentBytes() };
  book.follow(planned);
  await delay(SETTLE_MS);
  book.tick(now());
  const reachable = book.trackers().filter(({ state }) => state === 'reachable').length;
  const looks = await timedLooks(book);
  await fillWindows(book);
  collectGarbage();
  const all = maps();
  const records = all.find(({ valueBytes }) => valueBytes === PathRecord.words * 4);
  const samples = [];
  for (let probes = 0; probes < task.probes; probes += task.step) {
    await probeAll(engine, book, task);
    collectGarbage();
    samples.push({ probes: probes + task.step, residentBytes: residentBytes() });
    // A long run is followed, and not lost when it is cut short.
    console.error(JSON.stringify(samples.at(-1)));
  }
  return {
    recordBytes: records === undefined ? Number.NaN : records.bytes / records.entries,
    mapsBytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
    heapBytes: heapBytes() - before.heap,
    residentBytes: residentBytes() - before.resident,
    reachable,
    ...looks,
    samples,
  };
}

/** Looks at all counts once a second, as the agent does: each path has answered since the last look. */
async function timedLooks(book: PathBook): Promise<Pick<MemoryOutcome, 'lookMs' | 'collections'>> {
  const pauses: number[] = [];
  const observer = new PerformanceObserver((list) => {
    pauses.push(...list.getEntries().map(({ duration }) => duration));
  });
  observer.observe({ entryTypes: ['gc'] });
  const looks: number[] = [];
  for (let s = 0; s < LOOKS; s++) {
    const startMs = performance.now();
    book.tick(now());
    looks.push(performance.now() - startMs);
    await delay(PERIOD_MS);
  }
  observer.disconnect();
  return {
    lookMs: { median: median(looks), longest: Math.max(...looks) },
    collections: {
      count: pauses.length,
      sumMs: pauses.reduce((sum, ms) => sum + ms, 0),
      longestMs: Math.max(0, ...pauses),
    },
  };
}

/** Windows fill up; the clock of the book need not wait for them. */
async function fillWindows(book: PathBook): Promise<void> {
  const { nowMs, wallMs } = now();
  for (let s = 0; s < WINDOWS_S; s++) {
    book.tick({ nowMs: nowMs + s * 1000, wallMs: wallMs + s * 1000 });
    await delay(PAUSE_MS);
  }
}

/** One step, with a look at all counts as often as the agent has it. */
async function probeAll(engine: ProbeEngine, book: PathBook, task: MemoryTask): Promise<void> {
  const { sent } = engine.self();
  const missing = (): number => sent + task.step - engine.self().sent;
  // A path that waits for its turn when another probe of it is due has the two as one: what is missing is asked for again.
  for (let looks = 0; missing() > 0; looks++) {
    if ((looks * LOOK_MS) % ASK_MS === 0)
      book.burst(book.trackers(), Math.ceil(missing() / task.targets.length), 1);
    await delay(LOOK_MS);
    if ((looks * LOOK_MS) % 1000 === 0) book.tick(now());
  }
}

const word = process.argv[2] ?? '';
const task = JSON.parse(readFileSync(word.slice(1), 'utf8')) as MemoryTask;
const engine = createProbeEngine({
  origins: [{ devices: [task.device] }],
  mode: 'bpf',
  pathsMax: task.pathsMax,
  packetsPerSecond: PACKETS_PER_SECOND,
});
const prober = new EngineProber(engine, { host: 0 });
await prober.start();
const book = new PathBook([prober], now, () => undefined);
console.log(JSON.stringify(await paths(engine, book, task)));
await prober.stop();
