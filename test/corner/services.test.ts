/*
 * Services are not balanced yet: there is no address of a service, no NodePort and no choice of a backend in the
 * datapath. What is tested here is what policy says of the flow as it is after the translation, that is of the backend.
 * Waiting for services: 28 the translation of a pod's packet back to itself, 31 the NodePort itself, 41 the refusal
 * where there is no backend, draining and the edge of affinity, 42 one socket's backend and the address that recvmsg
 * shows, 43 the choice of a backend by family.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DropReason } from '../../src/model/constants.gen.ts';
import { stateOf } from '../support/datapath-lab.ts';
import { tcp, udp } from '../support/packets.ts';
import { A, assertDropped, describePrograms, item, PEER, syn } from '../support/program-cases.ts';
import { object, World } from './world.ts';

const TO_OUTER = object(
  'endpointSelector: {matchLabels: {app: client}}\negress: [{toServices: [{k8sService: {serviceName: outer, namespace: default}}]}]',
);
const SERVICE =
  '---\napiVersion: v1\nkind: Service\nmetadata: {name: outer, namespace: default}\nspec: {ports: [{port: 80}]}\n';
const endpoints = (...addresses: readonly string[]): string => {
  const list = addresses.map((ip) => `{ip: "${ip}"}`).join(', ');
  const subsets = addresses.length === 0 ? '[]' : `[{addresses: [${list}], ports: [{port: 80}]}]`;
  return `---\napiVersion: v1\nkind: Endpoints\nmetadata: {name: outer, namespace: default}\nsubsets: ${subsets}\n`;
};
const BACKENDS = ['198.51.100.7', '198.51.100.8', '2001:db8::7'];
const reached = (world: World): readonly string[] =>
  world.who(BACKENDS, { subject: 'client', direction: 'egress' });

describe('corner cases of services, as far as policy goes', () => {
  it('corner case 41: a service without backends is nobody, and a backend that is removed is let go', () => {
    const world = new World(TO_OUTER + SERVICE + endpoints());
    assert.deepEqual(reached(world), []);
    world.apply(TO_OUTER + SERVICE + endpoints('198.51.100.7', '198.51.100.8'));
    assert.deepEqual(reached(world), ['198.51.100.7', '198.51.100.8']);
    world.apply(TO_OUTER + SERVICE + endpoints('198.51.100.8'));
    assert.deepEqual(reached(world), ['198.51.100.8']);
  });

  it('corner case 43: backends of both families are meant, each by its own addresses', () => {
    const world = new World(TO_OUTER + SERVICE + endpoints('198.51.100.7', '2001:db8::7'));
    assert.deepEqual(reached(world), ['198.51.100.7', '2001:db8::7']);
    world.apply(TO_OUTER + SERVICE + endpoints('2001:db8::7'));
    assert.deepEqual(reached(world), ['2001:db8::7']);
  });
});

describePrograms('corner cases of translated flows', (cases) => {
  const { address, send } = cases;

  it('corner case 28: what leaves a pod for its own address is dropped, whatever rules say: only a translation could bring it', async () => {
    const own = stateOf([item('ingress', A.identity), item('egress', A.identity)]);
    for (const enforced of [false, true]) {
      await cases.rig.setPolicy(A.id, own, { ingress: enforced, egress: enforced });
      assertDropped(send(address.a, tcp(4100, 80, syn)), DropReason.invalid);
    }
    assert.equal(send(address.b, tcp(4101, 80, syn)).verdict, 'drop', 'to another one they have a say');
    await cases.rig.setPolicy(A.id, own, { ingress: false, egress: false });
    assert.equal(send(address.b, tcp(4101, 80, syn)).verdict, 'redirect');
  });

  it('corner case 31: a pod reaches its own node by the rule for the host, another by that for remote nodes', async () => {
    const enforced = { ingress: false, egress: true };
    await cases.rig.setPolicy(A.id, stateOf([item('egress', 1)]), enforced);
    assert.equal(send(address.node, tcp(4200, 30_080, syn)).verdict, 'pass');
    assertDropped(send(address.otherNode, tcp(4201, 30_080, syn)), DropReason.policy);
    await cases.rig.setPolicy(A.id, stateOf([item('egress', 6)]), enforced);
    assertDropped(send(address.node, tcp(4202, 30_080, syn)), DropReason.policy);
    assert.equal(send(address.otherNode, tcp(4203, 30_080, syn)).verdict, 'pass');
  });

  it('corner case 42: each socket of UDP is a flow of its own, and all of them lose their verdict with the policy', async () => {
    const enforced = { ingress: false, egress: true };
    await cases.rig.setPolicy(A.id, stateOf([item('egress', PEER, { protocol: 17, port: 53 })]), enforced);
    for (const port of [5001, 5002, 5001]) assert.equal(send(address.peer, udp(port, 53)).verdict, 'pass');
    assertDropped(send(address.peer, udp(5003, 54)), DropReason.policy);
    await cases.rig.setPolicy(A.id, new Map(), enforced);
    for (const port of [5001, 5002]) assertDropped(send(address.peer, udp(port, 53)), DropReason.policy);
  });
});
