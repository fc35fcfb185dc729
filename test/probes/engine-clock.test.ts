import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { PathCounts } from '../../probes/engine/index.ts';
import { runChecked } from '../../src/base/run.ts';
import { loadSockets } from '../../src/base/sockets/index.ts';
import { NetnsLab } from '../support/netns.ts';
import { rootOrSkip } from '../support/privilege.ts';
import { compileWire } from '../support/wire.ts';

const LIMITS = { timeoutMs: 60_000 };
const HOUR_MS = 3_600_000;
/** Forth and back, by little and by much; those of seconds are longer than any round trip here, and shorter than the timeout. */
const STEPS_MS = [HOUR_MS, -HOUR_MS, -2500, 2500, 24 * HOUR_MS, -2500, -24 * HOUR_MS, 2500, -20, 20];
const PEERS = ['10.1.0.66', 'fd01::66'];

describe('probe engine while the wall clock is stepped', { skip: rootOrSkip() }, () => {
  const lab = new NetnsLab('c');
  const folder = mkdtempSync(join(tmpdir(), 'clock-'));
  const [library, file] = [join(folder, 'clock-step.so'), join(folder, 'step')];
  let [netns, peerNetns, wire] = ['', '', ''];
  let device = 0;

  before(async () => {
    const source = join(import.meta.dirname, 'clock-step.c');
    wire = await compileWire(folder);
    await runChecked(['cc', '-O1', '-D_GNU_SOURCE', '-shared', '-fPIC', '-o', library, source], LIMITS);
    const [here, there] = [await lab.namespace('a'), await lab.namespace('b')];
    await lab.veth(
      { name: 'eth0', netns: here, addresses: ['10.1.0.1/24', 'fd01::1/64'] },
      { name: 'eth0', netns: there, addresses: [] },
    );
    await lab.sysctl(here, 'net.ipv4.ping_group_range=0 2147483647');
    for (const address of PEERS) {
      const mac = ['lladdr', '02:00:00:00:00:66', 'dev', 'eth0', 'nud', 'permanent'];
      await lab.ip('-n', here, 'neigh', 'add', address, ...mac);
    }
    [netns, peerNetns] = [lab.path(here), there];
    device = loadSockets().interfaceIndex('eth0', netns);
  });

  after(async () => {
    await lab.cleanUp();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const [mode, address] of (['raw', 'datagram', 'bpf'] as const).flatMap((mode) =>
    PEERS.map((peer) => [mode, peer] as const),
  )) {
    it(`loses no answer to a step and times none by it: ${mode}, ${address}`, async () => {
      writeFileSync(file, new Uint8Array(24));
      const peer = { address, netns: peerNetns, wire };
      const task = { netns, mode, device, peer, stepsMs: STEPS_MS };
      const child = join(import.meta.dirname, 'clock-child.ts');
      const preload = [process.env.LD_PRELOAD, library].filter((name) => name !== undefined).join(':');
      const words = ['env', `LD_PRELOAD=${preload}`, `CLOCK_STEP=${file}`, process.execPath, child];
      const said = await runChecked([...words, JSON.stringify(task)], LIMITS);
      const { counts, clockSteps } = JSON.parse(said) as { counts: PathCounts; clockSteps: number };
      const { sent, answered, lost, late, failed, unstamped, rttMaxNs } = counts;
      const steps = STEPS_MS.length;
      assert.deepEqual(
        { sent, answered, lost, late, failed },
        { sent: steps, answered: steps, lost: 0, late: 0, failed: 0 },
        said,
      );
      assert.ok(rttMaxNs < 2_000_000_000, said);
      // Programs and the thread know the monotonic clock only: there is nothing to step.
      if (mode === 'bpf') assert.deepEqual([clockSteps, unstamped], [0, 0]);
      else assert.ok(clockSteps >= steps - 2 && unstamped >= 1, said);
    });
  }
});
