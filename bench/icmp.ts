/**
 * CPU per ICMP probe (user and system, both ends of the veth included) beside fping: the same targets and the same
 * number of probes, at full speed, in one interleaved run. What a run with one probe a target costs (start, reading the
 * targets) is subtracted from each, and told: a health agent starts once.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { SystemError } from '../src/base/errors.ts';
import { runChecked } from '../src/base/run.ts';
import { missingForNamespaces } from '../src/lab/requirements.ts';
import { makeAnsweringPair } from './support/answering-pair.ts';
import { interleave, median, report } from './support/measure.ts';

const TARGETS = 3000;
const COUNT = 20;
const ROUNDS = 7;
const LAUNCHER = join(import.meta.dirname, '../bin/ciliate');
const LIMIT_MS = 60_000;

const targets = Array.from({ length: TARGETS }, (_, i) => `10.77.${Math.floor(i / 250)}.${(i % 250) + 1}`);

/** Seconds of CPU of `argv` inside the namespace, told by bash, which waits for it. */
async function cpuSeconds(netns: string, argv: readonly string[]): Promise<number> {
  const script = 'TIMEFORMAT="%3U %3S"; { time "$@" >/dev/null 2>&1; } 2>&1';
  const text = await runChecked(['nsenter', `--net=${netns}`, 'bash', '-c', script, 'bash', ...argv], {
    timeoutMs: LIMIT_MS,
  });
  const [user, system] = text.trim().split(' ').map(Number);
  if (user === undefined || system === undefined)
    throw new SystemError(`no times in ${JSON.stringify(text)}`);
  return user + system;
}

const ours = (count: number, to: readonly string[]): string[] => [
  LAUNCHER,
  'ping',
  '-q',
  '-f',
  '-c',
  String(count),
  ...to,
];
const fping = (count: number, to: readonly string[]): string[] => [
  ...['fping', '-q', '-c', String(count), '-p', '1', '-i', '0', '-t', '1000', '-b', '56'],
  ...to,
];

const ip = (...words: readonly string[]): Promise<string> => runChecked(['ip', ...words]);

async function measure(netns: string): Promise<void> {
  const variants = {
    'ours, start': ours(1, targets),
    'fping, start': fping(1, targets),
    ours: ours(COUNT, targets),
    fping: fping(COUNT, targets),
  };
  const figures = await interleave(
    Object.entries(variants).map(([name, argv]) => ({ name, run: () => cpuSeconds(netns, argv) })),
    ROUNDS,
  );
  const seconds = (name: keyof typeof variants): number => median(figures.get(name) ?? []);
  const probes = TARGETS * (COUNT - 1);
  const oursUs = ((seconds('ours') - seconds('ours, start')) / probes) * 1e6;
  const fpingUs = ((seconds('fping') - seconds('fping, start')) / probes) * 1e6;
  report(`CPU of ${TARGETS * COUNT} ICMP probes to ${TARGETS} targets on veth, medians of ${ROUNDS} rounds`, [
    { what: 'ciliate ping', value: oursUs, unit: 'us/probe' },
    { what: 'fping', value: fpingUs, unit: 'us/probe' },
    { what: 'ciliate ping / fping', value: oursUs / fpingUs, unit: 'x', aim: '<= 1.0' },
    {
      what: 'start of ciliate ping and one probe a target',
      value: seconds('ours, start') * 1000,
      unit: 'ms',
    },
    { what: 'start included: ciliate ping / fping', value: seconds('ours') / seconds('fping'), unit: 'x' },
  ]);
}

const needed = [
  ...missingForNamespaces(),
  ...(existsSync('/usr/bin/fping') ? [] : ['fping (Debian package fping)']),
];
if (needed.length > 0) {
  console.error(`bench icmp skipped: needs ${needed.join(', ')}`);
} else {
  const [here, there] = [`bench-icmp-${process.pid}-a`, `bench-icmp-${process.pid}-b`];
  try {
    await makeAnsweringPair(here, there);
    await measure(`/run/netns/${here}`);
  } finally {
    for (const name of [here, there]) {
      if (existsSync(`/run/netns/${name}`)) await ip('netns', 'delete', name);
    }
  }
}
