import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DropReason } from '../../src/model/constants.gen.ts';
import { NODE_IDENTITY_SCOPE, ReservedIdentity } from '../../src/model/identity.ts';
import { stateOf } from '../support/datapath-lab.ts';
import {
  echo,
  icmpError,
  ipPacket,
  type L4,
  type PacketOptions,
  rawL4,
  tcp,
  udp,
} from '../support/packets.ts';
import { A, assertDropped, describePrograms, item, PEER, syn } from '../support/program-cases.ts';

describePrograms('errors, fragments and odd packets', (cases) => {
  const { family, address, send, receive, deliver } = cases;
  const IP_BYTES = family === 4 ? 20 : 40;

  describe('ICMP errors', () => {
    const unreachable = family === 4 ? ([3, 3] as const) : ([1, 4] as const);
    const tooBig = family === 4 ? ([3, 4] as const) : ([2, 0] as const);
    const expired = family === 4 ? ([11, 0] as const) : ([3, 0] as const);
    const error = ([type, code]: readonly [number, number], inner: Uint8Array): L4 =>
      icmpError(family, type, code, inner);
    /** As much of the packet as an error must quote. */
    const quoted = (options: PacketOptions): Buffer => ipPacket(options).subarray(0, IP_BYTES + 8);

    for (const [name, payload] of [
      ['UDP', udp(1111, 2222)],
      ['TCP', tcp(1111, 2222, syn)],
      ['echo', echo(family, 'request', 99)],
    ] as const) {
      it(`pass for a known flow of ${name}, whoever sends them, though ingress is denied`, async () => {
        await cases.rig.setPolicy(A.id, new Map(), { ingress: true, egress: false });
        const inner = quoted({ source: address.a, destination: address.peer, payload });
        for (const kind of [unreachable, tooBig, expired]) {
          assertDropped(receive(address.peer, error(kind, inner)), DropReason.unknownCt);
        }
        assert.equal(send(address.peer, payload).verdict, 'pass');
        for (const kind of [unreachable, tooBig, expired]) {
          assert.equal(receive(address.peer, error(kind, inner)).verdict, 'redirect');
          assert.equal(receive(address.world, error(kind, inner)).verdict, 'redirect', 'from a router');
          assert.equal(deliver(address.node, error(kind, inner), 0).verdict, 'pass', 'from this node');
        }
      });
    }

    it('end with the flow that they speak of', async () => {
      await cases.rig.setPolicy(A.id, new Map(), { ingress: true, egress: false });
      const inner = quoted({ source: address.a, destination: address.peer, payload: udp(1111, 2222) });
      send(address.peer, udp(1111, 2222));
      await cases.rig.setPolicy(A.id, new Map(), { ingress: true, egress: true });
      assertDropped(receive(address.peer, error(unreachable, inner)), DropReason.policy);
    });

    it('of an endpoint pass only for packets that were sent to it', () => {
      receive(address.peer, udp(3333, 4444));
      const inner = quoted({ source: address.peer, destination: address.a, payload: udp(3333, 4444) });
      assert.equal(send(address.peer, error(unreachable, inner)).verdict, 'pass');
      const foreign = quoted({ source: address.peer, destination: address.b, payload: udp(3333, 4444) });
      assertDropped(send(address.peer, error(unreachable, foreign)), DropReason.unknownCt);
    });

    it('reach only the sender of the packet in their body', () => {
      send(address.peer, udp(1111, 2222));
      const inner = quoted({ source: address.a, destination: address.peer, payload: udp(1111, 2222) });
      assertDropped(
        receive(address.peer, error(unreachable, inner), { destination: address.b }),
        DropReason.unknownCt,
      );
    });
  });

  describe('fragments', () => {
    const body = Buffer.alloc(64, 1);
    it('follow the first one, and are dropped without it', async () => {
      await cases.rig.setPolicy(A.id, stateOf([item('ingress', PEER, { protocol: 17, port: 53 })]), {
        ingress: true,
        egress: false,
      });
      const later = rawL4(17, body);
      const fragment = (id: number, offset: number, more: boolean) => ({ fragment: { id, offset, more } });
      assertDropped(receive(address.peer, later, fragment(1, 1480, false)), DropReason.fragNotFound);
      assert.equal(receive(address.peer, udp(9, 53, body), fragment(1, 0, true)).verdict, 'redirect');
      assert.equal(receive(address.peer, later, fragment(1, 1480, false)).verdict, 'redirect');
      assertDropped(receive(address.peer, udp(9, 54, body), fragment(2, 0, true)), DropReason.policy);
      assertDropped(receive(address.peer, later, fragment(2, 1480, false)), DropReason.fragNotFound);
    });

    it('too short for their ports are dropped', () => {
      const tiny = rawL4(6, Buffer.alloc(8));
      const result = receive(address.peer, tiny, { fragment: { id: 3, offset: 0, more: true } });
      assertDropped(result, DropReason.ctInvalidHdr);
    });

    it('of an ICMP error are dropped', () => {
      send(address.peer, udp(1111, 2222));
      const inner = ipPacket({ source: address.a, destination: address.peer, payload: udp(1111, 2222) });
      const type = family === 4 ? 3 : 1;
      const result = receive(address.peer, icmpError(family, type, 1, inner), {
        fragment: { id: 4, offset: 0, more: true },
      });
      assertDropped(result, DropReason.fragNosupport);
    });
  });

  describe('odd packets', () => {
    it('drops protocols that conntrack does not know', () => {
      assertDropped(send(address.peer, rawL4(47, Buffer.alloc(8))), DropReason.ctUnknownProto);
      assertDropped(
        send(address.peer, rawL4(family === 4 ? 58 : 1, Buffer.alloc(8))),
        DropReason.ctUnknownProto,
      );
    });

    it('drops a transport header that is cut short', () => {
      assertDropped(send(address.peer, rawL4(17, Buffer.alloc(2))), DropReason.ctInvalidHdr);
      assertDropped(send(address.peer, rawL4(6, Buffer.alloc(13))), DropReason.ctInvalidHdr);
    });

    it('drops what is neither IP nor ARP from an endpoint, and leaves it alone on the wire', () => {
      assertDropped(send(address.b, udp(1, 2), { ethertype: 0x88cc }), DropReason.unknownL3);
      assert.equal(receive(address.peer, udp(1, 2), { ethertype: 0x88cc }).verdict, 'next');
    });

    it('drops a header that lies about its version', () => {
      const ethertype = family === 4 ? 0x86dd : 0x0800;
      assertDropped(send(address.b, udp(1, 2, Buffer.alloc(64)), { ethertype }), DropReason.invalid);
    });

    it('drops overlay packets from an endpoint to nodes', async () => {
      const bits = family === 4 ? 32 : 128;
      for (const identity of [ReservedIdentity.kubeApiserver, NODE_IDENTITY_SCOPE + 5]) {
        await cases.rig.setIdentity(`${address.otherNode}/${bits}`, identity);
        assertDropped(send(address.otherNode, udp(1, 8472)), DropReason.encapProhibited);
      }
      await cases.rig.setIdentity(`${address.otherNode}/${bits}`, ReservedIdentity.remoteNode);
      assertDropped(send(address.node, udp(1, 8472)), DropReason.encapProhibited);
      assertDropped(send(address.otherNode, udp(1, 8472)), DropReason.encapProhibited);
      assert.equal(send(address.world, udp(1, 8472)).verdict, 'pass');
    });

    it('judges SCTP by its ports', async () => {
      await cases.rig.setPolicy(A.id, stateOf([item('ingress', PEER, { protocol: 132, port: 5000 })]), {
        ingress: true,
        egress: false,
      });
      const sctp = (port: number): L4 => {
        const bytes = Buffer.alloc(16);
        bytes.writeUInt16BE(7, 0);
        bytes.writeUInt16BE(port, 2);
        return rawL4(132, bytes);
      };
      assert.equal(receive(address.peer, sctp(5000)).verdict, 'redirect');
      assertDropped(receive(address.peer, sctp(5001)), DropReason.policy);
    });
  });
});
