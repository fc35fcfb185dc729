import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import type { NodeElement } from '../../src/api/schema.ts';
import { ClusterBench } from './cluster-bench.ts';
import { element } from './fakes.ts';

const ZONES = ['a', 'b', 'c'];
const NAMES = Array.from({ length: 9 }, (_, i) => `n${i + 1}`);
const zoneOf = (name: string): string => ZONES[(Number(name.slice(1)) - 1) % ZONES.length] ?? '';

function elements(zoned: boolean): NodeElement[] {
  return NAMES.map((name, i) => {
    return { ...element(name, `10.0.0.${i + 1}`), ...(zoned ? { zone: zoneOf(name) } : {}) };
  });
}

describe('zones of the node list', () => {
  let cluster: ClusterBench | undefined;
  afterEach(() => cluster?.stop());

  async function cutBetweenZones(zoned: boolean): Promise<ClusterBench> {
    const made = new ClusterBench(elements(zoned));
    cluster = made;
    await made.start();
    await made.clock.pass(20_000);
    for (const name of NAMES) assert.deepEqual(made.told(name), [], name);
    made.passes = (from, to) => [zoneOf(from), zoneOf(to)].sort().join('') !== 'ab';
    await made.clock.pass(6000);
    return made;
  }

  it('reach the localiser of every node: what is cut between two zones is told as one fault of the two', async () => {
    const { nodes } = (await cutBetweenZones(true)).health('n3').matrix();
    assert.deepEqual(
      nodes.map(({ name, zone }) => [name, zone]),
      NAMES.map((name) => [name, zoneOf(name)]),
    );
    for (const name of NAMES) assert.deepEqual(cluster?.told(name), ['node-down zone-pair a b'], name);
  });

  it('are no ground for a verdict where the list does not tell them', async () => {
    const made = await cutBetweenZones(false);
    for (const name of NAMES) {
      const told = made.told(name);
      assert.ok(told.length > 0 && !told.some((text) => text.includes('zone')), `${name}: ${told}`);
    }
  });
});
