/**
 * Memory of an idle agent: a lab of two nodes with the Star Wars endpoints, left alone for a while, then the resident set
 * of the agent and of its health agent beside that of a Node process that does nothing. Needs root and BPF.
 */
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { packageRoot } from '../src/base/assets.ts';
import { defaultLabsDir } from '../src/lab/requirements.ts';
import { median, report } from './support/measure.ts';

const LAB = 'benchmem';
const SETTLE_MS = 20_000;
const SAMPLES = 5;

function ciliate(...words: readonly string[]): void {
  const run = spawnSync(join(packageRoot(), 'bin/ciliate'), words, {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (run.status !== 0) throw new Error(`ciliate ${words.join(' ')} ended with ${run.status}`);
}

function residentMib(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

function pidOf(part: string): number {
  return Number.parseInt(readFileSync(join(defaultLabsDir(), LAB, 'node1/pid', `${part}.pid`), 'utf8'), 10);
}

async function sampled(pid: number): Promise<number> {
  const values: number[] = [];
  for (let i = 0; i < SAMPLES; i++) {
    values.push(residentMib(pid));
    await delay(1000);
  }
  return median(values);
}

ciliate('lab', 'up', '--name', LAB, '--nodes', '2');
const bare = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000)'], { stdio: 'ignore' });
try {
  await delay(SETTLE_MS);
  const rows = [];
  for (const part of ['agent', 'health'])
    rows.push({ what: part, value: await sampled(pidOf(part)), unit: 'MiB' });
  const bareRow = { what: 'a Node process that waits', value: await sampled(bare.pid ?? 0), unit: 'MiB' };
  report(`Resident memory after ${SETTLE_MS / 1000} s of rest, two nodes (median of ${SAMPLES} samples)`, [
    ...rows.map((row) => (row.what === 'agent' ? { ...row, aim: '<= 114.4' } : row)),
    bareRow,
  ]);
} finally {
  bare.kill();
  ciliate('lab', 'down', '--name', LAB);
}
