import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../support/random.ts';
import { DeathCluster, type DeathClusterOptions } from './death-cluster.ts';

/** Clusters of which one node dies, of each kind; the nightly suite asks for more. */
const TRIALS = Number(process.env.CILIATE_HEALTH_DEATHS ?? 4);
/** Until each node has all rows. */
const QUIET_MS = 15_000;
const STEPS = 2 ** 30;

const CLUSTERS: readonly (readonly [string, Omit<DeathClusterOptions, 'random'>])[] = [
  ['12 nodes that watch each other', { nodes: 12 }],
  ['24 nodes with 6 observers each', { nodes: 24, plan: { fullMeshAddresses: 0, observers: 6 } }],
];

describe('a node that goes off the network', () => {
  it('is told as one also while another is down, in a cluster that has just begun', async () => {
    const draws = new Random(1);
    const cluster = new DeathCluster({ nodes: 24, random: () => draws.below(STEPS) / STEPS });
    await cluster.start();
    await cluster.clock.pass(13_000);
    for (const name of ['n1', 'n2']) {
      const told = await cluster.kill(name);
      assert.deepEqual(told.besides, [], name);
      await cluster.clock.pass(3600);
    }
    await cluster.stop();
  });

  for (const [name, options] of CLUSTERS) {
    it(`is down by the word of one other within 1.2 s, of all 0.3 s later, and nothing else is, of ${name}`, async () => {
      for (let seed = 1; seed <= TRIALS; seed++) {
        const draws = new Random(seed);
        const random = (): number => draws.below(STEPS) / STEPS;
        const cluster = new DeathCluster({ ...options, random });
        await cluster.start();
        await cluster.clock.pass(QUIET_MS + 1000 * random());
        const told = await cluster.kill(`n${1 + draws.below(options.nodes - 1)}`);
        await cluster.stop();
        const text = `seed ${seed}: ${JSON.stringify(told)}`;
        assert.ok(told.firstMs <= 1200, text);
        assert.ok(told.lastMs - told.firstMs <= 300, text);
        assert.deepEqual(told.besides, [], text);
      }
    });
  }
});
