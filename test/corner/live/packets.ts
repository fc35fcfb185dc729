import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { DEFAULT_LIFETIMES } from '../../../src/datapath/programs.ts';
import { ip } from '../../../src/lab/host.ts';
import { DropReason } from '../../../src/model/constants.gen.ts';
import { echo, OPEN_MS } from '../../support/live-traffic.ts';
import { arpPacket, type Extension, icmpError, ipPacket, rawL4, udp } from '../../support/packets.ts';
import { eventually } from '../../support/process.ts';
import { object } from '../world.ts';
import { type FrameOptions, Frames } from './frames.ts';
import { FROM_CLIENT, forClient, fromClient, TO_SERVER, toServers } from './rules.ts';
import type { Stage } from './stage.ts';

const UNDERLAY_PORT = 8472;
const BULK_BYTES = 4 << 20;
/** Longer than what conntrack leaves a connection that is closed. */
const HALF_CLOSED_MS = (DEFAULT_LIFETIMES.tcpClosing + 1) * 1000;
const NOBODY = new Uint8Array(6).fill(2);

/** Frames from and to the inside of pods, past their kernels. */
export function definePackets(stage: Stage): void {
  const { live, traffic } = stage;
  const frames = new Frames(stage);

  describe('frames', () => {
    before(() => frames.open(['server', 'client', 'plain']));
    after(() => frames.close());

    it('corner case 12: the ICMP error of an allowed flow comes back, one that nobody asked for does not', async () => {
      await live.policy(forClient('[{}]', '[{toEntities: [all]}]'));
      const unreachable = { 4: { type: 3, code: 3 }, 6: { type: 1, code: 4 } } as const;
      for (const family of [4, 6] as const) {
        const { type, code } = unreachable[family];
        // Where the ethertype, the protocol and the type of ICMP lie.
        const head = family === 4 ? { 12: 0x08, 23: 1, 34: type } : { 12: 0x86, 20: 58, 54: type };
        const isError = (got: Buffer): boolean =>
          Object.entries(head).every(([at, value]) => got[Number(at)] === value);
        const errors = (): number => frames.pod('client').wire.received.filter(isError).length;
        for (const server of ['server', 'server2']) {
          const before = errors();
          const socket = await traffic.udpSocket('client', { family });
          socket.send('x', 9999, live.address(server, family));
          await eventually(`port 9999 of ${server} is unreachable`, () => errors() > before || undefined);
        }
        const before = errors();
        const quoted = ipPacket({
          source: live.address('client', family),
          destination: live.address('server', family),
          payload: udp(4031, 53),
        });
        const unasked = icmpError(family, type, code, quoted);
        await frames.dropped(
          'server',
          frames.frame('server', 'client', unasked, { family }),
          DropReason.unknownCt,
        );
        assert.equal(errors(), before);
      }
    });

    it('corner case 33: fragments follow their first and none passes without it, in whatever order; options and headers are read; no tag passes', async () => {
      await live.policy(
        fromClient(
          `[{${TO_SERVER}, toPorts: [{ports: [{port: "80", protocol: UDP}, {port: "443", protocol: TCP}]}]}]`,
        ),
      );
      for (const family of [4, 6] as const) {
        for (const server of ['server', 'server2']) {
          assert.equal(await traffic.udp('client', server, 80, { family, bytes: 4000 }), 'open', 'in pieces');
          assert.equal(await traffic.udp('client', server, 81, { family, bytes: 4000 }), '133', 'in pieces');
        }
      }
      const piece = (id: number, offset: number, text: string): Buffer => {
        const body = Buffer.alloc(32, text);
        const whole = udp(4050, 80, Buffer.alloc(56));
        whole.bytes.writeUInt16BE(0, 6);
        const payload =
          offset === 0
            ? { ...whole, bytes: Buffer.concat([whole.bytes.subarray(0, 8), body.subarray(0, 24)]) }
            : rawL4(17, body);
        const { checksumAt: _, ...plain } = payload;
        return frames.frame('client', 'server', plain, { fragment: { id, offset, more: offset === 0 } });
      };
      await frames.dropped('client', piece(7, 32, 'PIECE-A.'), DropReason.fragNotFound);
      await frames.dropped('client', piece(8, 32, 'PIECE-B.'), DropReason.fragNotFound);
      await frames.send('client', piece(8, 0, 'PIECE-0.'));
      await frames.send('client', piece(8, 32, 'PIECE-B.'));
      await eventually(
        'the second piece after the first',
        () => frames.heard('server', 'PIECE-B.') || undefined,
      );
      assert.ok(!frames.heard('server', 'PIECE-A.'), 'whose first was lost');
      for (const family of [4, 6] as const) {
        const extension: Extension =
          family === 4
            ? { protocol: 0, bytes: Uint8Array.of(1, 1, 1, 0) }
            : { protocol: 60, bytes: Uint8Array.of(0, 0, 1, 4, 0, 0, 0, 0) };
        const odd = (port: number, text: string): Buffer =>
          frames.frame('client', 'server', udp(4051, port, Buffer.from(text)), {
            family,
            extensions: [extension],
          });
        await frames.send('client', odd(80, `ODD-${family}`));
        await eventually('what has options', () => frames.heard('server', `ODD-${family}`) || undefined);
        await frames.dropped('client', odd(81, `BAD-${family}`), DropReason.policy);
        assert.ok(!frames.heard('server', `BAD-${family}`));
      }
      const bare = frames.frame('client', 'server', udp(4052, 80, Buffer.from('TAGGED')));
      const tagged = Buffer.concat([bare.subarray(0, 12), Buffer.of(0x81, 0, 0, 5), bare.subarray(12)]);
      await frames.dropped('client', tagged, DropReason.vlanFiltered);
      assert.ok(!frames.heard('server', 'TAGGED'));
      const socket = await traffic.connect('client', 'server2', 443);
      let bytes = 0;
      socket.on('data', (part) => {
        bytes += part.length;
      });
      socket.write(Buffer.alloc(BULK_BYTES));
      await eventually('all of a stream in large segments', () => bytes === BULK_BYTES || undefined);
    });

    it("corner case 34: nothing passes by another's address or MAC, no overlay of a pod's own, no ARP for another", async () => {
      const forged = (text: string, options: FrameOptions): Buffer =>
        frames.frame('plain', 'server', udp(4060, 80, Buffer.from(text)), options);
      for (const family of [4, 6] as const) {
        for (const name of ['client', 'far', 'outside', 'node2']) {
          const text = `AS-${name}-${family}`;
          const source = live.address(name, family);
          await frames.dropped('plain', forged(text, { family, source }), DropReason.invalidSip);
          assert.ok(!frames.heard('server', text), text);
        }
        const overlay = udp(4061, UNDERLAY_PORT, Buffer.alloc(64));
        for (const node of ['node1', 'node2'])
          await frames.dropped(
            'plain',
            frames.frame('plain', node, overlay, { family }),
            DropReason.encapProhibited,
          );
      }
      const mac = forged('FORGED-MAC', { sourceMac: NOBODY });
      await frames.dropped('plain', mac, DropReason.invalidSmac);
      assert.ok(!frames.heard('server', 'FORGED-MAC'));
      const senderMac = frames.pod('plain').mac;
      const claim = {
        operation: 2,
        senderMac,
        senderIp: live.address('server'),
        targetIp: live.address('client'),
      } as const;
      await frames.dropped('plain', arpPacket(claim), DropReason.invalidSip);
      assert.equal(await traffic.tcp('client', 'server', 80), 'open', 'the neighbours are who they were');
      assert.equal(await traffic.tcp('node1', 'server', 80), 'open', 'the neighbours are who they were');
    });
  });
}

