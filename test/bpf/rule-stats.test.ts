import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { indexKey } from '../../src/datapath/struct-layout.ts';
import { type RuleConnections, UNCOUNTED_RULES } from '../../src/datapath/types.ts';
import { DatapathLimit, DropReason } from '../../src/model/constants.gen.ts';
import type { MapStateEntry, MapStateKey } from '../../src/model/map-state.ts';
import { stateOf } from '../support/datapath-lab.ts';
import { tcp, udp } from '../support/packets.ts';
import {
  A,
  ack,
  assertDropped,
  B,
  describePrograms,
  fin,
  item,
  PEER,
  syn,
} from '../support/program-cases.ts';

const INGRESS = { ingress: true, egress: false };
const EGRESS = { ingress: false, egress: true };

function ofRule(
  ruleId: number,
  { key, entry }: { key: MapStateKey; entry: MapStateEntry },
): { key: MapStateKey; entry: MapStateEntry } {
  return { key, entry: { ...entry, ruleId } };
}

describePrograms('connections of rules', (cases) => {
  const { address, send, receive } = cases;
  const counted = async (ruleId: number): Promise<RuleConnections | undefined> =>
    (await cases.rig.ruleConnections()).get(ruleId);
  const forget = (): Promise<void> => cases.rig.retainRuleConnections(new Set());

  describe('connections of rules', () => {
    it('counts each new flow once for its rule, whether or not anybody takes the events', async () => {
      await forget();
      const entries = [
        ofRule(11, item('ingress', PEER, { protocol: 6, port: 80 })),
        ofRule(12, item('ingress', PEER, { protocol: 6, port: 81, verdict: { kind: 'deny' } })),
        ofRule(
          13,
          item('ingress', PEER, { port: 82, protocol: 6, verdict: { kind: 'redirect', proxyPort: 9 } }),
        ),
      ];
      await cases.rig.setPolicy(A.id, stateOf(entries), INGRESS);
      cases.rig.setEventKinds(0);
      try {
        for (const port of [80, 81, 82])
          for (const from of [1, 2]) receive(address.peer, tcp(from, port, syn));
      } finally {
        cases.rig.setEventKinds(0xff);
      }
      assert.deepEqual(await counted(11), { allowed: 2, denied: 0, redirected: 0 });
      assert.deepEqual(await counted(12), { allowed: 0, denied: 2, redirected: 0 });
      assert.deepEqual(await counted(13), { allowed: 0, denied: 0, redirected: 2 });
    });

    it('does not count what follows: later packets, replies, the SYN again, a verdict renewed by a new epoch', async () => {
      await forget();
      const policy = stateOf([ofRule(11, item('ingress', PEER, { protocol: 6, port: 80 }))]);
      await cases.rig.setPolicy(A.id, policy, INGRESS);
      receive(address.peer, tcp(1, 80, syn));
      receive(address.peer, tcp(1, 80, syn));
      send(address.peer, tcp(80, 1, syn | ack));
      receive(address.peer, tcp(1, 80, ack));
      await cases.rig.setPolicy(A.id, policy, INGRESS);
      receive(address.peer, tcp(1, 80, ack));
      send(address.peer, tcp(80, 1, ack));
      assert.deepEqual(await counted(11), { allowed: 1, denied: 0, redirected: 0 });
    });

    it('counts a flow with the same ports as one that ended', async () => {
      await forget();
      await cases.rig.setPolicy(A.id, stateOf([ofRule(11, item('ingress', PEER))]), INGRESS);
      receive(address.peer, tcp(1, 80, syn));
      receive(address.peer, tcp(1, 80, fin | ack));
      send(address.peer, tcp(80, 1, fin | ack));
      receive(address.peer, tcp(1, 80, syn));
      assert.equal((await counted(11))?.allowed, 2);
    });

    it('counts both ends of a flow between two endpoints, each for its rule', async () => {
      await forget();
      await cases.rig.setPolicy(A.id, stateOf([ofRule(21, item('egress', B.identity))]), EGRESS);
      await cases.rig.setPolicy(B.id, stateOf([ofRule(22, item('ingress', A.identity))]), INGRESS);
      send(address.b, udp(1, 53));
      assert.deepEqual([(await counted(21))?.allowed, (await counted(22))?.allowed], [1, 1]);
    });

    it('does not count running flows that a policy ends as new ones', async () => {
      await forget();
      await cases.rig.setPolicy(A.id, stateOf([ofRule(11, item('ingress', PEER))]), INGRESS);
      receive(address.peer, tcp(1, 80, syn));
      const denied = ofRule(12, item('ingress', PEER, { verdict: { kind: 'deny' } }));
      await cases.rig.setPolicy(A.id, stateOf([denied]), INGRESS);
      assertDropped(receive(address.peer, tcp(1, 80, ack)), DropReason.policyDeny);
      assert.equal(await counted(12), undefined);
      assertDropped(receive(address.peer, tcp(2, 80, syn)), DropReason.policyDeny);
      assert.equal((await counted(12))?.denied, 1);
    });

    it('counts nothing for what no rule decided, and forgets the rules that are gone', async () => {
      await forget();
      await cases.rig.setPolicy(
        A.id,
        stateOf([ofRule(11, item('ingress', PEER, { protocol: 17 }))]),
        INGRESS,
      );
      receive(address.peer, tcp(1, 80, syn));
      assert.equal((await cases.rig.ruleConnections()).size, 0);
      receive(address.peer, udp(1, 80));
      await cases.rig.setPolicy(
        A.id,
        stateOf([ofRule(14, item('ingress', PEER, { protocol: 17 }))]),
        INGRESS,
      );
      receive(address.peer, udp(2, 80));
      await cases.rig.retainRuleConnections(new Set([14]));
      assert.deepEqual([...(await cases.rig.ruleConnections()).keys()], [14]);
    });

    it('counts the flows of rules that find no room in one place, until rules are gone', async () => {
      await forget();
      const { ruleStats } = cases.rig.loaded.maps;
      const others = Array.from({ length: DatapathLimit.ruleStats - 1 }, (_, i) => 1000 + i);
      const room = Buffer.alloc(others.length * ruleStats.valueStride);
      ruleStats.updateBatch(Buffer.concat(others.map(indexKey)), room, others.length);
      await cases.rig.setPolicy(A.id, stateOf([ofRule(11, item('ingress', PEER))]), INGRESS);
      receive(address.peer, tcp(1, 80, syn));
      receive(address.peer, tcp(2, 80, syn));
      assert.equal(await counted(11), undefined);
      assert.equal((await counted(UNCOUNTED_RULES))?.allowed, 2);
      await forget();
      receive(address.peer, tcp(3, 80, syn));
      assert.deepEqual([(await counted(11))?.allowed, (await counted(UNCOUNTED_RULES))?.allowed], [1, 2]);
    });
  });
});
