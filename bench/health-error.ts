/**
 * How far the round trips that are reported are from those on the wire (H3): every probe of the engine, of fping and of
 * ping against tcpdump's stamps on the prober's device, with four busy loops on the machine's cores, and the event loop of
 * the engine's process blocked half of the time. In turns; each figure is the median over the rounds.
 *
 * Aim: p99 of the engine's error <= 5 us, and an eighth of fping's.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { loadavg } from 'node:os';
import { runChecked } from '../src/base/run.ts';
import { missingForNamespaces } from '../src/lab/requirements.ts';
import { benchTargets, EngineLab } from './support/engine-lab.ts';
import { interleave, median, percentile, report } from './support/measure.ts';
import { type Echoes, WireCapture } from './support/wire.ts';

const TARGETS = benchTargets(3000);
const PER_SECOND = 1500;
const BLOCK_MS = 500;
const LOOPS = 4;
const ROUNDS = 5;
const PINGS = 1000;
const LIMIT_MS = 60_000;

const lab = new EngineLab();

/** Reported round trips, ns: by address, or by address and sequence number. */
type Reported = ReadonlyMap<string, number>;

interface Errors {
  readonly us: readonly number[];
  readonly biasUs: number;
  /** Probes with a time that the capture has not. */
  readonly unseen: number;
}

async function engine(mode: 'bpf' | 'raw'): Promise<Reported> {
  const { rttNs = {} } = await lab.engine({
    mode,
    responder: 'icmp',
    targets: TARGETS,
    count: 1,
    packetsPerSecond: PER_SECOND,
    blockMs: BLOCK_MS,
    each: true,
  });
  return new Map(Object.entries(rttNs).filter(([, ns]) => ns > 0));
}

/** Each target three times or more: all but the first and each eighth probe begin at the device. */
async function shortCuts(): Promise<Reported> {
  const { rttNs = {} } = await lab.engine({
    mode: 'bpf',
    responder: 'icmp',
    targets: TARGETS,
    count: 0,
    periodMs: (TARGETS.length / PER_SECOND) * 1000,
    seconds: 6,
    blockMs: BLOCK_MS,
    each: true,
  });
  return new Map(Object.entries(rttNs).filter(([, ns]) => ns > 0));
}

async function inside(...argv: readonly string[]): Promise<string> {
  return runChecked(['nsenter', `--net=${lab.here}`, 'bash', '-c', '"$@" 2>&1', 'bash', ...argv], {
    timeoutMs: LIMIT_MS,
  });
}

/** `10.77.0.1 : 0.043`, ms. */
async function fping(): Promise<Reported> {
  const text = await inside('fping', '-q', '-C', '1', '-i', '0.7', '-t', '1000', ...TARGETS);
  const lines = [...text.matchAll(/^([\d.]+) +: ([\d.]+)$/gm)];
  return new Map(lines.map(([, address = '', ms]) => [address, Number(ms) * 1e6]));
}

/** `64 bytes from 10.77.0.1: icmp_seq=1 ttl=64 time=0.043 ms`. */
async function ping(): Promise<Reported> {
  const [address = ''] = TARGETS;
  const text = await inside('ping', '-n', '-i', '0.004', '-c', String(PINGS), address);
  const lines = [...text.matchAll(/icmp_seq=(\d+) .*time=([\d.]+) ms$/gm)];
  return new Map(lines.map(([, seq = '', ms]) => [`${address} ${seq}`, Number(ms) * 1e6]));
}

function errorsOf(reported: Reported, wire: Echoes): Errors {
  // A target that was asked once: whatever its sequence number.
  const byAddress = new Map([...wire].map(([key, ns]) => [key.split(' ')[0] ?? '', ns]));
  const signed: number[] = [];
  for (const [key, ns] of reported) {
    const real = key.includes(' ') ? wire.get(key) : byAddress.get(key);
    if (real !== undefined) signed.push((ns - real) / 1000);
  }
  return { us: signed.map(Math.abs), biasUs: median(signed), unseen: reported.size - signed.length };
}

async function measured(probe: () => Promise<Reported>, outcomes: Errors[]): Promise<number> {
  const capture = await WireCapture.start(lab.here, 'eth0');
  try {
    const reported = await probe();
    const errors = errorsOf(reported, await capture.echoes());
    outcomes.push(errors);
    return percentile(errors.us, 0.99);
  } finally {
    await capture.stop();
  }
}

const PROBERS = {
  'programs (bpf)': () => engine('bpf'),
  'programs, known way (bpf)': shortCuts,
  'raw sockets (raw)': () => engine('raw'),
  fping,
  'iputils ping': ping,
} as const satisfies Readonly<Record<string, () => Promise<Reported>>>;

async function measure(): Promise<void> {
  const outcomes = new Map<string, Errors[]>(Object.keys(PROBERS).map((name) => [name, []]));
  const variants = Object.entries(PROBERS).map(([name, probe]) => ({
    name,
    run: () => measured(probe, outcomes.get(name) ?? []),
  }));
  const p99s = await interleave(variants, ROUNDS);
  const us = { unit: 'us' };
  const p99 = (name: string): number => median(p99s.get(name) ?? []);
  const of = (name: string, pick: (errors: Errors) => number): number =>
    median((outcomes.get(name) ?? []).map(pick));
  const ours = ['programs (bpf)', 'programs, known way (bpf)', 'raw sockets (raw)'];
  report(
    `|reported - wire| of a round trip, ${LOOPS} busy loops, event loop blocked ${BLOCK_MS} ms a second`,
    [
      ...Object.keys(PROBERS).flatMap((name) => [
        { what: `${name}: p50`, value: of(name, (errors) => percentile(errors.us, 0.5)), ...us },
        { what: `${name}: p99`, value: p99(name), ...us, ...(ours.includes(name) && { aim: '<= 5' }) },
        { what: `${name}: p99.9`, value: of(name, (errors) => percentile(errors.us, 0.999)), ...us },
        { what: `${name}: median with its sign`, value: of(name, ({ biasUs }) => biasUs), ...us },
        { what: `${name}: probes compared`, value: of(name, (errors) => errors.us.length), unit: '' },
        { what: `${name}: not in the capture`, value: of(name, ({ unseen }) => unseen), unit: '' },
      ]),
      ...ours.map((name) => ({
        what: `p99 of fping / ${name}`,
        value: p99('fping') / p99(name),
        unit: 'x',
        aim: '>= 8',
      })),
      { what: 'load average of the last minute, the loops among it', value: loadavg()[0] ?? 0, unit: '' },
    ],
  );
}

const needed = [
  ...missingForNamespaces(),
  ...['fping', 'tcpdump', 'ping']
    .filter((name) => !existsSync(`/usr/bin/${name}`))
    .map((name) => `${name} (Debian)`),
];
if (needed.length > 0) {
  console.error(`bench health-error skipped: needs ${needed.join(', ')}`);
} else {
  const busy: ChildProcess[] = [];
  try {
    await lab.setUp([]);
    for (let i = 0; i < LOOPS; i++) busy.push(spawn(process.execPath, ['-e', 'for (;;);']));
    await measure();
  } finally {
    for (const child of busy) child.kill('SIGKILL');
    await lab.cleanUp();
  }
}
