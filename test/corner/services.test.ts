import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { affinityEntryLayout } from '../../src/datapath/map-layouts.ts';
import { DropReason } from '../../src/model/constants.gen.ts';
import { stateOf } from '../support/datapath-lab.ts';
import { readPacket } from '../support/packet-reader.ts';
import { ipPacket, tcp, udp } from '../support/packets.ts';
import { A, ack, assertDropped, describePrograms, item, PEER, rst, syn } from '../support/program-cases.ts';
import { SERVICE_ADDRESSES, serviceCases } from '../support/service-cases.ts';
import { object, World } from './world.ts';

/** Flows to two backends. */
const SOCKETS = 40;
const FLOWS = 200;
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

describe('corner cases of services, by policy', () => {
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
  const { family, address, send, receive } = cases;
  const { at, serve, path, backendOf } = serviceCases(cases);
  const { vip } = at;

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

  it('corner case 28: bring a pod its own packets as from elsewhere, whatever its policy says', async () => {
    serve([address.a]);
    await cases.rig.setPolicy(A.id, new Map(), { ingress: true, egress: true });
    const there = send(vip, tcp(4090, 80, syn));
    assert.equal(there.verdict, 'redirect');
    assert.equal(path(there), `${at.loop}:4090 > ${address.a}:8080`);
    const back = send(at.loop, tcp(8080, 4090, syn | ack));
    assert.equal(back.verdict, 'redirect');
    assert.equal(path(back), `${vip}:80 > ${address.a}:4090`);
    assertDropped(send(at.loop, tcp(8080, 4091, syn | ack)), DropReason.unknownCt);
    assert.equal(receive(at.loop, tcp(8080, 4090, syn | ack)).verdict, 'drop', 'from outside it is nobody');
  });

  it('corner case 31: answer at the port of any node, and at that of nobody else', () => {
    serve([address.peer], { id: 8, frontend: at.anyNode, port: 30_080 });
    for (const node of [address.node, address.otherNode])
      assert.equal(path(send(node, tcp(4080, 30_080, syn))), `${address.a}:4080 > ${address.peer}:8080`);
    const answer = receive(address.peer, tcp(8080, 4080, syn | ack));
    assert.equal(path(answer), `${address.otherNode}:30080 > ${address.a}:4080`, 'where it was asked last');
    for (const other of [address.world, address.nobody, address.b]) {
      const result = send(other, tcp(4081, 30_080, syn));
      if (result.verdict !== 'drop') assert.equal(readPacket(result.data).destination, other);
    }
  });

  it('corner case 41: reset TCP where there is no backend, for whoever opens and for whoever was there before', () => {
    serve([]);
    const before = cases.rig.counted('egress', DropReason.noService);
    const refused = send(vip, tcp(4100, 80, syn, Buffer.alloc(900), { sequence: 0xffffffff }));
    assert.equal(refused.verdict, 'redirect');
    assert.equal(path(refused), `${vip}:80 > ${address.a}:4100`);
    assert.deepEqual(refused.data.subarray(0, 6), Buffer.from(A.mac));
    const { segment } = readPacket(refused.data);
    assert.equal(segment.length, 20);
    assert.deepEqual([segment.readUInt32BE(8), segment[13]], [0, rst | ack]);
    assert.ok(refused.events.some((event) => event.kind === 'drop' && event.reason === DropReason.noService));
    const ended = send(vip, tcp(4101, 80, ack, Buffer.alloc(9), { acknowledged: 77 }));
    const reset = readPacket(ended.data).segment;
    assert.deepEqual([reset.readUInt32BE(4), reset[13]], [77, rst]);
    assert.equal(send(vip, tcp(4100, 80, rst)).verdict, 'drop', 'nobody answers a reset');
    assert.equal(cases.rig.counted('egress', DropReason.noService), before + 3);
  });

  it('corner case 41: say that the port is unreachable where UDP has no backend, with what the client can match', () => {
    serve([], { protocol: 'UDP', port: 53 });
    for (const bytes of [1, 900]) {
      const asked = udp(4102, 53, Buffer.alloc(bytes, 7));
      const { source, destination, protocol, segment } = readPacket(send(vip, asked).data);
      assert.deepEqual([source, destination], [vip, address.a]);
      assert.deepEqual([protocol, segment[0], segment[1]], family === 4 ? [1, 3, 3] : [58, 1, 4]);
      const quote = segment.subarray(8);
      const sent = ipPacket({ source: address.a, destination: vip, payload: asked });
      assert.deepEqual(quote, sent.subarray(0, quote.length));
    }
    const piece = { fragment: { id: 78, offset: 0, more: true } };
    assertDropped(send(vip, udp(4103, 53, Buffer.alloc(56)), piece), DropReason.noService);
  });

  it('corner case 41: let flows of a terminating backend go on, and give new ones and reopened ones to others', () => {
    const [other] = at.others;
    serve([address.peer]);
    assert.equal(backendOf(4040), address.peer);
    serve([[address.peer, 'terminating'], other]);
    assert.equal(
      backendOf(4040, (from) => tcp(from, 80, ack)),
      address.peer,
    );
    assert.equal(path(receive(address.peer, tcp(8080, 4040, ack))), `${vip}:80 > ${address.a}:4040`);
    for (let port = 4041; port < 4061; port++) assert.equal(backendOf(port), other);
    assert.equal(backendOf(4040), other, 'a SYN opens the flow anew');
  });

  it('corner case 41: give flows of a backend that is gone to another one, which resets them', () => {
    const [other] = at.others;
    serve([address.peer]);
    assert.equal(backendOf(4070), address.peer);
    serve([other]);
    assert.equal(
      backendOf(4070, (from) => tcp(from, 80, ack)),
      other,
    );
    assert.equal(path(receive(other, tcp(8080, 4070, rst))), `${vip}:80 > ${address.a}:4070`);
  });

  it('corner case 41: keep a client at its backend for as long as they say and not a moment longer', () => {
    const peers = [address.peer, ...at.others];
    serve(peers, { affinitySeconds: 30 });
    const first = backendOf(5000);
    for (let port = 5001; port < 5041; port++) assert.equal(backendOf(port), first);
    const { serviceAffinity } = cases.rig.loaded.maps;
    const key = serviceAffinity.nextKey(undefined);
    assert.ok(key);
    const age = (ns: bigint): void => {
      const old = affinityEntryLayout.decode(
        serviceAffinity.lookup(key) ?? assert.fail('the client is known'),
      );
      const usedNs = process.hrtime.bigint() - ns;
      serviceAffinity.update(key, affinityEntryLayout.encode({ ...old, usedNs }));
    };
    for (let port = 5100; port < 5120; port++) {
      age(29_000_000_000n);
      assert.equal(backendOf(port), first, 'a second before the end');
    }
    const later = new Set<string>();
    for (let port = 5200; port < 5260; port++) {
      age(30_000_000_000n);
      later.add(backendOf(port));
    }
    assert.ok(later.size > 1, 'at the end any backend may be next');
    serve(
      peers.filter((peer) => peer !== first),
      { affinitySeconds: 30 },
    );
    assert.notEqual(backendOf(5300), first, 'nor does it hold to one that is gone');
  });

  it('corner case 42: give each flow a backend that it keeps, and spread flows over all that are active', () => {
    serve([address.peer, at.others[0], [at.others[1], 'quarantined']]);
    const counts = new Map<string, number>();
    for (let port = 10_000; port < 10_000 + FLOWS; port++) {
      const backend = backendOf(port);
      counts.set(backend, (counts.get(backend) ?? 0) + 1);
      for (const flags of [ack, ack, syn])
        assert.equal(
          backendOf(port, (from) => tcp(from, 80, flags)),
          backend,
        );
    }
    assert.deepEqual([...counts.keys()].sort(), [address.peer, at.others[0]].sort());
    // Fewer than 50 of 200 at one half each: less than once in 10^12 runs.
    for (const count of counts.values()) assert.ok(count >= FLOWS / 4, `${count} of ${FLOWS}`);
  });

  it('corner case 42: UDP of one socket stays at one backend, that of many is spread, and answers are the service', () => {
    const [other] = at.others;
    serve([address.peer, other], { protocol: 'UDP', port: 53 });
    const seen = new Set<string>();
    for (let port = 7000; port < 7000 + SOCKETS; port++) {
      const ask = (): string => backendOf(port, (from) => udp(from, 53, Buffer.from('?')));
      const backend = ask();
      seen.add(backend);
      for (let i = 0; i < 3; i++) {
        assert.equal(ask(), backend);
        assert.equal(
          path(receive(backend, udp(8080, port, Buffer.from('!')))),
          `${vip}:53 > ${address.a}:${port}`,
        );
      }
    }
    // All at one: once in 2^39 runs.
    assert.deepEqual([...seen].sort(), [address.peer, other].sort());
  });

  it('corner case 43: a frontend has the backends of its family, and that of the other family its own', () => {
    const [other] = at.others;
    const strange = SERVICE_ADDRESSES[family === 4 ? 6 : 4];
    serve([address.peer, other]);
    serve([strange.others[0]], { id: 8, frontend: strange.vip });
    const seen = new Set(Array.from({ length: SOCKETS }, (_, i) => backendOf(7100 + i)));
    assert.deepEqual([...seen].sort(), [address.peer, other].sort());
    serve([]);
    assert.equal(
      readPacket(send(vip, tcp(7200, 80, syn)).data).segment[13],
      rst | ack,
      'none of the other family',
    );
  });
});
