import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import type { EngineMode } from '../../probes/engine/index.ts';
import { runChecked } from '../../src/base/run.ts';
import { inNetns } from '../../src/lab/host.ts';
import { rootOrSkip } from '../support/privilege.ts';
import type { ProbeFrames, ProbeKind } from '../support/probe-frames.ts';
import { WiredEngine } from '../support/wired-engine.ts';

const FLOWS = 16;
const MODES: readonly EngineMode[] = ['raw', 'bpf', 'datagram'];
const COMPILE = { timeoutMs: 60_000 };

/** RFC 8200 §3, of a frame. */
function flowLabel(frame: Buffer, { ip }: ProbeFrames): number {
  return frame.readUIntBE(ip + 1, 3) & 0xf_ffff;
}

describe('flows of the probe engine', { skip: rootOrSkip() }, () => {
  const wired = new WiredEngine('w');
  before(() => wired.setUp());
  afterEach(() => wired.stop());
  after(() => wired.cleanUp());

  /** Answered probes of a path that takes its flows in turn: with programs, most of them begin at the device. */
  async function turns(mode: EngineMode, kind: ProbeKind): Promise<Buffer[]> {
    await wired.start(mode, kind, { rotate: true });
    const seen: Buffer[] = [];
    for (let i = 0; i < 2 * FLOWS; i++) {
      const request = await wired.probe();
      seen.push(request);
      await wired.settled(request);
    }
    assert.equal(wired.engine.self().shortCuts > FLOWS, mode === 'bpf');
    return seen;
  }

  /** Two rounds of values: each of them once a round. */
  function assertInTurn(values: readonly (number | string)[]): void {
    assert.equal(new Set(values.slice(0, FLOWS)).size, FLOWS, values.join(' '));
    assert.deepEqual(values.slice(FLOWS), values.slice(0, FLOWS));
  }

  for (const mode of MODES) {
    for (const kind of ['echo4', 'echo6'] as const)
      it(`have sixteen source ports in turn: ${mode}, ${kind}`, async () => {
        assertInTurn((await turns(mode, kind)).map((frame) => frame.readUInt16BE(wired.frames.l4)));
      });

    // Of a datagram socket the kernel makes the label, by the ports (net.ipv6.auto_flowlabels).
    it(`have a label each over IPv6: ${mode}, echo6`, async () => {
      const seen = await turns(mode, 'echo6');
      const labels = seen.map((frame) => flowLabel(frame, wired.frames));
      assertInTurn(labels);
      assert.ok(!labels.includes(0));
      const pairs = seen.map((frame, i) => `${frame.readUInt16BE(wired.frames.l4)} ${labels[i]}`);
      assert.equal(new Set(pairs).size, FLOWS, 'a label belongs to a port');
    });
  }

  for (const mode of ['raw', 'bpf'] as const)
    it(`have a label each over IPv6: ${mode}, icmp6`, async () => {
      const labels = (await turns(mode, 'icmp6')).map((frame) => flowLabel(frame, wired.frames));
      assertInTurn(labels);
      assert.ok(!labels.includes(0));
    });

  it('are one where a path asks for no more', async () => {
    await wired.start('raw', 'echo6');
    const seen = await wired.probes(FLOWS);
    const flows = seen.map(
      (frame) => `${frame.readUInt16BE(wired.frames.l4)} ${flowLabel(frame, wired.frames)}`,
    );
    assert.equal(new Set(flows).size, 1);
  });

  it('leave as ever while another socket has a label for itself, so that none can be chosen', async () => {
    const holder = join(wired.folder, 'label-holder');
    await runChecked(['cc', '-O1', '-o', holder, join(import.meta.dirname, 'label-holder.c')], COMPILE);
    // The kernel keeps the label for six seconds after its socket.
    await runChecked(inNetns(wired.netns, [holder]), COMPILE);
    await wired.start('raw', 'echo6', { rotate: true });
    const seen = await wired.probes(FLOWS);
    const ports = seen.map((frame) => frame.readUInt16BE(wired.frames.l4));
    assert.equal(new Set(ports).size, FLOWS);
    assert.equal(wired.engine.counts(wired.path).failed, 0);
    // The kernel has no ports to make a label of.
    assert.equal(new Set(seen.map((frame) => flowLabel(frame, wired.frames))).size, 1);
  });
});
