import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { ProbeResult } from '../../probes/types.ts';
import { ClusterBench } from './cluster-bench.ts';
import { element, lost, refused } from './fakes.ts';

const NAMES = ['n1', 'n2', 'n3', 'n4'];
/** Echoes of programs have a tenth of the pace. */
const ALL_ASKED_MS = 12_000;
const HEALED_MS = 40_000;

describe('a firewall that takes only the echoes of programs, UDP 4240', () => {
  const cluster = new ClusterBench(NAMES.map((name, i) => element(name, `10.0.0.${i + 1}`)));
  before(async () => {
    await cluster.start();
    await cluster.clock.pass(20_000);
  });
  after(() => cluster.stop());

  /** What every node says, every 100 ms for so long. */
  const said = async (ms: number): Promise<string[]> => {
    const texts = new Set<string>();
    for (let at = 0; at < ms; at += 100) {
      await cluster.clock.pass(100);
      for (const name of NAMES) for (const text of cluster.told(name)) texts.add(text);
    }
    return [...texts];
  };
  const heal = async (): Promise<string[]> => {
    cluster.instead = () => undefined;
    await cluster.clock.pass(ALL_ASKED_MS);
    return said(HEALED_MS);
  };

  it('is told as that, of the node that it stands before, and nothing else at any moment', async () => {
    for (let trial = 0; trial < 5; trial++) {
      cluster.instead = (responder, _, to) => (responder === 'echo' && to === 'n2' ? lost : undefined);
      assert.deepEqual(await said(3 * ALL_ASKED_MS), ['echo-filtered node n2 both'], `trial ${trial}`);
      assert.deepEqual(await heal(), [], `healed after trial ${trial}`);
      await cluster.clock.pass(1300);
    }
  });

  it('is told of two nodes where it stands between these, and of all where it stands everywhere', async () => {
    cluster.instead = (responder, from, to) =>
      responder === 'echo' && from === 'n1' && to === 'n2' ? lost : undefined;
    assert.deepEqual(await said(3 * ALL_ASKED_MS), ['echo-filtered pair n1 n2']);
    assert.deepEqual(await heal(), []);
    cluster.instead = (responder) => (responder === 'echo' ? lost : undefined);
    await said(2 * ALL_ASKED_MS);
    assert.deepEqual(cluster.told('n3'), ['echo-filtered path-class host-host']);
    assert.deepEqual(await heal(), []);
  });
});

describe('requests without an answer in a cluster of two', () => {
  const [n1, n2] = NAMES.slice(0, 2).map((name, i) => element(name, `10.0.0.${i + 1}`));
  assert.ok(n1 !== undefined && n2 !== undefined);
  const cluster = new ClusterBench([n1, n2]);
  const timeout = (text: string): ProbeResult => ({ kind: 'failure', failure: { kind: 'timeout', text } });
  const unconnected = timeout('no connection within 3000 ms');
  before(async () => {
    await cluster.start();
    await cluster.clock.pass(20_000);
  });
  after(() => cluster.stop());

  /** What n1 says after some time in which requests from it have such outcomes, and when all is well again. */
  const said = async (outcomes: readonly ProbeResult[]): Promise<string[]> => {
    cluster.takes = () => false;
    const told: string[] = [];
    for (const outcome of outcomes) {
      cluster.instead = (responder, from) => (responder === 'http' && from === 'n1' ? outcome : undefined);
      await cluster.clock.pass(15_000);
      told.push(cluster.told('n1').join());
    }
    cluster.takes = () => true;
    cluster.instead = () => undefined;
    await cluster.clock.pass(HEALED_MS);
    assert.deepEqual(cluster.told('n1'), []);
    return told;
  };

  it('are told as filtered where no connection can be made', async () => {
    assert.deepEqual(await said([unconnected]), ['http-filtered pair n1 n2']);
  });

  it('are told as a hung agent where the kernel took connections, also when it has no room for more', async () => {
    const hung = 'agent-hung pair n1 n2';
    assert.deepEqual(await said([timeout('connected, but no answer within 3000 ms'), unconnected]), [
      hung,
      hung,
    ]);
  });

  it('are told as a hung agent where the kernel refuses connections', async () => {
    assert.deepEqual(await said([refused]), ['agent-hung pair n1 n2']);
  });
});
