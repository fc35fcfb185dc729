import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createHttpProbe } from '../../probes/http/index.ts';
import { loadSockets } from '../../src/base/sockets/index.ts';
import { Streams, type TcpStream } from '../../src/base/sockets/streams.ts';
import { packet, TcpFlag, tcp } from '../support/packets.ts';
import { rootOrSkip } from '../support/privilege.ts';
import { until } from '../support/until.ts';
import { HERE, PEER, WiredEngine } from '../support/wired-engine.ts';

const PORT = 4240;
const OTHER = { 4: '10.1.0.67', 6: 'fd01::67' } as const;
const SECOND_NS = 1e9;

/** What an answer to a SYN may have instead of what is right. */
interface Answer {
  readonly source?: string;
  readonly port?: number;
  readonly flags?: number;
  /** Of the number that it acknowledges, beyond the SYN's. */
  readonly ahead?: number;
  /** A wrong checksum: programs see it, and the stack drops it without a word. */
  readonly isBroken?: boolean;
}

/** Of a wrong number the stack would send the SYN again, which begins another handshake. */
const FORGED: readonly (Answer & { readonly what: string })[] = [
  { what: 'acknowledges another number', ahead: 2, isBroken: true },
  { what: 'acknowledges what was before the SYN', ahead: 0, isBroken: true },
  { what: 'comes from another port', port: PORT + 1 },
  { what: 'is no SYN', flags: TcpFlag.ack },
];

