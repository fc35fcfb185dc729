/**
 * What a path takes (H12): the maps, JavaScript's heap and resident memory of a node's paths, beside what a target takes
 * in fping; and how resident memory grows along a long run of probes, beside `ping -f`. The second half of it is extrapolated
 * to 10^8 probes by a straight line. `--probes=N` runs so many instead of
 * 10^7, and nothing else.
 *
 * Aims: <= 1 KiB a path in maps; <= 1 % of growth.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { missingForNamespaces } from '../src/lab/requirements.ts';
import { benchTargets, EngineLab } from './support/engine-lab.ts';
import { median, report } from './support/measure.ts';
import type { MemoryOutcome } from './support/memory-child.ts';

const SIZES = [1000, 10_000, 60_000];
/** What the engine has room for unless it is told otherwise. */
const PATHS_MAX = 65_536;
const ROUNDS = 3;
const STEP = 500_000;
const ASKED = probesAsked();
const PROBES = ASKED ?? 10_000_000;
/** A path is sent to once a turn of 20 ms at most: fewer paths would leave the core idle. */
const PROBED = 4000;
const ALL_PROBES = 1e8;
const PING_LOOK_MS = 500;
const PING_PROBES = 2_000_000;

const lab = new EngineLab();

function probesAsked(): number | undefined {
  const word = process.argv.find((one) => one.startsWith('--probes='));
  return word === undefined ? undefined : Number(word.slice('--probes='.length));
}

function residentBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
}

