import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { readCounters } from '../../src/datapath/counters.ts';
import { DropReason } from '../../src/model/constants.gen.ts';
import { allow, stateOf } from '../support/datapath-lab.ts';
import { packet, TcpFlag, tcp, udp } from '../support/packets.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { LOOPBACK, ProgramRig, type RunResult, testEndpoint } from '../support/program-rig.ts';

const A = testEndpoint(1, { identity: 1000, ifindex: LOOPBACK });
const B = testEndpoint(2, { identity: 2000 });
const C = testEndpoint(3, { identity: 3000 });
/** Addresses of one family. */
const FAMILIES = [
  {
    name: 'IPv4',
    source: '10.0.0.1',
    receivers: [
      { address: '10.0.0.2', endpoint: B },
      { address: '10.0.0.3', endpoint: C },
    ],
    peer: '10.0.7.7',
    peerPrefix: '10.0.7.7/32',
    hopAt: 14 + 8,
    map: 'ct4',
  },
  {
    name: 'IPv6',
    source: 'fd00::1',
    receivers: [
      { address: 'fd00::2', endpoint: B },
      { address: 'fd00::3', endpoint: C },
    ],
    peer: 'fd00::7:7',
    peerPrefix: 'fd00::7:7/128',
    hopAt: 14 + 7,
    map: 'ct6',
  },
] as const;
const OPEN = { ingress: false, egress: false };
/** More than the places of a cache, so that many flows share one. */
const FLOWS = 1500;
const { syn, ack, fin } = TcpFlag;

/** mulberry32. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const destinationMac = (result: RunResult): string => result.data.subarray(0, 6).toString('hex');
const macOf = (mac: Uint8Array): string => Buffer.from(mac).toString('hex');

for (const family of FAMILIES)
  describe(`flow cache of ${family.name}`, { skip: bpfOrSkip() }, () => {
    const [first] = family.receivers;
    let rig: ProgramRig;

    before(async () => {
      rig = new ProgramRig();
      await rig.start(['203.0.113.1', '2001:db8::1'], ['10.0.0.0/8', 'fd00::/64']);
      await rig.setIdentity(family.peerPrefix, 4000);
      for (const endpoint of [A, B, C]) await rig.attach(endpoint, OPEN);
    });
    after(() => rig?.close());

    beforeEach(async () => {
      rig.clearConntrack();
      for (const { id } of [A, B, C]) await rig.setPolicy(id, new Map(), OPEN);
    });

    const send = (destination: string, port: number, options: { ttl?: number; flags?: number } = {}) => {
      const { ttl = 64, flags = ack } = options;
      const payload = tcp(port, 80, flags);
      return rig.run(
        'from_pod',
        packet({ source: family.source, sourceMac: A.mac, destination, payload, ttl }),
      );
    };
    const open = (destination: string, port: number): void => {
      assert.equal(send(destination, port, { flags: syn }).verdict, 'redirect');
      for (let i = 0; i < 3; i++) assert.equal(send(destination, port).verdict, 'redirect');
    };
    const assertDenied = (result: RunResult, reason: number): void => {
      assert.equal(result.verdict, 'drop');
      const event = result.events.find(({ kind }) => kind === 'drop');
      assert.equal(event?.kind === 'drop' && event.reason, reason);
    };

    it('sends each of many flows where its own conntrack entry says', () => {
      const seed = Date.now() % 1e6;
      console.log(`seed ${seed}`);
      const random = randomOf(seed);
      const pick = (): (typeof family.receivers)[number] => family.receivers[random() < 0.5 ? 0 : 1];
      const flows = Array.from({ length: FLOWS }, (_, i) => ({ port: 2000 + i, to: pick() }));
      for (const { port, to } of flows) send(to.address, port, { flags: syn });
      for (let i = 0; i < 4 * FLOWS; i++) {
        const flow = flows[Math.floor(random() * FLOWS)];
        assert.ok(flow);
        const result = send(flow.to.address, flow.port);
        assert.equal(result.verdict, 'redirect');
        assert.equal(destinationMac(result), macOf(flow.to.endpoint.mac), `port ${flow.port}`);
      }
    });

    it('ends with the very next packet when a policy of either side denies the flow', async () => {
      for (const subject of [A, B]) {
        open(first.address, 3000);
        const enforcement = { ingress: subject === B, egress: subject === A };
        await rig.setPolicy(subject.id, new Map(), enforcement);
        assertDenied(send(first.address, 3000), DropReason.policy);
        await rig.setPolicy(subject.id, new Map(), OPEN);
        assert.equal(send(first.address, 3000).verdict, 'redirect');
      }
    });

    it('ends with the very next packet when the peer gets another identity', async () => {
      await rig.setPolicy(A.id, stateOf([allow('egress', 4000)]), { ingress: false, egress: true });
      for (let i = 0; i < 3; i++)
        assert.equal(send(family.peer, 3001, { flags: i ? ack : syn }).verdict, 'pass');
      await rig.setIdentity(family.peerPrefix, 4001);
      assertDenied(send(family.peer, 3001), DropReason.policy);
      await rig.setIdentity(family.peerPrefix, 4000);
    });

    it('takes a hop, and drops the last one', () => {
      open(first.address, 3002);
      const result = send(first.address, 3002, { ttl: 33 });
      assert.equal(result.data[family.hopAt], 32);
      assertDenied(send(first.address, 3002, { ttl: 1 }), DropReason.ttlExceeded);
    });

    it('leaves packets that change the state of a flow to conntrack', () => {
      open(first.address, 3003);
      send(first.address, 3003, { flags: ack | fin });
      const key = rig.loaded.maps[family.map].nextKey(undefined);
      const flags = key && rig.loaded.maps[family.map].lookup(key)?.readUInt16LE(8);
      assert.ok(flags !== undefined && (flags & 0x18) !== 0, `flags ${flags}`);
    });

    it('does not take a packet from the wire for one of an endpoint', () => {
      open(first.address, 3004);
      const frame = packet({
        source: family.source,
        destination: first.address,
        payload: tcp(3004, 80, ack),
      });
      assertDenied(rig.run('from_netdev', frame), DropReason.invalidSip);
    });

    it('tells protocols with the same ports apart', async () => {
      open(first.address, 3005);
      await rig.setPolicy(B.id, stateOf([allow('ingress', A.identity, 6, 80)]), {
        ingress: true,
        egress: false,
      });
      for (let i = 0; i < 2; i++) assert.equal(send(first.address, 3005).verdict, 'redirect');
      const datagram = {
        source: family.source,
        destination: first.address,
        payload: udp(3005, 80),
        sourceMac: A.mac,
      };
      assertDenied(rig.run('from_pod', packet(datagram)), DropReason.policy);
    });

    it('counts every packet', () => {
      const count = (): bigint => {
        const of = readCounters(rig.loaded.maps).filter(({ reason }) => reason === 0);
        return of.reduce((sum, { packets }) => sum + packets, 0n);
      };
      const before = count();
      open(first.address, 3006);
      assert.equal(count() - before, 8n, 'four packets, at both ends');
    });
  });
