/**
 * Runs for engine-modes.test.ts in a namespace, with what it may do taken away: lets an engine choose its mode, probes the
 * loopback by IPv4 and IPv6 with it, and writes what it tells as one JSON line.
 */
import { createProbeEngine, type EngineSelf } from '../../probes/engine/index.ts';
import { CiliateError } from '../../src/base/errors.ts';
import { until } from '../support/until.ts';

const LOOPBACK = 1;

/** What the test reads. */
export interface ModeOutcome {
  readonly mode: EngineSelf['mode'];
  readonly programs: EngineSelf['programs'];
  /** Addresses that answered, with a time by the stamps of programs or of the kernel. */
  readonly timed: readonly string[];
  /** Why it did not start. */
  readonly failure?: { readonly code: string; readonly message: string };
}

const engine = createProbeEngine({ origins: [{ devices: [LOOPBACK] }], pathsMax: 16 });

async function probed(): Promise<Pick<ModeOutcome, 'timed'>> {
  const timed = ['127.0.0.1', '::1'];
  const paths = timed.map((address) => engine.open({ address, responder: 'icmp', origin: 0, periodMs: 20 }));
  await until(() => paths.every((path) => engine.counts(path).rttLastNs > 0));
  return { timed };
}

async function outcome(): Promise<Omit<ModeOutcome, 'mode' | 'programs'>> {
  try {
    await engine.start();
  } catch (error) {
    if (!(error instanceof CiliateError)) throw error;
    return { timed: [], failure: { code: error.code, message: error.message } };
  }
  return probed();
}

const said = await outcome();
const { mode, programs } = engine.self();
console.log(JSON.stringify({ mode, programs, ...said }));
await engine.stop();
