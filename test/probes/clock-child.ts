/**
 * Runs for engine-clock.test.ts with clock-step.c before it: probes as the JSON argument says while the wall clock is
 * stepped, and writes what was counted as one JSON line.
 */
import { openSync, writeSync } from 'node:fs';
import { createProbeEngine, type EngineMode } from '../../probes/engine/index.ts';
import { ProbeFrames } from '../support/probe-frames.ts';
import { until } from '../support/until.ts';
import { Wire } from '../support/wire.ts';

interface Task {
  readonly netns: string;
  readonly mode: EngineMode;
  readonly device: number;
  /** Has no stack: its answers are made here. */
  readonly peer: { readonly address: string; readonly netns: string; readonly wire: string };
  /** By how much the clock is moved, ms, one step after the other. */
  readonly stepsMs: readonly number[];
}

const task = JSON.parse(process.argv[2] ?? '{}') as Task;
const file = openSync(process.env.CLOCK_STEP ?? '', 'r+');
let movedNs = 0n;

/** In an order in which each half of the change is right too. Settles when it has happened. */
async function step(ms: number): Promise<void> {
  const write = (value: bigint, at: number): number =>
    writeSync(file, new Uint8Array(BigInt64Array.of(value).buffer), 0, 8, at);
  write(movedNs, 0);
  const atNs = process.hrtime.bigint() + 2_000_000n;
  write(atNs, 16);
  movedNs += BigInt(ms) * 1_000_000n;
  write(movedNs, 8);
  await until(() => process.hrtime.bigint() > atNs);
}

const netnsFd = openSync(task.netns, 'r');
const devices = task.mode === 'bpf' ? [task.device] : [];
// Long turns: an answer waits in its socket, so that a step comes between its stamp and its reading.
const options = { turnMs: 100, timeoutMs: 5000, softTimeoutMs: 5000, pathsMax: 64 };
const engine = createProbeEngine({ origins: [{ netnsFd, devices }], mode: task.mode, ...options });
await engine.start();
const wire = await Wire.open(task.peer.wire, task.peer.netns);
// An engine reads its sockets at its turns: this gives it some.
engine.open({ address: '10.1.0.1', responder: 'icmp', origin: 0, periodMs: 100 });
const path = engine.open({ address: task.peer.address, responder: 'icmp', origin: 0, periodMs: 0 });
const frames = new ProbeFrames(task.peer.address.includes(':') ? 'icmp6' : 'icmp4');

/** A probe, whose departure has been read, as it came to the peer. */
async function probe(): Promise<Buffer> {
  const { length } = engine.departuresNs(path);
  wire.received.length = 0;
  engine.burst(path, 1, 1);
  await until(() => wire.received.some((frame) => frames.isProbe(frame)));
  await until(() => engine.departuresNs(path).length > length);
  return wire.received.find((frame) => frames.isProbe(frame)) ?? Buffer.alloc(0);
}

for (const ms of task.stepsMs) {
  const request = await probe();
  const { answered } = engine.counts(path);
  const wallMs = Date.now();
  await wire.send(frames.answer(request));
  await step(ms);
  await until(() => engine.counts(path).answered + engine.counts(path).late > answered);
  if (Math.abs(Date.now() - wallMs - ms) > 15_000) throw new Error('the clock was not stepped');
}
const counts = { ...engine.counts(path), histogram: undefined };
process.stdout.write(`${JSON.stringify({ counts, clockSteps: engine.self().clockSteps })}\n`);
await engine.stop();
await wire.close();
