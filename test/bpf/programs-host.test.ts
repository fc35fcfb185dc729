import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readWaypoints } from '../../src/base/waypoint.ts';
import { DropReason, Hook } from '../../src/model/constants.gen.ts';
import { ReservedIdentity } from '../../src/model/identity.ts';
import { stateOf } from '../support/datapath-lab.ts';
import { echo, icmpError, type L4, type PacketOptions, packet, rawL4, tcp, udp } from '../support/packets.ts';
import { PROBE_MAGIC, probeEcho } from '../support/probe-cookie.ts';
import {
  A,
  ack,
  assertDropped,
  describePrograms,
  dropReason,
  fin,
  item,
  PEER,
  type ProgramCases,
  syn,
} from '../support/program-cases.ts';
import { HOST_ID, type RunResult } from '../support/program-rig.ts';

const SSH = 22;
const UNCOMMON = 8080;
const EPHEMERAL = 50_000;

/** From the wire to the node, and from the node to the wire. */
function hostWays({ rig, address }: ProgramCases): {
  readonly receive: (source: string, payload: L4, options?: Partial<PacketOptions>) => RunResult;
  readonly send: (destination: string, payload: L4, ingress?: number) => RunResult;
} {
  return {
    receive: (source, payload, options = {}) =>
      rig.run('to_host', packet({ source, destination: address.node, payload, ...options })),
    send: (destination, payload, ingress = 0) =>
      rig.run('from_host', packet({ source: address.node, destination, payload }), ingress),
  };
}

