import assert from 'node:assert/strict';
import { it } from 'node:test';
import { parseIp } from '../../src/base/ip.ts';
import { DatapathLimit, DropReason } from '../../src/model/constants.gen.ts';
import type { MapState } from '../../src/model/map-state.ts';
import { stateOf } from '../support/datapath-lab.ts';
import {
  arpPacket,
  icmp,
  icmpError,
  ipPacket,
  type L4,
  packet,
  rawL4,
  tcp,
  udp,
} from '../support/packets.ts';
import {
  A,
  ack,
  assertDropped,
  B,
  describePrograms,
  fin,
  item,
  LOCKED,
  PEER,
  syn,
} from '../support/program-cases.ts';
import type { RunResult } from '../support/program-rig.ts';

/** More than conntrack holds here. */
const FLOOD = 70_000;
/** Entries of a policy that takes many turns of the event loop to write. */
const MANY = 2000;
const INGRESS = { ingress: true, egress: false };
const EGRESS = { ingress: false, egress: true };

describePrograms('corner cases of packets', (cases) => {
  const { family, address, send, receive } = cases;
  const establish = (port: number): void => {
    assert.equal(send(address.peer, tcp(port, 80, syn)).verdict, 'pass');
    assert.equal(receive(address.peer, tcp(80, port, syn | ack)).verdict, 'redirect');
    assert.equal(send(address.peer, tcp(port, 80, ack)).verdict, 'pass');
  };

  it('corner case 9: an answer passes in the denied direction, a new flow in it does not', async () => {
    await cases.rig.setPolicy(A.id, new Map(), INGRESS);
    establish(4000);
    assertDropped(receive(address.peer, tcp(80, 4000, syn)), DropReason.policy);
    assertDropped(receive(address.peer, tcp(80, 4001, syn)), DropReason.policy);
    assert.equal(receive(address.peer, tcp(80, 4000, ack)).verdict, 'redirect');
  });

  it("corner case 10: an established flow is cut when its policy goes, is denied, or the peer's labels change", async () => {
    const allowed = stateOf([item('egress', PEER)]);
    const bits = family === 4 ? 32 : 128;
    await cases.rig.setPolicy(A.id, allowed, EGRESS);
    establish(4010);
    await cases.rig.setPolicy(A.id, new Map(), EGRESS);
    assertDropped(send(address.peer, tcp(4010, 80, ack)), DropReason.policy);
    await cases.rig.setPolicy(A.id, allowed, EGRESS);
    assert.equal(send(address.peer, tcp(4010, 80, ack)).verdict, 'pass');
    const denied = item('egress', PEER, {
      protocol: 6,
      port: 80,
      verdict: { kind: 'deny' },
      precedence: 255,
    });
    await cases.rig.setPolicy(A.id, stateOf([item('egress', PEER), denied]), EGRESS);
    assertDropped(send(address.peer, tcp(4010, 80, ack)), DropReason.policyDeny);
    await cases.rig.setPolicy(A.id, allowed, EGRESS);
    assert.equal(send(address.peer, tcp(4010, 80, ack)).verdict, 'pass');
    await cases.rig.setIdentity(`${address.peer}/${bits}`, PEER + 1);
    try {
      assertDropped(send(address.peer, tcp(4010, 80, ack)), DropReason.policy);
    } finally {
      await cases.rig.setIdentity(`${address.peer}/${bits}`, PEER);
    }
  });

  it('corner case 11: so is one that is idle, and one of UDP, also for what the other side sends', async () => {
    await cases.rig.setPolicy(A.id, stateOf([item('egress', PEER)]), { ingress: true, egress: true });
    establish(4020);
    assert.equal(send(address.peer, udp(4021, 53)).verdict, 'pass');
    assert.equal(receive(address.peer, udp(53, 4021)).verdict, 'redirect');
    await cases.rig.setPolicy(A.id, new Map(), { ingress: true, egress: true });
    assertDropped(receive(address.peer, tcp(80, 4020, ack)), DropReason.policy);
    assertDropped(receive(address.peer, udp(53, 4021)), DropReason.policy);
    assertDropped(send(address.peer, udp(4021, 53)), DropReason.policy);
  });

  it('corner case 12: the error of an allowed flow passes, one that nobody asked for does not', async () => {
    await cases.rig.setPolicy(A.id, new Map(), INGRESS);
    send(address.peer, udp(4030, 53));
    const error = (port: number): L4 => {
      const quoted = { source: address.a, destination: address.peer, payload: udp(port, 53) };
      return icmpError(family, family === 4 ? 3 : 1, family === 4 ? 3 : 4, ipPacket(quoted));
    };
    assert.equal(receive(address.otherNode, error(4030)).verdict, 'redirect');
    assertDropped(receive(address.otherNode, error(4031)), DropReason.unknownCt);
  });

  it('corner case 32: a port that is used again opens a new flow, one opened from both ends is one, half-closed ones live', async () => {
    await cases.rig.setPolicy(A.id, new Map(), INGRESS);
    establish(4040);
    send(address.peer, tcp(4040, 80, fin | ack));
    assert.equal(receive(address.peer, tcp(80, 4040, ack)).verdict, 'redirect', 'half-closed');
    assert.equal(receive(address.peer, tcp(80, 4040, fin | ack)).verdict, 'redirect');
    assertDropped(receive(address.peer, tcp(80, 4040, syn)), DropReason.policy);
    establish(4040);
    assert.equal(send(address.peer, tcp(4041, 80, syn)).verdict, 'pass');
    assert.equal(
      receive(address.peer, tcp(80, 4041, syn)).verdict,
      'redirect',
      'both SYNs are of the flow opened here',
    );
    assertDropped(receive(address.peer, tcp(80, 4042, syn)), DropReason.policy);
  });

  it('corner case 33: fragments follow their first and are dropped without it; options and extension headers are read', async () => {
    await cases.rig.setPolicy(A.id, stateOf([item('egress', PEER, { protocol: 17, port: 53 })]), EGRESS);
    const part = (id: number, offset: number, port = 53): RunResult => {
      const payload = offset === 0 ? udp(4050, port, Buffer.alloc(24)) : rawL4(17, Buffer.alloc(16));
      return send(address.peer, payload, { fragment: { id, offset, more: offset === 0 } });
    };
    assert.deepEqual([part(7, 0).verdict, part(7, 32).verdict], ['pass', 'pass']);
    // Its first was lost, or comes later.
    assertDropped(part(8, 32), DropReason.fragNotFound);
    assertDropped(part(9, 0, 54), DropReason.policy);
    assertDropped(part(9, 32), DropReason.fragNotFound);
    const extension =
      family === 4
        ? { protocol: 0, bytes: Uint8Array.of(1, 1, 1, 0) }
        : { protocol: 60, bytes: Uint8Array.of(0, 0, 1, 4, 0, 0, 0, 0) };
    const odd = { extensions: [extension] };
    assert.equal(send(address.peer, udp(4051, 53), odd).verdict, 'pass');
    assertDropped(send(address.peer, udp(4052, 54), odd), DropReason.policy);
    assert.equal(
      send(address.peer, udp(4053, 53), { ethertype: 0x8100 }).verdict,
      'drop',
      'a tag from an endpoint',
    );
  });

  const arpReply = (senderIp: string): Buffer =>
    arpPacket({ operation: 2, senderMac: A.mac, senderIp, targetIp: address.router });
  const advertisement = (target: string): Buffer =>
    packet({
      source: target,
      destination: address.node,
      sourceMac: A.mac,
      ttl: 255,
      payload: icmp(6, 136, 0, 0x60000000, parseIp(target)),
    });

  it('corner case 34: no packet in the name of another address or interface, no forged overlay, no claim of a foreign neighbour', () => {
    for (const source of [address.b, address.peer, address.node, address.nobody])
      assertDropped(send(address.world, udp(1, 2), { source }), DropReason.invalidSip);
    assertDropped(send(address.world, udp(1, 2), { sourceMac: B.mac }), DropReason.invalidSmac);
    assert.equal(send(address.world, udp(1, 2)).verdict, 'pass', 'in its own name');
    assertDropped(send(address.otherNode, udp(1, 8472)), DropReason.encapProhibited);
    assert.equal(send(address.otherNode, udp(1, 8473)).verdict, 'pass', 'no overlay');
    const claim = (senderIp: string): string =>
      cases.rig.run('from_pod', family === 4 ? arpReply(senderIp) : advertisement(senderIp)).verdict;
    assert.deepEqual([claim(address.b), claim(address.node), claim(address.a)], ['drop', 'drop', 'pass']);
  });

  it('corner case 35: while a large policy takes the place of another, what both allow passes and what both deny does not', async () => {
    // Each allows port 80 in a way of its own, so that there is no entry that a change could leave alone.
    const policy = (round: number): MapState => {
      const others = Array.from({ length: MANY }, (_, i) => item('ingress', round * 100_000 + i));
      const bits = round % 2 === 0 ? 16 : 12;
      return stateOf([...others, item('ingress', PEER, { protocol: 6, port: 80, bits })]);
    };
    await cases.rig.setPolicy(A.id, policy(1), INGRESS);
    const open = (from: number, to: number): RunResult => receive(address.peer, tcp(from, to, syn));
    assert.equal(open(4065, 80).verdict, 'redirect');
    for (let round = 2, port = 5000; round < 6; round++) {
      let turns = 0;
      let isDone = false;
      const change = cases.rig.setPolicy(A.id, policy(round), INGRESS).finally(() => {
        isDone = true;
      });
      for (; !isDone; turns++, port++) {
        assert.equal(open(port, 80).verdict, 'redirect', `a new flow, turn ${turns} of change ${round}`);
        assert.equal(receive(address.peer, tcp(4065, 80, ack)).verdict, 'redirect', 'a flow from before');
        assertDropped(open(port, 443), DropReason.policy);
        await new Promise((resolve) => setImmediate(resolve));
      }
      await change;
      assert.ok(turns > 2, 'packets came amid the change');
    }
  });

  it('corner case 36: an address that goes to another pod is judged by its new identity with the next packet', async () => {
    const bits = family === 4 ? 32 : 128;
    await cases.rig.setPolicy(A.id, stateOf([item('ingress', PEER)]), INGRESS);
    assert.equal(receive(address.peer, tcp(4060, 80, syn)).verdict, 'redirect');
    await cases.rig.setIdentity(`${address.peer}/${bits}`, PEER + 7);
    try {
      assertDropped(receive(address.peer, tcp(4060, 80, ack)), DropReason.policy);
      assertDropped(receive(address.peer, tcp(4061, 80, syn)), DropReason.policy);
    } finally {
      await cases.rig.setIdentity(`${address.peer}/${bits}`, PEER);
    }
    // An endpoint whose policy is not there yet lets nothing pass.
    const locked = { destination: address.locked };
    assertDropped(receive(address.peer, tcp(4062, 80, syn), locked), DropReason.epNotReady);
    assert.equal(cases.rig.endpoints.readPolicy(LOCKED.id).size, 0);
  });

  it('corner case 38: a policy that does not fit its map locks the endpoint, and says so', async () => {
    const many = Array.from({ length: DatapathLimit.policyEntries + 1 }, (_, i) =>
      item('ingress', 100_000 + i),
    );
    const open = stateOf([item('ingress', PEER)]);
    await cases.rig.setPolicy(A.id, open, INGRESS);
    assert.equal(receive(address.peer, tcp(4070, 80, syn)).verdict, 'redirect');
    await assert.rejects(cases.rig.setPolicy(A.id, stateOf([item('ingress', PEER), ...many]), INGRESS), {
      code: 'POLICY_WRITE',
      message: /locked/,
    });
    for (const port of [4070, 4071])
      assertDropped(receive(address.peer, tcp(port, 80, syn)), DropReason.epNotReady);
    await cases.rig.setPolicy(A.id, open, INGRESS);
    assert.equal(receive(address.peer, tcp(4072, 80, syn)).verdict, 'redirect');
  });

  it('corner case 39: a flood of flows takes no flow in use, and opens nothing that is denied', async () => {
    await cases.rig.setPolicy(A.id, new Map(), INGRESS);
    establish(4080);
    const data = packet({
      source: address.a,
      sourceMac: A.mac,
      destination: address.peer,
      payload: tcp(1, 1, syn),
    });
    const ports = family === 4 ? 34 : 54;
    const program = cases.rig.loaded.programs.from_pod;
    for (let i = 0; i < FLOOD; i++) {
      data.writeUInt32BE(1024 * 65_536 + i, ports);
      program.testRun({ data });
      if (i % 500 === 0) {
        assert.equal(receive(address.peer, tcp(80, 4080, ack)).verdict, 'redirect', `after ${i}`);
      }
    }
    assertDropped(receive(address.peer, tcp(80, 4081, syn)), DropReason.policy);
  });

  it('corner case 44: SCTP is judged by its ports', async () => {
    await cases.rig.setPolicy(A.id, stateOf([item('ingress', PEER, { protocol: 132, port: 5000 })]), INGRESS);
    const sctp = (port: number): L4 => {
      const bytes = Buffer.alloc(16);
      bytes.writeUInt16BE(7, 0);
      bytes.writeUInt16BE(port, 2);
      return rawL4(132, bytes);
    };
    assert.equal(receive(address.peer, sctp(5000)).verdict, 'redirect');
    assertDropped(receive(address.peer, sctp(5001)), DropReason.policy);
    assertDropped(receive(address.peer, tcp(7, 5000, syn)), DropReason.policy);
  });
});
