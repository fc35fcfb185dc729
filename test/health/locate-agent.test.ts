import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import type { Health } from '../../src/health/index.ts';
import { type ApiBench, apiBench } from './api-bench.ts';
import { element, lost, refused, reply } from './fakes.ts';

const NODES = ['n1', 'n2', 'n3'].map((name, i) => element(name, `10.0.0.${i + 1}`, `10.1.0.${i + 1}`));

const started: Health[] = [];

async function running(): Promise<ApiBench> {
  const bench = apiBench(NODES);
  started.push(bench.health);
  await bench.health.start();
  await bench.clock.pass(40_000);
  return bench;
}

afterEach(async () => {
  await Promise.all(started.splice(0).map((health) => health.stop()));
});

/** All verdicts that are told of a node at any moment of the next so many seconds. */
async function toldWithin(bench: ApiBench, node: string, seconds: number): Promise<string[]> {
  const told = new Set<string>();
  for (let step = 0; step < seconds * 20; step++) {
    await bench.clock.pass(50);
    for (const { fault, place } of bench.health.diagnosis().verdicts) {
      if (place.kind === 'pair' && place.to === node) told.add(fault);
    }
  }
  return [...told];
}

describe('the diagnosis of a running health agent', () => {
  it('never takes a peer that died for one with a filter, or a hung agent, whatever fell silent first', async () => {
    const bench = await running();
    assert.deepEqual(bench.health.diagnosis().verdicts, []);
    const ofN2 = (address: string): boolean => address.endsWith('.2');
    bench.icmp.answer = (address) => (ofN2(address) ? lost : reply(20_000));
    bench.http.answer = (address) => (ofN2(address) ? lost : reply(300_000));
    assert.deepEqual(await toldWithin(bench, 'n2', 30), ['node-down']);
  });

  it('says that ICMP is filtered, and at no moment that the peer is down, when HTTP answers', async () => {
    const bench = await running();
    bench.icmp.answer = (address) => (address === '10.0.0.2' ? lost : reply(20_000));
    assert.deepEqual(await toldWithin(bench, 'n2', 30), ['icmp-filtered']);
  });

  it('says that the agent hangs when ICMP answers', async () => {
    const bench = await running();
    bench.http.answer = (address) => (address === '10.0.0.2' ? refused : reply(300_000));
    assert.deepEqual(await toldWithin(bench, 'n2', 30), ['agent-hung']);
  });

  it('takes a verdict back at once when the peer answers again', async () => {
    const bench = await running();
    const [icmp, http] = [bench.icmp.answer, bench.http.answer];
    bench.icmp.answer = (address) => (address.endsWith('.2') ? lost : reply(20_000));
    bench.http.answer = (address) => (address.endsWith('.2') ? lost : reply(300_000));
    await bench.clock.pass(30_000);
    assert.equal(bench.health.diagnosis().verdicts.length, 1);
    [bench.icmp.answer, bench.http.answer] = [icmp, http];
    await bench.clock.pass(1100);
    assert.deepEqual(
      bench.health.diagnosis().verdicts.filter(({ fault }) => fault === 'node-down'),
      [],
    );
    await bench.clock.pass(20_000);
    assert.deepEqual(bench.health.diagnosis().verdicts, []);
  });
});
