import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { createProbeEngine, type PathCounts, type ProbeEngine } from '../../probes/engine/index.ts';
import { loadSockets } from '../../src/base/sockets/index.ts';
import { NetnsLab } from '../support/netns.ts';
import { rootOrSkip } from '../support/privilege.ts';
import { until } from '../support/until.ts';
import { compileWire, Wire } from '../support/wire.ts';

const LIAR = '10.1.0.66';
/** Offsets in a frame. */
const IP = 14;
const ICMP = IP + 20;
const COOKIE = ICMP + 8;
const Field = { prober: COOKIE + 8, path: COOKIE + 12, sequence: COOKIE + 16, nonce: COOKIE + 24 } as const;

function sum(bytes: Buffer): number {
  let total = 0;
  for (let i = 0; i < bytes.length; i += 2)
    total += i + 1 < bytes.length ? bytes.readUInt16BE(i) : (bytes[i] ?? 0) << 8;
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return ~total & 0xffff;
}

/** Sums that fit what lies in the frame. */
function sealed(frame: Buffer): Buffer {
  frame.writeUInt16BE(0, IP + 10);
  frame.writeUInt16BE(sum(frame.subarray(IP, ICMP)), IP + 10);
  frame.writeUInt16BE(0, ICMP + 2);
  frame.writeUInt16BE(sum(frame.subarray(ICMP)), ICMP + 2);
  return frame;
}

/** The echo reply to a request, with what a test changes before the sums. */
function replyTo(request: Buffer, change: (frame: Buffer) => void = () => undefined): Buffer {
  const frame = Buffer.from(request);
  request.copy(frame, 0, 6, 12);
  request.copy(frame, 6, 0, 6);
  request.copy(frame, IP + 12, IP + 16, IP + 20);
  request.copy(frame, IP + 16, IP + 12, IP + 16);
  frame[ICMP] = 0;
  change(frame);
  return sealed(frame);
}

