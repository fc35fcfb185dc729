import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { DropReason } from '../../src/model/constants.gen.ts';
import type { Direction, MapStateEntry, MapStateKey, MapStateVerdict } from '../../src/model/map-state.ts';
import { stateOf } from '../support/datapath-lab.ts';
import {
  arpPacket,
  type Extension,
  echo,
  icmp,
  icmpError,
  internetChecksum,
  ipPacket,
  type L4,
  neighborSolicitation,
  type PacketOptions,
  packet,
  rawL4,
  TcpFlag,
  tcp,
  udp,
} from '../support/packets.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { ELSEWHERE, LOOPBACK, ProgramRig, type RunResult, testEndpoint } from '../support/program-rig.ts';

const A = testEndpoint(1, { identity: 1000, ifindex: LOOPBACK });
const B = testEndpoint(2, { identity: 2000 });
const LOCKED = testEndpoint(3, { identity: 3000 });
const ADDRESSES = {
  4: {
    a: '10.0.0.1',
    b: '10.0.0.2',
    locked: '10.0.0.3',
    nobody: '10.0.0.99',
    peer: '10.0.7.7',
    node: '192.0.2.1',
    otherNode: '192.0.2.2',
    world: '198.51.100.7',
    router: '10.0.0.254',
  },
  6: {
    a: 'fd00::1',
    b: 'fd00::2',
    locked: 'fd00::3',
    nobody: 'fd00::99',
    peer: 'fd00::7:7',
    node: 'fd01::1',
    otherNode: 'fd01::2',
    world: '2001:db8::7',
    router: 'fd00::fe',
  },
} as const;
const PEER = 4000;
const OPEN = { ingress: false, egress: false };
const { syn, ack, fin, rst } = TcpFlag;
const CT_ENTRY_BYTES = 64;

function item(
  direction: Direction,
  identity: number,
  options: {
    protocol?: number;
    port?: number;
    bits?: number;
    verdict?: MapStateVerdict;
    precedence?: number;
  } = {},
): { key: MapStateKey; entry: MapStateEntry } {
  const { protocol = 0, port = 0, verdict = { kind: 'allow' }, precedence = 1 } = options;
  const bits = options.bits ?? (port === 0 ? 0 : 16);
  return {
    key: { direction, identity, protocol, port, portPrefixLength: bits },
    entry: { verdict, precedence, ruleId: 9 },
  };
}

function dropReason(result: RunResult): number | undefined {
  const event = result.events.find(({ kind }) => kind === 'drop');
  return event?.kind === 'drop' ? event.reason : undefined;
}

function assertDropped(result: RunResult, reason: number): void {
  assert.equal(result.verdict, 'drop');
  assert.equal(dropReason(result), reason);
}

