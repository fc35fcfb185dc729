import assert from 'node:assert/strict';
import { it } from 'node:test';
import { parseIp } from '../../src/base/ip.ts';
import { affinityEntryLayout } from '../../src/datapath/map-layouts.ts';
import { DropReason } from '../../src/model/constants.gen.ts';
import type { BackendState, ServiceProtocol } from '../../src/model/service.ts';
import { stateOf } from '../support/datapath-lab.ts';
import { pathOf, readPacket, readQuote } from '../support/packet-reader.ts';
import { icmpError, ipPacket, type L4, packet, rawL4, tcp, udp } from '../support/packets.ts';
import { A, ack, assertDropped, describePrograms, item, PEER, rst, syn } from '../support/program-cases.ts';
import type { RunResult } from '../support/program-rig.ts';

const EGRESS = { ingress: false, egress: true };
const VIPS = { 4: '10.96.0.10', 6: 'fd96::10' } as const;
const LOOPS = { 4: '169.254.42.1', 6: 'fd63:696c::1' } as const;
const ANY_NODE = { 4: '0.0.0.0', 6: '::' } as const;
const OTHER_PEERS = {
  4: ['10.0.7.8', '10.0.7.9', '10.0.7.10'],
  6: ['fd00::7:8', 'fd00::7:9', 'fd00::7:10'],
} as const;
const FLOWS = 200;

