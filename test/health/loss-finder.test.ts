import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { type LiveCounts, noCounts } from '../../probes/engine/index.ts';
import type { Waypoint } from '../../src/base/waypoint.ts';
import { LossFinder } from '../../src/health/index.ts';
import { NEVER_CAME } from '../../src/health/loss/loss-finder.ts';
import type { Sightings } from '../../src/health/loss/sightings.ts';
import { DropReason, Hook } from '../../src/model/constants.gen.ts';
import { type LossPoint, PROBE_KINDS } from '../../src/model/health.ts';

const NOW_MS = 100_000;
const ANSWERED_MS = 90_000;
const LEFT_MS = 99_000;

/** What a path's prober knows, and what it hears when it asks. */
interface Known {
  own: readonly Waypoint[];
  departures: readonly number[];
  peer: Sightings | undefined;
  heardMs: number;
  isRouted: boolean;
  isPeerAnswering: boolean;
}

describe('where a probe was lost', () => {
  let known: Known;

  beforeEach(() => {
    known = {
      own: [],
      departures: [LEFT_MS, LEFT_MS + 10, LEFT_MS + 20].map((ms) => ms * 1e6),
      peer: undefined,
      heardMs: 0,
      isRouted: true,
      isPeerAnswering: false,
    };
  });

  const find = (pathClass: string): Promise<LossPoint | undefined> =>
    ask(
      finderAt(() => NOW_MS),
      pathClass,
    );

  /** The reasons that one finder finds for a path from host to host, at times of our clock. */
  function keep(): (ms: number) => Promise<string | undefined> {
    let nowMs = NOW_MS;
    const finder = finderAt(() => nowMs);
    return (ms) => {
      nowMs = ms;
      return ask(finder, 'host-host').then((found) => found?.reason);
    };
  }

  function finderAt(nowMs: () => number): LossFinder {
    return new LossFinder({
      engine: {
        prober: 1,
        waypoints: () => [],
        heardNs: () => known.heardMs * 1e6,
        departuresNs: () => known.departures,
        self: () => ({ programs: { ready: true, mode: 'bpf' } }),
      },
      datapath: { read: () => known.own },
      routes: { devices: () => (known.isRouted ? [2] : []) },
      ask: () => Promise.resolve(known.peer),
      nowNs: () => nowMs() * 1e6,
    });
  }

  function ask(finder: LossFinder, pathClass: string): Promise<LossPoint | undefined> {
    const kind = PROBE_KINDS.findIndex(({ name }) => name === `${pathClass}/icmp`);
    const counts: LiveCounts = { ...noCounts(), answeredLastNs: ANSWERED_MS * 1e6 };
    const path = { peer: 'n3', kind, family: 4, address: '10.0.0.3', primary: true } as const;
    const isPeerAnswering = (): boolean => known.isPeerAnswering;
    return finder.find({ path, handle: 7, counts, self: 'n2', peerAddress: '10.0.0.3', isPeerAnswering });
  }

  const passed = (atMs: number): Waypoint => ({
    hook: Hook.fromPod,
    leg: 'request',
    atNs: atMs * 1e6,
    dropReason: 0,
  });
  const silentPeer: Sightings = { devices: true, seen: [] };

  it('is our own kernel when it came from our endpoint, and the host has no route for it', async () => {
    known.own = [passed(LEFT_MS)];
    known.isRouted = false;
    known.peer = silentPeer;
    const point = { node: 'n2', hook: 'route', leg: 'request', reason: 'no route on this node' };
    assert.deepEqual(await find('endpoint-host'), point);
  });

  it('is between us and the peer when there is a route, and the peer lives and saw nothing', async () => {
    known.own = [passed(LEFT_MS)];
    const point = { node: 'n2', hook: 'stamp', leg: 'request', reason: NEVER_CAME };
    known.peer = silentPeer;
    assert.deepEqual(await find('endpoint-host'), point);
    known.peer = undefined;
    known.heardMs = NOW_MS - 100;
    assert.deepEqual(await find('endpoint-host'), point);
    known.own = [];
    assert.deepEqual(await find('host-host'), point);
    known.isPeerAnswering = true;
    assert.equal(
      await find('host-host').then((found) => found?.reason),
      undefined,
      'it may answer no echoes',
    );
  });

  it('is not between us and a peer that was heard of before so many were lost that it is no chance', async () => {
    known.heardMs = LEFT_MS + 5;
    assert.equal(await find('host-host').then((found) => found?.reason), undefined);
    known.heardMs = LEFT_MS + 15;
    assert.equal(await find('host-host').then((found) => found?.reason), NEVER_CAME);
  });

  it('is not between us and a peer that has come back since probes left, until others leave', async () => {
    for (const says of ['its own probes', 'its answer']) {
      const reason = keep();
      known.heardMs = 0;
      known.peer = undefined;
      known.departures = [LEFT_MS, LEFT_MS + 10, LEFT_MS + 20].map((ms) => ms * 1e6);
      assert.equal(await reason(NOW_MS), undefined, 'it is cut off');
      known.heardMs = NOW_MS + 900;
      if (says === 'its answer') known.peer = silentPeer;
      assert.equal(await reason(NOW_MS + 1000), undefined, `${says}: it has come back`);
      known.departures = [1100, 1110, 1120].map((ms) => (NOW_MS + ms) * 1e6);
      known.heardMs = NOW_MS + 1500;
      assert.equal(await reason(NOW_MS + 2000), NEVER_CAME, `${says}: it lives, and these never came`);
    }
  });

  it('is where it was seen last, without a reason, when nobody knows whether the peer lives', async () => {
    known.own = [passed(LEFT_MS)];
    assert.deepEqual(await find('endpoint-host'), {
      node: 'n2',
      hook: 'from_pod',
      leg: 'request',
      reason: undefined,
    });
  });

  it('is the peer when that saw it', async () => {
    known.own = [passed(LEFT_MS)];
    known.isRouted = false;
    known.peer = {
      devices: true,
      seen: [{ hook: 'from_netdev', leg: 'request', agoMs: 900, reason: 'Policy denied' }],
    };
    assert.deepEqual(await find('endpoint-host'), {
      node: 'n3',
      hook: 'from_netdev',
      leg: 'request',
      reason: 'Policy denied',
    });
  });

  it('is the policy of a node, as the last that judges what comes for it and the first that judges what it sends', async () => {
    const seen = (hook: string, leg: 'request' | 'answer', reason?: string) =>
      ({ hook, leg, agoMs: 900, reason }) as const;
    const came = [seen('ingress', 'request'), seen('from_netdev', 'request')];
    const point = (node: string, hook: string, leg: string) => ({ node, hook, leg, reason: 'Policy denied' });
    known.peer = { devices: true, seen: [...came, seen('to_host', 'request', 'Policy denied')] };
    assert.deepEqual(await find('host-host'), point('n3', 'to_host', 'request'));
    assert.deepEqual(await find('endpoint-host'), point('n3', 'to_host', 'request'));
    const heard = [...came, seen('to_host', 'request')];
    known.peer = { devices: true, seen: [...heard, seen('from_host', 'answer', 'Policy denied')] };
    assert.deepEqual(await find('host-host'), point('n3', 'from_host', 'answer'));
    known.own = [{ ...passed(LEFT_MS), hook: Hook.fromHost, dropReason: DropReason.policy }];
    known.peer = silentPeer;
    assert.deepEqual(await find('host-host'), point('n2', 'from_host', 'request'));
    known.own = [{ ...passed(LEFT_MS), hook: Hook.toHost, leg: 'answer', dropReason: DropReason.policy }];
    assert.deepEqual(await find('host-host'), point('n2', 'to_host', 'answer'));
  });

  it('is between us and the peer when our own policy let it pass, and the peer saw nothing', async () => {
    known.own = [{ ...passed(LEFT_MS), hook: Hook.fromHost }];
    known.isRouted = false;
    known.peer = silentPeer;
    const point = { node: 'n2', hook: 'stamp', leg: 'request', reason: NEVER_CAME };
    assert.deepEqual(await find('host-host'), point);
  });

  it('is unknown when no probe was seen since the last answer', async () => {
    known.own = [passed(ANSWERED_MS - 1)];
    known.departures = [(ANSWERED_MS - 1) * 1e6];
    assert.equal(await find('endpoint-host'), undefined);
  });
});
