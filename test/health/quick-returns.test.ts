import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { NEVER_CAME } from '../../src/health/loss/loss-finder.ts';
import { Random } from '../support/random.ts';
import { DeathCluster, type DeathClusterOptions } from './death-cluster.ts';

const STEPS = 2 ** 30;
/** Until each node has all rows. */
const QUIET_MS = 15_000;
const NODES = 3;
const DOWN = 'node-down node n1 both';
const OTHERS = ['n0', 'n2'];

function clusterOf(seed: number, options: Omit<DeathClusterOptions, 'nodes' | 'random'> = {}) {
  const draws = new Random(seed);
  const random = (): number => draws.below(STEPS) / STEPS;
  return { random, cluster: new DeathCluster({ nodes: NODES, random, ...options }) };
}

/** Which node is off the network, and when it came back, of a cluster whose nodes look for lost probes. */
class Outage {
  cluster: DeathCluster | undefined;

  /** What is concluded of a peer that has just come back, before it answers: that it lives, and that nothing came to it. */
  readonly findLoss = (self: string, peer: string) =>
    this.cluster?.passes(self, peer) === true
      ? ({ node: self, hook: 'stamp', leg: 'request', reason: NEVER_CAME } as const)
      : undefined;
}

describe('a node that goes off the network, comes back, and goes off again within seconds', () => {
  it('is down each time, and nothing else is said before', async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const { cluster, random } = clusterOf(seed);
      await cluster.start();
      await cluster.clock.pass(QUIET_MS + 1000 * random());
      for (let time = 1; time <= 4; time++) {
        const { besides } = await cluster.kill('n1', OTHERS);
        assert.deepEqual(besides, [], `seed ${seed}, time ${time}`);
        await cluster.clock.pass(1000 + 5000 * random());
        cluster.revive('n1');
        await cluster.clock.pass(500 + 6000 * random());
      }
      await cluster.stop();
    }
  });

  it('is not told by what was found of the outage before', async () => {
    for (let seed = 1; seed <= 10; seed++) {
      const outage = new Outage();
      const { cluster, random } = clusterOf(seed, outage);
      outage.cluster = cluster;
      await cluster.start();
      await cluster.clock.pass(QUIET_MS);
      await cluster.kill('n1', OTHERS);
      await cluster.clock.pass(1000 + 3000 * random());
      cluster.revive('n1');
      await cluster.clock.pass(1500 + 1500 * random());
      const again = await cluster.kill('n1', OTHERS);
      assert.deepEqual(again.besides, [], `seed ${seed}`);
      assert.deepEqual(await cluster.said(3000), [DOWN], `seed ${seed}`);
      await cluster.stop();
    }
  });

  it('exchanges rows again at once, though it did not answer for long', async () => {
    const { cluster } = clusterOf(1);
    await cluster.start();
    await cluster.clock.pass(QUIET_MS);
    await cluster.kill('n1', OTHERS);
    await cluster.clock.pass(8000);
    cluster.revive('n1');
    await cluster.clock.pass(2500);
    for (const name of OTHERS) {
      const ageMs = cluster.health(name).matrix().ageMs('n1');
      assert.ok(ageMs !== undefined && ageMs < 2500, `the row of n1 at ${name} is ${ageMs} ms old`);
    }
    assert.deepEqual(await cluster.said(10_000), [], 'it is well again');
    await cluster.stop();
  });
});

describe('echoes of kernels that all come late for a moment', () => {
  it('are one within two rounds when they do not come at all, and nothing else is said', async () => {
    for (let seed = 1; seed <= 10; seed++) {
      const { cluster, random } = clusterOf(seed);
      await cluster.start();
      await cluster.clock.pass(QUIET_MS + 1000 * random());
      cluster.lateMs = (to) => (to === 'n1' ? Number.POSITIVE_INFINITY : 0);
      assert.deepEqual(await cluster.said(2000), ['icmp-filtered node n1 both'], `seed ${seed}`);
      await cluster.stop();
    }
  });

  /** What is said but that it is slow, when each that is asked for in this time is answered at its end. */
  async function saidOf(seed: number, stallMs: number): Promise<string[]> {
    const { cluster } = clusterOf(seed);
    await cluster.start();
    await cluster.clock.pass(QUIET_MS);
    const untilMs = cluster.clock.nowMs() + stallMs;
    cluster.lateMs = () => Math.max(0, untilMs - cluster.clock.nowMs());
    const said = await cluster.said(4000);
    await cluster.stop();
    return said.filter((text) => !text.startsWith('slow '));
  }

  it('are no filter, though agents answer meanwhile', async () => {
    for (let seed = 1; seed <= 30; seed++)
      for (const stallMs of [350, 600])
        assert.deepEqual(await saidOf(seed, stallMs), [], `seed ${seed}, ${stallMs} ms`);
  });
});
