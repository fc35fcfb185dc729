import assert from 'node:assert/strict';
import type { Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { parseIp } from '../../src/base/ip.ts';
import type { KernelService } from '../../src/datapath/types.ts';
import { DropReason } from '../../src/model/constants.gen.ts';
import { type BackendState, frontendKey, type ServiceProtocol } from '../../src/model/service.ts';
import { allow, NODE4, NODE6, type Pod, REMOTE4, REMOTE6, redirect } from '../support/datapath-lab.ts';
import { closed } from '../support/net-sockets.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { EGRESS, INGRESS, PROXY_PORT, RedirectLab, say } from '../support/redirect-lab.ts';

const VIPS = { 4: '10.96.0.10', 6: 'fd96::10' } as const;
const LOOPS = { 4: '169.254.42.1', 6: 'fd63:696c::1' } as const;
const PORT = 80;
const BACKEND_PORT = 8080;
/** Many segments that the kernel cuts late. */
const STREAM_BYTES = 4_000_000;
const ANSWER_MS = 2000;

describe('services of the BPF datapath in network namespaces', {
  skip: bpfOrSkip(),
  timeout: 120_000,
}, () => {
  const rig = new RedirectLab('V');
  const lab = rig.datapaths;
  let a: Pod;
  let b: Pod;

  rig.serveSuite();
  before(() => {
    ({ a, b } = rig);
  });

  interface Wanted {
    readonly protocol?: ServiceProtocol;
    readonly frontend?: string;
    readonly state?: BackendState;
    readonly family?: 4 | 6;
  }

  function serve(backends: readonly string[], wanted: Wanted = {}): Promise<void> {
    const {
      protocol = 'TCP',
      state = 'active',
      family = backends[0]?.includes(':') === true ? 6 : 4,
    } = wanted;
    return lab.datapath.upsertService({
      ...{ id: 7, type: 'ClusterIP', affinitySeconds: 0 },
      frontend: { address: parseIp(wanted.frontend ?? VIPS[family]), port: PORT, protocol },
      backends: backends.map((address) => ({ address: parseIp(address), port: BACKEND_PORT, state })),
    });
  }

  const addressOf = (pod: Pod, family: 4 | 6): string => (family === 4 ? pod.ipv4 : pod.ipv6);

  for (const family of [4, 6] as const) {
    const vip = VIPS[family];
    const node = family === 4 ? NODE4 : NODE6;
    const remote = family === 4 ? REMOTE4 : REMOTE6;

    for (const [where, place, address] of [
      ['a pod of the node', () => b.namespace, () => addressOf(b, family)],
      ['another machine', () => lab.remote, () => remote],
      ['the node itself', () => lab.node, () => node],
    ] as const)
      it(`connect IPv${family} to ${where} and back`, async () => {
        const accepted = await rig.serve(place(), address(), BACKEND_PORT);
        await serve([address()]);
        const socket = await rig.connect(a.namespace, vip, PORT);
        assert.equal(await say(socket, 'x'), `${addressOf(a, family)}/${socket?.localPort} x`);
        assert.equal(socket?.remoteAddress, vip);
        assert.equal(accepted[0]?.localPort, BACKEND_PORT);
      });

    it(`carry IPv${family} streams whose segments are larger than packets, both ways`, async () => {
      const [server] = await streams(family);
      const socket = await rig.connect(a.namespace, vip, PORT);
      assert.ok(socket);
      const sent = Buffer.alloc(STREAM_BYTES, 'abcdefg');
      const got: Buffer[] = [];
      socket.on('data', (part: Buffer) => got.push(part));
      socket.end(sent);
      await closed(socket);
      assert.ok(Buffer.concat(got).equals(sent));
      assert.equal(server.bytes, STREAM_BYTES);
    });

    /** A server at the other machine that sends back what it gets. */
    async function streams(of: 4 | 6): Promise<[{ bytes: number }]> {
      const count = { bytes: 0 };
      const at = of === 4 ? REMOTE4 : REMOTE6;
      await rig.sockets.listen(rig.path(lab.remote), at, BACKEND_PORT, (socket: Socket) => {
        socket.on('data', (part: Buffer) => {
          count.bytes += part.length;
        });
        socket.pipe(socket);
      });
      await serve([at]);
      return [count];
    }

    it(`bring a pod to itself by IPv${family}, as from elsewhere, though its policy lets nothing through`, async () => {
      await rig.setPolicy(a, [], { ingress: true, egress: true });
      await rig.serve(a.namespace, addressOf(a, family), BACKEND_PORT);
      await serve([addressOf(a, family)]);
      const socket = await rig.connect(a.namespace, vip, PORT);
      assert.equal(await say(socket, 'x'), `${LOOPS[family]}/${socket?.localPort} x`);
      assert.equal(socket?.remoteAddress, vip);
    });

    it(`pass IPv${family} through the proxy with the addresses of client and backend`, async () => {
      await rig.setPolicy(a, [redirect('egress', 2000, 6, BACKEND_PORT, PROXY_PORT)], EGRESS);
      await rig.serve(b.namespace, addressOf(b, family), BACKEND_PORT);
      await serve([addressOf(b, family)]);
      const socket = await rig.connect(a.namespace, vip, PORT);
      const own = `${addressOf(a, family)}/${socket?.localPort}`;
      assert.equal(await say(socket, 'x'), `${own} x`);
      assert.equal(socket?.remoteAddress, vip);
      assert.equal(rig.seenByProxy(new RegExp(`^tcp ${own} ${addressOf(b, family)}/${BACKEND_PORT}$`)), 1);
    });

    it(`pass IPv${family} through the proxy by policy of the backend`, async () => {
      await rig.setPolicy(b, [redirect('ingress', 1000, 6, BACKEND_PORT, PROXY_PORT)], INGRESS);
      await rig.serve(b.namespace, addressOf(b, family), BACKEND_PORT);
      await serve([addressOf(b, family)]);
      const socket = await rig.connect(a.namespace, vip, PORT);
      assert.equal(await say(socket, 'x'), `${addressOf(a, family)}/${socket?.localPort} x`);
    });

    it(`refuse IPv${family} at once where there is no backend`, async () => {
      await serve([], { family });
      const { socket, connected } = rig.sockets.open(rig.path(a.namespace), vip, PORT);
      const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
      assert.equal(error.code, 'ECONNREFUSED');
      assert.equal(await connected, false);
      await rig.dropped(DropReason.noService);
    });

    it(`keep an IPv${family} socket of UDP at one backend, spread sockets, and answer as the service`, async () => {
      const places = [
        [b.namespace, addressOf(b, family)],
        [lab.remote, remote],
      ] as const;
      for (const [place, address] of places) {
        const server = await rig.sockets.udp(rig.path(place), address, BACKEND_PORT);
        server.on('message', (_, from) => server.send(address, from.port, from.address));
      }
      await serve(
        places.map(([, address]) => address),
        { protocol: 'UDP' },
      );
      const seen = new Set<string>();
      for (let i = 0; i < 24; i++) {
        const client = await rig.sockets.udp(rig.path(a.namespace), addressOf(a, family));
        const answers = new Set<string>();
        for (let j = 0; j < 3; j++) answers.add(await asked(client, vip));
        assert.equal(answers.size, 1, [...answers].join(' '));
        for (const answer of answers) seen.add(answer);
      }
      assert.deepEqual([...seen].sort(), places.map(([, address]) => address).sort());
    });
  }

  /** What the service answers a datagram; the sender that recvmsg shows must be the service. */
  async function asked(client: UdpSocket, address: string): Promise<string> {
    const answer = once(client, 'message', { signal: AbortSignal.timeout(ANSWER_MS) });
    client.send('?', PORT, address);
    const [text, from] = (await answer) as [Buffer, { address: string; port: number }];
    assert.deepEqual([from.address, from.port], [address, PORT]);
    return text.toString();
  }

  async function readServices(): Promise<readonly KernelService[]> {
    const services = await lab.datapath.readServices();
    return services.toSorted((x, y) => (frontendKey(x.frontend) < frontendKey(y.frontend) ? -1 : 1));
  }

  it('judge by the backend: what policy denies is dropped, what it allows passes', async () => {
    await rig.serve(b.namespace, b.ipv4, BACKEND_PORT);
    await serve([b.ipv4]);
    await rig.setPolicy(b, [allow('ingress', 1000, 6, PORT)]);
    assert.equal(await rig.connect(a.namespace, VIPS[4], PORT), undefined);
    assert.ok(rig.drops().includes(DropReason.policy));
    await rig.setPolicy(b, [allow('ingress', 1000, 6, BACKEND_PORT)]);
    assert.ok(await rig.connect(a.namespace, VIPS[4], PORT));
  });

  it('drain: a stream to a terminating backend goes on, new ones go elsewhere; one that is gone resets it', async () => {
    await rig.serve(b.namespace, b.ipv4, BACKEND_PORT);
    const others = await rig.serve(lab.remote, REMOTE4, BACKEND_PORT);
    await serve([b.ipv4]);
    const stream = await rig.connect(a.namespace, VIPS[4], PORT);
    assert.ok(stream);
    assert.match((await say(stream, '1')) ?? '', / 1$/);
    await serve([b.ipv4], { state: 'terminating' });
    assert.match((await say(stream, '2')) ?? '', / 2$/);
    await serve([REMOTE4]);
    const reset = closed(stream);
    stream.write('3');
    assert.equal(await Promise.race([reset.then(() => 'reset'), delay(ANSWER_MS, 'open')]), 'reset');
    assert.ok(await rig.connect(a.namespace, VIPS[4], PORT));
    assert.equal(others.length, 1);
  });

  it('reset a stream through the proxy, too, when its backend is gone', async () => {
    await rig.setPolicy(a, [redirect('egress', 0, 6, BACKEND_PORT, PROXY_PORT)], EGRESS);
    await rig.serve(b.namespace, b.ipv4, BACKEND_PORT);
    const others = await rig.serve(lab.remote, REMOTE4, BACKEND_PORT);
    await serve([b.ipv4]);
    const stream = await rig.connect(a.namespace, VIPS[4], PORT);
    assert.ok(stream);
    assert.match((await say(stream, '1')) ?? '', / 1$/);
    await serve([REMOTE4]);
    const reset = closed(stream);
    stream.write('2');
    assert.equal(await Promise.race([reset.then(() => 'reset'), delay(ANSWER_MS, 'open')]), 'reset');
    assert.match((await say(await rig.connect(a.namespace, VIPS[4], PORT), '3')) ?? '', / 3$/);
    assert.equal(others.length, 1);
  });

  it('outlive the agent: another one takes them over, and lets go what it does not want', async () => {
    await rig.serve(b.namespace, b.ipv4, BACKEND_PORT);
    await serve([b.ipv4]);
    const held = await readServices();
    await lab.datapath.stop();
    assert.ok(await rig.connect(a.namespace, VIPS[4], PORT), 'without an agent');
    lab.datapath = lab.createDatapath();
    await lab.datapath.start(lab.nodeFacts);
    assert.deepEqual(await readServices(), held);
    const kept = held.find(({ frontend }) => frontend.protocol === 'TCP' && frontend.address.length === 4);
    assert.ok(kept);
    await lab.datapath.retainServices([kept.frontend]);
    assert.deepEqual(await lab.datapath.readServices(), [kept]);
    assert.ok(await rig.connect(a.namespace, VIPS[4], PORT));
    await lab.datapath.deleteService(kept.frontend);
    assert.equal(await rig.connect(a.namespace, VIPS[4], PORT), undefined);
  });
});
