import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { createProbeEngine, type ProbeEngine } from '../../probes/engine/index.ts';
import { systemClock } from '../../src/health/clock.ts';
import { MtuLadder, type PathMtu, steps } from '../../src/health/mtu/ladder.ts';
import { NetnsLab } from '../support/netns.ts';
import { rootOrSkip } from '../support/privilege.ts';

const LOSSY_TIMES = 20;
const NOTHING: PathMtu = { kind: 'no-answer', reason: 'not even 576 bytes are answered' };

describe('sizes of a ladder', () => {
  it('reach from the least to the most in about as many steps as a step has bytes', () => {
    const sizes = steps(576, 9000);
    assert.deepEqual([sizes[0], sizes.at(-1)], [576, 9000]);
    assert.equal(sizes.length, 93);
    for (let i = 1; i < sizes.length; i++) {
      const step = (sizes[i] ?? 0) - (sizes[i - 1] ?? 0);
      assert.ok(step > 0 && step <= 93, String(step));
    }
  });
});

describe('MTU of a path', { skip: rootOrSkip() }, () => {
  const lab = new NetnsLab('m');
  let netnsFd = -1;
  let engine: ProbeEngine;
  let ladder: MtuLadder;

  /** a - router - far; the link behind the router takes 1,400 bytes in both families. */
  before(async () => {
    const [a, router, far] = [await lab.namespace('a'), await lab.namespace('r'), await lab.namespace('f')];
    await lab.veth(
      { name: 'eth0', netns: a, addresses: ['10.1.0.1/24', 'fd01::1/64'] },
      { name: 'eth0', netns: router, addresses: ['10.1.0.2/24', 'fd01::2/64'] },
    );
    await lab.veth(
      { name: 'eth1', netns: router, addresses: ['10.2.0.1/24', 'fd02::1/64'] },
      { name: 'eth0', netns: far, addresses: ['10.2.0.2/24', 'fd02::2/64'] },
    );
    await lab.sysctl(router, 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
    await lab.sysctl(router, 'net.ipv4.icmp_ratelimit=0', 'net.ipv6.icmp.ratelimit=0');
    await lab.sysctl(router, 'net.ipv4.icmp_msgs_per_sec=100000', 'net.ipv4.icmp_msgs_burst=10000');
    for (const [name, dev] of [
      [router, 'eth1'],
      [far, 'eth0'],
    ] as const) {
      await lab.ip('-n', name, 'link', 'set', dev, 'mtu', '1400');
    }
    await lab.ip('-n', a, 'route', 'add', '10.2.0.0/24', 'via', '10.1.0.2');
    await lab.ip('-n', a, '-6', 'route', 'add', 'fd02::/64', 'via', 'fd01::2');
    await lab.ip('-n', far, 'route', 'add', '10.1.0.0/24', 'via', '10.2.0.1');
    await lab.ip('-n', far, '-6', 'route', 'add', 'fd01::/64', 'via', 'fd02::1');
    netnsFd = openSync(lab.path(a), 'r');
    engine = createProbeEngine({ origins: [{ netnsFd }], mode: 'raw', pathsMax: 256, burst: 0 });
    ladder = new MtuLadder({ engine, clock: systemClock });
    engine.onEvents((events) => ladder.take(events));
    await engine.start();
  });

  after(async () => {
    await engine.stop();
    closeSync(netnsFd);
    await lab.cleanUp();
  });

  function measured(result: PathMtu): Extract<PathMtu, { kind: 'measured' }> {
    assert.equal(result.kind, 'measured', JSON.stringify(result));
    return result as Extract<PathMtu, { kind: 'measured' }>;
  }

  it('is that of our own device where nothing on the way is narrower', async () => {
    for (const [address, family] of [
      ['10.1.0.2', 4],
      ['fd01::2', 6],
    ] as const) {
      const { mtu, verdict } = measured(await ladder.measure({ address, origin: 0 }, family));
      assert.deepEqual({ mtu, verdict }, { mtu: 1500, verdict: 'fits' });
    }
  });

  it('is that of the narrowest link, to the byte, and says who told', async () => {
    for (const [address, family, router] of [
      ['10.2.0.2', 4, '10.1.0.2'],
      ['fd02::2', 6, 'fd01::2'],
    ] as const) {
      const { mtu, verdict, saidBy, rounds } = measured(await ladder.measure({ address, origin: 0 }, family));
      assert.deepEqual(
        { mtu, verdict, saidBy, rounds },
        { mtu: 1400, verdict: 'too-big', saidBy: router, rounds: 2 },
      );
    }
  });

  it('is that of the narrowest link, and no black hole, where the router says so a few times a second only', async () => {
    const router = `${lab.prefix}-r`;
    await lab.sysctl(router, 'net.ipv4.icmp_ratelimit=1000', 'net.ipv6.icmp.ratelimit=1000');
    try {
      for (const [address, family] of [
        ['10.2.0.2', 4],
        ['fd02::2', 6],
      ] as const) {
        const { mtu, verdict } = measured(await ladder.measure({ address, origin: 0 }, family));
        assert.deepEqual({ mtu, verdict }, { mtu: 1400, verdict: 'too-big' });
      }
    } finally {
      await lab.sysctl(router, 'net.ipv4.icmp_ratelimit=0', 'net.ipv6.icmp.ratelimit=0');
    }
  });

  it('is found by one batch of usual sizes where it is one of them, and somebody refuses the next', async () => {
    for (const [address, family, mtu, verdict] of [
      ['10.1.0.2', 4, 1500, 'fits'],
      ['fd01::2', 6, 1500, 'fits'],
      ['10.2.0.2', 4, 1400, 'too-big'],
      ['fd02::2', 6, 1400, 'too-big'],
    ] as const) {
      const found = await ladder.guess({ address, origin: 0 }, family);
      assert.deepEqual(found && { ...measured(found), saidBy: undefined }, {
        ...{ kind: 'measured', mtu, verdict, rounds: 1 },
        ...{ saidBy: undefined, vanished: undefined },
      });
    }
    assert.equal(await ladder.guess({ address: '10.2.0.9', origin: 0 }, 4, { timeoutMs: 200 }), undefined);
  });

  it('is found where the engine may send so little that a batch takes a while to leave', async () => {
    const slow = createProbeEngine({
      origins: [{ netnsFd }],
      mode: 'raw',
      pathsMax: 256,
      burst: 0,
      packetsPerSecond: 200,
    });
    const patient = new MtuLadder({ engine: slow, clock: systemClock });
    slow.onEvents((events) => patient.take(events));
    await slow.start();
    try {
      const { mtu, verdict } = measured(await patient.measure({ address: '10.1.0.2', origin: 0 }, 4));
      assert.deepEqual({ mtu, verdict }, { mtu: 1500, verdict: 'fits' });
    } finally {
      await slow.stop();
    }
  });

  it('is a black hole where larger packets vanish without a word', async () => {
    const router = `${lab.prefix}-r`;
    // What the router itself sends to us goes nowhere; what it forwards does.
    for (const [flag, to] of [
      ['-4', '10.1.0.1'],
      ['-6', 'fd01::1'],
    ] as const) {
      await lab.ip('-n', router, flag, 'rule', 'add', 'iif', 'lo', 'to', to, 'lookup', '99');
      await lab.ip('-n', router, flag, 'route', 'add', 'blackhole', 'default', 'table', '99');
    }
    for (const [address, family] of [
      ['10.2.0.2', 4],
      ['fd02::2', 6],
    ] as const) {
      const { mtu, verdict, vanished } = measured(await ladder.measure({ address, origin: 0 }, family));
      assert.deepEqual({ mtu, verdict }, { mtu: 1400, verdict: 'black-hole' });
      assert.ok(vanished !== undefined && vanished > 1400 && vanished <= 1500, String(vanished));
      assert.equal(await ladder.guess({ address, origin: 0 }, family), undefined, 'it takes the ladder');
    }
  });

  it('is no black hole where a third of all packets is lost by chance, and of a path that is down not tried', async () => {
    const router = `${lab.prefix}-r`;
    const third = `4,32 0 0 4294963256,53 1 0 ${Math.round(2 ** 32 / 3)},6 0 0 2,6 0 0 4294967295`;
    await lab.ip('-n', router, 'link', 'set', 'eth1', 'mtu', '1500');
    await lab.ip('-n', `${lab.prefix}-f`, 'link', 'set', 'eth0', 'mtu', '1500');
    await lab.tc('-n', router, 'qdisc', 'add', 'dev', 'eth1', 'clsact');
    const filter = ['filter', 'add', 'dev', 'eth1', 'egress', 'bpf', 'da', 'bytecode', third];
    await lab.tc('-n', router, ...filter);
    const target = { address: '10.2.0.2', origin: 0 };
    for (let i = 0; i < LOSSY_TIMES; i++) {
      const found = await ladder.measure(target, 4, { most: 1500 });
      assert.notEqual(found.kind === 'measured' && found.verdict, 'black-hole', JSON.stringify(found));
    }
    await lab.tc('-n', router, 'qdisc', 'del', 'dev', 'eth1', 'clsact');
    assert.equal(measured((await ladder.ends(target, 4, { most: 1500 })) ?? NOTHING).mtu, 1500);
    await lab.ip('-n', router, 'link', 'set', 'eth1', 'mtu', '1400');
    assert.equal(await ladder.ends(target, 4, { most: 1500 }), undefined, 'only the least passes');
    assert.deepEqual(await ladder.ends({ ...target, address: '10.2.0.9' }, 4, { most: 1500 }), NOTHING);
  });

  it('is not guessed where nothing is answered', async () => {
    const result = await ladder.measure({ address: '10.2.0.9', origin: 0 }, 4, { timeoutMs: 300 });
    assert.deepEqual(result, NOTHING);
  });
});
