/**
 * Reading a large map: 500,000 IPv4 flows of conntrack, dumped as text by `ciliate bpf ct list` and by
 * `bpftool map dump`, each a whole process, interleaved. Needs root and bpftool.
 */
import { spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadBpf } from '../bpf/addon/index.ts';
import { packageRoot } from '../src/base/assets.ts';
import { ct4KeyLayout, ctEntryLayout } from '../src/datapath/map-layouts.ts';
import { loadPrograms } from '../src/datapath/programs.ts';
import { MapName } from '../src/model/constants.gen.ts';
import { interleave, median, report } from './support/measure.ts';

const ENTRIES = 500_000;
const BATCH = 10_000;
const ROUNDS = 5;

/** Distinct flows: address and port counted up, the rest alike. */
function flows(first: number, count: number): { keys: Buffer; values: Buffer } {
  const keys: Buffer[] = [];
  const values: Buffer[] = [];
  for (let i = first; i < first + count; i++) {
    const low = Uint8Array.of(10, 1, (i >> 8) & 0xff, i & 0xff);
    const high = Uint8Array.of(10, 2, (i >> 16) & 0xff, 7);
    keys.push(ct4KeyLayout.encode({ address: [low, high], port: [1024 + (i % 60_000), 80], protocol: 6 }));
    values.push(
      ctEntryLayout.encode({ seen: 1, lifetime: 1000, flags: 1, identity: [1000 + (i % 500), 2000] }),
    );
  }
  return { keys: Buffer.concat(keys), values: Buffer.concat(values) };
}

async function fill(bpfDir: string): Promise<void> {
  await mkdir(join(bpfDir, 'maps'), { recursive: true });
  const loaded = await loadPrograms({
    bpf: loadBpf(),
    mapsFolder: join(bpfDir, 'maps'),
    conntrackEntries: 2 ** 20,
  });
  for (let first = 0; first < ENTRIES; first += BATCH) {
    const { keys, values } = flows(first, BATCH);
    loaded.maps.ct4.updateBatch(keys, values, BATCH);
  }
  loaded.close();
}

async function peakKib(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0);
}

interface Run {
  readonly seconds: number;
  readonly peakMib: number;
}

async function timed(argv: readonly string[]): Promise<Run> {
  const [command = '', ...args] = argv;
  const started = process.hrtime.bigint();
  const child = spawn(command, args, { stdio: ['ignore', openSync('/dev/null', 'w'), 'inherit'] });
  let peak = 0;
  const sampler = setInterval(async () => {
    peak = Math.max(peak, await peakKib(child.pid ?? 0));
  }, 20);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', resolve);
  });
  clearInterval(sampler);
  if (code !== 0) throw new Error(`${argv.join(' ')} exited with ${code}`);
  return { seconds: Number(process.hrtime.bigint() - started) / 1e9, peakMib: peak / 1024 };
}

async function main(bpfDir: string): Promise<void> {
  await fill(bpfDir);
  const commands: Record<string, readonly string[]> = {
    ciliate: [join(packageRoot(), 'bin/ciliate'), 'bpf', 'ct', 'list', '--unsorted', '--bpf-dir', bpfDir],
    bpftool: ['bpftool', 'map', 'dump', 'pinned', join(bpfDir, 'maps', MapName.ct4)],
  };
  const peaks: Record<string, number> = {};
  const variants = Object.entries(commands).map(([name, argv]) => ({
    name,
    run: async () => {
      const { seconds, peakMib } = await timed(argv);
      peaks[name] = Math.max(peaks[name] ?? 0, peakMib);
      return seconds;
    },
  }));
  const figures = await interleave(variants, ROUNDS);
  const ours = median(figures.get('ciliate') ?? []);
  const theirs = median(figures.get('bpftool') ?? []);
  report(`Dump of a map of ${ENTRIES} entries (median of ${ROUNDS}, whole processes, text to /dev/null)`, [
    { what: 'bpftool map dump', value: theirs, unit: 's' },
    { what: 'ciliate bpf ct list --unsorted', value: ours, unit: 's' },
    { what: 'bpftool over ciliate', value: theirs / ours, unit: 'x', aim: '>= 5' },
    { what: 'peak memory of ciliate', value: peaks.ciliate ?? 0, unit: 'MiB' },
    { what: 'peak memory of bpftool', value: peaks.bpftool ?? 0, unit: 'MiB' },
  ]);
}

const folder = await mkdtemp(join(tmpdir(), 'ciliate-bench-'));
const bpf = loadBpf();
bpf.mountBpffs(folder);
try {
  await main(folder);
} finally {
  await rm(join(folder, 'maps'), { recursive: true, force: true });
  bpf.unmountBpffs(folder);
  await rm(folder, { recursive: true, force: true });
}