for (const family of [4, 6] as const) {
  const address = ADDRESSES[family];
  const IP_BYTES = family === 4 ? 20 : 40;

  describe(`programs, IPv${family}`, { skip: bpfOrSkip() }, () => {
    let rig: ProgramRig;

    before(async () => {
      rig = new ProgramRig();
      await rig.start(['192.0.2.1', 'fd01::1'], ['10.0.0.0/8', 'fd00::/64']);
      await rig.setIdentity(`${address.peer}/${family === 4 ? 32 : 128}`, PEER);
      await rig.setIdentity(`${address.otherNode}/${family === 4 ? 32 : 128}`, 6);
      await rig.attach(A, OPEN);
      await rig.attach(B, OPEN);
      await rig.attach(LOCKED);
    });
    after(() => rig?.close());

    beforeEach(async () => {
      rig.clearConntrack();
      await rig.setPolicy(A.id, new Map(), OPEN);
      await rig.setPolicy(B.id, new Map(), OPEN);
    });

    /** From endpoint A. */
    const send = (destination: string, payload: L4, options: Partial<PacketOptions> = {}): RunResult =>
      rig.run('from_pod', packet({ source: address.a, sourceMac: A.mac, destination, payload, ...options }));
    /** From the wire. */
    const receive = (source: string, payload: L4, options: Partial<PacketOptions> = {}): RunResult =>
      rig.run('from_netdev', packet({ source, destination: address.a, payload, ...options }));
    /** From the stack; `ingress` 0 is the node itself. */
    const deliver = (source: string, payload: L4, ingress: number, options: Partial<PacketOptions> = {}) =>
      rig.run('to_pod', packet({ source, destination: address.a, payload, ...options }), ingress);

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
          const forwarded = [rig.counted('egress', 0), rig.counted('ingress', 0)];
          send(address.b, udp(1000, 53), { ttl });
          assert.deepEqual(
            [rig.counted('egress', 0), rig.counted('ingress', 0)],
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
          const { data } = rig.run('from_pod', frame);
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
        const result = rig.run('from_pod', frame);
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
        await rig.endpoints.attach(A);
        assertDropped(send(address.b, udp(1, 2)), DropReason.epNotReady);
        assertDropped(receive(address.peer, udp(1, 2)), DropReason.epNotReady);
        assertDropped(deliver(address.node, udp(1, 2), 0), DropReason.epNotReady);
        await rig.setPolicy(A.id, new Map(), OPEN);
      });

      it('drops what comes from a device that is no endpoint', () => {
        const key = Buffer.alloc(4);
        key.writeUInt32LE(LOOPBACK);
        const { devices } = rig.loaded.maps;
        const slot = devices.lookup(key);
        assert.ok(slot);
        devices.delete(key);
        assertDropped(send(address.b, udp(1, 2)), DropReason.epNotReady);
        devices.update(key, slot);
      });
    });

    describe('policy', () => {
      it('drops what no entry allows, in both directions, and counts it', async () => {
        await rig.setPolicy(A.id, new Map(), { ingress: true, egress: true });
        const before = rig.counted('egress', DropReason.policy);
        assertDropped(send(address.b, tcp(1, 80, syn)), DropReason.policy);
        assert.equal(rig.counted('egress', DropReason.policy), before + 1);
        assertDropped(receive(address.peer, tcp(1, 80, syn)), DropReason.policy);
      });

      it('asks the ingress of a local receiver too, and names it', async () => {
        await rig.setPolicy(B.id, stateOf([item('ingress', A.identity, { protocol: 6, port: 80 })]), {
          ingress: true,
          egress: false,
        });
        assert.equal(send(address.b, tcp(1, 80, syn)).verdict, 'redirect');
        const result = send(address.b, tcp(1, 81, syn));
        assertDropped(result, DropReason.policy);
        const drop = result.events.find(({ kind }) => kind === 'drop');
        assert.ok(drop?.kind === 'drop');
        assert.deepEqual(
          [drop.source, drop.direction, drop.srcIdentity, drop.dstIdentity, drop.dstEndpoint],
          [B.id, 'ingress', A.identity, B.identity, B.id],
        );
        const brackets = family === 4 ? (text: string) => text : (text: string) => `[${text}]`;
        assert.equal(drop.summary, `${brackets(address.a)}:1 -> ${brackets(address.b)}:81 tcp SYN`);
        const verdict = result.events.find(({ kind }) => kind === 'policy-verdict');
        assert.ok(verdict?.kind === 'policy-verdict');
        assert.deepEqual(
          [
            verdict.source,
            verdict.direction,
            verdict.remoteIdentity,
            verdict.verdict,
            verdict.destinationPort,
          ],
          [B.id, 'ingress', A.identity, -DropReason.policy, 81],
        );
      });

      const table: readonly {
        readonly name: string;
        readonly entries: readonly { key: MapStateKey; entry: MapStateEntry }[];
        readonly payload: L4;
        readonly expected: number;
        readonly match?: number;
      }[] = [
        {
          name: 'all of a peer',
          entries: [item('ingress', PEER)],
          payload: tcp(1, 80, syn),
          expected: 0,
          match: 1,
        },
        {
          name: 'a port of a peer',
          entries: [item('ingress', PEER, { protocol: 6, port: 80 })],
          payload: tcp(1, 80, syn),
          expected: 0,
          match: 2,
        },
        {
          name: 'a port of everybody',
          entries: [item('ingress', 0, { protocol: 17, port: 53 })],
          payload: udp(1, 53),
          expected: 0,
          match: 3,
        },
        { name: 'everything', entries: [item('ingress', 0)], payload: udp(1, 53), expected: 0, match: 4 },
        {
          name: 'a protocol of a peer',
          entries: [item('ingress', PEER, { protocol: 17 })],
          payload: udp(1, 9),
          expected: 0,
          match: 5,
        },
        {
          name: 'a protocol of everybody',
          entries: [item('ingress', 0, { protocol: 17 })],
          payload: udp(1, 9),
          expected: 0,
          match: 6,
        },
        {
          name: 'another protocol than the entry',
          entries: [item('ingress', PEER, { protocol: 6, port: 53 })],
          payload: udp(1, 53),
          expected: DropReason.policy,
        },
        {
          name: 'a port inside a range',
          entries: [item('ingress', PEER, { protocol: 6, port: 8192, bits: 3 })],
          payload: tcp(1, 16383, syn),
          expected: 0,
          match: 2,
        },
        {
          name: 'a port outside the range',
          entries: [item('ingress', PEER, { protocol: 6, port: 8192, bits: 3 })],
          payload: tcp(1, 16384, syn),
          expected: DropReason.policy,
        },
        {
          name: 'a deny of greater precedence for everybody',
          entries: [
            item('ingress', PEER, { protocol: 6, port: 80, precedence: 1 }),
            item('ingress', 0, { verdict: { kind: 'deny' }, precedence: 255 }),
          ],
          payload: tcp(1, 80, syn),
          expected: DropReason.policyDeny,
          match: 4,
        },
        {
          name: 'equal precedence, longer match for everybody',
          entries: [
            item('ingress', PEER, { verdict: { kind: 'deny' }, precedence: 5 }),
            item('ingress', 0, { protocol: 6, port: 80, precedence: 5 }),
          ],
          payload: tcp(1, 80, syn),
          expected: 0,
          match: 3,
        },
        {
          name: 'equal precedence and match: the peer',
          entries: [
            item('ingress', PEER, { protocol: 6, port: 80, precedence: 5 }),
            item('ingress', 0, { protocol: 6, port: 80, verdict: { kind: 'deny' }, precedence: 5 }),
          ],
          payload: tcp(1, 80, syn),
          expected: 0,
          match: 2,
        },
        {
          name: 'a redirect without a proxy',
          entries: [item('ingress', PEER, { verdict: { kind: 'redirect', proxyPort: 9000 }, precedence: 2 })],
          payload: tcp(1, 80, syn),
          expected: DropReason.proxyLookupFailed,
        },
        {
          name: 'the other direction',
          entries: [item('egress', PEER)],
          payload: tcp(1, 80, syn),
          expected: DropReason.policy,
        },
      ];
      for (const { name, entries, payload, expected, match } of table) {
        it(`decides: ${name}`, async () => {
          await rig.setPolicy(A.id, stateOf(entries), { ingress: true, egress: false });
          const result = receive(address.peer, payload);
          if (expected !== 0) return assertDropped(result, expected);
          assert.equal(result.verdict, 'redirect');
          const verdict = result.events.find(({ kind }) => kind === 'policy-verdict');
          assert.ok(verdict?.kind === 'policy-verdict');
          assert.deepEqual([verdict.match, verdict.ruleId], [match, 9]);
        });
      }

      it('knows an unannounced address of the ranges as identity 0, never as the world', async () => {
        await rig.setPolicy(A.id, stateOf([item('egress', 2)]), { ingress: false, egress: true });
        assert.equal(send(address.world, udp(1, 2)).verdict, 'pass');
        const result = send(address.nobody, udp(1, 2));
        assertDropped(result, DropReason.policy);
        assert.equal(result.events[0]?.kind === 'policy-verdict' && result.events[0].remoteIdentity, 0);
      });

      it('takes the node for the host only when the packet comes from itself', async () => {
        await rig.setPolicy(A.id, stateOf([item('ingress', 1)]), { ingress: true, egress: false });
        assert.equal(deliver(address.node, udp(1, 2), 0).verdict, 'pass');
        assertDropped(deliver(address.node, udp(3, 4), ELSEWHERE), DropReason.policy);
        assertDropped(receive(address.node, udp(5, 6)), DropReason.policy);
        assertDropped(receive(address.node, udp(1, 2)), DropReason.policy);
      });
    });

    describe('flows', () => {
      it('lets replies through the direction that is denied', async () => {
        await rig.setPolicy(A.id, new Map(), { ingress: true, egress: false });
        assert.equal(send(address.peer, tcp(4000, 80, syn)).verdict, 'pass');
        assert.equal(receive(address.peer, tcp(80, 4000, syn | ack)).verdict, 'redirect');
        assert.equal(receive(address.peer, tcp(80, 4000, ack)).verdict, 'redirect');
        assertDropped(receive(address.peer, tcp(81, 4000, ack)), DropReason.policy);
      });

      it('does not take a SYN from the answering side for a reply', async () => {
        await rig.setPolicy(A.id, new Map(), { ingress: true, egress: false });
        send(address.peer, tcp(4000, 80, syn));
        receive(address.peer, tcp(80, 4000, syn | ack));
        assertDropped(receive(address.peer, tcp(80, 4000, syn)), DropReason.policy);
        assert.equal(receive(address.peer, tcp(80, 4000, ack)).verdict, 'redirect', 'the flow lives on');
      });

      it('judges a SYN on a flow that is closing as a new flow', async () => {
        await rig.setPolicy(A.id, new Map(), { ingress: true, egress: false });
        send(address.peer, tcp(4000, 80, syn));
        receive(address.peer, tcp(80, 4000, syn | ack));
        send(address.peer, tcp(4000, 80, fin | ack));
        receive(address.peer, tcp(80, 4000, fin | ack));
        assert.equal(receive(address.peer, tcp(80, 4000, ack)).verdict, 'redirect', 'the last of it passes');
        assertDropped(receive(address.peer, tcp(80, 4000, syn)), DropReason.policy);
        assert.equal(send(address.peer, tcp(4000, 80, syn)).verdict, 'pass');
      });

      it('judges a packet of TCP without a flow as new in its direction', async () => {
        await rig.setPolicy(A.id, new Map(), { ingress: true, egress: false });
        assertDropped(receive(address.peer, tcp(80, 4000, ack)), DropReason.policy);
        assert.equal(send(address.peer, tcp(4000, 80, ack)).verdict, 'pass');
      });

      it('ends an established flow when its policy goes, both ways, and lets a new policy revive it', async () => {
        const enforced = { ingress: true, egress: true };
        const allowed = stateOf([item('egress', PEER)]);
        for (const [request, reply] of [
          [tcp(4000, 80, ack), tcp(80, 4000, ack)],
          [udp(4000, 53), udp(53, 4000)],
          [echo(family, 'request', 77), echo(family, 'reply', 77)],
        ] as const) {
          await rig.setPolicy(A.id, allowed, enforced);
          assert.equal(send(address.peer, request).verdict, 'pass');
          assert.equal(receive(address.peer, reply).verdict, 'redirect');
          await rig.setPolicy(A.id, new Map(), enforced);
          assertDropped(receive(address.peer, reply), DropReason.policy);
          assertDropped(send(address.peer, request), DropReason.policy);
          await rig.setPolicy(A.id, allowed, enforced);
          assert.equal(send(address.peer, request).verdict, 'pass');
        }
      });

      it('judges anew when the identity of the peer or of the endpoint changes', async () => {
        const host = family === 4 ? 32 : 128;
        await rig.setPolicy(A.id, stateOf([item('egress', PEER)]), { ingress: false, egress: true });
        assert.equal(send(address.peer, udp(1, 2)).verdict, 'pass');
        await rig.setIdentity(`${address.peer}/${host}`, PEER + 1);
        assertDropped(send(address.peer, udp(1, 2)), DropReason.policy);
        await rig.setIdentity(`${address.peer}/${host}`, PEER);
        await rig.setPolicy(B.id, stateOf([item('ingress', A.identity)]), { ingress: true, egress: false });
        await rig.setPolicy(A.id, new Map(), OPEN);
        assert.equal(send(address.b, udp(1, 2)).verdict, 'redirect');
        rig.endpoints.setIdentity(A.id, 1001);
        assertDropped(send(address.b, udp(1, 2)), DropReason.policy);
        rig.endpoints.setIdentity(A.id, A.identity);
      });

      it('closes a flow of TCP with a reset', async () => {
        await rig.setPolicy(A.id, new Map(), { ingress: true, egress: false });
        send(address.peer, tcp(4000, 80, syn));
        receive(address.peer, tcp(80, 4000, rst | ack));
        assertDropped(receive(address.peer, tcp(80, 4000, syn)), DropReason.policy);
        assert.equal(send(address.peer, tcp(4000, 80, syn)).verdict, 'pass');
      });

      it('forgets a flow that is past its lifetime, though nobody removed its entry', async () => {
        await rig.setPolicy(A.id, new Map(), { ingress: true, egress: false });
        send(address.peer, udp(4000, 53));
        assert.equal(receive(address.peer, udp(53, 4000)).verdict, 'redirect');
        const map = family === 4 ? rig.loaded.maps.ct4 : rig.loaded.maps.ct6;
        const key = map.nextKey(undefined);
        const entry = key && map.lookup(key);
        assert.ok(key && entry?.length === CT_ENTRY_BYTES);
        const [seen, lifetime] = [entry.readUInt32LE(0), entry.readUInt32LE(4)];
        entry.writeUInt32LE((seen - lifetime - 2) >>> 0, 0);
        map.update(key, entry);
        assertDropped(receive(address.peer, udp(53, 4000)), DropReason.policy);
      });

      it('keeps two pings of one identifier in opposite directions apart', async () => {
        await rig.setPolicy(A.id, new Map(), { ingress: true, egress: false });
        assert.equal(send(address.peer, echo(family, 'request', 5)).verdict, 'pass');
        assert.equal(receive(address.peer, echo(family, 'reply', 5)).verdict, 'redirect');
        assertDropped(receive(address.peer, echo(family, 'request', 5)), DropReason.policy);
        assertDropped(receive(address.peer, echo(family, 'reply', 6)), DropReason.policy);
      });
    });

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
          await rig.setPolicy(A.id, new Map(), { ingress: true, egress: false });
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
        await rig.setPolicy(A.id, new Map(), { ingress: true, egress: false });
        const inner = quoted({ source: address.a, destination: address.peer, payload: udp(1111, 2222) });
        send(address.peer, udp(1111, 2222));
        await rig.setPolicy(A.id, new Map(), { ingress: true, egress: true });
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
        await rig.setPolicy(A.id, stateOf([item('ingress', PEER, { protocol: 17, port: 53 })]), {
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

      it('drops overlay packets from an endpoint to nodes', () => {
        assertDropped(send(address.node, udp(1, 8472)), DropReason.encapProhibited);
        assertDropped(send(address.otherNode, udp(1, 8472)), DropReason.encapProhibited);
        assert.equal(send(address.world, udp(1, 8472)).verdict, 'pass');
      });

      it('judges SCTP by its ports', async () => {
        await rig.setPolicy(A.id, stateOf([item('ingress', PEER, { protocol: 132, port: 5000 })]), {
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
        const { verdict, data } = rig.run('from_pod', request);
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
        assert.equal(rig.run('from_pod', own).verdict, 'drop');
      });

      it('drops ARP in the name of others, and lets its answers to the stack', () => {
        const spoofed = arpPacket({
          operation: 2,
          senderMac: A.mac,
          senderIp: address.b,
          targetIp: address.node,
        });
        const count = rig.counted('egress', DropReason.invalidSip);
        assert.equal(rig.run('from_pod', spoofed).verdict, 'drop');
        assert.equal(rig.counted('egress', DropReason.invalidSip), count + 1);
        const reply = arpPacket({
          operation: 2,
          senderMac: A.mac,
          senderIp: address.a,
          targetIp: address.node,
        });
        assert.equal(rig.run('from_pod', reply).verdict, 'pass');
        assert.equal(rig.run('to_pod', reply, 0).verdict, 'pass', 'the stack asks the endpoint');
      });
      return;
    }

    it('answers neighbour solicitations for any address but its own', () => {
      const options = { source: 'fe80::1', sourceMac: A.mac };
      const { verdict, data } = rig.run(
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
      const own = rig.run('from_pod', neighborSolicitation({ ...options, target: address.a }));
      assert.equal(own.verdict, 'drop');
      const probing = rig.run(
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
            Buffer.from(
              ipPacket({ source: target, destination: target, payload: udp(1, 1) }).subarray(8, 24),
            ),
          ),
        });
      assert.equal(rig.run('from_pod', advertise(address.a)).verdict, 'pass');
      assert.equal(rig.run('from_pod', advertise(address.b)).verdict, 'drop');
      const solicit = packet({
        source: 'fe80::1',
        destination: 'ff02::2',
        sourceMac: A.mac,
        ttl: 255,
        payload: icmp(6, 133, 0, 0),
      });
      const count = rig.counted('egress', DropReason.forbiddenIcmp6);
      assert.equal(rig.run('from_pod', solicit).verdict, 'drop');
      assert.equal(rig.counted('egress', DropReason.forbiddenIcmp6), count + 1);
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
}
