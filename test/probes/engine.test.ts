import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { constants } from 'node:os';
import { after, afterEach, before, describe, it } from 'node:test';
import {
  createProbeEngine,
  type EngineEvent,
  type EngineOptions,
  type PathCounts,
  type ProbeEngine,
} from '../../probes/engine/index.ts';
import { NetnsLab } from '../support/netns.ts';
import { rootOrSkip } from '../support/privilege.ts';
import { until } from '../support/until.ts';

describe('probe engine between namespaces', { skip: rootOrSkip() }, () => {
  const lab = new NetnsLab('e');
  let [here, there] = ['', ''];
  let netnsFd = -1;
  let engine: ProbeEngine | undefined;
  const events: EngineEvent[] = [];

  before(async () => {
    here = await lab.namespace('a');
    there = await lab.namespace('b');
    await lab.veth(
      { name: 'eth0', netns: here, addresses: ['10.1.0.1/24', 'fd01::1/64'] },
      { name: 'eth0', netns: there, addresses: ['10.1.0.2/24', 'fd01::2/64'] },
    );
    // 10.2/16 is answered by the peer's stack, 10.3/24 refused by it, 10.4/24 lies behind a narrow link.
    await lab.sysctl(there, 'net.ipv4.ip_forward=1', 'net.ipv4.icmp_ratelimit=0');
    await lab.ip('-n', there, 'route', 'add', 'local', '10.2.0.0/16', 'dev', 'lo');
    await lab.ip('-n', there, 'route', 'add', 'unreachable', '10.3.0.0/24');
    for (const range of ['10.2.0.0/16', '10.3.0.0/24', '10.4.0.0/24']) {
      await lab.ip('-n', here, 'route', 'add', range, 'via', '10.1.0.2');
    }
    const narrow = ['mtu', '1000', 'type', 'veth', 'peer', 'name', 'far'];
    await lab.ip('-n', there, 'link', 'add', 'narrow', ...narrow);
    await lab.ip('-n', there, 'address', 'add', '10.4.0.1/24', 'dev', 'narrow');
    for (const end of ['narrow', 'far']) await lab.ip('-n', there, 'link', 'set', end, 'up');
    netnsFd = openSync(lab.path(here), 'r');
  });

  afterEach(async () => {
    await engine?.stop();
    engine = undefined;
    events.length = 0;
  });

  after(async () => {
    if (netnsFd >= 0) closeSync(netnsFd);
    await lab.cleanUp();
  });

  async function start(options: Partial<EngineOptions> = {}): Promise<ProbeEngine> {
    engine = createProbeEngine({ origins: [{ netnsFd }], mode: 'raw', pathsMax: 8192, ...options });
    engine.onEvents((list) => events.push(...list));
    await engine.start();
    return engine;
  }

  function total(
    of: ProbeEngine,
    paths: readonly number[],
    field: Exclude<keyof PathCounts, 'histogram'>,
  ): number {
    return paths.reduce((sum, path) => sum + of.counts(path)[field], 0);
  }

  for (const address of ['10.1.0.2', 'fd01::2']) {
    it(`counts and times answers of ${address} with the kernel's stamps`, async () => {
      const running = await start();
      const path = running.open({ address, responder: 'icmp', origin: 0, periodMs: 20 });
      await until(() => running.counts(path).answered >= 10);
      const { sent, answered, lost, unstamped, rttLastNs, rttMaxNs, histogram, hopLimitLast } =
        running.counts(path);
      assert.ok(sent - answered <= 3, `${sent} sent, ${answered} answered`);
      assert.deepEqual({ lost, unstamped }, { lost: 0, unstamped: 0 }, JSON.stringify(running.self()));
      assert.ok(rttLastNs > 0 && rttLastNs <= rttMaxNs, String(rttLastNs));
      assert.ok(histogram.reduce((sum, count) => sum + count, 0) >= answered);
      assert.equal(hopLimitLast, 64);
      assert.deepEqual(
        events.map(({ kind }) => kind),
        ['answer'],
      );
    });
  }

  it('loses nothing of its own when thousands of addresses are probed at once', async () => {
    const running = await start({ packetsPerSecond: 200_000, timeoutMs: 5000, softTimeoutMs: 4000 });
    const paths = Array.from({ length: 5000 }, (_, i) => {
      const address = `10.2.${i >> 8}.${i & 255}`;
      return running.open({ address, responder: 'icmp', origin: 0, periodMs: 0 });
    });
    for (const path of paths) running.burst(path, 1, 1);
    await until(() => total(running, paths, 'answered') === 5000);
    assert.equal(total(running, paths, 'sent'), 5000);
    assert.equal(total(running, paths, 'duplicate') + total(running, paths, 'failed'), 0);
    assert.equal(running.self().ownDrops, 0);
  });

  it('bursts by itself when an answer is missing, says silent, and says when answers come again', async () => {
    const running = await start({ timeoutMs: 300 });
    const path = running.open({ address: '10.2.0.9', responder: 'icmp', origin: 0, periodMs: 200 });
    await until(() => running.counts(path).answered >= 2);
    await lab.ip('-n', there, 'route', 'add', 'blackhole', '10.2.0.9/32');
    await until(() => events.some(({ kind }) => kind === 'silent'));
    const suspect = events.find(({ kind }) => kind === 'suspect');
    const silent = events.find(({ kind }) => kind === 'silent');
    assert.ok(suspect !== undefined && silent !== undefined && suspect.atNs < silent.atNs);
    assert.ok(running.counts(path).lostInARow >= 6);
    await lab.ip('-n', there, 'route', 'del', 'blackhole', '10.2.0.9/32');
    await until(() => events.at(-1)?.kind === 'answer');
    await until(() => running.counts(path).lost >= 6);
    const { sent, answered, lost, late, failed } = running.counts(path);
    assert.ok(sent - answered - lost <= 3, JSON.stringify({ sent, answered, lost, late, failed }));
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ['answer', 'suspect', 'silent', 'answer'],
    );
  });

  it('says who refuses a probe and why, and counts it as failed, not as lost', async () => {
    const running = await start();
    const refused = running.open({ address: '10.3.0.7', responder: 'icmp', origin: 0, periodMs: 100 });
    // Of these the peer's kernel tells one a second, and none while it sends other errors to us.
    await until(() => running.counts(refused).failed >= 1);
    const noRoute = running.open({ address: '192.0.2.1', responder: 'icmp', origin: 0, periodMs: 100 });
    const closed = running.open({ address: '10.1.0.2', responder: 'echo', origin: 0, periodMs: 100 });
    await until(() => [noRoute, closed].every((path) => running.counts(path).failed >= 3));
    const of = (path: number): EngineEvent | undefined =>
      events.find((event) => event.path === path && event.kind === 'error');
    // Counts are there before the events are.
    await until(() => [refused, noRoute, closed].every((path) => of(path) !== undefined));
    const { EHOSTUNREACH, ENETUNREACH, ECONNREFUSED } = constants.errno;
    assert.equal(of(refused)?.errno, EHOSTUNREACH);
    assert.equal(of(refused)?.offender, '10.1.0.2');
    assert.deepEqual([of(noRoute)?.errno, of(noRoute)?.offender], [ENETUNREACH, undefined]);
    assert.deepEqual([of(closed)?.errno, of(closed)?.offender], [ECONNREFUSED, '10.1.0.2']);
    for (const path of [noRoute, closed]) assert.equal(running.counts(path).lost, 0);
    const errors = events.filter(({ kind, path }) => kind === 'error' && path === noRoute);
    assert.equal(errors.length, 1, 'the same error again is told once a second');
  });

  it('is told of a narrow link, with its MTU, and passes it with what fits', async () => {
    const running = await start();
    const open = (packetBytes: number): number =>
      running.open({ address: '10.4.0.2', responder: 'icmp', origin: 0, periodMs: 50, packetBytes });
    const large = open(1001);
    await until(() => events.some(({ path, kind }) => path === large && kind === 'error'));
    const event = events.find(({ path, kind }) => path === large && kind === 'error');
    assert.deepEqual([event?.errno, event?.mtu], [constants.errno.EMSGSIZE, 1000]);
  });

  it('goes on while JavaScript is blocked, and keeps its pace', async () => {
    const running = await start();
    const path = running.open({ address: '10.1.0.2', responder: 'icmp', origin: 0, periodMs: 20 });
    await until(() => running.counts(path).answered >= 1);
    const before = running.counts(path).answered;
    const end = performance.now() + 600;
    while (performance.now() < end);
    assert.ok(running.counts(path).answered - before >= 15, 'some 30 are due in 600 ms');
  });

  it('reads nothing of an earlier path from an index that is used again', async () => {
    const running = await start();
    const first = running.open({ address: '10.1.0.2', responder: 'icmp', origin: 0, periodMs: 20 });
    await until(() => running.counts(first).answered >= 2);
    running.close(first);
    assert.equal(running.counts(first).sent, 0);
    const second = running.open({ address: 'fd01::2', responder: 'icmp', origin: 0, periodMs: 0 });
    assert.equal(second, first);
    assert.equal(running.counts(second).answered, 0);
    running.burst(second, 3, 1);
    await until(() => running.counts(second).answered === 3);
    assert.equal(running.counts(second).sent, 3);
  });

  it('keeps its budget: what is due beyond it waits', async () => {
    const running = await start({ packetsPerSecond: 100 });
    const paths = Array.from({ length: 100 }, (_, i) =>
      running.open({ address: `10.2.1.${i}`, responder: 'icmp', origin: 0, periodMs: 100 }),
    );
    const begin = performance.now();
    await until(() => total(running, paths, 'sent') >= 200);
    const seconds = (performance.now() - begin) / 1000;
    // Four turns of credit, then 100 a second.
    assert.ok(total(running, paths, 'sent') <= 8 + 100 * (seconds + 0.1), `${seconds} s`);
    assert.ok(running.self().deferred > 0);
  });

  it('keeps count through thousands of openings, closings and changes of pace, and stops amid them', async () => {
    const running = await start({ pathsMax: 2048 });
    for (let round = 0; round < 20; round++) {
      const paths = Array.from({ length: 1000 }, (_, i) =>
        running.open({ address: `10.2.${i >> 8}.${i & 255}`, responder: 'icmp', origin: 0, periodMs: 20 }),
      );
      for (const path of paths) running.pace(path, 40);
      if (round % 4 === 0) await until(() => total(running, paths, 'sent') > 0);
      for (const path of paths) running.close(path);
      for (const path of paths) running.burst(path, 1, 1);
    }
    assert.equal(running.self().paths, 0);
    const path = running.open({ address: '10.1.0.2', responder: 'icmp', origin: 0, periodMs: 20 });
    await until(() => running.counts(path).answered >= 3);
    for (let i = 0; i < 1000; i++)
      running.open({ address: `10.2.4.${i & 255}`, responder: 'icmp', origin: 0, periodMs: 20 });
    await running.stop();
  });

  it('reads what has come in when it is woken, and not at the next deadline only', async () => {
    const softTimeoutMs = 10_000;
    const running = await start({ timeoutMs: softTimeoutMs, softTimeoutMs });
    const path = running.open({ address: '10.1.0.2', responder: 'icmp', origin: 0, periodMs: 0 });
    running.burst(path, 1, 1);
    const begin = performance.now();
    await until(() => {
      running.wake();
      return running.counts(path).answered === 1;
    });
    assert.ok(performance.now() - begin < softTimeoutMs / 2);
  });

  it('loses nothing of a path beside 10,000 that are opened and closed all the time', async () => {
    const running = await start({ pathsMax: 16_384, timeoutMs: 5000, softTimeoutMs: 4000, burst: 0 });
    const steady = running.open({ address: '10.1.0.2', responder: 'icmp', origin: 0, periodMs: 20 });
    const open = (i: number): number =>
      running.open({
        address: `10.2.${(i >> 8) & 63}.${i & 255}`,
        responder: 'icmp',
        origin: 0,
        periodMs: 1000,
      });
    const paths = Array.from({ length: 10_000 }, (_, i) => open(i));
    for (let round = 0; round < 40; round++) {
      // A thousand changes, then the event loop is free for a moment.
      for (let i = round; i < paths.length; i += 20) {
        running.close(paths[i] ?? -1);
        paths[i] = open(i + round);
      }
      assert.equal(new Set(paths).size, paths.length, 'no index is used twice at once');
      const { answered } = running.counts(steady);
      await until(() => running.counts(steady).answered > answered);
    }
    assert.equal(running.self().paths, 10_001);
    await until(() => total(running, paths, 'answered') > 2000);
    const { sent, answered, lost, duplicate } = running.counts(steady);
    assert.deepEqual([lost, duplicate, total(running, paths, 'lost')], [0, 0, 0]);
    assert.ok(sent - answered <= 3, `${sent} sent, ${answered} answered`);
    assert.equal(running.self().ownDrops, 0);
  });

  it('is stopped twice, and with events under way', async () => {
    const running = await start();
    for (let i = 0; i < 200; i++) {
      running.open({ address: `10.2.2.${i}`, responder: 'icmp', origin: 0, periodMs: 20 });
    }
    await until(() => events.length > 0);
    await running.stop();
    await running.stop();
    assert.equal(running.counts(0).sent >= 0, true);
  });

  it('refuses what it cannot do, by name', async () => {
    const running = await start({ pathsMax: 1 });
    const path = { address: '10.1.0.2', responder: 'icmp', origin: 0, periodMs: 0 } as const;
    running.open(path);
    assert.throws(() => running.open(path), {
      code: 'ENGINE_FULL',
      message: 'no room for more than 1 paths',
    });
    assert.deepEqual([running.self().paths, running.self().refused], [1, 1]);
    assert.throws(() => running.open({ ...path, origin: 1 }), /origin 1/);
    assert.throws(() => running.open({ ...path, address: 'n1' }), /not an IP address/);
    assert.throws(() => running.open({ ...path, packetBytes: 40 }), /packetBytes/);
    assert.throws(() => createProbeEngine({ origins: [] }), /origins/);
  });
});