describePrograms("the node's own policy", (cases) => {
  const { family, address } = cases;
  const receive = (source: string, payload: L4, options: Partial<PacketOptions> = {}): RunResult =>
    hostWays(cases).receive(source, payload, options);
  const send = (destination: string, payload: L4, ingress?: number): RunResult =>
    hostWays(cases).send(destination, payload, ingress);
  const echoType = family === 4 ? 8 : 128;
  const ICMP = family === 4 ? 1 : 58;
  const inward = (...entries: ReturnType<typeof item>[]): Promise<void> =>
    cases.rig.setHostPolicy(stateOf(entries), { egress: false });
  const outward = (...entries: ReturnType<typeof item>[]): Promise<void> =>
    cases.rig.setHostPolicy(stateOf(entries), { ingress: false });
  const ssh = item('ingress', PEER, { protocol: 6, port: SSH });

  it('judges nothing where there is none, and where it was taken off', async () => {
    assert.equal(receive(address.world, tcp(EPHEMERAL, UNCOMMON, syn)).verdict, 'next');
    await inward(ssh);
    assert.equal(receive(address.world, tcp(EPHEMERAL, UNCOMMON, syn)).verdict, 'drop');
    await cases.rig.setHostPolicy(undefined);
    assert.equal(receive(address.world, tcp(EPHEMERAL, UNCOMMON, syn)).verdict, 'next');
    assert.equal(send(address.world, tcp(EPHEMERAL, UNCOMMON, syn)).verdict, 'next');
  });

  it('lets in what it allows, answers too, and drops the rest with a reason and the number of its endpoint', async () => {
    await inward(ssh);
    assert.equal(receive(address.peer, tcp(EPHEMERAL, SSH, syn)).verdict, 'next');
    assert.equal(send(address.peer, tcp(SSH, EPHEMERAL, syn | ack)).verdict, 'next');
    assert.equal(receive(address.peer, tcp(EPHEMERAL, SSH, ack)).verdict, 'next');
    const other = receive(address.peer, tcp(EPHEMERAL, UNCOMMON, syn));
    assertDropped(other, DropReason.policy);
    const event = other.events.find(({ kind }) => kind === 'drop');
    assert.equal(event?.kind === 'drop' ? event.source : undefined, HOST_ID);
    assertDropped(receive(address.world, tcp(EPHEMERAL, SSH, syn)), DropReason.policy);
    assertDropped(receive(address.world, udp(EPHEMERAL, 53)), DropReason.policy);
  });

  it('notes what it drops of a prober, for the path and for anybody, and nothing of other echoes', async () => {
    const waypoints = (prober: number, path: number) =>
      readWaypoints((key) => cases.rig.loaded.maps.waypoints.lookup(key), { prober, path }, [Hook.toHost]);
    const probe = (magic: number, path: number, prober = 77): L4 =>
      probeEcho(family, { prober, path, magic });
    await inward(item('ingress', PEER, { protocol: ICMP, port: echoType }));
    assert.equal(receive(address.peer, probe(PROBE_MAGIC, 3)).verdict, 'next');
    assert.deepEqual(
      waypoints(77, 3).map(({ leg, dropReason }) => [leg, dropReason]),
      [['request', 0]],
    );
    assertDropped(receive(address.world, probe(0, 4)), DropReason.policy);
    assert.deepEqual([waypoints(77, 4), waypoints(0, 0)], [[], []]);
    assert.equal(receive(address.peer, probe(PROBE_MAGIC, 0, 0)).verdict, 'next');
    assertDropped(receive(address.world, probe(PROBE_MAGIC, 0, 0)), DropReason.policy);
    assert.deepEqual(waypoints(0, 0), [], 'a prober 0 is a forged one');
    assertDropped(receive(address.world, probe(PROBE_MAGIC, 4)), DropReason.policy);
    for (const [prober, path] of [
      [77, 4],
      [0, 0],
    ] as const)
      assert.deepEqual(
        waypoints(prober, path).map(({ leg, dropReason }) => [leg, dropReason]),
        [['request', DropReason.policy]],
      );
  });

  it('lets the node out as it allows, and answers back in', async () => {
    await cases.rig.setHostPolicy(stateOf([item('egress', PEER, { protocol: 17, port: 53 })]));
    assert.equal(send(address.peer, udp(EPHEMERAL, 53)).verdict, 'next');
    assert.equal(receive(address.peer, udp(53, EPHEMERAL)).verdict, 'next');
    assertDropped(send(address.world, udp(EPHEMERAL, 53)), DropReason.policy);
    assertDropped(receive(address.peer, udp(53, EPHEMERAL + 1)), DropReason.policy);
  });

  it('judges echo by its type', async () => {
    await inward(item('ingress', PEER, { protocol: ICMP, port: echoType }));
    assert.equal(receive(address.peer, echo(family, 'request', 7)).verdict, 'next');
    assert.equal(send(address.peer, echo(family, 'reply', 7)).verdict, 'next');
    assertDropped(receive(address.world, echo(family, 'request', 7)), DropReason.policy);
  });

  it('takes a denial over an allowance, and ends what runs at once', async () => {
    await inward(ssh);
    receive(address.peer, tcp(EPHEMERAL, SSH, syn));
    send(address.peer, tcp(SSH, EPHEMERAL, syn | ack));
    await inward(
      ssh,
      item('ingress', PEER, { protocol: 6, port: SSH, verdict: { kind: 'deny' }, precedence: 255 }),
    );
    assertDropped(receive(address.peer, tcp(EPHEMERAL, SSH, ack)), DropReason.policyDeny);
    assertDropped(send(address.peer, tcp(SSH, EPHEMERAL, ack)), DropReason.policyDeny);
  });

  it('takes a flow that was there before it for what its ports say, and judges a new one by its SYN', async () => {
    await inward(ssh);
    assert.equal(send(address.peer, tcp(SSH, EPHEMERAL, ack)).verdict, 'next', 'the node answers');
    cases.rig.clearConntrack();
    assertDropped(send(address.world, tcp(SSH, EPHEMERAL, ack)), DropReason.policy);
    assert.equal(send(address.world, tcp(EPHEMERAL, 443, ack)).verdict, 'next', 'the node asks');
    assert.equal(receive(address.world, tcp(443, EPHEMERAL, ack)).verdict, 'next');
    assertDropped(receive(address.world, tcp(443, EPHEMERAL, syn)), DropReason.policy);
  });

  it('only tells of what it refuses where it is audited', async () => {
    await cases.rig.setHostPolicy(stateOf([ssh]), { egress: false, audit: true });
    const { verdict, events } = receive(address.world, tcp(EPHEMERAL, UNCOMMON, syn));
    assert.equal(verdict, 'next');
    const told = events.flatMap((event) => (event.kind === 'policy-verdict' ? [event] : []));
    assert.deepEqual(
      told.map((event) => [event.audited, event.verdict, event.source]),
      [[true, -DropReason.policy, HOST_ID]],
    );
    await inward(ssh);
    assertDropped(receive(address.world, tcp(EPHEMERAL, UNCOMMON, fin | ack)), DropReason.policy);
  });

  it('leaves alone what is not for the node, not by it, or a network needs', async () => {
    await cases.rig.setHostPolicy(new Map());
    const group = family === 4 ? '224.0.0.251' : 'ff02::fb';
    const link = family === 4 ? '169.254.1.1' : 'fe80::1';
    for (const destination of [address.a, group, link])
      assert.equal(receive(address.peer, udp(1, 2), { destination }).verdict, 'next', destination);
    assert.equal(send(address.peer, udp(1, 2), 5).verdict, 'next', 'forwarded');
    const proxied = packet({ source: address.a, destination: address.peer, payload: udp(1, 2) });
    assert.equal(cases.rig.run('from_host', proxied, 0).verdict, 'next', 'for an endpoint');
    const [type, code] = family === 4 ? [3, 4] : [2, 0];
    assert.equal(
      receive(address.world, icmpError(family, type ?? 0, code ?? 0, Buffer.alloc(28))).verdict,
      'next',
    );
    if (family === 6) {
      const solicitation = rawL4(58, Buffer.concat([Buffer.from([135, 0, 0, 0]), Buffer.alloc(20)]));
      assert.equal(receive(address.peer, solicitation).verdict, 'next');
    }
  });

  it('judges frames to a group of the link too: the stack takes their datagrams if the address is its own', async () => {
    await inward(ssh);
    for (const first of [0xff, 0x01])
      assertDropped(
        receive(address.world, udp(1, 2), { destinationMac: new Uint8Array(6).fill(first) }),
        DropReason.policy,
      );
    const another = receive(address.world, udp(1, 2), { destinationMac: new Uint8Array(6).fill(0x02) });
    assert.equal(another.verdict, 'next', 'the stack drops what is for another machine');
  });

  it('drops frames with a tag within a tag, of which the stack takes off those of no VLAN', async () => {
    const nested = { ethertype: 0x8100 };
    assert.equal(receive(address.peer, tcp(EPHEMERAL, SSH, syn), nested).verdict, 'next', 'without a policy');
    await inward(ssh);
    for (const ethertype of [0x8100, 0x88a8])
      assertDropped(receive(address.peer, tcp(EPHEMERAL, SSH, syn), { ethertype }), DropReason.vlanFiltered);
  });

  it('drops what comes from outside with the address of an endpoint', async () => {
    await inward(ssh);
    assertDropped(receive(address.a, tcp(1, SSH, syn)), DropReason.invalidSip);
  });

  describe('towards endpoints', () => {
    it('is judged beside theirs, in both directions', async () => {
      await inward(item('ingress', A.identity, { protocol: 6, port: 4240 }));
      assert.equal(cases.send(address.node, tcp(EPHEMERAL, 4240, syn)).verdict, 'pass');
      const refused = cases.send(address.node, tcp(EPHEMERAL, SSH, syn));
      assertDropped(refused, DropReason.policy);
      await outward(item('egress', A.identity, { protocol: 6, port: UNCOMMON }));
      assert.equal(cases.deliver(address.node, tcp(EPHEMERAL, UNCOMMON, syn), 0).verdict, 'pass');
      assertDropped(cases.deliver(address.node, tcp(EPHEMERAL, SSH, syn), 0), DropReason.policy);
    });

    it('holds at an address of the node that nobody listed', async () => {
      const destination = family === 4 ? '127.0.0.53' : '::1';
      assert.equal(dropReason(cases.send(destination, tcp(EPHEMERAL, SSH, syn))), undefined);
      cases.rig.clearConntrack();
      await inward();
      assert.equal(dropReason(cases.send(destination, tcp(EPHEMERAL, SSH, syn))), DropReason.policy);
    });

    it('leaves flows between endpoints and others alone', async () => {
      await cases.rig.setHostPolicy(new Map());
      assert.equal(cases.send(address.b, tcp(1, 2, syn)).verdict, 'redirect');
      assert.equal(cases.send(address.world, tcp(1, 2, syn)).verdict, 'pass');
      assert.equal(cases.receive(address.peer, tcp(1, 2, syn)).verdict, 'redirect');
    });
  });

  it('counts what of the node passed and was dropped', async () => {
    const before = cases.rig.counted('ingress', DropReason.policy);
    await inward(item('ingress', ReservedIdentity.world));
    receive(address.world, udp(1, 2));
    receive(address.peer, udp(1, 2));
    assert.equal(cases.rig.counted('ingress', DropReason.policy), before + 1);
  });
});
