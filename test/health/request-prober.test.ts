import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import type { ProbeResult } from '../../probes/types.ts';
import { RequestProber } from '../../src/health/index.ts';
import { countsNow } from '../../src/health/prober.ts';
import { PROBE_KINDS } from '../../src/model/health.ts';
import { Random } from '../support/random.ts';
import { FakeProbe, lost, refused, reply } from './fakes.ts';
import { VirtualClock } from './virtual-clock.ts';

const kind = PROBE_KINDS.findIndex(({ name }) => name === 'host-host/http');
const path = { peer: 'n2', kind, family: 4, address: '10.0.0.2', primary: true } as const;
const TIMEOUT_MS = 1000;

describe('probes by requests', () => {
  let clock: VirtualClock;
  let probe: FakeProbe;
  let prober: RequestProber;
  let events: string[];

  beforeEach(async () => {
    clock = new VirtualClock();
    probe = new FakeProbe('http', () => reply(1e6));
    prober = new RequestProber({ responder: 'http', probes: { host: probe }, clock, random: () => 0 });
    events = [];
    prober.onEvents((some) => {
      for (const event of some) if (event.kind !== 'error') events.push(`${event.kind} ${clock.nowMs()}`);
    });
    await prober.start();
  });

  const after = (ms: number, result: ProbeResult): Promise<ProbeResult> =>
    new Promise((resolve) => void clock.after(ms, () => resolve(result)));

  const at = (name: string): number =>
    Number(events.find((text) => text.startsWith(name))?.split(' ')[1] ?? Number.NaN);

  it('call a peer silent before the first request that hangs has reached its deadline', async () => {
    const handle = prober.open(path, 1000);
    await clock.pass(5050);
    probe.answer = () => after(TIMEOUT_MS, lost);
    await clock.pass(3000);
    assert.ok(at('silent') - at('suspect') <= 600, events.join(', '));
    assert.ok(at('silent') - 5050 <= 1000 + 50 + 700, events.join(', '));
    const { sent, answered, lost: missed } = countsNow(prober, handle);
    assert.equal(sent - answered, missed, 'each is counted once');
    await prober.stop();
  });

  it('begin to wait anew where a path answers and is late again', async () => {
    const stalls = [
      [4995, 5105],
      [5495, 5800],
    ] as const;
    probe.answer = () => {
      const nowMs = clock.nowMs();
      const [, endMs] = stalls.find(([from, to]) => nowMs >= from && nowMs < to) ?? [0, nowMs];
      return after(endMs - nowMs + 1, reply(1e6));
    };
    prober.open(path, 500);
    await clock.pass(10_000);
    const names = events.map((text) => text.split(' ')[0]);
    assert.deepEqual(names, ['answer', 'suspect', 'answer', 'suspect', 'answer'], events.join(', '));
    await prober.stop();
  });

  it('leave no timer of their own behind when they stop while a path hangs', async () => {
    prober.open(path, 1000);
    await clock.pass(5050);
    let hung = 0;
    probe.answer = () => {
      hung++;
      return after(10 * TIMEOUT_MS, lost);
    };
    await clock.pass(1200);
    assert.match(events.at(-1) ?? '', /^suspect/);
    await prober.stop();
    assert.equal(clock.pending, hung);
  });

  it('wait for the deadline of one that takes long as a rule', async () => {
    prober.open(path, 1000);
    probe.answer = () => after(150, reply(150e6));
    await clock.pass(5200);
    probe.answer = () => after(TIMEOUT_MS, lost);
    await clock.pass(3000);
    assert.ok(at('silent') - at('suspect') > 600, events.join(', '));
    await prober.stop();
  });

  it('call none silent early while so many requests are under way that some may wait for their turn', async () => {
    probe.answer = () => after(TIMEOUT_MS, lost);
    for (let i = 0; i < 200; i++) prober.open({ ...path, address: `10.0.1.${i}` }, 200);
    await clock.pass(5000);
    probe.answer = () => reply(1e6);
    prober.open(path, 1000);
    await clock.pass(1100);
    events.length = 0;
    probe.answer = () => after(TIMEOUT_MS, lost);
    await clock.pass(2500);
    assert.ok(at('silent') - at('suspect') > 600, events.join(', '));
    await prober.stop();
  });

  it('count a request that was lost when others after it are answered, and call that no silence', async () => {
    const handle = prober.open(path, 1000);
    await clock.pass(5050);
    const results = [after(6000, lost)];
    probe.answer = () => results.shift() ?? reply(1e6);
    await clock.pass(10_000);
    assert.deepEqual(
      events.map((text) => text.split(' ')[0]),
      ['answer', 'suspect', 'answer'],
    );
    const { sent, answered, lost: missed, lostInARow } = countsNow(prober, handle);
    assert.deepEqual([missed, sent - answered, lostInARow], [1, 1, 0]);
    await prober.stop();
  });

  it('take no round trip from an answer that came to the second SYN: what was lost made it late', async () => {
    const handle = prober.open(path, 1000);
    const phases = { connect: 1e9, firstByte: 1e6, client: 0, total: 1e9 };
    const answers: ProbeResult[] = [
      { ...reply(1e9), phases },
      { ...reply(2e6), phases: { ...phases, network: 1e6 } },
    ] as ProbeResult[];
    probe.answer = () => answers.shift() ?? lost;
    await clock.pass(1950);
    const { answered, unstamped, rttSumNs, histogram } = countsNow(prober, handle);
    assert.deepEqual([answered, unstamped, rttSumNs], [2, 1, 1e6]);
    assert.equal(
      histogram.reduce((sum, count) => sum + count, 0),
      1,
    );
    await prober.stop();
  });

  it('come at all times of a period that is long, and not all together once in it', async () => {
    const seed = new Random(7);
    const random = (): number => seed.below(1000) / 1000;
    const spread = new RequestProber({ responder: 'http', probes: { host: probe }, clock, random });
    await spread.start();
    for (let i = 0; i < 100; i++) spread.open({ ...path, address: `10.1.0.${i}` }, 100_000);
    await clock.pass(200_000);
    const seconds = new Set<number>();
    for (let i = 0; i < 100; i++) {
      const before = probe.asked.length;
      await clock.pass(1000);
      if (probe.asked.length > before) seconds.add(i);
    }
    assert.ok(seconds.size > 45, `in ${seconds.size} of 100 seconds`);
    await spread.stop();
    await prober.stop();
  });

  it('ask no further time of a peer that answers slowly, as it does usually', async () => {
    probe.answer = () => after(300, reply(300e6));
    prober.open(path, 1000);
    await clock.pass(10_050);
    assert.deepEqual(
      events.map((text) => text.split(' ')[0]),
      ['answer'],
    );
    assert.ok(probe.asked.length <= 11, String(probe.asked.length));
    await prober.stop();
  });

  it('call a peer from host to host silent as soon, however many of its other paths are late before', async () => {
    const others = PROBE_KINDS.flatMap(({ pathClass, responder }, i) =>
      responder === 'http' && pathClass === 'host-endpoint' ? [i] : [],
    );
    for (let n = 0; n < 8; n++)
      for (const other of others) prober.open({ ...path, kind: other, address: `10.1.0.${n}` }, 1000);
    prober.open(path, 1000);
    await clock.pass(5050);
    events = [];
    probe.answer = () => after(TIMEOUT_MS, lost);
    const begunMs = clock.nowMs();
    await clock.pass(2300);
    const silentMs = events
      .filter((text) => text.startsWith('silent'))
      .map((text) => Number(text.split(' ')[1]));
    assert.equal(silentMs.length, 6, 'five others, and the one from host to host');
    for (const ms of silentMs) assert.ok(ms - begunMs <= 2300, events.join(', '));
    await prober.stop();
  });

  it('ask little more than usual when all peers are late at once', async () => {
    for (let peer = 0; peer < 100; peer++) prober.open({ ...path, address: `10.0.1.${peer}` }, 10_000);
    await clock.pass(20_050);
    const before = probe.asked.length;
    probe.answer = () => after(900, reply(900e6));
    await clock.pass(10_000);
    const more = probe.asked.length - before - 100;
    assert.ok(more <= 11 * 5 * 2, String(more));
    assert.ok(!events.some((text) => text.startsWith('silent')), events.join(', '));
    await prober.stop();
  });

  it('call a peer that refuses silent after three refusals, some time apart', async () => {
    prober.open(path, 1000);
    await clock.pass(5050);
    probe.answer = () => refused;
    await clock.pass(1500);
    const silent = Number(events.at(-1)?.split(' ')[1]);
    const suspect = Number(events.at(-2)?.split(' ')[1]);
    assert.match(events.join(' '), /suspect \d+ silent \d+$/);
    assert.ok(silent - suspect >= 100 && silent - suspect <= 400, events.join(', '));
    await prober.stop();
  });
});
