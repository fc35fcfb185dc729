import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { after, afterEach, before, describe, it } from 'node:test';
import { createProbeEngine, type ProbeEngine } from '../../probes/engine/index.ts';
import { answeringPair } from '../support/answering-pair.ts';
import { NetnsLab } from '../support/netns.ts';
import { rootOrSkip } from '../support/privilege.ts';
import { until } from '../support/until.ts';

const PATHS = 1000;
const ROUNDS = 4;
const PERIOD_NS = 1_000_000_000;
/** Longer than the thread's longest turn. */
const SLICE_NS = 125_000_000;
const FAR_NS = 100_000_000;

describe('a thousand paths with a probe a second each', { skip: rootOrSkip() }, () => {
  const lab = new NetnsLab('s');
  const engines: ProbeEngine[] = [];
  let netnsFd = -1;

  before(async () => {
    const { here } = await answeringPair(lab);
    netnsFd = openSync(lab.path(here), 'r');
  });

  afterEach(async () => {
    for (const engine of engines.splice(0)) await engine.stop();
  });

  after(async () => {
    closeSync(netnsFd);
    await lab.cleanUp();
  });

  /** @returns when the last probes of each path left, by the kernel's stamps, ns */
  async function departures(): Promise<(readonly number[])[]> {
    const engine = createProbeEngine({ origins: [{ netnsFd }], mode: 'raw', pathsMax: PATHS });
    engines.push(engine);
    await engine.start();
    const paths = Array.from({ length: PATHS }, (_, i) =>
      engine.open({
        address: `10.2.${i >> 8}.${i & 255}`,
        responder: 'icmp',
        origin: 0,
        periodMs: PERIOD_NS / 1e6,
      }),
    );
    await until(() => paths.every((path) => engine.counts(path).answered >= ROUNDS));
    return paths.map((path) => engine.departuresNs(path).filter((ns) => ns > 0));
  }

  it('is spread over the second: no eighth of it has more than twice its share', async () => {
    const slices = new Array<number>(PERIOD_NS / SLICE_NS).fill(0);
    const all = (await departures()).flat();
    for (const ns of all) {
      const slice = Math.floor((ns % PERIOD_NS) / SLICE_NS);
      slices[slice] = (slices[slice] ?? 0) + 1;
    }
    assert.ok(all.length >= PATHS * ROUNDS);
    assert.ok(Math.max(...slices) <= (2 * all.length) / slices.length, slices.join(' '));
  });

  it('comes at other times from another node', async () => {
    const [ours, its] = await Promise.all([departures(), departures()]);
    const apart = ours.filter((times, path) => {
      const distance = Math.abs((times[0] ?? 0) - (its[path]?.[0] ?? 0)) % PERIOD_NS;
      return Math.min(distance, PERIOD_NS - distance) > FAR_NS;
    });
    // Four in five, were it chance alone.
    assert.ok(apart.length > PATHS / 2, `${apart.length} of ${PATHS}`);
  });
});