/** Resident memory of fping once it has asked all. */
async function fpingBytes(count: number): Promise<number> {
  const words = ['fping', '-q', '-l', '-i', '0.01', '-p', '10000', ...benchTargets(count)];
  const child = spawn('nsenter', [`--net=${lab.here}`, ...words], { stdio: 'ignore' });
  try {
    await delay(2500);
    return residentBytes(child.pid ?? 0);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
}

async function footprints(): Promise<void> {
  const ours = new Map<number, MemoryOutcome[]>(SIZES.map((size) => [size, []]));
  const fpings = new Map<number, number[]>([0, ...SIZES].map((size) => [size, []]));
  for (let round = 0; round < ROUNDS; round++) {
    fpings.get(0)?.push(await fpingBytes(1));
    for (const size of SIZES) {
      const task = { pathsMax: PATHS_MAX, targets: benchTargets(size), probes: 0, step: 1 };
      ours.get(size)?.push(await lab.memory(task));
      fpings.get(size)?.push(await fpingBytes(size));
    }
  }
  const fpingOf = (size: number): number =>
    (median(fpings.get(size) ?? []) - median(fpings.get(0) ?? [])) / size;
  const of = (size: number, pick: (outcome: MemoryOutcome) => number): number =>
    median((ours.get(size) ?? []).map(pick));
  const [first = 0] = SIZES;
  report(`Memory of paths, medians of ${ROUNDS} rounds`, [
    {
      what: 'record of a path in the map',
      value: of(first, ({ recordBytes }) => recordBytes),
      unit: 'B',
      aim: '<= 1024',
    },
    ...SIZES.flatMap((size) => {
      const residentOf = of(size, (outcome) => outcome.residentBytes) / size;
      return [
        {
          what: `${size} paths: all maps of the engine`,
          value: of(size, ({ mapsBytes }) => mapsBytes) / 2 ** 20,
          unit: 'MiB',
        },
        { what: `${size} paths: answering`, value: of(size, ({ reachable }) => reachable), unit: '' },
        {
          what: `${size} paths: heap`,
          value: of(size, ({ heapBytes }) => heapBytes) / size,
          unit: 'B a path',
        },
        {
          what: `${size} paths: one look at all counts, median`,
          value: of(size, ({ lookMs }) => lookMs.median),
          unit: 'ms',
        },
        {
          what: `${size} paths: the longest of 20`,
          value: of(size, ({ lookMs }) => lookMs.longest),
          unit: 'ms',
        },
        {
          what: `${size} paths: pauses of collections along 20 looks`,
          value: of(size, ({ collections }) => collections.sumMs),
          unit: 'ms',
        },
        {
          what: `${size} paths: the longest pause`,
          value: of(size, ({ collections }) => collections.longestMs),
          unit: 'ms',
        },
        {
          what: `${size} paths: resident, with what waits for a collection`,
          value: residentOf,
          unit: 'B a path',
        },
        { what: `${size} targets of fping: resident`, value: fpingOf(size), unit: 'B a target' },
        { what: `${size}: ours / fping`, value: residentOf / fpingOf(size), unit: 'x' },
      ];
    }),
  ]);
}

interface Sample {
  readonly probes: number;
  readonly residentBytes: number;
}

/** Slope of the straight line that lies least far from all, bytes a probe. */
function slope(samples: readonly Sample[]): number {
  const mean = (pick: (sample: Sample) => number): number =>
    samples.reduce((sum, sample) => sum + pick(sample), 0) / samples.length;
  const [x, y] = [mean(({ probes }) => probes), mean((sample) => sample.residentBytes)];
  const covariance = mean((sample) => (sample.probes - x) * (sample.residentBytes - y));
  return covariance / mean((sample) => (sample.probes - x) ** 2);
}

/** Resident memory of `ping -f` by the packets that it has sent, which only its time tells. */
async function pingSamples(): Promise<Sample[]> {
  const words = ['ping', '-q', '-f', '-c', String(PING_PROBES), '10.99.0.2'];
  const child = spawn('nsenter', [`--net=${lab.here}`, ...words], { stdio: 'ignore' });
  const seen: number[] = [];
  let ended = false;
  const exit = once(child, 'exit').then(() => (ended = true));
  while (!ended) {
    await Promise.race([exit, delay(PING_LOOK_MS)]);
    if (!ended) seen.push(residentBytes(child.pid ?? 0));
  }
  return seen.map((bytes, i) => ({ probes: ((i + 1) / seen.length) * PING_PROBES, residentBytes: bytes }));
}

async function growth(): Promise<void> {
  const targets = benchTargets(PROBED);
  const { samples } = await lab.memory({ pathsMax: PATHS_MAX, targets, probes: PROBES, step: STEP });
  // Up to the middle the heap settles, step by step.
  const settled = samples.slice(Math.floor(samples.length / 2));
  const ping = await pingSamples();
  const percent = (all: readonly Sample[]): number =>
    (slope(all) * ALL_PROBES * 100) / (all[0]?.residentBytes ?? Number.NaN);
  const seen = ((settled.at(-1)?.residentBytes ?? 0) / (settled[0]?.residentBytes ?? 1) - 1) * 100;
  report(`Growth of resident memory along ${PROBES} probes`, [
    { what: 'resident after the first step', value: (samples[0]?.residentBytes ?? 0) / 2 ** 20, unit: 'MiB' },
    { what: 'resident in the middle', value: (settled[0]?.residentBytes ?? 0) / 2 ** 20, unit: 'MiB' },
    { what: 'grown from then to the end', value: seen, unit: '%', aim: '<= 1' },
    { what: 'the second half, by a straight line to 10^8', value: percent(settled), unit: '%', aim: '<= 1' },
    { what: 'ping -f, by a straight line to 10^8', value: percent(ping.slice(1)), unit: '%' },
  ]);
}

const needed = [
  ...missingForNamespaces(),
  ...['fping', 'ping'].filter((name) => !existsSync(`/usr/bin/${name}`)).map((name) => `${name} (Debian)`),
];
if (needed.length > 0) {
  console.error(`bench health-memory skipped: needs ${needed.join(', ')}`);
} else {
  try {
    await lab.setUp([]);
    if (ASKED === undefined) await footprints();
    await growth();
  } finally {
    await lab.cleanUp();
  }
}