for (const family of [4, 6] as const)
  describe(`handshakes over IPv${family}, noted on the device`, { skip: rootOrSkip() }, () => {
    const wired = new WiredEngine(`h${family}`);
    const l4 = family === 4 ? 34 : 54;
    const streams: TcpStream[] = [];

    before(() => wired.setUp());
    after(() => wired.cleanUp());
    afterEach(async () => {
      for (const stream of streams.splice(0)) stream.destroy();
      await wired.stop();
    });

    const netns = (): string => `/run/netns/${wired.netns}`;

    /** Segments that came to the peer's port, of which `flags` are set. */
    function segments(flags: number, port = PORT): Buffer[] {
      return wired.wire.received.filter(
        (frame) =>
          frame.length >= l4 + 20 &&
          frame[family === 4 ? 23 : 20] === 6 &&
          frame.readUInt16BE(l4 + 2) === port &&
          (frame.readUInt8(l4 + 13) & flags) === flags,
      );
    }

    /** An answer to a segment, as the peer would send it. */
    function answerTo(frame: Buffer, payload = '', answer: Answer = {}): Buffer {
      const { source, port, flags, ahead = 1, isBroken = false } = answer;
      const syn = payload === '';
      const bytes = packet({
        source: source ?? PEER[family],
        destination: HERE[family],
        sourceMac: frame.subarray(0, 6),
        destinationMac: frame.subarray(6, 12),
        payload: tcp(
          port ?? frame.readUInt16BE(l4 + 2),
          frame.readUInt16BE(l4),
          flags ?? (syn ? TcpFlag.syn : 0) | TcpFlag.ack,
          Buffer.from(payload),
          {
            sequence: syn ? 1000 : 1001,
            acknowledged: (frame.readUInt32BE(l4 + 4) + ahead) >>> 0,
          },
        ),
      });
      if (isBroken) bytes.writeUInt16BE(bytes.readUInt16BE(l4 + 16) ^ 0x5555, l4 + 16);
      return bytes;
    }

    async function synAt(index: number, port = PORT): Promise<Buffer> {
      await until(() => segments(TcpFlag.syn, port).length > index);
      const frame = segments(TcpFlag.syn, port)[index];
      assert.ok(frame !== undefined);
      return frame;
    }

    interface Call {
      readonly stream: TcpStream;
      readonly startNs: number;
      readonly syn: Buffer;
      /** Some time after it left. */
      readonly synSeenNs: number;
      /** From `startNs` until the connection is known, ns; 0: it is not yet. */
      tookNs(): number;
    }

    async function call({ mark = wired.engine.handshakeMark, port = PORT } = {}): Promise<Call> {
      const how = { type: 'stream', netns: netns(), mark, reuseAddress: false } as const;
      const fd = loadSockets().openSocket({ family, ...how });
      const startNs = Number(process.hrtime.bigint());
      const stream = new Streams().connect(fd, { address: PEER[family], port });
      streams.push(stream);
      let tookNs = 0;
      stream.on('error', (error) => assert.fail(error));
      stream.on('connect', () => (tookNs = Number(process.hrtime.bigint()) - startNs));
      const syn = await synAt(0, port);
      const synSeenNs = Number(process.hrtime.bigint());
      return { stream, startNs, syn, synSeenNs, tookNs: () => tookNs };
    }

    function noted({ stream }: Call): number | undefined {
      assert.ok(stream.fd !== undefined);
      return wired.engine.handshakeNs(stream.fd);
    }

    async function connect(made: Call): Promise<void> {
      await wired.wire.send(answerTo(made.syn));
      await until(() => made.tookNs() > 0);
    }

    it('last from the SYN to its answer, whatever else of the kind comes before', async () => {
      await wired.start('bpf', `icmp${family}`);
      for (const { what, ...answer } of FORGED) {
        wired.wire.received.length = 0;
        const made = await call();
        await wired.wire.send(answerTo(made.syn, '', answer));
        await wired.wire.send(answerTo(made.syn, '', { source: OTHER[family] }));
        const forgedNs = Number(process.hrtime.bigint()) - made.startNs;
        // Longer than any time from a SYN to a forged answer.
        let waitedNs = 0;
        while (waitedNs <= forgedNs) {
          await delay(5);
          waitedNs = Number(process.hrtime.bigint()) - made.synSeenNs;
        }
        assert.equal(noted(made), undefined, what);
        await connect(made);
        const ns = noted(made) ?? 0;
        assert.ok(ns >= waitedNs && ns <= made.tookNs(), `${what}: ${ns} of ${waitedNs}..${made.tookNs()}`);
        made.stream.destroy();
      }
    });

    it('of which a forged answer made the kernel send the SYN again are told by it as such', async () => {
      await wired.start('bpf', `icmp${family}`);
      const made = await call();
      await wired.wire.send(answerTo(made.syn, '', { ahead: 2 }));
      await synAt(1);
      await connect(made);
      assert.equal(made.stream.roundTripUs(), undefined);
    });

    it('are not made longer by answers that come again', async () => {
      await wired.start('bpf', `icmp${family}`);
      const made = await call();
      await connect(made);
      const ns = noted(made);
      assert.ok(ns !== undefined);
      const acknowledged = segments(TcpFlag.ack).length;
      await wired.wire.send(answerTo(made.syn));
      // The kernel says that it has it already.
      await until(() => segments(TcpFlag.ack).length > acknowledged);
      assert.equal(noted(made), ns);
    });

    it('begin with the last SYN where it was sent again, of which the kernel knows', async () => {
      await wired.start('bpf', `icmp${family}`);
      const made = await call();
      // It passes the programs, and not the stack.
      await wired.wire.send(answerTo(made.syn, '', { isBroken: true }));
      await synAt(1);
      await connect(made);
      const ns = noted(made) ?? Number.POSITIVE_INFINITY;
      assert.ok(ns > 0 && ns <= made.tookNs() - SECOND_NS, `${ns} of ${made.tookNs()}`);
      assert.equal(made.stream.roundTripUs(), undefined);
    });

    it('of a SYN that was sent again are no network part of an HTTP probe', async () => {
      await wired.start('bpf', `icmp${family}`);
      const http = createHttpProbe({ netns: netns(), timeoutMs: 30_000, handshakes: wired.engine });
      for (const isAgain of [false, true]) {
        wired.wire.received.length = 0;
        const result = http.probe(PEER[family]);
        const syn = await synAt(0);
        if (isAgain) await synAt(1);
        await wired.wire.send(answerTo(syn));
        await until(() => segments(TcpFlag.psh).length > 0);
        const [request] = segments(TcpFlag.psh);
        assert.ok(request !== undefined);
        const ahead = request.length - l4 - 20;
        await wired.wire.send(answerTo(request, 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n', { ahead }));
        const reply = await result;
        assert.equal(reply.kind, 'reply');
        assert.equal(reply.phases?.network === undefined, isAgain, JSON.stringify(reply));
      }
      await http.stop();
    });

    it('are of marked sockets only, and of the port that requests go to', async () => {
      await wired.start('bpf', `icmp${family}`);
      for (const other of [{ mark: 0 }, { port: PORT + 1 }]) {
        wired.wire.received.length = 0;
        const made = await call(other);
        await connect(made);
        assert.equal(noted(made), undefined);
        made.stream.destroy();
      }
    });

    it('are of another port where requests go there', async () => {
      await wired.start('bpf', `icmp${family}`, { tcpPort: PORT + 1 });
      const made = await call({ port: PORT + 1 });
      await connect(made);
      assert.ok(noted(made) !== undefined);
    });

    it('are not known without programs, nor when these are gone, and no socket is marked then', async () => {
      await wired.start('raw', `icmp${family}`);
      assert.equal(wired.engine.handshakeMark, undefined);
      const made = await call();
      await connect(made);
      assert.equal(noted(made), undefined);
      await wired.stop();
      await wired.start('bpf', `icmp${family}`);
      const marked = await call();
      await connect(marked);
      await wired.engine.stop();
      assert.equal(noted(marked), undefined);
      assert.equal(wired.engine.handshakeMark, undefined);
    });
  });
