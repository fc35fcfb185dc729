import assert from 'node:assert/strict';
import { it } from 'node:test';
import { DropReason } from '../../src/model/constants.gen.ts';
import {
  arpPacket,
  type Extension,
  icmp,
  ipPacket,
  neighborSolicitation,
  packet,
  rawL4,
  udp,
} from '../support/packets.ts';
import { A, assertDropped, describePrograms } from '../support/program-cases.ts';

describePrograms('what one family has', (cases) => {
  const { family, address, send } = cases;

  if (family === 4) {
    it('takes packets with IPv4 options', () => {
      const options: readonly Extension[] = [
        { protocol: 0, bytes: Uint8Array.from([7, 7, 4, 0, 0, 0, 0, 0]) },
      ];
      assert.equal(send(address.b, udp(1, 2), { extensions: options }).verdict, 'redirect');
      assertDropped(
        send(address.b, udp(1, 2), { extensions: options, source: address.peer }),
        DropReason.invalidSip,
      );
    });

    it('answers ARP for any address but its own', () => {
      const request = arpPacket({
        operation: 1,
        senderMac: A.mac,
        senderIp: address.a,
        targetIp: '10.0.0.254',
      });
      const { verdict, data } = cases.rig.run('from_pod', request);
      assert.equal(verdict, 'redirect');
      const expected = arpPacket({
        operation: 2,
        senderMac: A.hostMac,
        senderIp: '10.0.0.254',
        targetIp: address.a,
        destinationMac: A.mac,
      });
      expected.set(A.mac, 14 + 18);
      assert.deepEqual(data, expected);
      const own = arpPacket({ operation: 1, senderMac: A.mac, senderIp: address.a, targetIp: address.a });
      assert.equal(cases.rig.run('from_pod', own).verdict, 'drop');
    });

    it('drops ARP in the name of others, and lets its answers to the stack', () => {
      const spoofed = arpPacket({
        operation: 2,
        senderMac: A.mac,
        senderIp: address.b,
        targetIp: address.node,
      });
      const count = cases.rig.counted('egress', DropReason.invalidSip);
      assert.equal(cases.rig.run('from_pod', spoofed).verdict, 'drop');
      assert.equal(cases.rig.counted('egress', DropReason.invalidSip), count + 1);
      const reply = arpPacket({
        operation: 2,
        senderMac: A.mac,
        senderIp: address.a,
        targetIp: address.node,
      });
      assert.equal(cases.rig.run('from_pod', reply).verdict, 'pass');
      assert.equal(cases.rig.run('to_pod', reply, 0).verdict, 'pass', 'the stack asks the endpoint');
    });
    return;
  }

  it('answers neighbour solicitations for any address but its own', () => {
    const options = { source: 'fe80::1', sourceMac: A.mac };
    const { verdict, data } = cases.rig.run(
      'from_pod',
      neighborSolicitation({ ...options, target: address.router }),
    );
    assert.equal(verdict, 'redirect');
    const target = data.subarray(14 + 8, 14 + 24);
    const answer = packet({
      source: address.router,
      destination: 'fe80::1',
      sourceMac: A.hostMac,
      destinationMac: A.mac,
      ttl: 255,
      payload: icmp(6, 136, 0, 0xe0000000, Buffer.concat([target, Buffer.from([2, 1]), A.hostMac])),
    });
    assert.deepEqual(data, answer);
    const own = cases.rig.run('from_pod', neighborSolicitation({ ...options, target: address.a }));
    assert.equal(own.verdict, 'drop');
    const probing = cases.rig.run(
      'from_pod',
      neighborSolicitation({ source: '::', sourceMac: A.mac, target: address.router }),
    );
    assert.equal(probing.verdict, 'drop', 'duplicate address detection finds nobody');
  });

  it('drops advertisements of foreign addresses and router discovery', () => {
    const advertise = (target: string): Buffer =>
      packet({
        source: target,
        destination: address.node,
        sourceMac: A.mac,
        ttl: 255,
        payload: icmp(
          6,
          136,
          0,
          0x60000000,
          Buffer.from(ipPacket({ source: target, destination: target, payload: udp(1, 1) }).subarray(8, 24)),
        ),
      });
    assert.equal(cases.rig.run('from_pod', advertise(address.a)).verdict, 'pass');
    assert.equal(cases.rig.run('from_pod', advertise(address.b)).verdict, 'drop');
    const solicit = packet({
      source: 'fe80::1',
      destination: 'ff02::2',
      sourceMac: A.mac,
      ttl: 255,
      payload: icmp(6, 133, 0, 0),
    });
    const count = cases.rig.counted('egress', DropReason.forbiddenIcmp6);
    assert.equal(cases.rig.run('from_pod', solicit).verdict, 'drop');
    assert.equal(cases.rig.counted('egress', DropReason.forbiddenIcmp6), count + 1);
  });

  it('walks known extension headers and drops what never ends', () => {
    const options = (protocol: number): Extension => ({ protocol, bytes: new Uint8Array(8) });
    const good = [0, 60, 43].map(options);
    assert.equal(send(address.b, udp(1, 2), { extensions: good }).verdict, 'redirect');
    assertDropped(
      send(address.b, udp(1, 2), { extensions: good, source: address.peer }),
      DropReason.invalidSip,
    );
    const many = Array.from({ length: 7 }, () => options(60));
    assertDropped(send(address.b, udp(1, 2), { extensions: many }), DropReason.invalidExthdr);
    assertDropped(send(address.b, rawL4(59, new Uint8Array())), DropReason.invalidExthdr);
  });
});
