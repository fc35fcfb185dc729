import assert from 'node:assert/strict';
import { it } from 'node:test';
import { DropReason } from '../../src/model/constants.gen.ts';
import { ReservedIdentity } from '../../src/model/identity.ts';
import { stateOf } from '../support/datapath-lab.ts';
import { echo, tcp } from '../support/packets.ts';
import { A, ack, assertDropped, describePrograms, item, PEER, syn } from '../support/program-cases.ts';

const ENFORCED = { ingress: true, egress: true };
const CLIENT_PORT = 4000;

describePrograms('what is judged again, or in another name', (cases) => {
  const { family, address, send, receive } = cases;
  const icmp = family === 4 ? { protocol: 1, request: 8 } : { protocol: 58, request: 128 };

  const allowIngress = (protocol: number, port: number): Promise<void> =>
    cases.rig.setPolicy(A.id, stateOf([item('ingress', PEER, { protocol, port })]), ENFORCED);

  it('judges an answer by the port that its flow was opened to when the policy has changed', async () => {
    await allowIngress(6, 80);
    assert.notEqual(receive(address.peer, tcp(CLIENT_PORT, 80, syn)).verdict, 'drop');
    await allowIngress(6, 80);
    assert.notEqual(send(address.peer, tcp(80, CLIENT_PORT, syn | ack)).verdict, 'drop');
    await allowIngress(6, CLIENT_PORT);
    assertDropped(send(address.peer, tcp(80, CLIENT_PORT, ack)), DropReason.policy);
  });

  it('judges the answer to an echo by the type that asked for it when the policy has changed', async () => {
    await allowIngress(icmp.protocol, icmp.request);
    assert.notEqual(receive(address.peer, echo(family, 'request', 7)).verdict, 'drop');
    await allowIngress(icmp.protocol, icmp.request);
    assert.notEqual(send(address.peer, echo(family, 'reply', 7)).verdict, 'drop');
    await allowIngress(icmp.protocol, icmp.request + 1);
    assertDropped(send(address.peer, echo(family, 'reply', 7)), DropReason.policy);
  });

  it('takes nobody on the wire for the host, whatever the ipcache says of the address', async () => {
    const claimed = family === 4 ? '203.0.113.77' : 'fd01::77';
    await cases.rig.setIdentity(`${claimed}/${family === 4 ? 32 : 128}`, ReservedIdentity.host);
    await cases.rig.setPolicy(A.id, stateOf([item('ingress', ReservedIdentity.host)]), ENFORCED);
    assertDropped(receive(claimed, tcp(1, 80, syn)), DropReason.policy);
    await cases.rig.setPolicy(A.id, stateOf([item('ingress', ReservedIdentity.world)]), ENFORCED);
    assert.notEqual(receive(claimed, tcp(1, 80, syn)).verdict, 'drop');
  });
});
