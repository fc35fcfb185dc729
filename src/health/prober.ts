import { type LiveCounts, noCounts, type PathCounts } from '../../probes/engine/index.ts';
import type { ProbeReadiness } from '../../probes/types.ts';
import type { LossPoint, ProbePath } from '../model/health.ts';

/** What a prober says at once; ordinary answers make no event. */
export interface ProberEvent {
  /** As `EngineEventKind` of the probe engine. */
  readonly kind: 'suspect' | 'silent' | 'answer' | 'error';
  readonly handle: number;
  /** `error`: for people. */
  readonly reason: string | undefined;
}

/** What is to be known of a lossy path beside its probes. */
export interface LossQuestion {
  readonly path: ProbePath;
  /** Name of our node. */
  readonly self: string;
  /** An address of the peer's host, of the path's family if it has one. */
  readonly peerAddress: string;
  /** Whether the peer's agent has answered requests since the path died: what of its other paths is lost, then, is not all. */
  readonly isPeerAnswering: () => boolean;
}

/** Probes many paths at their own pace and counts what comes back. Never in JavaScript's time where that can be had. */
export interface PathProber {
  /** @throws SystemError, NotPermittedError when nothing can be probed */
  start(): Promise<void>;
  /** May be called twice. */
  stop(): Promise<void>;
  /** Whether it can probe such a path here, and how, or why not. */
  readiness(path: Pick<ProbePath, 'kind' | 'family'>): ProbeReadiness;
  /** @returns a handle, valid until `close`; undefined: no room for more paths */
  open(path: ProbePath, periodMs: number): number | undefined;
  close(handle: number): void;
  pace(handle: number, periodMs: number): void;
  /** Besides the pace. */
  burst(handle: number, count: number, spacingMs: number): void;
  /** Puts the counts since it was opened into the caller's memory; the histogram is live. */
  read(handle: number, into: LiveCounts): void;
  /** Parts of the last answer's time, ns, where there are any. */
  phasesNs(handle: number): Readonly<Record<string, number>> | undefined;
  onEvents(listener: (events: readonly ProberEvent[]) => void): void;
  /** Where probes of a path without an answer were seen last; undefined: nobody knows. */
  findLoss?(handle: number, question: LossQuestion): Promise<LossPoint | undefined>;
}

/** Counts of a path by now, for who does not look often. The histogram is live: copy what is to be kept. */
export function countsNow(prober: Pick<PathProber, 'read'>, handle: number): PathCounts {
  const counts = noCounts();
  prober.read(handle, counts);
  return counts;
}
