import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DropReason } from '../../src/model/constants.gen.ts';
import { EMPTY_MAP_STATE } from '../../src/model/map-state.ts';
import { stateOf } from '../support/datapath-lab.ts';
import { echo, tcp, udp } from '../support/packets.ts';
import {
  A,
  ack,
  assertDropped,
  B,
  CT_ENTRY_BYTES,
  describePrograms,
  fin,
  item,
  OPEN,
  PEER,
  rst,
  syn,
} from '../support/program-cases.ts';

describePrograms('flows', (cases) => {
  const { family, address, send, receive } = cases;

  describe('flows', () => {
    it('lets replies through the direction that is denied', async () => {
      await cases.rig.setPolicy(A.id, new Map(), { ingress: true, egress: false });
      assert.equal(send(address.peer, tcp(4000, 80, syn)).verdict, 'pass');
      assert.equal(receive(address.peer, tcp(80, 4000, syn | ack)).verdict, 'redirect');
      assert.equal(receive(address.peer, tcp(80, 4000, ack)).verdict, 'redirect');
      assertDropped(receive(address.peer, tcp(81, 4000, ack)), DropReason.policy);
    });

    it('does not take a SYN from the answering side for a reply', async () => {
      await cases.rig.setPolicy(A.id, new Map(), { ingress: true, egress: false });
      send(address.peer, tcp(4000, 80, syn));
      receive(address.peer, tcp(80, 4000, syn | ack));
      assertDropped(receive(address.peer, tcp(80, 4000, syn)), DropReason.policy);
      assert.equal(receive(address.peer, tcp(80, 4000, ack)).verdict, 'redirect', 'the flow lives on');
    });

    it('judges a SYN on a flow that is closing as a new flow', async () => {
      await cases.rig.setPolicy(A.id, new Map(), { ingress: true, egress: false });
      send(address.peer, tcp(4000, 80, syn));
      receive(address.peer, tcp(80, 4000, syn | ack));
      send(address.peer, tcp(4000, 80, fin | ack));
      receive(address.peer, tcp(80, 4000, fin | ack));
      assert.equal(receive(address.peer, tcp(80, 4000, ack)).verdict, 'redirect', 'the last of it passes');
      assertDropped(receive(address.peer, tcp(80, 4000, syn)), DropReason.policy);
      assert.equal(send(address.peer, tcp(4000, 80, syn)).verdict, 'pass');
    });

    it('judges a packet of TCP without a flow as new in its direction', async () => {
      await cases.rig.setPolicy(A.id, new Map(), { ingress: true, egress: false });
      assertDropped(receive(address.peer, tcp(80, 4000, ack)), DropReason.policy);
      assert.equal(send(address.peer, tcp(4000, 80, ack)).verdict, 'pass');
    });

    it('ends an established flow when its policy goes, both ways, and lets a new policy revive it', async () => {
      const enforced = { ingress: true, egress: true };
      const allowed = stateOf([item('egress', PEER)]);
      for (const [request, reply] of [
        [tcp(4000, 80, ack), tcp(80, 4000, ack)],
        [udp(4000, 53), udp(53, 4000)],
        [echo(family, 'request', 77), echo(family, 'reply', 77)],
      ] as const) {
        await cases.rig.setPolicy(A.id, allowed, enforced);
        assert.equal(send(address.peer, request).verdict, 'pass');
        assert.equal(receive(address.peer, reply).verdict, 'redirect');
        await cases.rig.setPolicy(A.id, new Map(), enforced);
        assertDropped(receive(address.peer, reply), DropReason.policy);
        assertDropped(send(address.peer, request), DropReason.policy);
        await cases.rig.setPolicy(A.id, allowed, enforced);
        assert.equal(send(address.peer, request).verdict, 'pass');
      }
    });

    it('judges anew when the identity of the peer or of the endpoint changes', async () => {
      const host = family === 4 ? 32 : 128;
      await cases.rig.setPolicy(A.id, stateOf([item('egress', PEER)]), { ingress: false, egress: true });
      assert.equal(send(address.peer, udp(1, 2)).verdict, 'pass');
      await cases.rig.setIdentity(`${address.peer}/${host}`, PEER + 1);
      assertDropped(send(address.peer, udp(1, 2)), DropReason.policy);
      await cases.rig.setIdentity(`${address.peer}/${host}`, PEER);
      await cases.rig.setPolicy(B.id, stateOf([item('ingress', A.identity)]), {
        ingress: true,
        egress: false,
      });
      await cases.rig.setPolicy(A.id, new Map(), OPEN);
      const seen = send(address.b, udp(1, 2));
      assert.equal(seen.verdict, 'redirect', JSON.stringify(seen.events));
      await cases.rig.endpoints.applyPolicy(A.id, EMPTY_MAP_STATE, { ...OPEN, identity: 1001 });
      assertDropped(send(address.b, udp(1, 2)), DropReason.policy);
      await cases.rig.endpoints.applyPolicy(A.id, EMPTY_MAP_STATE, { ...OPEN, identity: A.identity });
    });

    it('closes a flow of TCP with a reset', async () => {
      await cases.rig.setPolicy(A.id, new Map(), { ingress: true, egress: false });
      send(address.peer, tcp(4000, 80, syn));
      receive(address.peer, tcp(80, 4000, rst | ack));
      assertDropped(receive(address.peer, tcp(80, 4000, syn)), DropReason.policy);
      assert.equal(send(address.peer, tcp(4000, 80, syn)).verdict, 'pass');
    });

    it('forgets a flow that is past its lifetime, though nobody removed its entry', async () => {
      await cases.rig.setPolicy(A.id, new Map(), { ingress: true, egress: false });
      send(address.peer, udp(4000, 53));
      assert.equal(receive(address.peer, udp(53, 4000)).verdict, 'redirect');
      const map = family === 4 ? cases.rig.loaded.maps.ct4 : cases.rig.loaded.maps.ct6;
      const key = map.nextKey(undefined);
      const entry = key && map.lookup(key);
      assert.ok(key && entry?.length === CT_ENTRY_BYTES);
      const [seen, lifetime] = [entry.readUInt32LE(0), entry.readUInt32LE(4)];
      entry.writeUInt32LE((seen - lifetime - 2) >>> 0, 0);
      map.update(key, entry);
      assertDropped(receive(address.peer, udp(53, 4000)), DropReason.policy);
    });

    it('keeps two pings of one identifier in opposite directions apart', async () => {
      await cases.rig.setPolicy(A.id, new Map(), { ingress: true, egress: false });
      assert.equal(send(address.peer, echo(family, 'request', 5)).verdict, 'pass');
      assert.equal(receive(address.peer, echo(family, 'reply', 5)).verdict, 'redirect');
      assertDropped(receive(address.peer, echo(family, 'request', 5)), DropReason.policy);
      assertDropped(receive(address.peer, echo(family, 'reply', 6)), DropReason.policy);
    });
  });
});