/** Connections that end in odd ways. Defined late, since one of them has to grow old, and before any flood. */
export function defineConnections(stage: Stage): void {
  const { live, traffic } = stage;

  it('corner case 32: a port used again is a new flow, one opened from both ends is one, a half-closed one lives on', async () => {
    await live.policy(toServers(`[{${FROM_CLIENT}}]`) + forClient('[{}]', '[{toEntities: [all]}]'));
    for (let round = 0; round < 2; round++) {
      const [socket, inside] = await traffic.pair('client', 'server', 80, { sourcePort: 4040 });
      assert.ok(await echo(socket));
      // The server ends first: it keeps the pair of ports in TIME_WAIT, and the client opens it again.
      inside.destroySoon();
      await traffic.ended(socket);
    }
    await live.change(toServers('[{}]'));
    assert.equal(
      await traffic.tcp('client', 'server', 80, { sourcePort: 4040 }),
      '133',
      'by the rules of now',
    );

    assert.equal(await traffic.tcp('server', 'client', 4140, { sourcePort: 4141 }), '133');
    const hole = [`${live.address('client')}/32`];
    const inServer = ['-n', live.lab.workload('server').netns ?? ''];
    await live.change(toServers(`[{${FROM_CLIENT}}]`));
    await ip(...inServer, 'route', 'add', 'blackhole', ...hole);
    const first = traffic.open('client', 'server', 4141, { sourcePort: 4140 });
    await ip(...inServer, 'route', 'del', 'blackhole', ...hole);
    const second = traffic.open('server', 'client', 4140, { sourcePort: 4141 });
    assert.deepEqual(await Promise.all([first.connected, second.connected]), [true, true]);
    second.socket.on('data', (bytes) => second.socket.write(bytes));
    assert.ok(await echo(first.socket), 'one connection');

    const { client, server, since } = stage.halfClosed();
    await delay(Math.max(0, since + HALF_CLOSED_MS - performance.now()));
    await live.policy(object('endpointSelector: {matchLabels: {app: plain}}\ningress: [{}]'));
    const late = once(client, 'data', { signal: AbortSignal.timeout(OPEN_MS) });
    server.write('late');
    assert.equal(String((await late)[0]), 'late', 'the open half still says something');
    assert.equal(await traffic.tcp('far', 'plain', 80), '133', 'and only that');
  });
}
