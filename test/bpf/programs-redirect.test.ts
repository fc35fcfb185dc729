import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseIp } from '../../src/base/ip.ts';
import { conntrackKey } from '../../src/datapath/flow-lookup.ts';
import { ctEntryLayout } from '../../src/datapath/map-layouts.ts';
import { CtFlag, DropReason, PacketMark } from '../../src/model/constants.gen.ts';
import { stateOf } from '../support/datapath-lab.ts';
import { icmp, icmpError, ipPacket, packet, rawL4, tcp, udp } from '../support/packets.ts';
import {
  A,
  ack,
  assertDropped,
  B,
  describePrograms,
  fin,
  item,
  OPEN,
  PEER,
  rst,
  syn,
} from '../support/program-cases.ts';
import type { RunResult } from '../support/program-rig.ts';

const INGRESS = { ingress: true, egress: false };
const EGRESS = { ingress: false, egress: true };
const PORTS = { egress: 11_001, ingress: 11_002 } as const;
const { egress, ingress } = PORTS;
const to = (proxyPort: number) => ({ kind: 'redirect', proxyPort }) as const;

describePrograms('redirect', (cases) => {
  const { family, address, send, receive, deliver } = cases;
  const tcp80 = { protocol: 6, port: 80 };

  const redirectEgress = (peer = B.identity) =>
    cases.rig.setPolicy(A.id, stateOf([item('egress', peer, { ...tcp80, verdict: to(egress) })]), EGRESS);
  const redirectIngress = () =>
    cases.rig.setPolicy(
      B.id,
      stateOf([item('ingress', A.identity, { ...tcp80, verdict: to(ingress) })]),
      INGRESS,
    );

  function verdictsOf(result: RunResult): readonly number[] {
    return result.events.flatMap((event) => (event.kind === 'policy-verdict' ? [event.verdict] : []));
  }

  function entryOf(other: string, clientPort: number, port: number, protocol = 6) {
    const client = { address: parseIp(address.a), port: clientPort };
    const { key, clientSide } = conntrackKey(client, { address: parseIp(other), port }, protocol);
    const { ct4, ct6 } = cases.rig.loaded.maps;
    const value = (family === 4 ? ct4 : ct6).lookup(key);
    assert.ok(value, 'tracked');
    const entry = ctEntryLayout.decode(value);
    const proxied = [CtFlag.proxyA, CtFlag.proxyB].map((flag) => (entry.flags & flag) !== 0);
    return { ...entry, client: proxied[clientSide], server: proxied[1 - clientSide] };
  }

  /** From the stack of the node, by a socket with this mark. */
  const fromStack = (source: string, payload: ReturnType<typeof tcp>, mark: number): RunResult =>
    cases.rig.run('to_pod', packet({ source, destination: address.a, payload }), 0, mark);

  describe('a redirected flow', () => {
    for (const [name, set, client, server, port] of [
      ['the initiator', [redirectEgress], true, false, egress],
      ['the responder', [redirectIngress], false, true, ingress],
      ['both, by the initiator’s port', [redirectEgress, redirectIngress], true, true, egress],
    ] as const)
      it(`is marked for ${name}, told with the port, and dropped where no socket takes it`, async () => {
        for (const each of set) await each();
        const before = cases.rig.counted('egress', DropReason.proxyLookupFailed);
        const result = send(address.b, tcp(4000, 80, syn));
        assertDropped(result, DropReason.proxyLookupFailed);
        assert.equal(cases.rig.counted('egress', DropReason.proxyLookupFailed), before + 1);
        assert.deepEqual(verdictsOf(result), [...(client ? [egress] : []), ...(server ? [ingress] : [])]);
        const entry = entryOf(address.b, 4000, 80);
        assert.deepEqual([entry.client, entry.server, entry.proxyPort], [client, server, port]);
      });

    it('never takes the fast path', async () => {
      await redirectEgress();
      send(address.b, tcp(4000, 80, syn));
      for (let i = 0; i < 3; i++)
        assertDropped(send(address.b, tcp(4000, 80, ack)), DropReason.proxyLookupFailed);
    });

    it('was direct before, and passes no further packet past the proxy', async () => {
      for (let i = 0; i < 3; i++)
        assert.equal(send(address.b, tcp(4000, 80, i === 0 ? syn : ack)).verdict, 'redirect');
      await redirectEgress();
      assertDropped(send(address.b, tcp(4000, 80, ack)), DropReason.proxyLookupFailed);
      await cases.rig.setPolicy(A.id, new Map(), OPEN);
      // It stays with the proxy until it ends.
      assertDropped(send(address.b, tcp(4000, 80, ack)), DropReason.proxyLookupFailed);
      send(address.b, tcp(4000, 80, rst));
      assert.equal(send(address.b, tcp(4000, 80, syn)).verdict, 'redirect');
    });

    it('from the node goes back in at the device, where a socket can be given to it', async () => {
      const entry = item('ingress', 1, { ...tcp80, verdict: to(ingress) });
      await cases.rig.setPolicy(A.id, stateOf([entry]), INGRESS);
      const result = deliver(address.node, tcp(4000, 80, syn), 0);
      assert.equal(result.verdict, 'redirect');
      assert.deepEqual(verdictsOf(result), [ingress]);
      const data = packet({ source: address.node, destination: address.a, payload: tcp(4000, 80, syn) });
      assertDropped(cases.rig.run('from_pod', data, 1, PacketMark.returned), DropReason.proxyLookupFailed);
      const other = packet({ source: address.node, destination: address.a, payload: tcp(4001, 80, syn) });
      assertDropped(cases.rig.run('from_pod', other, 1, PacketMark.returned), DropReason.proxyLookupFailed);
    });

    it('of a protocol that no proxy speaks is dropped for that', async () => {
      await cases.rig.setPolicy(A.id, stateOf([item('egress', 0, { verdict: to(egress) })]), EGRESS);
      assertDropped(send(address.world, rawL4(132, Buffer.alloc(32, 1))), DropReason.proxyUnknownProto);
    });

    it('in pieces is dropped before the stack could put it together', async () => {
      await cases.rig.setPolicy(
        A.id,
        stateOf([item('egress', 0, { protocol: 17, verdict: to(egress) })]),
        EGRESS,
      );
      const whole = send(address.world, udp(4000, 53, Buffer.alloc(16)));
      assertDropped(whole, DropReason.proxyLookupFailed);
      if (family === 6) return;
      const pieces = packet({
        source: address.a,
        sourceMac: A.mac,
        destination: address.world,
        payload: udp(4000, 53, Buffer.alloc(16)),
      });
      // More fragments, at offset 0; the header's checksum is not looked at here.
      pieces.writeUInt16BE(0x2000, 14 + 6);
      assertDropped(cases.rig.run('from_pod', pieces), DropReason.fragNosupport);
    });

    it('has its ICMP errors told to the stack, which knows the socket', async () => {
      await redirectEgress(PEER);
      send(address.peer, tcp(4000, 80, syn));
      const inner = ipPacket({ source: address.a, destination: address.peer, payload: tcp(4000, 80, syn) });
      const unreachable = icmpError(family, family === 4 ? 3 : 1, family === 4 ? 3 : 4, inner);
      assert.equal(receive(address.peer, unreachable).verdict, 'pass');
    });
  });

  describe('a packet with the mark of a proxy', () => {
    it('passes for a flow of the proxy, from whatever address, as long as policy lets the flow', async () => {
      await redirectEgress();
      send(address.b, tcp(4000, 80, syn));
      const answer = tcp(80, 4000, syn | ack);
      assert.equal(fromStack(address.b, answer, PacketMark.fromProxy).verdict, 'pass');
      assertDropped(fromStack(address.b, answer, 0), DropReason.invalidSip);
      await cases.rig.setPolicy(A.id, new Map(), EGRESS);
      assertDropped(fromStack(address.b, answer, PacketMark.fromProxy), DropReason.policy);
    });

    it('is nothing for a direct flow, nor from outside', async () => {
      send(address.b, tcp(4000, 80, syn));
      assertDropped(fromStack(address.b, tcp(80, 4000, ack), PacketMark.fromProxy), DropReason.invalidSip);
      const data = packet({ source: address.b, destination: address.a, payload: tcp(80, 4000, ack) });
      assertDropped(cases.rig.run('to_pod', data, 77, PacketMark.fromProxy), DropReason.invalidSip);
    });

    it('says nothing of the end of a flow, but that it was reset', async () => {
      await redirectEgress();
      send(address.b, tcp(4000, 80, syn));
      const closing = CtFlag.closingA | CtFlag.closingB;
      fromStack(address.b, tcp(80, 4000, fin | ack), PacketMark.fromProxy);
      assert.equal(entryOf(address.b, 4000, 80).flags & closing, 0);
      fromStack(address.b, tcp(80, 4000, rst), PacketMark.fromProxy);
      assert.equal(entryOf(address.b, 4000, 80).flags & closing, closing);
    });
  });

  describe('policy of other protocols', () => {
    const icmpProtocol = family === 4 ? 1 : 58;

    it('matches the type of an ICMP message and not its code', async () => {
      const timestamp = family === 4 ? 13 : 139;
      const entries = [item('egress', 0, { protocol: icmpProtocol, port: timestamp })];
      await cases.rig.setPolicy(A.id, stateOf(entries), EGRESS);
      for (const code of [0, 1, 255])
        assert.equal(send(address.world, icmp(family, timestamp, code, 7)).verdict, 'pass', `code ${code}`);
      assertDropped(send(address.world, icmp(family, timestamp + 1, 0, 7)), DropReason.policy);
    });

    it('matches the type 0 too, and nothing else by it', async () => {
      const entries = [item('egress', 0, { protocol: icmpProtocol, port: 0, bits: 16 })];
      await cases.rig.setPolicy(A.id, stateOf(entries), EGRESS);
      assert.equal(send(address.world, icmp(family, 0, 0, 7 << 16)).verdict, 'pass');
      assertDropped(send(address.world, icmp(family, family === 4 ? 8 : 128, 0, 7 << 16)), DropReason.policy);
    });

    it('matches ports of SCTP, and tells it from TCP', async () => {
      const sctp = (port: number) => {
        const bytes = Buffer.alloc(28);
        bytes.writeUInt16BE(4000, 0);
        bytes.writeUInt16BE(port, 2);
        return rawL4(132, bytes);
      };
      await cases.rig.setPolicy(A.id, stateOf([item('egress', 0, { protocol: 132, port: 80 })]), EGRESS);
      assert.equal(send(address.world, sctp(80)).verdict, 'pass');
      assertDropped(send(address.world, sctp(81)), DropReason.policy);
      assertDropped(send(address.world, tcp(4000, 80, syn)), DropReason.policy);
    });
  });
});
