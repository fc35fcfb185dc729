import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import {
  createProbeEngine,
  type EngineOptions,
  type EngineSelf,
  type ProbeEngine,
} from '../../probes/engine/index.ts';
import { answeringPair } from '../support/answering-pair.ts';
import { NetnsLab } from '../support/netns.ts';
import { rootOrSkip } from '../support/privilege.ts';
import { until } from '../support/until.ts';

/** How long each number of paths is looked at, and what a budget may be exceeded by. */
const STEP_MS = 2500;
const SETTLE_MS = 300;
const EXCEEDED_MOST = 1.1;

interface Step {
  readonly paths: number;
  readonly seconds: number;
  readonly sent: number;
  readonly deferred: number;
  readonly cpuNs: number;
  /** The same by the scheduler's books. */
  readonly threadNs: number;
}

/** The prober's thread; undefined before it has run. */
function proberTask(): string | undefined {
  return readdirSync('/proc/self/task').find((id) =>
    readFileSync(`/proc/self/task/${id}/comm`, 'utf8').startsWith('ciliate-prober'),
  );
}

/** CPU time of the prober's thread, ns. */
function threadNs(): number {
  return Number(readFileSync(`/proc/self/task/${proberTask()}/schedstat`, 'utf8').split(' ')[0]);
}

describe('the budget of the probe engine, while paths come and go', { skip: rootOrSkip() }, () => {
  const lab = new NetnsLab('b');
  let netnsFd = -1;
  let engine: ProbeEngine | undefined;
  let paths: number[] = [];

  before(async () => {
    const { here } = await answeringPair(lab);
    netnsFd = openSync(lab.path(here), 'r');
  });

  afterEach(async () => {
    await engine?.stop();
    engine = undefined;
    paths = [];
  });

  after(async () => {
    if (netnsFd >= 0) closeSync(netnsFd);
    await lab.cleanUp();
  });

  async function start(options: Partial<EngineOptions>): Promise<ProbeEngine> {
    const quiet = { timeoutMs: 5000, softTimeoutMs: 4000, burst: 0 };
    engine = createProbeEngine({ origins: [{ netnsFd }], mode: 'raw', pathsMax: 4096, ...quiet, ...options });
    await engine.start();
    await until(() => proberTask() !== undefined);
    return engine;
  }

  /** So many paths from now on. */
  function follow(running: ProbeEngine, count: number, periodMs: number): void {
    for (const path of paths.splice(count)) running.close(path);
    while (paths.length < count) {
      const address = `10.2.${paths.length >> 8}.${paths.length & 255}`;
      paths.push(running.open({ address, responder: 'icmp', origin: 0, periodMs }));
    }
  }

  async function step(running: ProbeEngine, count: number, periodMs: number): Promise<Step> {
    const look = (): { atMs: number; self: EngineSelf; threadNs: number } => ({
      atMs: performance.now(),
      self: running.self(),
      threadNs: threadNs(),
    });
    const from = look();
    follow(running, count, periodMs);
    await delay(STEP_MS);
    const to = look();
    return {
      paths: count,
      seconds: (to.atMs - from.atMs) / 1000,
      sent: to.self.sent - from.self.sent,
      deferred: to.self.deferred - from.self.deferred,
      cpuNs: to.self.cpuNs - from.self.cpuNs,
      threadNs: to.threadNs - from.threadNs,
    };
  }

  it('keeps packets a second when paths double, and again, and are fewer afterwards', async (t) => {
    const [rate, periodMs] = [400, 500];
    const running = await start({ packetsPerSecond: rate });
    await delay(SETTLE_MS);
    for (const count of [100, 200, 400, 800, 100]) {
      const { sent, seconds, deferred } = await step(running, count, periodMs);
      const most = rate * seconds * EXCEEDED_MOST;
      t.diagnostic(`${count} paths: ${Math.round(sent / seconds)} a second of ${rate}`);
      assert.ok(sent <= most, `${count} paths: ${sent} in ${seconds} s`);
      if (count === 100)
        assert.ok(sent <= (count / periodMs) * 1000 * (seconds + 1), `${sent}: nothing is made up for`);
      if (count >= 400) assert.ok(deferred > 0, `${count} paths: some have to wait`);
    }
  });

  it('keeps its share of a core when paths double, and knows what it uses', async (t) => {
    const percent = 5;
    const running = await start({ cpuPercent: percent, packetsPerSecond: 1_000_000 });
    await delay(SETTLE_MS);
    for (const count of [250, 500, 1000, 2000, 250]) {
      const { sent, seconds, deferred, cpuNs, threadNs: booked } = await step(running, count, 20);
      const used = cpuNs / seconds / 1e7;
      t.diagnostic(`${count} paths: ${used.toFixed(2)} % of a core, ${Math.round(sent / seconds)} a second`);
      assert.ok(used <= percent * EXCEEDED_MOST, `${count} paths: ${used} % of a core`);
      assert.ok(Math.abs(cpuNs / booked - 1) <= 0.1, `${cpuNs} ns, by the scheduler ${booked}`);
      assert.ok(sent > 0);
      if (count >= 1000) assert.ok(deferred > 0, `${count} paths: some have to wait`);
    }
  });
});
