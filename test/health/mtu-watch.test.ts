import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { createProbeEngine, type PathCounts, type ProbeEngine } from '../../probes/engine/index.ts';
import type { Instant } from '../../src/health/clock.ts';
import { systemClock } from '../../src/health/clock.ts';
import { MtuWatch } from '../../src/health/mtu/watch.ts';
import { PathTracker } from '../../src/health/state/path-tracker.ts';
import { PROBE_KINDS } from '../../src/model/health.ts';
import { NetnsLab } from '../support/netns.ts';
import { rootOrSkip } from '../support/privilege.ts';
import { until } from '../support/until.ts';

const KIND = PROBE_KINDS.findIndex(({ name }) => name === 'host-host/icmp');
const now = (): Instant => ({ nowMs: systemClock.nowMs(), wallMs: systemClock.wallMs() });

describe('watch over the MTU of paths', { skip: rootOrSkip() }, () => {
  const lab = new NetnsLab('w');
  let [here, router] = ['', ''];
  let netnsFd = -1;
  let engine: ProbeEngine;
  let watch: MtuWatch;
  let trackers: PathTracker[] = [];

  /** a - router - far. */
  before(async () => {
    const far = await lab.namespace('f');
    [here, router] = [await lab.namespace('a'), await lab.namespace('r')];
    await lab.veth(
      { name: 'eth0', netns: here, addresses: ['10.1.0.1/24'] },
      { name: 'eth0', netns: router, addresses: ['10.1.0.2/24'] },
    );
    await lab.veth(
      { name: 'eth1', netns: router, addresses: ['10.2.0.1/24'] },
      { name: 'eth0', netns: far, addresses: ['10.2.0.2/24'] },
    );
    await lab.sysctl(router, 'net.ipv4.ip_forward=1', 'net.ipv4.icmp_ratelimit=0');
    await lab.ip('-n', here, 'route', 'add', '10.2.0.0/24', 'via', '10.1.0.2');
    await lab.ip('-n', far, 'route', 'add', '10.1.0.0/24', 'via', '10.2.0.1');
    netnsFd = openSync(lab.path(here), 'r');
    engine = createProbeEngine({ origins: [{ netnsFd }], mode: 'raw', pathsMax: 512 });
    await engine.start();
    for (const address of ['10.1.0.2', '10.2.0.2']) {
      const path = { peer: address, kind: KIND, family: 4, address, primary: true } as const;
      const tracker = new PathTracker(path, 1000, now());
      tracker.onEvent({ kind: 'answer', reason: undefined }, now());
      trackers.push(tracker);
    }
    watch = new MtuWatch({ engine, origins: { host: 0 }, clock: systemClock, trackers: () => trackers });
    watch.start();
  });

  after(async () => {
    await watch.stop();
    await watch.stop();
    await engine.stop();
    closeSync(netnsFd);
    await lab.cleanUp();
  });

  const answered = (): PathCounts => ({ ...engine.counts(-1), sent: 1, answered: 1 });
  const known = (i: number): unknown => trackers[i]?.mtu;

  it('knows that of every path soon after the start', async () => {
    await until(() => trackers.every(({ mtu }) => mtu !== undefined));
    assert.deepEqual(
      [known(0), known(1)],
      [
        { bytes: 1500, blackHole: false },
        { bytes: 1500, blackHole: false },
      ],
    );
  });

  it('tells a black hole soon, with the size that passes, and takes no path that is down for one', async () => {
    // Whatever the router itself has to say goes nowhere: neither "too big" nor its own answers.
    await lab.ip('-n', router, 'rule', 'add', 'iif', 'lo', 'to', '10.1.0.1', 'lookup', '99');
    await lab.ip('-n', router, 'route', 'add', 'blackhole', 'default', 'table', '99');
    await lab.ip('-n', router, 'link', 'set', 'eth1', 'mtu', '1400');
    await until(() => trackers[1]?.mtu?.blackHole === true);
    assert.deepEqual(known(1), { bytes: 1400, blackHole: true });
    assert.deepEqual(known(0), { bytes: 1500, blackHole: false });
    const [, tracker] = trackers;
    assert.equal(tracker?.onCounts(answered(), now())?.reason, 'packets of more than 1400 bytes vanish');
    assert.equal(tracker?.state, 'degraded');
    assert.deepEqual(
      [tracker?.report(0, undefined).pathMtu, tracker?.report(0, undefined).blackHole],
      [1400, true],
    );
  });

  it('sees that it is gone', async () => {
    await lab.ip('-n', router, 'link', 'set', 'eth1', 'mtu', '1500');
    await until(() => trackers[1]?.mtu?.blackHole === false);
    assert.deepEqual(known(1), { bytes: 1500, blackHole: false });
    assert.equal(trackers[1]?.onCounts(answered(), now())?.to, 'reachable');
  });

  it('follows a router that says "too big"', async () => {
    await lab.ip('-n', router, 'rule', 'del', 'iif', 'lo', 'to', '10.1.0.1', 'lookup', '99');
    await lab.ip('-n', router, 'link', 'set', 'eth1', 'mtu', '1420');
    await until(() => trackers[1]?.mtu?.bytes === 1420);
    assert.equal(trackers[1]?.mtu?.blackHole, false);
  });

  it('sees soon that such a link is as wide as before', async () => {
    await lab.ip('-n', router, 'link', 'set', 'eth1', 'mtu', '1500');
    await until(() => trackers[1]?.mtu?.bytes === 1500, 40_000);
    assert.equal(trackers[1]?.mtu?.blackHole, false);
  });

  it('forgets paths that are no more', async () => {
    trackers = [];
    await until(() => engine.self().paths === 0);
  });
});
