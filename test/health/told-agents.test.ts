import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { ProbeResult } from '../../probes/types.ts';
import type { Responder } from '../../src/model/health.ts';
import { ClusterBench } from './cluster-bench.ts';
import { element, lost, refused } from './fakes.ts';

const NAMES = ['n1', 'n2', 'n3', 'n4', 'n5', 'n6'];
const OTHERS = NAMES.filter((name) => name !== 'n2');
const TWO_ROUNDS_MS = 2000;
const STEP_MS = 50;

describe('an agent that does not answer', () => {
  const cluster = new ClusterBench(NAMES.map((name, i) => element(name, `10.0.0.${i + 1}`)));
  before(async () => {
    await cluster.start();
    await cluster.clock.pass(20_000);
  });
  after(() => cluster.stop());

  /** What the others say within so long, and when the last of them first said it. */
  const said = async (ms: number): Promise<{ readonly texts: string[]; readonly byAllMs: number }> => {
    const texts = new Set<string>();
    let byAllMs = Number.POSITIVE_INFINITY;
    for (let at = STEP_MS; at <= ms; at += STEP_MS) {
      await cluster.clock.pass(STEP_MS);
      const told = OTHERS.map((name) => cluster.told(name));
      for (const text of told.flat()) texts.add(text);
      if (told.every((one) => one.length > 0)) byAllMs = Math.min(byAllMs, at);
    }
    return { texts: [...texts], byAllMs };
  };

  const ways: readonly (readonly [string, ProbeResult])[] = [
    ['is gone, so that its kernel refuses connections', refused],
    ['hangs', lost],
  ];
  for (const [what, outcome] of ways) {
    it(`is named within two rounds by all others when it ${what}, and nothing else at any moment`, async () => {
      for (let trial = 0; trial < 8; trial++) {
        cluster.instead = (responder, _, to) => (responder === 'http' && to === 'n2' ? outcome : undefined);
        const { texts, byAllMs } = await said(20_000);
        assert.deepEqual(texts, ['agent-hung node n2 both'], `trial ${trial}`);
        assert.ok(byAllMs <= TWO_ROUNDS_MS, `trial ${trial}: ${byAllMs} ms`);
        cluster.instead = () => undefined;
        await cluster.clock.pass(TWO_ROUNDS_MS);
        assert.deepEqual((await said(20_000)).texts, [], `healed after trial ${trial}`);
        await cluster.clock.pass(170);
      }
    });
  }
});

describe('an agent that lives, and whose requests somebody takes on their way', () => {
  const FOUND_MS = 6000;
  const cluster = new ClusterBench(NAMES.map((name, i) => element(name, `10.0.0.${i + 1}`)));
  before(async () => {
    await cluster.start();
    await cluster.clock.pass(20_000);
  });
  after(() => cluster.stop());

  /** What is said by anybody in so long, each once. */
  const said = async (ms: number): Promise<string[]> => {
    const texts = new Set<string>();
    for (let at = 0; at < ms; at += STEP_MS) {
      await cluster.clock.pass(STEP_MS);
      for (const name of OTHERS) for (const text of cluster.told(name)) texts.add(text);
    }
    return [...texts];
  };
  const filters: readonly (readonly [string, readonly Responder[], string])[] = [
    ['requests alone, like a hung agent', ['http'], 'agent-hung'],
    ['requests and echoes, like a hung stack', ['http', 'icmp'], 'stack-hung'],
  ];
  for (const [what, responders, first] of filters) {
    it(`is told as filtered by all others soon, and no more as anything else: ${what}`, async () => {
      for (let trial = 0; trial < 4; trial++) {
        cluster.instead = (responder, from, to) =>
          responders.includes(responder) && to === 'n2' && from !== 'n2' ? lost : undefined;
        cluster.takes = (_, to) => to !== 'n2';
        const before = await said(FOUND_MS);
        const others = [`${first} node n2 both`, 'http-filtered node n2 both'];
        assert.deepEqual(
          before.filter((text) => !others.includes(text)),
          [],
          `trial ${trial}`,
        );
        assert.deepEqual(await said(30_000), ['http-filtered node n2 both'], `trial ${trial}`);
        cluster.instead = () => undefined;
        cluster.takes = () => true;
        await cluster.clock.pass(FOUND_MS);
        assert.deepEqual(await said(20_000), [], `healed after trial ${trial}`);
        await cluster.clock.pass(170);
      }
    });
  }

  it('is told as hung when it does not answer itself either, though it tells rows', async () => {
    cluster.instead = (responder, _, to) => (responder === 'http' && to === 'n2' ? lost : undefined);
    await cluster.clock.pass(2000);
    assert.deepEqual(await said(30_000), ['agent-hung node n2 both']);
    cluster.instead = () => undefined;
    await cluster.clock.pass(FOUND_MS);
    assert.deepEqual(await said(10_000), []);
  });
});
