import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PROBE_KINDS } from '../../src/model/health.ts';
import { ClusterBench } from './cluster-bench.ts';
import { element } from './fakes.ts';

const NAMES = ['n1', 'n2', 'n3'];

/** What every node says, every 100 ms for so long, in the order in which it was first said. */
async function said(cluster: ClusterBench, ms: number): Promise<string[]> {
  const texts = new Set<string>();
  for (let at = 0; at < ms; at += 100) {
    await cluster.clock.pass(100);
    for (const name of NAMES)
      for (const { fault, place } of cluster.health(name).diagnosis().verdicts)
        texts.add(`${fault} ${'node' in place ? place.node : place.kind}`);
  }
  return [...texts];
}

function setMtu(cluster: ClusterBench, blackHole: boolean): void {
  for (const name of NAMES)
    for (const tracker of cluster.health(name).trackers())
      if (PROBE_KINDS[tracker.path.kind]?.responder === 'icmp' && [name, tracker.path.peer].includes('n2'))
        tracker.mtu = { bytes: blackHole ? 1400 : 1500, blackHole };
}

describe('a path that carries no long packets', () => {
  it('is never told as a slow one, by no node and whenever that is found', async () => {
    const cluster = new ClusterBench(NAMES.map((name, i) => element(name, `10.0.0.${i + 1}`)));
    await cluster.start();
    await cluster.clock.pass(15_000);
    for (let trial = 0; trial < 8; trial++) {
      setMtu(cluster, true);
      assert.deepEqual(await said(cluster, 12_300), ['mtu-black-hole n2'], `trial ${trial}`);
      setMtu(cluster, false);
      await cluster.clock.pass(60_000);
      assert.deepEqual(await said(cluster, 1000), [], `healed after trial ${trial}`);
    }
    await cluster.stop();
  });
});