for (const mode of ['raw', 'bpf'] as const) {
  describe(`probe engine before a peer that lies, mode ${mode}`, { skip: rootOrSkip() }, () => {
    const lab = new NetnsLab('l');
    const folder = mkdtempSync(join(tmpdir(), 'liar-'));
    let netnsFd = -1;
    let device = 0;
    let wire: Wire;
    let engine: ProbeEngine;
    let path = -1;

    before(async () => {
      const [here, there] = [await lab.namespace('a'), await lab.namespace('b')];
      await lab.veth(
        { name: 'eth0', netns: here, addresses: ['10.1.0.1/24'] },
        { name: 'eth0', netns: there, addresses: [] },
      );
      const mac = '02:00:00:00:00:66';
      await lab.ip('-n', here, 'neigh', 'add', LIAR, 'lladdr', mac, 'dev', 'eth0', 'nud', 'permanent');
      netnsFd = openSync(lab.path(here), 'r');
      device = loadSockets().interfaceIndex('eth0', lab.path(here));
      wire = await Wire.open(await compileWire(folder), there);
    });

    afterEach(async () => {
      await engine.stop();
      wire.received.length = 0;
    });

    after(async () => {
      await wire.close();
      closeSync(netnsFd);
      await lab.cleanUp();
      rmSync(folder, { recursive: true, force: true });
    });

    async function start(timeoutMs = 2000): Promise<void> {
      const origins = [{ netnsFd, devices: mode === 'bpf' ? [device] : [] }];
      engine = createProbeEngine({
        origins,
        mode,
        timeoutMs,
        softTimeoutMs: timeoutMs,
        pathsMax: 64,
        burst: 0,
      });
      await engine.start();
      // An engine reads its sockets at its turns: this gives it some.
      engine.open({ address: '10.1.0.1', responder: 'icmp', origin: 0, periodMs: 20 });
      path = engine.open({ address: LIAR, responder: 'icmp', origin: 0, periodMs: 0 });
    }

    /** Sends probes. @returns their frames, as the liar got them */
    async function probes(count: number, spacingMs = 1): Promise<Buffer[]> {
      const isProbe = (frame: Buffer): boolean =>
        frame.length === 74 && frame[IP + 9] === 1 && frame[ICMP] === 8;
      const before = wire.received.filter(isProbe).length;
      engine.burst(path, count, spacingMs);
      await until(() => wire.received.filter(isProbe).length >= before + count);
      return wire.received.filter(isProbe).slice(before);
    }

    async function probe(): Promise<Buffer> {
      const [frame] = await probes(1);
      assert.ok(frame !== undefined);
      return frame;
    }

    /** Counts once the true answer, sent last, has come: all before it have been dealt with. */
    async function settled(request: Buffer): Promise<PathCounts> {
      const { answered } = engine.counts(path);
      await wire.send(replyTo(request));
      await until(() => engine.counts(path).answered > answered);
      return engine.counts(path);
    }

    it('takes the one true answer, and nothing before or after it', async () => {
      await start();
      const request = await probe();
      const lies: ((frame: Buffer) => void)[] = [
        (frame) => frame.writeBigUInt64BE(frame.readBigUInt64BE(Field.nonce) ^ 1n, Field.nonce),
        (frame) => frame.writeBigUInt64BE(0n, Field.nonce),
        (frame) => frame.writeUInt8(67, IP + 15),
        (frame) => frame.writeUInt32BE(frame.readUInt32BE(Field.prober) ^ 1, Field.prober),
        (frame) => frame.writeUInt32BE(frame.readUInt32BE(Field.sequence) + 1, Field.sequence),
        (frame) => frame.writeUInt32BE(9, Field.path),
        (frame) => frame.writeUInt32BE(0xffff_ffff, Field.path),
        (frame) => frame.writeUInt8(0, COOKIE),
        (frame) => frame.writeUInt8(9, COOKIE + 4),
      ];
      for (const lie of lies) await wire.send(replyTo(request, lie));
      const counts = await settled(request);
      assert.deepEqual(
        [counts.answered, counts.lost, counts.late, counts.duplicate, counts.failed],
        [1, 0, 0, 0, 0],
        JSON.stringify(engine.self()),
      );
      await until(() => engine.self().foreign >= 5);
      await wire.send(replyTo(request), 1);
      await wire.send(replyTo(request), 1);
      await until(() => engine.counts(path).duplicate === 2);
      assert.equal(engine.counts(path).answered, 1);
    });

    it('passes over frames that are cut, too long or corrupt', async () => {
      await start();
      const request = await probe();
      const good = replyTo(request);
      for (const bytes of [14, 33, 34, 41, 42, 50, 73]) await wire.send(good.subarray(0, bytes));
      const short = replyTo(request.subarray(0, COOKIE + 16), (frame) =>
        frame.writeUInt16BE(frame.length - IP, IP + 2),
      );
      await wire.send(short);
      if (mode === 'raw') {
        const corrupt = replyTo(request);
        corrupt[ICMP + 2] = (corrupt[ICMP + 2] ?? 0) ^ 0x55;
        await wire.send(corrupt);
        await until(() => engine.self().corrupt >= 1);
      }
      const { answered, lost, duplicate } = await settled(request);
      assert.deepEqual([answered, lost, duplicate], [1, 0, 0]);
    });

    it('counts answers that come in another order', async () => {
      await start();
      const requests = await probes(5);
      for (const request of requests.toReversed()) await wire.send(replyTo(request));
      await until(() => engine.counts(path).answered === 5);
      const { reordered, lost, duplicate } = engine.counts(path);
      assert.deepEqual([reordered, lost, duplicate], [4, 0, 0]);
    });

    it('calls an answer after its time late, also when the ring of its path went round meanwhile', async () => {
      await start(200);
      const requests = await probes(3);
      await until(() => engine.counts(path).lost === 3);
      await wire.send(replyTo(requests[0] ?? Buffer.alloc(0)));
      await until(() => engine.counts(path).late === 1);
      await probes(40, 10);
      await until(() => engine.counts(path).lost === 43);
      for (const request of requests.slice(1)) await wire.send(replyTo(request));
      await until(() => engine.counts(path).late === 3);
      const { answered, lost, duplicate } = engine.counts(path);
      assert.deepEqual([answered, lost, duplicate], [0, 43, 0]);
    });

    it('is not moved by a flood of answers of others', async () => {
      await start(10_000);
      const request = await probe();
      // Each with another sequence: none of ours.
      await wire.send(
        replyTo(request, (frame) => frame.writeUInt32BE(1 << 20, Field.sequence)),
        50_000,
        Field.sequence,
      );
      const { answered, lost, duplicate, late } = await settled(request);
      assert.deepEqual([answered, lost, duplicate, late], [1, 0, 0, 0]);
    });
  });
}
