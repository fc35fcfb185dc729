import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../../support/random.ts';
import { MeshSimulation } from './mesh-simulation.ts';

const seed = Number(process.env.SEED ?? Date.now() % 1e9);
const QUIET_MS = 20_000;

async function quiet(nodes: number): Promise<MeshSimulation> {
  const sim = new MeshSimulation({ nodes, watched: 8, random: new Random(seed) });
  await sim.clock.pass(QUIET_MS);
  return sim;
}

/** Messages of news of all nodes so far. */
function pushes(sim: MeshSimulation): number {
  return sim.nodes.reduce((sum, { mesh }) => sum + (mesh.counters()?.pushes ?? 0), 0);
}

describe('a probe that was lost', () => {
  it('is known to all nodes within 0.5 s of the one who lost it, while few are', async () => {
    const sim = await quiet(200);
    for (const name of ['n3', 'n50', 'n120']) {
      const [watcher] = sim.watchersOf(name);
      assert.ok(watcher !== undefined);
      sim.lose(watcher, name);
      const known = (): boolean => sim.living.every((node) => sim.knowsLoss(node, watcher.name, name));
      const took = await sim.until(`SEED=${seed}: all know`, known);
      assert.ok(took <= 500, `SEED=${seed}: ${took} ms`);
    }
    await sim.stop();
  });

  it('comes with the rows where many are: no node sends more than four times a second to its partners for them', async () => {
    const sim = await quiet(64);
    const before = pushes(sim);
    for (let tenths = 0; tenths < 50; tenths++) {
      for (const node of sim.nodes) sim.lose(node, node.watched[tenths % node.watched.length] ?? '');
      await sim.clock.pass(100);
    }
    const each = (pushes(sim) - before) / sim.nodes.length / 5;
    assert.ok(each > 0 && each <= 4 * 5 + 5, `SEED=${seed}: ${each} messages a second`);
    const [node] = sim.nodes;
    const peer = node?.watched[0] ?? '';
    const rest = (): boolean => sim.living.every((one) => sim.knowsLoss(one, 'n0', peer));
    await sim.until(`SEED=${seed}: all know`, rest, 100);
    await sim.stop();
  });
});
