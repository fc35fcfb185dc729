import assert from 'node:assert/strict';
import { it } from 'node:test';
import { parseIp } from '../../src/base/ip.ts';
import { DropReason } from '../../src/model/constants.gen.ts';
import { stateOf } from '../support/datapath-lab.ts';
import { readPacket } from '../support/packet-reader.ts';
import { icmpError, ipPacket, packet, rawL4, tcp, udp } from '../support/packets.ts';
import {
  A,
  ack,
  assertDropped,
  B,
  describePrograms,
  item,
  OPEN,
  PEER,
  syn,
} from '../support/program-cases.ts';
import { testEndpoint } from '../support/program-rig.ts';
import { serviceCases } from '../support/service-cases.ts';

const EGRESS = { ingress: false, egress: true };
const FLOWS = 60;

describePrograms('attacks by way of services', (cases) => {
  const { family, address, send, receive } = cases;
  const { at, serve, path } = serviceCases(cases);
  const { vip } = at;
  const [other] = at.others;
  const onlyPeer = (protocol = 6): Promise<void> =>
    cases.rig.setPolicy(A.id, stateOf([item('egress', PEER, { protocol, port: 8080 })]), EGRESS);

  it('reach no backend but those that policy allows, whichever a flow gets', async () => {
    serve([address.peer, other]);
    await onlyPeer();
    let dropped = 0;
    for (let port = 6000; port < 6000 + FLOWS; port++)
      for (const flags of [syn, ack, ack]) {
        const result = send(vip, tcp(port, 80, flags));
        if (result.verdict === 'drop') dropped++;
        else assert.equal(readPacket(result.data).destination, address.peer);
      }
    assert.ok(dropped > 0 && dropped < 3 * FLOWS, `${dropped}`);
  });

  it('take no flow that is allowed along to a backend that is not, when backends change', async () => {
    serve([address.peer]);
    await onlyPeer();
    for (const flags of [syn, ack, ack]) send(vip, tcp(6100, 80, flags));
    receive(address.peer, tcp(8080, 6100, ack));
    serve([other]);
    for (let i = 0; i < 3; i++) assertDropped(send(vip, tcp(6100, 80, ack)), DropReason.policy);
    serve([address.peer, [other, 'terminating']]);
    assertDropped(send(vip, tcp(6100, 80, ack)), DropReason.policy);
    for (const flags of [syn, ack])
      assert.equal(path(send(vip, tcp(6100, 80, flags))), `${address.a}:6100 > ${address.peer}:8080`);
  });

  it('leave the next pod that has the address of a backend to its own policy', async () => {
    const next = testEndpoint(4, { identity: 5000, ipv4: B.ipv4, ipv6: B.ipv6 });
    serve([address.b]);
    await cases.rig.setPolicy(A.id, stateOf([item('egress', B.identity)]), EGRESS);
    for (const flags of [syn, ack, ack]) assert.equal(send(vip, tcp(6200, 80, flags)).verdict, 'redirect');
    cases.rig.endpoints.detach(B.id);
    try {
      await cases.rig.attach(next, OPEN);
      for (const flags of [ack, syn]) assertDropped(send(vip, tcp(6200, 80, flags)), DropReason.policy);
      cases.rig.endpoints.detach(next.id);
      assert.equal(send(vip, tcp(6200, 80, ack)).verdict, 'drop', 'nobody has it');
    } finally {
      cases.rig.endpoints.detach(next.id);
      await cases.rig.attach(B, OPEN);
    }
  });

  it('bring no piece of a datagram to a backend that policy denies, in any order and after any change', async () => {
    const piece = (id: number, offset: number) => ({ fragment: { id, offset, more: offset === 0 } });
    const head = udp(6300, 53, Buffer.alloc(56, 1));
    const rest = rawL4(17, Buffer.alloc(40, 2));
    await onlyPeer(17);
    serve([other], { protocol: 'UDP', port: 53 });
    for (const [payload, options] of [
      [rest, piece(7, 64)],
      [head, piece(7, 0)],
      [rest, piece(7, 64)],
    ] as const)
      assert.equal(send(vip, payload, options).verdict, 'drop');
    serve([address.peer], { protocol: 'UDP', port: 53 });
    for (const [payload, options] of [
      [head, piece(8, 0)],
      [rest, piece(8, 64)],
    ] as const)
      assert.equal(readPacket(send(vip, payload, options).data).destination, address.peer);
    serve([other], { protocol: 'UDP', port: 53 });
    assert.equal(send(vip, rest, piece(8, 64)).verdict, 'drop', 'the rest of it');
    assert.equal(send(other, rest, piece(8, 64)).verdict, 'drop', 'of a datagram to somebody else');
  });

  it('believe no error about a flow to a service that only a stranger to it could quote so', () => {
    serve([address.peer]);
    for (const flags of [syn, ack]) send(vip, tcp(6400, 80, flags));
    const error = (source: string, destination: string, ports: readonly [number, number]) => {
      const quoted = ipPacket({ source, destination, payload: tcp(...ports, ack) });
      return icmpError(family, family === 4 ? 3 : 1, 1, quoted);
    };
    assert.equal(receive(address.world, error(address.a, address.peer, [6400, 8080])).verdict, 'redirect');
    for (const [to, ports] of [
      [vip, [6400, 80]],
      [vip, [6400, 8080]],
      [address.peer, [6401, 8080]],
      [other, [6400, 8080]],
    ] as const)
      assertDropped(receive(address.world, error(address.a, to, ports)), DropReason.unknownCt);
    assert.equal(send(address.peer, error(address.peer, address.a, [8080, 6400])).verdict, 'pass');
    assertDropped(send(vip, error(vip, address.a, [80, 6400])), DropReason.unknownCt);
    assertDropped(send(address.peer, error(address.peer, address.b, [8080, 6400])), DropReason.unknownCt);
  });

  it('lead by the address that stands for a pod to itself to nobody, and nobody has it', async () => {
    serve([address.a]);
    assert.equal(path(send(vip, tcp(6500, 80, syn))), `${at.loop}:6500 > ${address.a}:8080`);
    for (const l4 of [tcp(8080, 6501, ack), tcp(8081, 6500, ack), tcp(6500, 8080, syn), udp(8080, 6500)])
      assert.equal(send(at.loop, l4).verdict, 'drop');
    const from = { source: at.loop, sourceMac: A.mac, destination: address.b, payload: tcp(8080, 80, syn) };
    assertDropped(cases.rig.run('from_pod', packet(from)), DropReason.invalidSip);
    for (const l4 of [tcp(6500, 8080, ack), tcp(80, 8080, syn), udp(6500, 8080)]) {
      assertDropped(receive(at.loop, l4), DropReason.invalidSip);
      assertDropped(cases.deliver(at.loop, l4, 0), DropReason.invalidSip);
    }
    // The next pod with the address reaches itself by it, too, and nobody else.
    cases.rig.services.delete({ address: parseIp(vip), port: 80, protocol: 'TCP' });
    const back = send(at.loop, tcp(8080, 6500, ack));
    assert.equal(path(back), `${vip}:80 > ${address.a}:6500`);
  });
});
