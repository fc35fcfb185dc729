import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import { createHealthMetrics } from '../../src/health/index.ts';
import { PathStates, PROBE_KINDS } from '../../src/model/health.ts';
import { ClusterBench } from './cluster-bench.ts';
import { element } from './fakes.ts';

const NAMES = Array.from({ length: 6 }, (_, i) => `n${i + 1}`);
const ICMP = PROBE_KINDS.findIndex(({ name }) => name === 'host-host/icmp');

describe('health agents that exchange rows', () => {
  let cluster: ClusterBench | undefined;
  afterEach(() => cluster?.stop());

  async function running(): Promise<ClusterBench> {
    const made = new ClusterBench(NAMES.map((name, i) => element(name, `10.0.0.${i + 1}`)));
    cluster = made;
    await made.start();
    await made.clock.pass(20_000);
    return made;
  }

  /** Whether `at` has heard that `from` does not reach `to`. */
  function hasHeard(made: ClusterBench, at: string, from: string, to: string): boolean {
    const states = made.health(at).matrix().row(from)?.cells.get(to)?.states[4] ?? 0;
    return ((states >>> (2 * ICMP)) & 3) === PathStates.unreachable;
  }

  it('diagnose anew as soon as a fault that another one told is there, and not for news of less', async () => {
    const made = await running();
    const n5 = made.health('n5');
    const { clock } = made;
    // In quiet, rows come in all the time: the diagnosis is that of the last tick.
    const quiet = new Set<number>();
    for (let step = 0; step < 500; step++) {
      await clock.pass(10);
      quiet.add(n5.diagnosis().atMs);
    }
    assert.ok(quiet.size <= 7, `${quiet.size} diagnoses in 5 s`);
    made.passes = (from, to) => !['n1n2', 'n2n1'].includes(from + to);
    let steps = 0;
    while (!hasHeard(made, 'n5', 'n1', 'n2')) {
      n5.diagnosis();
      await clock.pass(1);
      if (++steps > 5000) assert.fail('n5 has not heard of it');
    }
    assert.ok(clock.wallMs() - n5.diagnosis().atMs < 1, `${clock.wallMs() - n5.diagnosis().atMs} ms old`);
    made.passes = () => true;
    while (hasHeard(made, 'n5', 'n1', 'n2')) {
      n5.diagnosis();
      await clock.pass(1);
    }
    assert.ok(clock.wallMs() - n5.diagnosis().atMs < 1, `${clock.wallMs() - n5.diagnosis().atMs} ms old`);
  });

  it('count messages, bytes, rows and failures of the exchange', async () => {
    const made = await running();
    const health = made.health('n1');
    const { text } = createHealthMetrics({
      health: () => health,
      engine: () => undefined,
      clock: made.clock,
    });
    const read = async (): Promise<(name: string) => number> => {
      const lines = (await text()).split('\n');
      return (name) => Number(lines.find((line) => line.startsWith(`${name} `))?.slice(name.length + 1));
    };
    const before = await read();
    assert.ok(before('ciliate_health_row_messages_total{message="pull",result="answered"}') > 10);
    assert.ok(before('ciliate_health_rows_total{result="taken"}') > 10);
    for (const direction of ['sent', 'received']) {
      assert.ok(before(`ciliate_health_row_bytes_total{direction="${direction}"}`) > 1000, direction);
    }
    assert.equal(before('ciliate_health_row_messages_total{message="pull",result="failed"}'), 0);
    assert.equal(before('ciliate_health_rows_total{result="refused"}'), 0);
    assert.equal(before('ciliate_health_row_news_not_pushed_total'), 0);
    health.rows.answer('news', '10.0.0.2', Buffer.from('nonsense'));
    made.passes = (from, to) => from !== 'n1' && to !== 'n1';
    await made.clock.pass(10_000);
    const after = await read();
    assert.ok(after('ciliate_health_row_messages_total{message="pull",result="failed"}') > 0);
    assert.ok(after('ciliate_health_row_messages_total{message="push",result="failed"}') > 0);
    assert.equal(after('ciliate_health_rows_total{result="refused"}'), 1);
  });
});
