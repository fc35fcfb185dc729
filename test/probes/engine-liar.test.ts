import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { rootOrSkip } from '../support/privilege.ts';
import { ProbeFrames, type ProbeKind } from '../support/probe-frames.ts';
import { until } from '../support/until.ts';
import { PEER, WiredEngine } from '../support/wired-engine.ts';

const MODES = ['raw', 'bpf', 'datagram'] as const;
const KINDS: readonly ProbeKind[] = ['icmp4', 'icmp6', 'echo4', 'echo6'];
const ALL = MODES.flatMap((mode) => KINDS.map((kind) => [mode, kind] as const));

describe('probe engine before a peer that lies', { skip: rootOrSkip() }, () => {
  const wired = new WiredEngine('l');
  before(() => wired.setUp());
  afterEach(() => wired.stop());
  after(() => wired.cleanUp());

  for (const [mode, kind] of ALL) {
    it(`takes the one true answer, and nothing before or after it: ${mode}, ${kind}`, async () => {
      await wired.start(mode, kind);
      const request = await wired.probe();
      const { field, sourceEnd, cookie } = wired.frames;
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
      for (const lie of lies) await wired.wire.send(wired.frames.answer(request, lie));
      const counts = await wired.settled(request);
      assert.deepEqual(
        [counts.answered, counts.lost, counts.late, counts.duplicate, counts.failed],
        [1, 0, 0, 0, 0],
        JSON.stringify(wired.engine.self()),
      );
      await until(() => wired.engine.self().foreign >= 5);
      await wired.wire.send(wired.frames.answer(request), 1);
      await wired.wire.send(wired.frames.answer(request), 1);
      await until(() => wired.engine.counts(wired.path).duplicate === 2);
      assert.equal(wired.engine.counts(wired.path).answered, 1);
    });

    it(`passes over frames that are cut, too long or corrupt: ${mode}, ${kind}`, async () => {
      await wired.start(mode, kind);
      const request = await wired.probe();
      const good = wired.frames.answer(request);
      for (const bytes of [14, 33, 34, 41, 42, 50, 73, wired.frames.cookie + 31])
        await wired.wire.send(good.subarray(0, bytes));
      await wired.wire.send(wired.frames.answer(request.subarray(0, wired.frames.cookie + 16)));
      const corrupt = wired.frames.answer(request);
      corrupt[wired.frames.sum] = (corrupt[wired.frames.sum] ?? 0) ^ 0x55;
      await wired.wire.send(corrupt);
      // All other kernel sockets pass over it without a word.
      if (kind === 'icmp4' && mode !== 'datagram') await until(() => wired.engine.self().corrupt >= 1);
      const { answered, lost, duplicate } = await wired.settled(request);
      assert.deepEqual([answered, lost, duplicate], [1, 0, 0]);
    });

    it(`counts answers that come in another order: ${mode}, ${kind}`, async () => {
      await wired.start(mode, kind);
      const requests = await wired.probes(5);
      for (const request of requests.toReversed()) await wired.wire.send(wired.frames.answer(request));
      await until(() => wired.engine.counts(wired.path).answered === 5);
      const { reordered, lost, duplicate } = wired.engine.counts(wired.path);
      assert.deepEqual([reordered, lost, duplicate], [4, 0, 0]);
    });

    it(`calls an answer after its time late, also when the ring of its path went round meanwhile: ${mode}, ${kind}`, async () => {
      await wired.start(mode, kind, { timeoutMs: 200 });
      const requests = await wired.probes(3);
      await until(() => wired.engine.counts(wired.path).lost === 3);
      await wired.wire.send(wired.frames.answer(requests[0] ?? Buffer.alloc(0)));
      await until(() => wired.engine.counts(wired.path).late === 1);
      await wired.probes(40, 10);
      await until(() => wired.engine.counts(wired.path).lost === 43);
      for (const request of requests.slice(1)) await wired.wire.send(wired.frames.answer(request));
      await until(() => wired.engine.counts(wired.path).late === 3);
      const { answered, lost, duplicate } = wired.engine.counts(wired.path);
      assert.deepEqual([answered, lost, duplicate], [0, 43, 0]);
    });

    it(`believes no responder that it held a probe for longer than the round trip was: ${mode}, ${kind}`, async () => {
      await wired.start(mode, kind);
      const request = await wired.probe();
      await wired.wire.send(
        wired.frames.answer(request, (frame) => {
          frame[wired.frames.field.flags] = (frame[wired.frames.field.flags] ?? 0) | 2;
          frame.writeUInt32BE(0xffff_ffff, wired.frames.field.residence);
        }),
      );
      await until(() => wired.engine.counts(wired.path).answered === 1);
      const { echoed, residenceSumNs } = wired.engine.counts(wired.path);
      assert.deepEqual([echoed, residenceSumNs], [1, 0]);
    });
  }

  for (const [mode, kind] of ALL.filter(([, kind]) => kind === 'icmp4' || kind === 'echo6')) {
    it(`knows its probes when their numbers wrap at 32 bits: ${mode}, ${kind}`, async () => {
      await wired.start(mode, kind, { timeoutMs: 300, firstSequence: 2 ** 32 - 3 });
      const { sequence } = wired.frames.field;
      const [held, ...requests] = await wired.probes(8);
      assert.ok(held !== undefined);
      assert.deepEqual(
        requests.map((frame) => frame.readUInt32BE(sequence)),
        [2 ** 32 - 2, 2 ** 32 - 1, 0, 1, 2, 3, 4],
      );
      for (const request of requests) await wired.wire.send(wired.frames.answer(request));
      await until(() => wired.engine.counts(wired.path).answered === 7);
      await until(() => wired.engine.counts(wired.path).lost === 1);
      for (const request of [held, requests[1], requests[2]])
        await wired.wire.send(wired.frames.answer(request ?? Buffer.alloc(0)));
      await until(
        () => wired.engine.counts(wired.path).late + wired.engine.counts(wired.path).duplicate === 3,
      );
      const { answered, lost, late, duplicate, reordered } = wired.engine.counts(wired.path);
      assert.deepEqual([answered, lost, late, duplicate, reordered], [7, 1, 1, 2, 0]);
    });
  }

  for (const mode of ['raw', 'bpf'] as const) {
    it(`takes no old answer for that to a probe with the same 16-bit number: ${mode}`, async () => {
      await wired.start(mode, 'icmp4', { timeoutMs: 5000, packetsPerSecond: 1_000_000 });
      const marker = wired.engine.open({ address: PEER[4], responder: 'echo', origin: 0, periodMs: 0 });
      const isMarker = (frame: Buffer): boolean => new ProbeFrames('echo4').isProbe(frame);
      const held = await wired.probe();
      wired.engine.burst(wired.path, 65_535, 0.001);
      await until(() => wired.engine.counts(wired.path).sent === 65_536, 60_000);
      // The liar has read, or missed, all before this one.
      await until(() => {
        wired.engine.burst(marker, 1, 1);
        return wired.wire.received.some(isMarker);
      });
      wired.wire.received.length = 0;
      const request = await wired.probe();
      assert.equal(request.readUInt32BE(wired.frames.field.sequence), 65_537);
      assert.equal(request.readUInt16BE(wired.frames.l4 + 6), held.readUInt16BE(wired.frames.l4 + 6));
      await wired.wire.send(wired.frames.answer(held));
      await until(() => wired.engine.counts(wired.path).late === 1);
      assert.equal(wired.engine.counts(wired.path).answered, 0);
      const { answered, late, duplicate } = await wired.settled(request);
      assert.deepEqual([answered, late, duplicate], [1, 1, 0]);
    });
  }

  for (const [mode, kind] of [
    ['raw', 'icmp4'],
    ['bpf', 'icmp4'],
    ['bpf', 'echo6'],
  ] as const) {
    it(`is not moved by a flood of answers of others: ${mode}, ${kind}`, async () => {
      await wired.start(mode, kind, { timeoutMs: 10_000 });
      const request = await wired.probe();
      // Each with another sequence: none of ours.
      const { sequence } = wired.frames.field;
      await wired.wire.send(
        wired.frames.answer(request, (frame) => frame.writeUInt32BE(1 << 20, sequence)),
        50_000,
        sequence,
      );
      const { answered, lost, duplicate, late } = await wired.settled(request);
      assert.deepEqual([answered, lost, duplicate, late], [1, 0, 0, 0]);
    });
  }

  for (const [mode, kind] of ALL)
    for (const dscp of [0, 46])
      it(`marks its probes with DSCP ${dscp}: ${mode}, ${kind}`, async () => {
        await wired.start(mode, kind, { dscp });
        const frame = await wired.probe();
        const trafficClass =
          wired.frames.family === 4 ? frame.readUInt8(15) : (frame.readUInt16BE(14) >> 4) & 0xff;
        assert.equal(trafficClass >> 2, dscp);
      });

  it('takes what its own buffer had no room for as its own fault, not as loss of the path', async () => {
    // It reads once a second, and has room for some 20,000 answers.
    await wired.start('raw', 'icmp4', { timeoutMs: 3000, turnMs: 1000 });
    const rounds = 5;
    for (let i = 0; i < rounds; i++) {
      const request = await wired.probe();
      const { sequence } = wired.frames.field;
      const flood = wired.frames.answer(request, (frame) => frame.writeUInt32BE(1 << 20, sequence));
      await wired.wire.send(flood, 60_000, sequence);
      await wired.wire.send(wired.frames.answer(request));
    }
    await until(() => wired.engine.counts(wired.path).sent === wired.engine.counts(wired.path).answered);
    const { sent, lost, failed } = wired.engine.counts(wired.path);
    assert.ok(sent < rounds, 'no answer of its own was dropped');
    assert.deepEqual([lost, failed], [0, 0]);
    assert.ok(wired.engine.self().ownDrops > 10_000);
    // It is over: what is lost from now on is lost.
    await until(() => {
      wired.engine.burst(wired.path, 1, 1);
      return wired.engine.counts(wired.path).lost > 0;
    });
  });
});