describePrograms('services', (cases) => {
  const { family, address, send, receive } = cases;
  const vip = VIPS[family];

  interface Wanted {
    readonly id?: number;
    readonly frontend?: string;
    readonly port?: number;
    readonly protocol?: ServiceProtocol;
    readonly affinitySeconds?: number;
  }

  /** Backends as `address:port` or with a state, at port 8080. */
  function serve(
    backends: readonly (string | readonly [address: string, state: BackendState])[],
    wanted: Wanted = {},
  ): void {
    const { id = 7, frontend = vip, port = 80, protocol = 'TCP', affinitySeconds = 0 } = wanted;
    cases.rig.services.upsert({
      ...{ id, type: 'ClusterIP', affinitySeconds },
      frontend: { address: parseIp(frontend), port, protocol },
      backends: backends.map((backend) => {
        const [at, state] = typeof backend === 'string' ? ([backend, 'active'] as const) : backend;
        return { address: parseIp(at), port: protocol === 'SCTP' ? port : 8080, state };
      }),
    });
  }

  /** Where a packet of A's went. */
  function path(result: RunResult): string {
    assert.equal(result.verdict === 'pass' || result.verdict === 'redirect', true, result.verdict);
    return pathOf(readPacket(result.data));
  }

  /** The backend of a new flow from a port. */
  function backendOf(port: number, l4: (from: number) => L4 = (from) => tcp(from, 80, syn)): string {
    const result = send(vip, l4(port));
    assert.equal(result.verdict, 'pass');
    return readPacket(result.data).destination;
  }

  it('are translated to a backend before policy judges, and answers come from the service', async () => {
    serve([address.peer]);
    const state = stateOf([item('egress', PEER, { protocol: 6, port: 8080 })]);
    await cases.rig.setPolicy(A.id, state, EGRESS);
    assert.equal(path(send(vip, tcp(4000, 80, syn))), `${address.a}:4000 > ${address.peer}:8080`);
    const answer = receive(address.peer, tcp(8080, 4000, syn | ack, Buffer.from('odd')));
    assert.equal(answer.verdict, 'redirect');
    assert.equal(path(answer), `${vip}:80 > ${address.a}:4000`);
    assert.equal(path(send(vip, tcp(4000, 80, ack))), `${address.a}:4000 > ${address.peer}:8080`);
    assert.equal(path(receive(address.peer, tcp(8080, 4000, ack))), `${vip}:80 > ${address.a}:4000`);
    assertDropped(send(address.peer, tcp(4001, 80, syn)), DropReason.policy);
    await cases.rig.setPolicy(A.id, new Map(), EGRESS);
    assertDropped(send(vip, tcp(4000, 80, ack)), DropReason.policy);
    assertDropped(receive(address.peer, tcp(8080, 4000, ack)), DropReason.policy);
  });

  it('leave alone what goes to the backend itself, to other ports and by other protocols', () => {
    serve([address.peer]);
    assert.equal(path(send(address.peer, tcp(4010, 8080, syn))), `${address.a}:4010 > ${address.peer}:8080`);
    const direct = receive(address.peer, tcp(8080, 4010, syn | ack));
    assert.equal(path(direct), `${address.peer}:8080 > ${address.a}:4010`);
    assert.equal(path(send(vip, tcp(4011, 81, syn))), `${address.a}:4011 > ${vip}:81`);
    assert.equal(path(send(vip, udp(4012, 80))), `${address.a}:4012 > ${vip}:80`);
  });

  it('translate UDP, and leave a checksum that nobody took', () => {
    serve([address.peer], { protocol: 'UDP', port: 53 });
    const asked = send(vip, udp(4020, 53, Buffer.from('question')));
    assert.equal(path(asked), `${address.a}:4020 > ${address.peer}:8080`);
    const answer = receive(address.peer, udp(8080, 4020, Buffer.from('answer!')));
    assert.equal(path(answer), `${vip}:53 > ${address.a}:4020`);
    if (family === 6) return;
    const bare = { ...udp(4021, 53, Buffer.from('x')), checksumAt: undefined };
    assert.equal(readPacket(send(vip, bare as unknown as L4).data).segment.readUInt16BE(6), 0);
  });

  it('keep the ports of SCTP, whose checksum covers all of it', () => {
    serve([address.peer], { protocol: 'SCTP', port: 9999 });
    const bytes = Buffer.alloc(28);
    bytes.writeUInt16BE(4030, 0);
    bytes.writeUInt16BE(9999, 2);
    bytes.writeUInt32BE(0x11223344, 8);
    const sent = readPacket(send(vip, rawL4(132, bytes)).data);
    assert.equal(pathOf(sent), `${address.a}:4030 > ${address.peer}:9999`);
    assert.deepEqual(sent.segment, bytes);
  });

  it('give each flow a backend that it keeps, and spread flows over all that are active', () => {
    serve([address.peer, OTHER_PEERS[family][0], [OTHER_PEERS[family][1], 'quarantined']]);
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
    assert.deepEqual([...counts.keys()].sort(), [address.peer, OTHER_PEERS[family][0]].sort());
    // Fewer than 50 of 200 at one half each: less than once in 10^12 runs.
    for (const count of counts.values()) assert.ok(count >= FLOWS / 4, `${count} of ${FLOWS}`);
  });

  it('let flows of a terminating backend go on, and give new ones and reopened ones to others', () => {
    const [other] = OTHER_PEERS[family];
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

  it('give flows of a backend that is gone to another one, which resets them', () => {
    const [other] = OTHER_PEERS[family];
    serve([address.peer]);
    assert.equal(backendOf(4070), address.peer);
    serve([other]);
    assert.equal(
      backendOf(4070, (from) => tcp(from, 80, ack)),
      other,
    );
    assert.equal(path(receive(other, tcp(8080, 4070, rst))), `${vip}:80 > ${address.a}:4070`);
  });

  it('keep a client at its backend for as long as they say and not a moment longer', () => {
    const peers = [address.peer, ...OTHER_PEERS[family]];
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

  it('answer at the port of any node, and at that of nobody else', () => {
    serve([address.peer], { id: 8, frontend: ANY_NODE[family], port: 30_080 });
    for (const node of [address.node, address.otherNode])
      assert.equal(path(send(node, tcp(4080, 30_080, syn))), `${address.a}:4080 > ${address.peer}:8080`);
    const answer = receive(address.peer, tcp(8080, 4080, syn | ack));
    assert.equal(path(answer), `${address.otherNode}:30080 > ${address.a}:4080`, 'where it was asked last');
    for (const other of [address.world, address.nobody, address.b]) {
      const result = send(other, tcp(4081, 30_080, syn));
      if (result.verdict !== 'drop') assert.equal(readPacket(result.data).destination, other);
    }
  });

  it('bring a pod its own packets as from elsewhere, whatever its policy says', async () => {
    serve([address.a]);
    await cases.rig.setPolicy(A.id, new Map(), { ingress: true, egress: true });
    const there = send(vip, tcp(4090, 80, syn));
    assert.equal(there.verdict, 'redirect');
    assert.equal(path(there), `${LOOPS[family]}:4090 > ${address.a}:8080`);
    const back = send(LOOPS[family], tcp(8080, 4090, syn | ack));
    assert.equal(back.verdict, 'redirect');
    assert.equal(path(back), `${vip}:80 > ${address.a}:4090`);
    assertDropped(send(LOOPS[family], tcp(8080, 4091, syn | ack)), DropReason.unknownCt);
    assert.equal(
      receive(LOOPS[family], tcp(8080, 4090, syn | ack)).verdict,
      'drop',
      'from outside it is nobody',
    );
  });

  it('reset TCP where there is no backend, for whoever opens and for whoever was there before', () => {
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

  it('say that the port is unreachable where UDP has no backend, with what the client can match', () => {
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

  it('translate every piece of a datagram, and its answer', () => {
    serve([address.peer], { protocol: 'UDP', port: 53 });
    const first = { fragment: { id: 77, offset: 0, more: true } };
    const second = { fragment: { id: 77, offset: 64, more: false } };
    const head = udp(4110, 53, Buffer.alloc(56, 1));
    const rest = rawL4(17, Buffer.alloc(40, 2));
    assert.equal(send(vip, rest, second).verdict, 'drop', 'nobody knows yet whose it is');
    for (const [payload, options] of [
      [head, first],
      [rest, second],
    ] as const) {
      const sent = send(vip, payload, options);
      assert.equal(sent.verdict, 'pass');
      assert.equal(readPacket(sent.data).destination, address.peer);
    }
    for (const [payload, options] of [
      [udp(8080, 4110, Buffer.alloc(56, 3)), first],
      [rest, second],
    ] as const) {
      const answer = receive(address.peer, payload, options);
      assert.equal(answer.verdict, 'redirect');
      assert.equal(readPacket(answer.data).source, vip);
    }
  });

  it('let errors about a backend speak of the service', () => {
    serve([address.peer]);
    assert.equal(backendOf(4120), address.peer);
    const sent = ipPacket({ source: address.a, destination: address.peer, payload: tcp(4120, 8080, syn) });
    for (const from of [address.world, address.peer]) {
      const error = receive(from, icmpError(family, family === 4 ? 3 : 1, 1, sent));
      assert.equal(error.verdict, 'redirect');
      const { source, segment } = readPacket(error.data);
      assert.equal(source, from === address.peer ? vip : from);
      const { destination, destinationPort } = readQuote(Buffer.from(segment.subarray(8)));
      assert.deepEqual([destination, destinationPort], [vip, 80]);
    }
  });

  it('are gone with their frontend, and so is what they had', () => {
    serve([address.peer]);
    assert.equal(backendOf(4130), address.peer);
    cases.rig.services.delete({ address: parseIp(vip), port: 80, protocol: 'TCP' });
    assert.equal(path(send(vip, tcp(4130, 80, ack))), `${address.a}:4130 > ${vip}:80`);
    const { services, backends } = cases.rig.loaded.maps;
    assert.deepEqual([services.nextKey(undefined), backends.nextKey(undefined)], [undefined, undefined]);
  });

  it('are not translated for a sender that forges its address', () => {
    serve([address.peer]);
    const forged = packet({
      source: address.b,
      sourceMac: A.mac,
      destination: vip,
      payload: tcp(1, 80, syn),
    });
    assertDropped(cases.rig.run('from_pod', forged), DropReason.invalidSip);
  });
});
