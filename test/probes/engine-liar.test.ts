import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import {
  createProbeEngine,
  type EngineMode,
  type EngineOptions,
  type PathCounts,
  type ProbeEngine,
} from '../../probes/engine/index.ts';
import { loadSockets } from '../../src/base/sockets/index.ts';
import { NetnsLab } from '../support/netns.ts';
import { rootOrSkip } from '../support/privilege.ts';
import { ProbeFrames, type ProbeKind } from '../support/probe-frames.ts';
import { until } from '../support/until.ts';
import { compileWire, Wire } from '../support/wire.ts';

const HERE = { 4: '10.1.0.1', 6: 'fd01::1' } as const;
const LIAR = { 4: '10.1.0.66', 6: 'fd01::66' } as const;
const MAC = '02:00:00:00:00:66';
const MODES = ['raw', 'bpf', 'datagram'] as const;
const KINDS: readonly ProbeKind[] = ['icmp4', 'icmp6', 'echo4', 'echo6'];
const ALL = MODES.flatMap((mode) => KINDS.map((kind) => [mode, kind] as const));

describe('probe engine before a peer that lies', { skip: rootOrSkip() }, () => {
  const lab = new NetnsLab('l');
  const folder = mkdtempSync(join(tmpdir(), 'liar-'));
  let netnsFd = -1;
  let device = 0;
  let wire: Wire;
  let engine: ProbeEngine;
  let frames: ProbeFrames;
  let path = -1;

  before(async () => {
    const [here, there] = [await lab.namespace('a'), await lab.namespace('b')];
    await lab.veth(
      { name: 'eth0', netns: here, addresses: [`${HERE[4]}/24`, `${HERE[6]}/64`] },
      { name: 'eth0', netns: there, addresses: [] },
    );
    for (const address of Object.values(LIAR))
      await lab.ip('-n', here, 'neigh', 'add', address, 'lladdr', MAC, 'dev', 'eth0', 'nud', 'permanent');
    await lab.sysctl(here, 'net.ipv4.ping_group_range=0 2147483647');
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

  async function start(
    mode: EngineMode,
    kind: ProbeKind,
    { timeoutMs = 2000, ...options }: Partial<EngineOptions> = {},
  ): Promise<void> {
    frames = new ProbeFrames(kind);
    const origins = [{ netnsFd, devices: mode === 'bpf' ? [device] : [] }];
    engine = createProbeEngine({
      origins,
      mode,
      timeoutMs,
      softTimeoutMs: timeoutMs,
      pathsMax: 64,
      burst: 0,
      ...options,
    });
    await engine.start();
    // An engine reads its sockets at its turns: this gives it some.
    engine.open({ address: HERE[4], responder: 'icmp', origin: 0, periodMs: 20 });
    path = engine.open({ address: LIAR[frames.family], responder: frames.responder, origin: 0, periodMs: 0 });
  }

  /** Sends probes. @returns their frames, as the liar got them */
  async function probes(count: number, spacingMs = 1): Promise<Buffer[]> {
    const probesSeen = (): Buffer[] => wire.received.filter((frame) => frames.isProbe(frame));
    const before = probesSeen().length;
    engine.burst(path, count, spacingMs);
    await until(() => probesSeen().length >= before + count);
    return probesSeen().slice(before);
  }

  async function probe(): Promise<Buffer> {
    const [frame] = await probes(1);
    assert.ok(frame !== undefined);
    return frame;
  }

  /** Counts once the true answer, sent last, has come: all before it have been dealt with. */
  async function settled(request: Buffer): Promise<PathCounts> {
    const { answered } = engine.counts(path);
    await wire.send(frames.answer(request));
    await until(() => engine.counts(path).answered > answered);
    return engine.counts(path);
  }

  for (const [mode, kind] of ALL) {
    it(`takes the one true answer, and nothing before or after it: ${mode}, ${kind}`, async () => {
      await start(mode, kind);
      const request = await probe();
      const { field, sourceEnd, cookie } = frames;
      const lies: ((frame: Buffer) => void)[] = [
        (frame) => frame.writeBigUInt64BE(frame.readBigUInt64BE(field.nonce) ^ 1n, field.nonce),
        (frame) => frame.writeBigUInt64BE(0n, field.nonce),
        (frame) => frame.writeUInt8(0x67, sourceEnd),
        (frame) => frame.writeUInt32BE(frame.readUInt32BE(field.prober) ^ 1, field.prober),
        (frame) => frame.writeUInt32BE(frame.readUInt32BE(field.sequence) + 1, field.sequence),
        (frame) => frame.writeUInt32BE(9, field.path),
        (frame) => frame.writeUInt32BE(0xffff_ffff, field.path),
        (frame) => frame.writeUInt8(0, cookie),
        (frame) => frame.writeUInt8(9, field.version),
      ];
      for (const lie of lies) await wire.send(frames.answer(request, lie));
      const counts = await settled(request);
      assert.deepEqual(
        [counts.answered, counts.lost, counts.late, counts.duplicate, counts.failed],
        [1, 0, 0, 0, 0],
        JSON.stringify(engine.self()),
      );
      await until(() => engine.self().foreign >= 5);
      await wire.send(frames.answer(request), 1);
      await wire.send(frames.answer(request), 1);
      await until(() => engine.counts(path).duplicate === 2);
      assert.equal(engine.counts(path).answered, 1);
    });

    it(`passes over frames that are cut, too long or corrupt: ${mode}, ${kind}`, async () => {
      await start(mode, kind);
      const request = await probe();
      const good = frames.answer(request);
      for (const bytes of [14, 33, 34, 41, 42, 50, 73, frames.cookie + 31])
        await wire.send(good.subarray(0, bytes));
      await wire.send(frames.answer(request.subarray(0, frames.cookie + 16)));
      const corrupt = frames.answer(request);
      corrupt[frames.sum] = (corrupt[frames.sum] ?? 0) ^ 0x55;
      await wire.send(corrupt);
      // All other kernel sockets pass over it without a word.
      if (kind === 'icmp4' && mode !== 'datagram') await until(() => engine.self().corrupt >= 1);
      const { answered, lost, duplicate } = await settled(request);
      assert.deepEqual([answered, lost, duplicate], [1, 0, 0]);
    });

    it(`counts answers that come in another order: ${mode}, ${kind}`, async () => {
      await start(mode, kind);
      const requests = await probes(5);
      for (const request of requests.toReversed()) await wire.send(frames.answer(request));
      await until(() => engine.counts(path).answered === 5);
      const { reordered, lost, duplicate } = engine.counts(path);
      assert.deepEqual([reordered, lost, duplicate], [4, 0, 0]);
    });

    it(`calls an answer after its time late, also when the ring of its path went round meanwhile: ${mode}, ${kind}`, async () => {
      await start(mode, kind, { timeoutMs: 200 });
      const requests = await probes(3);
      await until(() => engine.counts(path).lost === 3);
      await wire.send(frames.answer(requests[0] ?? Buffer.alloc(0)));
      await until(() => engine.counts(path).late === 1);
      await probes(40, 10);
      await until(() => engine.counts(path).lost === 43);
      for (const request of requests.slice(1)) await wire.send(frames.answer(request));
      await until(() => engine.counts(path).late === 3);
      const { answered, lost, duplicate } = engine.counts(path);
      assert.deepEqual([answered, lost, duplicate], [0, 43, 0]);
    });

    it(`believes no responder that it held a probe for longer than the round trip was: ${mode}, ${kind}`, async () => {
      await start(mode, kind);
      const request = await probe();
      await wire.send(
        frames.answer(request, (frame) => {
          frame[frames.field.flags] = (frame[frames.field.flags] ?? 0) | 2;
          frame.writeUInt32BE(0xffff_ffff, frames.field.residence);
        }),
      );
      await until(() => engine.counts(path).answered === 1);
      const { echoed, residenceSumNs } = engine.counts(path);
      assert.deepEqual([echoed, residenceSumNs], [1, 0]);
    });
  }

  for (const [mode, kind] of ALL.filter(([, kind]) => kind === 'icmp4' || kind === 'echo6')) {
    it(`knows its probes when their numbers wrap at 32 bits: ${mode}, ${kind}`, async () => {
      await start(mode, kind, { timeoutMs: 300, firstSequence: 2 ** 32 - 3 });
      const { sequence } = frames.field;
      const [held, ...requests] = await probes(8);
      assert.ok(held !== undefined);
      assert.deepEqual(
        requests.map((frame) => frame.readUInt32BE(sequence)),
        [2 ** 32 - 2, 2 ** 32 - 1, 0, 1, 2, 3, 4],
      );
      for (const request of requests) await wire.send(frames.answer(request));
      await until(() => engine.counts(path).answered === 7);
      await until(() => engine.counts(path).lost === 1);
      for (const request of [held, requests[1], requests[2]])
        await wire.send(frames.answer(request ?? Buffer.alloc(0)));
      await until(() => engine.counts(path).late + engine.counts(path).duplicate === 3);
      const { answered, lost, late, duplicate, reordered } = engine.counts(path);
      assert.deepEqual([answered, lost, late, duplicate, reordered], [7, 1, 1, 2, 0]);
    });
  }

  for (const mode of ['raw', 'bpf'] as const) {
    it(`takes no old answer for that to a probe with the same 16-bit number: ${mode}`, async () => {
      await start(mode, 'icmp4', { timeoutMs: 5000, packetsPerSecond: 1_000_000 });
      const marker = engine.open({ address: LIAR[4], responder: 'echo', origin: 0, periodMs: 0 });
      const isMarker = (frame: Buffer): boolean => new ProbeFrames('echo4').isProbe(frame);
      const held = await probe();
      engine.burst(path, 65_535, 0.001);
      await until(() => engine.counts(path).sent === 65_536, 60_000);
      // The liar has read, or missed, all before this one.
      await until(() => {
        engine.burst(marker, 1, 1);
        return wire.received.some(isMarker);
      });
      wire.received.length = 0;
      const request = await probe();
      assert.equal(request.readUInt32BE(frames.field.sequence), 65_537);
      assert.equal(request.readUInt16BE(frames.l4 + 6), held.readUInt16BE(frames.l4 + 6));
      await wire.send(frames.answer(held));
      await until(() => engine.counts(path).late === 1);
      assert.equal(engine.counts(path).answered, 0);
      const { answered, late, duplicate } = await settled(request);
      assert.deepEqual([answered, late, duplicate], [1, 1, 0]);
    });
  }

  for (const [mode, kind] of [
    ['raw', 'icmp4'],
    ['bpf', 'icmp4'],
    ['bpf', 'echo6'],
  ] as const) {
    it(`is not moved by a flood of answers of others: ${mode}, ${kind}`, async () => {
      await start(mode, kind, { timeoutMs: 10_000 });
      const request = await probe();
      // Each with another sequence: none of ours.
      const { sequence } = frames.field;
      await wire.send(
        frames.answer(request, (frame) => frame.writeUInt32BE(1 << 20, sequence)),
        50_000,
        sequence,
      );
      const { answered, lost, duplicate, late } = await settled(request);
      assert.deepEqual([answered, lost, duplicate, late], [1, 0, 0, 0]);
    });
  }

  for (const [mode, kind] of ALL)
    for (const dscp of [0, 46])
      it(`marks its probes with DSCP ${dscp}: ${mode}, ${kind}`, async () => {
        await start(mode, kind, { dscp });
        const frame = await probe();
        const trafficClass = frames.family === 4 ? frame.readUInt8(15) : (frame.readUInt16BE(14) >> 4) & 0xff;
        assert.equal(trafficClass >> 2, dscp);
      });

  it('sends echoes of a path that asks for it from sixteen source ports in turn', async () => {
    await start('raw', 'echo4');
    path = engine.open({ address: LIAR[4], responder: 'echo', origin: 0, periodMs: 0, rotate: true });
    const ports = (await probes(32)).map((frame) => frame.readUInt16BE(frames.l4));
    assert.equal(new Set(ports.slice(0, 16)).size, 16);
    assert.deepEqual(ports.slice(16), ports.slice(0, 16));
  });

  it('takes what its own buffer had no room for as its own fault, not as loss of the path', async () => {
    // It reads once a second, and has room for some 20,000 answers.
    await start('raw', 'icmp4', { timeoutMs: 3000, turnMs: 1000 });
    const rounds = 5;
    for (let i = 0; i < rounds; i++) {
      const request = await probe();
      const { sequence } = frames.field;
      const flood = frames.answer(request, (frame) => frame.writeUInt32BE(1 << 20, sequence));
      await wire.send(flood, 60_000, sequence);
      await wire.send(frames.answer(request));
    }
    await until(() => engine.counts(path).sent === engine.counts(path).answered);
    const { sent, lost, failed } = engine.counts(path);
    assert.ok(sent < rounds, 'no answer of its own was dropped');
    assert.deepEqual([lost, failed], [0, 0]);
    assert.ok(engine.self().ownDrops > 10_000);
    // It is over: what is lost from now on is lost.
    await until(() => {
      engine.burst(path, 1, 1);
      return engine.counts(path).lost > 0;
    });
  });
});
