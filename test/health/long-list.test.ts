import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { NodeElement } from '../../src/api/schema.ts';
import { silentLog } from '../../src/base/log.ts';
import { ChangeLog } from '../../src/health/change-log.ts';
import { createHealth, type Health, RequestProber } from '../../src/health/index.ts';
import { observedPeers } from '../../src/health/plan/observers.ts';
import type { PathChange, ProbePath } from '../../src/model/health.ts';
import { until } from '../support/until.ts';
import { element, FakeNodes, FakeProbe, reply } from './fakes.ts';
import { FakeProber } from './metrics-fakes.ts';
import { VirtualClock } from './virtual-clock.ts';

const address = (i: number): string => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`;
/** Nodes `from` up to below `to`. */
const list = (from: number, to: number): NodeElement[] =>
  Array.from({ length: to - from }, (_, i) => element(`n${from + i}`, address(from + i)));
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Counts what is opened and closed between two turns of the event loop. */
class TurnProber extends FakeProber {
  readonly turns: number[] = [0];

  #note(): void {
    this.turns.push((this.turns.pop() ?? 0) + 1);
  }

  override open(path: ProbePath): number {
    this.#note();
    return super.open(path);
  }

  override close(handle: number): void {
    this.#note();
    super.close(handle);
  }

  /** Resolves after a turn. */
  async pass(): Promise<void> {
    await turn();
    this.turns.push(0);
  }
}

describe('a list of thousands of new nodes', () => {
  let clock: VirtualClock;
  let nodes: FakeNodes;
  let prober: TurnProber;
  let health: Health;
  const followed: number[] = [];

  beforeEach(async () => {
    clock = new VirtualClock();
    nodes = new FakeNodes('n0', list(0, 1));
    prober = new TurnProber();
    followed.length = 0;
    const onNodes = [
      ({ nodes: all }: { readonly nodes: readonly unknown[] }) => void followed.push(all.length),
    ];
    health = createHealth(
      { interval: { kind: 'fixed', ms: 1000 } },
      { nodes, probers: [prober], clock, log: silentLog, onNodes },
    );
    await health.start();
    await clock.pass(1000);
  });
  afterEach(() => health.stop());

  const peers = (): Set<string> => new Set(health.trackers().map(({ path }) => path.peer));

  /** Lets turns pass until the paths of so many nodes are open, and more are to come. */
  async function partly(count: number): Promise<void> {
    while (peers().size < count) await prober.pass();
  }

  async function wholly(count: number): Promise<void> {
    await until(() => peers().size === count);
  }

  it('is taken in many turns of the event loop, few paths in each, watched peers first', async () => {
    nodes.set(list(0, 6000));
    assert.ok(peers().size < 1000, 'not at once');
    while (peers().size < 6000) await prober.pass();
    assert.ok(prober.turns.length > 20, `${prober.turns.length} turns`);
    assert.ok(Math.max(...prober.turns) <= 300, `${Math.max(...prober.turns)} paths in a turn`);
    const watched = observedPeers(
      'n0',
      list(0, 6000).map(({ name = '' }) => name),
      20,
    );
    const opened = [...new Set([...prober.paths.values()].map(({ path }) => path.peer))];
    assert.deepEqual(new Set(opened.slice(1, 1 + watched.size)), watched);
    assert.deepEqual(followed, [1, 6000]);
  });

  it('has its first nodes probed and heard while the others are taken', async () => {
    nodes.set(list(0, 6000));
    await partly(100);
    const open = health.trackers().length;
    prober.tell(({ kind }) => kind === 1, 'answer');
    const reachable = health.trackers().filter(({ state }) => state === 'reachable');
    assert.ok(reachable.length >= 90, `${reachable.length} reachable`);
    assert.equal(health.trackers().length, open, 'nothing was opened meanwhile');
    await clock.pass(1000);
    await wholly(6000);
    assert.equal(reachable[0]?.state, 'reachable');
  });

  it('gives way to another one that comes in the middle, which holds in the end', async () => {
    nodes.set(list(0, 6000));
    await partly(1000);
    nodes.set([...list(0, 1), ...list(3000, 7000)]);
    await until(() => peers().size >= 6000);
    for (let i = 0; i < 20; i++) await turn();
    await clock.pass(200);
    await wholly(4001);
    const expected = new Set(['n0', ...list(3000, 7000).map(({ name = '' }) => name)]);
    assert.deepEqual(peers(), expected);
    assert.equal(prober.paths.size, health.trackers().length);
    assert.deepEqual(followed, [1, 6000, 4001]);
  });

  it('goes as it came: nothing is left of it', async () => {
    nodes.set(list(0, 6000));
    await wholly(6000);
    await clock.pass(1000);
    nodes.set(list(0, 1));
    assert.ok(peers().size > 5000, 'not at once');
    await wholly(1);
    assert.equal(prober.paths.size, health.trackers().length);
    assert.equal(health.cell('n3000'), undefined);
    assert.equal(health.matrix().nodes.length, 1);
  });

  it('is given up in the middle when the agent stops', async () => {
    nodes.set(list(0, 6000));
    await partly(1000);
    await health.stop();
    const open = prober.paths.size;
    for (let i = 0; i < 10; i++) await turn();
    assert.equal(prober.paths.size, open);
  });
});

describe('first requests to thousands of new paths', () => {
  it('come at a pace that the agent bears, those to a few within a second', async () => {
    const clock = new VirtualClock();
    const probe = new FakeProbe('http', () => reply(1000));
    const prober = new RequestProber({
      responder: 'http',
      probes: { host: probe },
      clock,
      random: () => 0.5,
    });
    await prober.start();
    const open = (i: number): number =>
      prober.open({ peer: `n${i}`, kind: 2, family: 4, address: address(i), primary: true }, 3_600_000);
    for (let i = 0; i < 100; i++) open(i);
    await clock.pass(1000);
    assert.equal(probe.asked.length, 100);
    for (let i = 100; i < 2100; i++) open(i);
    await clock.pass(5000);
    const soon = probe.asked.length;
    assert.ok(soon > 900 && soon < 1400, `${soon} after 5 s`);
    await clock.pass(6000);
    assert.equal(new Set(probe.asked).size, 2100);
    await prober.stop();
  });
});

describe('the log of changes', () => {
  it('keeps the latest, as many as it shall, however many there were', () => {
    const log = new ChangeLog(silentLog, new VirtualClock(), 10);
    const path: ProbePath = { peer: 'n', kind: 1, family: 4, address: '10.0.0.1', primary: true };
    for (let atMs = 1; atMs <= 3000; atMs++) {
      const change: PathChange = {
        path,
        from: 'unknown',
        to: 'reachable',
        atMs,
        reason: undefined,
        lossPoint: undefined,
      };
      log.add(change);
      assert.equal(log.since(0).length, Math.min(10, atMs));
    }
    assert.deepEqual(
      log.since(2998).map(({ atMs }) => atMs),
      [2999, 3000],
    );
  });

  it('has a hundred lines in ten seconds at most, and says how many more there were', async () => {
    const clock = new VirtualClock();
    const lines: string[] = [];
    const note = (fields: object, message: string): void =>
      void lines.push('changes' in fields ? `${fields.changes} ${message}` : message);
    const log = new ChangeLog({ ...silentLog, info: note, warn: note }, clock);
    const path: ProbePath = { peer: 'n', kind: 1, family: 4, address: '10.0.0.1', primary: true };
    const change = {
      path,
      from: 'reachable',
      to: 'unreachable',
      atMs: 1,
      reason: '',
      lossPoint: undefined,
    } as const;
    for (let i = 0; i < 5000; i++) log.add(change);
    assert.deepEqual([lines.length, new Set(lines).size], [100, 1]);
    await clock.pass(10_000);
    assert.match(lines[100] ?? '', /^4900 more paths changed their states/);
    log.add(change);
    assert.deepEqual([lines.length, lines[101]], [102, 'path is unreachable']);
    log.stop();
    assert.equal(lines.length, 102);
  });

  it('says that a path is unreachable however many others are lossy', () => {
    const lines: string[] = [];
    const note = (_: object, message: string): void => void lines.push(message);
    const log = new ChangeLog({ ...silentLog, info: note, warn: note }, new VirtualClock());
    const path: ProbePath = { peer: 'n', kind: 1, family: 4, address: '10.0.0.1', primary: true };
    const change = { path, from: 'degraded', atMs: 1, reason: '', lossPoint: undefined } as const;
    for (let i = 0; i < 150; i++) log.add({ ...change, to: 'reachable' });
    log.add({ ...change, to: 'unreachable' });
    assert.deepEqual([lines.length, lines.at(-1)], [101, 'path is unreachable']);
    log.stop();
  });
});
