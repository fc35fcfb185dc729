/**
 * What a probe costs (H1, H2), that the engine loses nothing of its own (H4), and whether it knows its own cost (H15).
 * CPU is user and system of the process that probes, which on a veth does the work of both ends; what a run with a sixth
 * of the probes takes is subtracted, so that no start counts. All in one interleaved run with fping, and with the blackbox
 * exporter where that is installed.
 */
import { existsSync } from 'node:fs';
import { loadavg } from 'node:os';
import { missingForNamespaces } from '../src/lab/requirements.ts';
import { Blackbox } from './support/blackbox.ts';
import type { EngineOutcome, EngineTask } from './support/engine-child.ts';
import { benchTargets, EngineLab } from './support/engine-lab.ts';
import { interleave, median, report } from './support/measure.ts';

const TARGETS = benchTargets(1000);
/** A thousand nodes with an address each for the host and its endpoint. */
const CLUSTER = benchTargets(2000);
const COUNT = 60;
const SHORT = 10;
const ROUNDS = 5;
const SECONDS = 6;
const ALL = 65_536;

const lab = new EngineLab();
const outcomes: EngineOutcome[] = [];
const blackbox = Blackbox.isThere ? new Blackbox(lab.here) : undefined;

function fping(count: number, words: readonly string[], targets: readonly string[] = TARGETS): string[] {
  return ['fping', '-q', '-c', String(count), '-t', '1000', '-b', '32', ...words, ...targets];
}

type Kind = Pick<EngineTask, 'mode' | 'responder'>;
const KINDS = {
  'raw sockets, kernel answers': { mode: 'raw', responder: 'icmp' },
  'programs, kernel answers': { mode: 'bpf', responder: 'icmp' },
  'programs at both ends': { mode: 'bpf', responder: 'echo' },
} as const satisfies Readonly<Record<string, Kind>>;

async function engineRun(kind: Kind, task: Partial<EngineTask>): Promise<EngineOutcome> {
  const outcome = await lab.engine({ ...kind, targets: TARGETS, count: 0, ...task });
  outcomes.push(outcome);
  return outcome;
}

/** Of a run, what the scheduler's books say of the prober's thread alone. */
const threads = new Map<string, number[]>();

function noteThread(name: string, value: number): void {
  threads.set(name, [...(threads.get(name) ?? []), value]);
}

/** `node bench/health-engine.ts full polite`: these parts; without words all of them. */
const PARTS = {
  full: fullSpeed,
  polite: () => polite(TARGETS, { ours: '<= 0.6', ratio: '>= 6' }),
  cluster: () => polite(CLUSTER, { ours: '<= 1.2' }),
  once: everyAddress,
} as const;

/** CPU per probe at full speed, us. */
async function fullSpeed(): Promise<void> {
  const probes = TARGETS.length * (COUNT - SHORT);
  const figures = await interleave(
    [
      ...Object.entries(KINDS).map(([name, kind]) => ({
        name,
        run: async () => {
          const long = await engineRun(kind, { count: COUNT });
          const short = await engineRun(kind, { count: SHORT });
          noteThread(name, (long.threadUs - short.threadUs) / probes);
          return (long.cpuUs - short.cpuUs) / probes;
        },
      })),
      {
        name: 'fping',
        run: async () => {
          const words = ['-p', '1', '-i', '0'];
          const long = await lab.cpuSeconds(fping(COUNT, words));
          return ((long - (await lab.cpuSeconds(fping(SHORT, words)))) * 1e6) / probes;
        },
      },
      ...(blackbox === undefined
        ? []
        : [{ name: 'blackbox', run: async () => (await blackbox.cpuUsOfThousand()) / 1000 }]),
    ],
    ROUNDS,
  );
  const us = (name: string): number => median(figures.get(name) ?? []);
  report(`CPU per probe at full speed to ${TARGETS.length} targets, medians of ${ROUNDS} rounds`, [
    { what: 'fping', value: us('fping'), unit: 'us' },
    ...(blackbox === undefined ? [] : [{ what: 'blackbox exporter', value: us('blackbox'), unit: 'us' }]),
    ...Object.keys(KINDS).flatMap((name) => [
      { what: name, value: us(name), unit: 'us', aim: '<= 4' },
      { what: `${name}: the prober's thread`, value: median(threads.get(name) ?? []), unit: 'us' },
      { what: `fping / ${name}`, value: us('fping') / us(name), unit: 'x', aim: '>= 3' },
      ...(blackbox === undefined
        ? []
        : [
            {
              what: `blackbox exporter / ${name}`,
              value: us('blackbox') / us(name),
              unit: 'x',
              aim: '>= 200',
            },
          ]),
    ]),
    { what: 'load average of the last minute', value: loadavg()[0] ?? 0, unit: '' },
  ]);
}

