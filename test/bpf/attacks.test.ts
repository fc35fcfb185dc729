/** Packets made to get past the programs: each of these once did, or could have. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { DropReason } from '../../src/model/constants.gen.ts';
import { allow, stateOf } from '../support/datapath-lab.ts';
import {
  arpPacket,
  echo,
  icmp,
  icmpError,
  ipPacket,
  type L4,
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
const PEER = 4000;
const WORLD = 2;
const HOST = 1;
const OPEN = { ingress: false, egress: false };
const BOTH = { ingress: true, egress: true };
const INGRESS = { ingress: true, egress: false };
const EGRESS = { ingress: false, egress: true };
const FUZZ_FRAMES = 6000;

const ADDRESSES = {
  4: { a: '10.0.0.1', peer: '10.0.7.7', node: '203.0.113.1', world: '198.51.100.7', other: '10.0.0.99' },
  6: { a: 'fd00::1', peer: 'fd00::7:7', node: 'fd01::1', world: '2001:db8::7', other: 'fd00::99' },
} as const;

function assertDropped(result: RunResult, reason: number): void {
  assert.equal(result.verdict, 'drop');
  const event = result.events.find(({ kind }) => kind === 'drop');
  assert.equal(event?.kind === 'drop' ? event.reason : undefined, reason);
}

/** xorshift32: the same frames for the same seed. */
function randomOf(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

for (const family of [4, 6] as const) {
  const address = ADDRESSES[family];
  const icmpProtocol = family === 4 ? 1 : 58;

  describe(`attacks on programs, IPv${family}`, { skip: bpfOrSkip() }, () => {
    let rig: ProgramRig;

    before(async () => {
      rig = new ProgramRig();
      await rig.start(['203.0.113.1', 'fd01::1'], ['10.0.0.0/8', 'fd00::/64']);
      await rig.setIdentity(`${address.peer}/${family === 4 ? 32 : 128}`, PEER);
      await rig.attach(A, OPEN);
    });
    after(() => rig?.close());
    beforeEach(async () => {
      rig.clearConntrack();
      await rig.setPolicy(A.id, new Map(), OPEN);
    });

    const send = (destination: string, payload: L4, options: Partial<PacketOptions> = {}): RunResult =>
      rig.run('from_pod', packet({ source: address.a, sourceMac: A.mac, destination, payload, ...options }));
    const receive = (source: string, payload: L4, options: Partial<PacketOptions> = {}): RunResult =>
      rig.run('from_netdev', packet({ source, destination: address.a, payload, ...options }));
    const deliver = (source: string, payload: L4, options: Partial<PacketOptions> = {}): RunResult =>
      rig.run('to_pod', packet({ source, destination: address.a, payload, ...options }), ELSEWHERE);

    describe('ICMP', () => {
      it('keeps echoes of identifier 0 in opposite directions apart', async () => {
        await rig.setPolicy(A.id, new Map(), INGRESS);
        assert.equal(send(address.peer, echo(family, 'request', 0)).verdict, 'pass');
        assertDropped(receive(address.peer, echo(family, 'request', 0)), DropReason.policy);
        assert.equal(receive(address.peer, echo(family, 'reply', 0)).verdict, 'redirect');
      });

      it('does not take another query for the echo whose identifier is its type', async () => {
        const [echoType, query] = family === 4 ? [8, 13] : [128, 139];
        await rig.setPolicy(A.id, stateOf([allow('egress', PEER, icmpProtocol, echoType)]), EGRESS);
        assert.equal(send(address.peer, echo(family, 'request', query)).verdict, 'pass');
        assertDropped(send(address.peer, icmp(family, query, 0, 0)), DropReason.policy);
        assertDropped(send(address.peer, icmp(family, 144, 0, 0)), DropReason.policy);
      });

      it('does not take a query from the other side for the answer to its like', async () => {
        const query = family === 4 ? 13 : 139;
        await rig.setPolicy(A.id, new Map(), INGRESS);
        assert.equal(send(address.peer, icmp(family, query, 0, 0)).verdict, 'pass');
        assertDropped(receive(address.peer, icmp(family, query, 0, 0)), DropReason.policy);
      });

      it('drops an error that quotes an error', async () => {
        send(address.peer, echo(family, 'request', 0));
        const type = family === 4 ? 3 : 1;
        const quoted = ipPacket({
          source: address.a,
          destination: address.peer,
          payload: icmp(family, type, 0, 0, Buffer.alloc(28)),
        });
        assertDropped(receive(address.peer, icmpError(family, type, 0, quoted)), DropReason.unknownCt);
      });

      it('drops redirects, also for known flows', { skip: family === 6 && 'dropped with discovery' }, () => {
        send(address.peer, udp(1111, 2222));
        const quoted = ipPacket({ source: address.a, destination: address.peer, payload: udp(1111, 2222) });
        const redirect = icmpError(4, 5, 1, quoted);
        assertDropped(receive(address.peer, redirect), DropReason.invalid);
        assertDropped(receive(address.node, redirect), DropReason.invalid);
        assertDropped(deliver(address.peer, redirect), DropReason.invalid);
      });

      it('carries no advertisement past the node', {
        skip: family === 4 && 'neighbour discovery is IPv6',
      }, () => {
        const target = Buffer.alloc(16);
        target.set([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        const advertise = (destination: string, source: string = address.a): RunResult =>
          send(destination, icmp(6, 136, 0, 0x60000000, Buffer.concat([target, Buffer.alloc(400, 7)])), {
            source,
            ttl: 255,
          });
        for (const destination of [address.world, address.peer, address.other, 'ff0e::1', '::1']) {
          assert.equal(advertise(destination).verdict, 'drop', destination);
          assert.equal(advertise(destination, address.world).verdict, 'drop', destination);
        }
        for (const destination of [address.node, 'ff02::1', 'fe80::1']) {
          assert.equal(advertise(destination).verdict, 'pass', destination);
        }
      });
    });

    it('asks for the host where a packet can reach nobody but the node', async () => {
      const here =
        family === 4
          ? ['224.0.0.1', '239.1.2.3', '255.255.255.255', '127.0.0.1', '0.0.0.0']
          : ['ff02::1', 'ff05::2', 'fe80::1'];
      await rig.setPolicy(A.id, stateOf([allow('egress', WORLD)]), EGRESS);
      assert.equal(send(address.world, udp(1, 53)).verdict, 'pass');
      for (const destination of here) assertDropped(send(destination, udp(1, 53)), DropReason.policy);
      await rig.setPolicy(A.id, stateOf([allow('egress', WORLD), allow('egress', HOST)]), EGRESS);
      for (const destination of here) assert.equal(send(destination, udp(1, 53)).verdict, 'pass');
    });

    it('does not answer for an endpoint that had the address before', async () => {
      for (const payload of [udp(53, 5000), tcp(53, 5000, TcpFlag.ack)]) {
        rig.clearConntrack();
        await rig.attach(A, OPEN);
        const opened = payload.protocol === 17 ? udp(5000, 53) : tcp(5000, 53, TcpFlag.ack);
        assert.equal(send(address.peer, opened).verdict, 'pass');
        assert.equal(receive(address.peer, payload).verdict, 'redirect');
        rig.endpoints.detach(A.id);
        const next = { ...A, id: 21, ifindex: ELSEWHERE + 21 };
        await rig.attach(next, INGRESS);
        assertDropped(receive(address.peer, payload), DropReason.policy);
        rig.endpoints.detach(next.id);
      }
      await rig.attach(A, OPEN);
    });

    it('lets nobody name the ports of the fragments of others', async () => {
      await rig.setPolicy(A.id, stateOf([allow('ingress', PEER, 17, 53)]), INGRESS);
      const first = { fragment: { id: 77, offset: 0, more: true } };
      const later = { fragment: { id: 77, offset: 64, more: false } };
      const forged = send(address.a, udp(9, 53, Buffer.alloc(56)), { source: address.peer, ...first });
      assertDropped(forged, DropReason.invalidSip);
      assertDropped(receive(address.peer, rawL4(17, Buffer.alloc(64)), later), DropReason.fragNotFound);
    });

    it('lets no query pass in pieces by the type of an echo', async () => {
      const [replyType, query] = family === 4 ? [0, 13] : [129, 139];
      const { key, entry } = allow('egress', PEER, icmpProtocol, replyType);
      await rig.setPolicy(A.id, stateOf([{ key: { ...key, portPrefixLength: 16 }, entry }]), EGRESS);
      const first = { fragment: { id: 78, offset: 0, more: true } };
      const later = { fragment: { id: 78, offset: 64, more: false } };
      assertDropped(
        send(address.peer, icmp(family, query, 0, 0, Buffer.alloc(56)), first),
        DropReason.policy,
      );
      const rest = send(address.peer, rawL4(icmpProtocol, Buffer.alloc(64)), later);
      assertDropped(rest, DropReason.fragNotFound);
    });

    it('drops the last hop of an established flow, and leaves the last hop to the endpoint alone', () => {
      for (let i = 0; i < 2; i++) assert.equal(receive(address.peer, udp(1, 2)).verdict, 'redirect');
      assertDropped(receive(address.peer, udp(1, 2), { ttl: 1 }), DropReason.ttlExceeded);
      assertDropped(receive(address.peer, udp(1, 2), { ttl: 0 }), DropReason.ttlExceeded);
      for (let i = 0; i < 2; i++) assert.equal(deliver(address.peer, udp(3, 4), { ttl: 1 }).verdict, 'pass');
    });

    it('takes a flow that was seen a tick after now for a living one', async () => {
      await rig.setPolicy(A.id, new Map(), INGRESS);
      send(address.peer, udp(5000, 53));
      const map = family === 4 ? rig.loaded.maps.ct4 : rig.loaded.maps.ct6;
      const key = map.nextKey(undefined);
      const value = key && map.lookup(key);
      assert.ok(key && value);
      value.writeUInt32LE((value.readUInt32LE(0) + 2) >>> 0, 0);
      map.update(key, value);
      assert.equal(receive(address.peer, udp(53, 5000)).verdict, 'redirect');
    });

    it('remembers who opened a denied TCP flow as long as it goes on', async () => {
      const data = tcp(5000, 80, TcpFlag.ack);
      send(address.peer, tcp(5000, 80, TcpFlag.syn));
      receive(address.peer, tcp(80, 5000, TcpFlag.syn | TcpFlag.ack));
      send(address.peer, data);
      await rig.setPolicy(A.id, new Map(), EGRESS);
      const map = family === 4 ? rig.loaded.maps.ct4 : rig.loaded.maps.ct6;
      const key = map.nextKey(undefined);
      const value = key && map.lookup(key);
      assert.ok(key && value);
      const seen = value.readUInt32LE(0);
      value.writeUInt32LE((seen - 3) >>> 0, 0);
      map.update(key, value);
      assertDropped(receive(address.peer, tcp(80, 5000, TcpFlag.ack)), DropReason.policy);
      const later = map.lookup(key);
      assert.ok(later && later.readUInt32LE(0) >= seen);
      assertDropped(receive(address.peer, tcp(80, 5000, TcpFlag.ack)), DropReason.policy);
    });

    it('keeps flows in use through a flood of SYNs, and takes an evicted one back from its opener', {
      skip: family === 6 && 'the same map type and code as IPv4',
    }, async () => {
      await rig.setIdentity('10.9.0.0/16', PEER);
      await rig.setPolicy(A.id, stateOf([allow('ingress', PEER, 6, 80)]), BOTH);
      rig.setEventKinds(0);
      const flows = Array.from({ length: 60 }, (_, i) => 20_000 + i);
      const [used, idle] = [flows.slice(0, 30), flows.slice(30)];
      const answers = (port: number): boolean =>
        send(address.peer, tcp(80, port, TcpFlag.ack)).verdict === 'pass';
      for (const port of flows) {
        receive(address.peer, tcp(port, 80, TcpFlag.syn));
        send(address.peer, tcp(80, port, TcpFlag.syn | TcpFlag.ack));
        receive(address.peer, tcp(port, 80, TcpFlag.ack));
      }
      for (let i = 0; i < 140_000; i++) {
        receive(`10.9.${Math.trunc(i / 10_000)}.7`, tcp(1 + (i % 10_000), 80, TcpFlag.syn));
        if (i % 4000 === 0) used.forEach(answers);
      }
      assert.deepEqual(used.map(answers), Array(30).fill(true));
      // Without its entry a packet of the server is the first of a flow that nobody allowed.
      const forgotten = idle.filter((port) => !answers(port));
      for (const port of forgotten) {
        assert.equal(receive(address.peer, tcp(port, 80, TcpFlag.ack)).verdict, 'redirect');
        assert.ok(answers(port));
      }
    });

    it('lets no frame pass an endpoint to which nothing is allowed, whatever it is made of', async () => {
      const seed = Math.trunc(Math.random() * 2 ** 31);
      const random = randomOf(seed);
      await rig.setPolicy(A.id, new Map(), BOTH);
      rig.setEventKinds(0);
      const zero = new Uint8Array(6);
      const payloads = (): L4[] => [
        udp(random(65_536), random(65_536), Buffer.alloc(random(64), random(256))),
        tcp(random(65_536), random(65_536), random(256)),
        icmp(family, random(256), random(256), random(2 ** 31), Buffer.alloc(random(80), random(256))),
        rawL4(random(256), Buffer.alloc(random(100), random(256))),
      ];
      const addresses = Object.values(address);
      for (let i = 0; i < FUZZ_FRAMES; i++) {
        const hook = (['from_pod', 'to_pod', 'from_netdev'] as const)[random(3)] ?? 'from_pod';
        const choice = payloads();
        const frame = packet({
          source: hook === 'from_pod' ? address.a : (addresses[random(addresses.length)] ?? address.peer),
          destination:
            hook === 'from_pod' ? (addresses[random(addresses.length)] ?? address.peer) : address.a,
          sourceMac: A.mac,
          payload: choice[random(choice.length)] ?? udp(1, 2),
          ttl: random(8) === 0 ? random(256) : 64,
          ...(random(4) === 0 && {
            fragment: { id: random(4), offset: 8 * random(4), more: random(2) === 0 },
          }),
        });
        // The Ethernet header and the destination stay: what leaves them is not this endpoint's any more.
        for (let changes = random(3); changes > 0; changes--)
          frame[14 + random(frame.length - 14)] = random(256);
        if (hook !== 'from_pod') frame.set(family === 4 ? [10, 0, 0, 1] : [], 30);
        const cut =
          random(5) === 0 ? frame.subarray(0, Math.max(family === 4 ? 34 : 54, random(frame.length))) : frame;
        const { verdict } = rig.run(hook, cut, ELSEWHERE);
        const discovery = family === 6 && cut[20] === 58 && (cut[54] === 135 || cut[54] === 136);
        const elsewhere = hook === 'from_netdev' && verdict === 'next';
        assert.ok(
          verdict === 'drop' || discovery || elsewhere,
          `seed ${seed}: ${hook} ${verdict} ${cut.toString('hex')}`,
        );
      }
      assert.equal(
        rig.run(
          'from_pod',
          arpPacket({ operation: 1, senderMac: zero, senderIp: '10.0.0.1', targetIp: '1.1.1.1' }),
        ).verdict,
        'drop',
      );
    });
  });
}
