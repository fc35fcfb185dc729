import type { PathCounts } from '../../probes/engine/index.ts';
import type { PathReport, ProbePath } from '../model/health.ts';
import type { Clock } from './clock.ts';
import { quantiles } from './state/path-window.ts';

/** A path that can be probed on demand. */
export interface ProbedPath {
  readonly path: ProbePath;
  /** Why it is not reachable, for people. */
  readonly reason: () => string | undefined;
  /** By now, since it was opened. */
  readonly counts: () => PathCounts;
  readonly burst: (count: number, spacingMs: number) => void;
}

export interface ProbeRunOptions {
  /** Probes a path, besides its pace. */
  readonly count: number;
  /** For all of them. */
  readonly timeoutMs: number;
}

/** What came of one path. `sent` may exceed the count: the path's own pace goes on. */
export interface ProbeRunResult {
  readonly path: ProbePath;
  readonly sent: number;
  readonly answered: number;
  readonly lost: number;
  /** Without an outcome when the time was up. */
  readonly pending: number;
  readonly rttNs: PathReport['window']['rttNs'];
  readonly reason: string | undefined;
}

export interface ProbeRun {
  /** Whether every path has the outcomes that were asked for. */
  readonly complete: boolean;
  readonly tookMs: number;
  readonly results: readonly ProbeRunResult[];
}

/** Apart enough that a round trip of a second stays within the engine's ring of probes under way. */
const SPACING_MS = 100;
/** Of all paths together: half of what the engine sends at most. */
const PACKETS_PER_SECOND = 10_000;
const LOOK_MS = 20;

interface Begun {
  readonly probed: ProbedPath;
  readonly before: PathCounts;
}

function outcomes({ answered, lost, failed }: PathCounts): number {
  return answered + lost + failed;
}

/** Live records are read again and again: what is compared with must be a copy. */
function copied(counts: PathCounts): PathCounts {
  return { ...counts, histogram: counts.histogram.slice() };
}

function result({ probed, before }: Begun): ProbeRunResult {
  const now = probed.counts();
  const sent = now.sent - before.sent;
  // What was under way before has its outcome in here too.
  const answered = Math.min(sent, now.answered - before.answered);
  const lost = Math.min(sent - answered, now.lost + now.failed - before.lost - before.failed);
  return {
    path: probed.path,
    sent,
    answered,
    lost,
    pending: sent - answered - lost,
    rttNs: quantiles(now.histogram, before.histogram),
    reason: lost > 0 || answered < sent ? probed.reason() : undefined,
  };
}

/** Probes paths now, waits until each has its outcomes or the time is up, and tells what came of these probes only. */
export async function runProbes(
  paths: readonly ProbedPath[],
  { count, timeoutMs }: ProbeRunOptions,
  { clock, running }: { readonly clock: Clock; readonly running: () => boolean },
): Promise<ProbeRun> {
  const startMs = clock.nowMs();
  const spacingMs = Math.max(SPACING_MS, (paths.length * 1000) / PACKETS_PER_SECOND);
  const begun = paths.map((probed) => ({ probed, before: copied(probed.counts()) }));
  for (const { probed } of begun) probed.burst(count, spacingMs);
  let waiting = begun;
  for (;;) {
    waiting = waiting.filter(({ probed, before }) => outcomes(probed.counts()) - outcomes(before) < count);
    if (waiting.length === 0 || !running() || clock.nowMs() - startMs >= timeoutMs) break;
    await new Promise<void>((resolve) => void clock.after(LOOK_MS, resolve));
  }
  return {
    complete: waiting.length === 0,
    tookMs: clock.nowMs() - startMs,
    results: begun.map(result),
  };
}