/** All targets once a second. */
async function polite(
  targets: readonly string[],
  aims: { readonly ours: string; readonly ratio?: string },
): Promise<void> {
  // Echoes are answered at the first thousand only.
  const kinds = Object.entries(KINDS).filter(
    ([, { responder }]) => responder === 'icmp' || targets === TARGETS,
  );
  const share = (us: number): number => (us / (SECONDS * 1e6)) * 100;
  const figures = await interleave(
    [
      ...kinds.map(([name, kind]) => ({
        name,
        run: async () => {
          const { cpuUs, threadUs } = await engineRun(kind, { targets, periodMs: 1000, seconds: SECONDS });
          noteThread(`${name}, ${targets.length}`, share(threadUs));
          return share(cpuUs);
        },
      })),
      {
        name: 'fping',
        run: async () => {
          const words = ['-i', String(1000 / targets.length), '-p', '1000'];
          const long = await lab.cpuSeconds(fping(SECONDS + 1, words, targets));
          return share((long - (await lab.cpuSeconds(fping(1, words, targets)))) * 1e6);
        },
      },
    ],
    ROUNDS,
  );
  const percent = (name: string): number => median(figures.get(name) ?? []);
  report(`CPU of ${targets.length} targets once a second, medians of ${ROUNDS} rounds`, [
    { what: 'fping', value: percent('fping'), unit: '% of a core' },
    ...kinds.flatMap(([name]) => [
      { what: name, value: percent(name), unit: '% of a core', aim: aims.ours },
      {
        what: `${name}: the prober's thread`,
        value: median(threads.get(`${name}, ${targets.length}`) ?? []),
        unit: '% of a core',
      },
      {
        what: `fping / ${name}`,
        value: percent('fping') / percent(name),
        unit: 'x',
        ...(aims.ratio !== undefined && { aim: aims.ratio }),
      },
    ]),
    { what: 'load average of the last minute', value: loadavg()[0] ?? 0, unit: '' },
  ]);
}

async function everyAddress(): Promise<void> {
  for (const mode of ['bpf', 'raw'] as const) {
    const task = { mode, responder: 'icmp', targets: benchTargets(ALL), count: 1 } as const;
    const { wallMs, answered, lost, duplicate, failed, ownDrops } = await lab.engine(task);
    report(`${ALL} addresses once, ${mode}`, [
      { what: 'wall', value: wallMs, unit: 'ms', aim: '<= 1000' },
      { what: 'answered', value: answered, unit: '', aim: `>= ${ALL}` },
      { what: 'lost, twice, refused', value: lost + duplicate + failed, unit: '', aim: '<= 0' },
      { what: 'dropped by ourselves', value: ownDrops, unit: '', aim: '<= 0' },
    ]);
  }
}

/** What the engine says of itself, against the thread's time in /proc and the process's. */
function selfMetering(): void {
  const shares = outcomes.map(({ selfUs, threadUs }) => (selfUs / threadUs - 1) * 100);
  report('CPU that the engine tells of itself, over /proc/self/task/ID/schedstat', [
    { what: 'median difference', value: median(shares.map(Math.abs)), unit: '%', aim: '<= 10' },
    { what: 'worst difference', value: Math.max(...shares.map(Math.abs)), unit: '%', aim: '<= 10' },
    { what: 'runs', value: shares.length, unit: '' },
  ]);
}

const needed = [
  ...missingForNamespaces(),
  ...(existsSync('/usr/bin/fping') ? [] : ['fping (Debian package fping)']),
];
if (needed.length > 0) {
  console.error(`bench health-engine skipped: needs ${needed.join(', ')}`);
} else {
  try {
    await lab.setUp(TARGETS);
    await blackbox?.start();
    const words = process.argv.slice(2).filter((word) => !word.startsWith('-'));
    for (const [name, part] of Object.entries(PARTS))
      if (words.length === 0 || words.includes(name)) await part();
    selfMetering();
  } finally {
    await blackbox?.stop();
    await lab.cleanUp();
  }
}
