import assert from 'node:assert/strict';
import { it } from 'node:test';
import { readWaypoints, WAYPOINT_ANSWER } from '../../src/base/waypoint.ts';
import { DropReason, Hook } from '../../src/model/constants.gen.ts';
import { stateOf } from '../support/datapath-lab.ts';
import { probeEcho } from '../support/probe-cookie.ts';
import { A, assertDropped, describePrograms, item, OPEN, PEER } from '../support/program-cases.ts';
import { LOOPBACK, type RunResult } from '../support/program-rig.ts';

const PROBER = 77;

describePrograms('probes of health on their way', (cases) => {
  const { family, address } = cases;
  type Way = (remote: string, payload: ReturnType<typeof probeEcho>) => RunResult;
  const WAYS: readonly (readonly [string, number, 'ingress' | 'egress', Way])[] = [
    ['from_pod', Hook.fromPod, 'egress', (remote, payload) => cases.send(remote, payload)],
    ['from_netdev', Hook.fromNetdev, 'ingress', (remote, payload) => cases.receive(remote, payload)],
    ['to_pod', Hook.toPod, 'ingress', (remote, payload) => cases.deliver(remote, payload, LOOPBACK)],
  ];
  const noted = (path: number, hook: number) =>
    readWaypoints((key) => cases.rig.loaded.maps.waypoints.lookup(key), { prober: PROBER, path }, [
      hook,
      hook | WAYPOINT_ANSWER,
    ]).map(({ leg, dropReason }) => [leg, dropReason]);

  WAYS.forEach(([name, hook, direction, send], way) => {
    /** One of its own for each: what an earlier test left must not pass for what this one did. */
    const path = (i: number): number => 10 * (way + 1) + i;

    it(`are noted at ${name} where they pass, request and answer apart, and nothing of other echoes is`, () => {
      assert.notEqual(
        send(address.peer, probeEcho(family, { prober: PROBER, path: path(0) })).verdict,
        'drop',
      );
      assert.deepEqual(noted(path(0), hook), [['request', 0]]);
      send(address.peer, probeEcho(family, { prober: PROBER, path: path(1), isAnswer: true }));
      assert.deepEqual(noted(path(1), hook), [['answer', 0]]);
      send(address.peer, probeEcho(family, { prober: PROBER, path: path(2), magic: 1 }));
      assert.deepEqual(noted(path(2), hook), []);
    });

    it(`are noted at ${name} with the reason where they are dropped`, async () => {
      const only = stateOf([item(direction, PEER)]);
      await cases.rig.setPolicy(A.id, only, { ...OPEN, [direction]: true });
      assert.notEqual(
        send(address.peer, probeEcho(family, { prober: PROBER, path: path(3) })).verdict,
        'drop',
      );
      assert.deepEqual(noted(path(3), hook), [['request', 0]]);
      const denied = send(address.world, probeEcho(family, { prober: PROBER, path: path(4) }));
      assertDropped(denied, DropReason.policy);
      assert.deepEqual(noted(path(4), hook), [['request', DropReason.policy]]);
    });
  });
});
