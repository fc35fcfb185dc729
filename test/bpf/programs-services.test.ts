import assert from 'node:assert/strict';
import { it } from 'node:test';
import { flowRow } from '../../commands/support/map-rows.ts';
import { parseIp } from '../../src/base/ip.ts';
import { readConntrackMap } from '../../src/datapath/conntrack-table.ts';
import { DropReason } from '../../src/model/constants.gen.ts';
import { stateOf } from '../support/datapath-lab.ts';
import { pathOf, readPacket, readQuote } from '../support/packet-reader.ts';
import { icmpError, ipPacket, type L4, packet, rawL4, tcp, udp } from '../support/packets.ts';
import {
  A,
  ack,
  assertDropped,
  describePrograms,
  item,
  OPEN,
  PEER,
  rst,
  syn,
} from '../support/program-cases.ts';
import { serviceCases } from '../support/service-cases.ts';

/** Flows to four backends. */
const FLOWS = 60;
const EGRESS = { ingress: false, egress: true };
describePrograms('services', (cases) => {
  const { family, address, send, receive } = cases;
  const { at, serve, path, backendOf } = serviceCases(cases);
  const { vip } = at;

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

  it('tell a flow to a service from one to the backend itself that had its ports just now, and back', () => {
    serve([address.peer]);
    const flow = (destination: string, port: number): readonly string[] => {
      send(destination, tcp(4140, port, syn));
      const seen = [path(receive(address.peer, tcp(8080, 4140, syn | ack)))];
      // The second time by the flow cache.
      for (let i = 0; i < 3; i++) {
        assert.equal(
          path(send(destination, tcp(4140, port, ack))),
          `${address.a}:4140 > ${address.peer}:8080`,
        );
        seen.push(path(receive(address.peer, tcp(8080, 4140, ack))));
      }
      send(destination, tcp(4140, port, rst));
      return seen;
    };
    const answers = (from: string): readonly string[] =>
      Array.from({ length: 4 }, () => `${from} > ${address.a}:4140`);
    for (let i = 0; i < 3; i++) {
      assert.deepEqual(flow(address.peer, 8080), answers(`${address.peer}:8080`));
      assert.deepEqual(flow(vip, 80), answers(`${vip}:80`));
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

  it('keep a flow at its backend when so many others came that nobody remembers it', () => {
    serve([address.peer, ...at.others]);
    const ports = Array.from({ length: FLOWS }, (_, i) => 20_000 + i);
    const had = ports.map((port) => backendOf(port));
    assert.equal(new Set(had).size, 1 + at.others.length);
    const { serviceFlows } = cases.rig.loaded.maps;
    for (let key = serviceFlows.nextKey(undefined); key; key = serviceFlows.nextKey(undefined))
      serviceFlows.delete(key);
    const now = ports.map((port) => backendOf(port, (from) => tcp(from, 80, ack)));
    assert.deepEqual(now, had);
  });

  it('stay the flows of their clients where a backend speaks first after conntrack has forgotten them', async () => {
    serve([address.peer]);
    serve([address.peer], { id: 8, protocol: 'UDP', port: 53 });
    const forget = (): void => {
      const map = cases.rig.loaded.maps[family === 4 ? 'ct4' : 'ct6'];
      for (let key = map.nextKey(undefined); key; key = map.nextKey(undefined)) map.delete(key);
      // The flow cache asks again.
      serve([address.peer]);
    };
    for (const [ask, answer, port] of [
      [tcp(4150, 80, ack), tcp(8080, 4150, ack), 80],
      [udp(4150, 53), udp(8080, 4150), 53],
    ] as const) {
      send(vip, ask);
      assert.equal(path(receive(address.peer, answer)), `${vip}:${port} > ${address.a}:4150`);
      forget();
      receive(address.peer, answer);
      for (let i = 0; i < 3; i++) {
        assert.equal(path(send(vip, ask)), `${address.a}:4150 > ${address.peer}:8080`);
        assert.equal(path(receive(address.peer, answer)), `${vip}:${port} > ${address.a}:4150`);
      }
      forget();
      receive(address.peer, answer);
      await cases.rig.setPolicy(A.id, new Map(), EGRESS);
      assertDropped(send(vip, ask), DropReason.policy);
      await cases.rig.setPolicy(A.id, new Map(), OPEN);
    }
  });

  it('get another backend where a flow has the ports to the first already, and keep it', () => {
    const [other] = at.others;
    const second = { id: 8, port: 81 };
    serve([address.peer, other]);
    serve([address.peer, other], second);
    const asked = (port: number, flags: number) => (from: number) => tcp(from, port, flags);
    for (let port = 4200; port < 4200 + FLOWS; port++) {
      const first = backendOf(port);
      const next = backendOf(port, asked(81, syn));
      assert.notEqual(next, first);
      for (let i = 0; i < 3; i++) {
        assert.equal(backendOf(port, asked(80, ack)), first);
        assert.equal(path(receive(first, tcp(8080, port, ack))), `${vip}:80 > ${address.a}:${port}`);
        assert.equal(backendOf(port, asked(81, ack)), next);
        assert.equal(path(receive(next, tcp(8080, port, ack))), `${vip}:81 > ${address.a}:${port}`);
      }
    }
    serve([address.peer], second);
    assert.equal(backendOf(4199, asked(81, syn)), address.peer, 'the only one there is');
  });

  it('bring a client that keeps its backend there by ports that had another one, too', () => {
    const peers = [address.peer, ...at.others];
    serve(peers);
    const ports = Array.from({ length: FLOWS }, (_, i) => 21_000 + i);
    assert.equal(new Set(ports.map((port) => backendOf(port))).size, peers.length);
    serve(peers, { affinitySeconds: 60 });
    assert.equal(new Set(ports.map((port) => backendOf(port))).size, 1);
  });

  it('show by which service a flow came to its backend', () => {
    serve([address.peer]);
    const shown = (): readonly string[] => {
      const map = cases.rig.loaded.maps[family === 4 ? 'ct4' : 'ct6'];
      return [...readConntrackMap(map, { ticks: 0, hz: 250 })].flatMap((flow) => flowRow(flow).flags);
    };
    for (const flags of [syn, ack, ack]) send(vip, tcp(4160, 80, flags));
    assert.deepEqual(shown(), ['Service=7']);
    send(address.peer, tcp(4160, 8080, ack));
    assert.deepEqual(shown(), [], 'it speaks to the backend itself');
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
