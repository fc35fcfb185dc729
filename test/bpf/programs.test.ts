import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DropReason } from '../../src/model/constants.gen.ts';
import { internetChecksum, packet, udp } from '../support/packets.ts';
import { A, assertDropped, B, describePrograms, OPEN } from '../support/program-cases.ts';
import { LOOPBACK } from '../support/program-rig.ts';

describePrograms('sources and delivery', (cases) => {
  const { family, address, send, receive, deliver } = cases;

  describe('sources', () => {
    it('drops a packet with a foreign source address', () => {
      const result = send(address.b, udp(1, 2), { source: address.nobody });
      assertDropped(result, DropReason.invalidSip);
      assert.equal(result.events[0]?.kind === 'drop' && result.events[0].direction, 'egress');
    });

    it('drops a packet with a foreign source MAC', () => {
      assertDropped(send(address.b, udp(1, 2), { sourceMac: B.mac }), DropReason.invalidSmac);
    });

    it('drops a packet from the wire that carries the address of an endpoint here', () => {
      assertDropped(receive(address.b, udp(1, 2)), DropReason.invalidSip);
    });

    it('drops a packet from the stack in the name of an endpoint that did not send it', () => {
      assertDropped(deliver(address.b, udp(1, 2), LOOPBACK), DropReason.invalidSip);
    });

    it('drops a packet to its own address', () => {
      assertDropped(send(address.a, udp(5, 5)), DropReason.invalid);
    });
  });

  describe('delivery', () => {
    it('hands a packet for a local endpoint to it: MACs, one hop less, a right checksum', () => {
      const result = send(address.b, udp(1000, 53), { ttl: 33 });
      assert.equal(result.verdict, 'redirect');
      assert.deepEqual(result.data.subarray(0, 6), Buffer.from(B.mac));
      assert.deepEqual(result.data.subarray(6, 12), Buffer.alloc(6), 'what the sender spoke to');
      assert.equal(result.data[family === 4 ? 14 + 8 : 14 + 7], 32);
      if (family === 4) assert.equal(internetChecksum(result.data.subarray(14, 34)), 0);
    });

    it('does the same on the fast path', () => {
      for (const ttl of [64, 2, 255, 200]) {
        send(address.b, udp(1000, 53));
        const result = send(address.b, udp(1000, 53), { ttl });
        assert.equal(result.verdict, 'redirect');
        assert.deepEqual(result.events, [], 'an established packet tells nothing');
        const forwarded = [cases.rig.counted('egress', 0), cases.rig.counted('ingress', 0)];
        send(address.b, udp(1000, 53), { ttl });
        assert.deepEqual(
          [cases.rig.counted('egress', 0), cases.rig.counted('ingress', 0)],
          forwarded.map((n) => n + 1),
        );
        assert.deepEqual(result.data.subarray(0, 6), Buffer.from(B.mac));
        assert.equal(result.data[family === 4 ? 14 + 8 : 14 + 7], ttl - 1);
        if (family === 4) assert.equal(internetChecksum(result.data.subarray(14, 34)), 0);
      }
    });

    it('keeps the IPv4 checksum right for every value it can have', {
      skip: family === 6 && 'IPv6 has no header checksum',
    }, () => {
      send(address.b, udp(1000, 53));
      for (let id = 0; id < 2000; id++) {
        const frame = packet({
          source: address.a,
          sourceMac: A.mac,
          destination: address.b,
          payload: udp(1000, 53),
        });
        frame.writeUInt16BE((id * 33) & 0xffff, 18);
        frame.writeUInt16BE(0, 24);
        frame.writeUInt16BE(internetChecksum(frame.subarray(14, 34)), 24);
        const { data } = cases.rig.run('from_pod', frame);
        assert.equal(internetChecksum(data.subarray(14, 34)), 0, `id ${id}`);
      }
    });

    it('leaves a packet to other machines to the stack, as it is', () => {
      const frame = packet({
        source: address.a,
        sourceMac: A.mac,
        destination: address.world,
        payload: udp(1, 2),
      });
      const result = cases.rig.run('from_pod', frame);
      assert.equal(result.verdict, 'pass');
      assert.deepEqual(result.data, frame);
    });

    it('hands a packet from the wire to the endpoint past the stack', () => {
      const result = receive(address.peer, udp(1, 2));
      assert.equal(result.verdict, 'redirect');
      assert.deepEqual(result.data.subarray(0, 6), Buffer.from(A.mac));
    });

    it('lets a packet from the wire for anybody else alone', () => {
      assert.equal(receive(address.peer, udp(1, 2), { destination: address.node }).verdict, 'next');
      assert.equal(receive(address.peer, udp(1, 2), { destination: address.world }).verdict, 'next');
    });

    it('drops a packet whose last hop this would be', () => {
      assertDropped(send(address.b, udp(1, 2), { ttl: 1 }), DropReason.ttlExceeded);
      assertDropped(receive(address.peer, udp(1, 2), { ttl: 1 }), DropReason.ttlExceeded);
    });
  });

  describe('endpoints without a policy yet', () => {
    it('drops everything to and from a locked endpoint', async () => {
      const result = send(address.locked, udp(1, 2));
      assertDropped(result, DropReason.epNotReady);
      await cases.rig.endpoints.attach(A);
      assertDropped(send(address.b, udp(1, 2)), DropReason.epNotReady);
      assertDropped(receive(address.peer, udp(1, 2)), DropReason.epNotReady);
      assertDropped(deliver(address.node, udp(1, 2), 0), DropReason.epNotReady);
      await cases.rig.setPolicy(A.id, new Map(), OPEN);
    });

    it('drops what comes from a device that is no endpoint', () => {
      const key = Buffer.alloc(4);
      key.writeUInt32LE(LOOPBACK);
      const { devices } = cases.rig.loaded.maps;
      const slot = devices.lookup(key);
      assert.ok(slot);
      devices.delete(key);
      assertDropped(send(address.b, udp(1, 2)), DropReason.epNotReady);
      devices.update(key, slot);
    });
  });
});
