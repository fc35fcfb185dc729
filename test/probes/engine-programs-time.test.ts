import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createProbeEngine, type ProbeEngine } from '../../probes/engine/index.ts';
import { loadSockets } from '../../src/base/sockets/index.ts';
import { answeringPair } from '../support/answering-pair.ts';
import { NetnsLab } from '../support/netns.ts';
import { bpfOrSkip } from '../support/privilege.ts';

/** Whether the kernel keeps the time of programs: one switch for the whole machine. */
const STATS = '/proc/sys/kernel/bpf_stats_enabled';
const PATHS = 200;
const RUN_MS = 2000;

/** Time and runs of all programs that this process holds, as the kernel prints them; proc_pid_fdinfo(5). */
function kernelPrograms(): { readonly ns: number; readonly runs: number } {
  const programs = new Map<string, { readonly ns: number; readonly runs: number }>();
  for (const fd of readdirSync('/proc/self/fdinfo')) {
    let text: string;
    try {
      text = readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8');
    } catch (error) {
      // The folder's own descriptor is closed by now.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue;
      throw error;
    }
    const value = (name: string): string | undefined =>
      new RegExp(`^${name}:\\s*(\\d+)$`, 'm').exec(text)?.[1];
    const id = value('prog_id');
    const ns = value('run_time_ns');
    if (id !== undefined && ns !== undefined) {
      programs.set(id, { ns: Number(ns), runs: Number(value('run_cnt')) });
    }
  }
  const sum = (of: 'ns' | 'runs'): number => [...programs.values()].reduce((all, one) => all + one[of], 0);
  return { ns: sum('ns'), runs: sum('runs') };
}

describe("the programs' own time", { skip: bpfOrSkip() }, () => {
  const lab = new NetnsLab('k');
  const fds: number[] = [];
  let stats = '';
  let engine: ProbeEngine | undefined;

  before(async () => {
    const { here } = await answeringPair(lab);
    const netnsFd = openSync(lab.path(here), 'r');
    fds.push(netnsFd);
    const devices = [loadSockets().interfaceIndex('eth0', lab.path(here))];
    engine = createProbeEngine({ origins: [{ netnsFd, devices }], mode: 'bpf', pathsMax: 1024 });
    stats = readFileSync(STATS, 'utf8');
    await engine.start();
  });

  after(async () => {
    if (stats !== '') writeFileSync(STATS, stats);
    await engine?.stop();
    for (const fd of fds) closeSync(fd);
    await lab.cleanUp();
  });

  it('is told as the kernel counts it once it counts, and not before', async (t) => {
    assert.ok(engine !== undefined);
    if (stats.trim() === '0') assert.equal(engine.self().bpfNs, undefined);
    writeFileSync(STATS, '1');
    const from = { self: engine.self(), kernel: kernelPrograms() };
    for (let i = 0; i < PATHS; i++) {
      const address = `10.2.${i >> 8}.${i & 255}`;
      engine.open({ address, responder: 'icmp', origin: 0, periodMs: 20 });
    }
    await delay(RUN_MS);
    const least = kernelPrograms().ns;
    const self = engine.self();
    const most = kernelPrograms();
    const told = self.bpfNs ?? 0;
    assert.ok(least <= told && told <= most.ns, `${told} ns, by the kernel ${least} to ${most.ns}`);
    const programs = told - (from.self.bpfNs ?? 0);
    const kernel = most.ns - from.kernel.ns;
    assert.ok(
      programs > 0 && Math.abs(programs / kernel - 1) <= 0.1,
      `${programs} ns, by the kernel ${kernel}`,
    );
    const [sent, thread] = [self.sent - from.self.sent, self.cpuNs - from.self.cpuNs];
    assert.ok(most.runs - from.kernel.runs >= sent, 'one run a probe at least');
    t.diagnostic(
      `${sent} probes: programs ${Math.round(programs / sent)} ns, thread ${Math.round(thread / sent)} ns each`,
    );
  });
});
