import {
  bucketOf,
  HISTOGRAM_BUCKETS,
  type LiveCounts,
  NO_ANSWERS,
  noCounts,
} from '../../probes/engine/index.ts';
import type { ProbeFailure, ProbeResult } from '../../probes/types.ts';
import type { ProbeKind, ProbePath } from '../model/health.ts';

/** After a failure this many more follow, so far apart, before the path counts as silent. */
export const RETRIES = 2;
const RETRY_MS = 100;

/** What only a peer that got the probe can cause: where silence is expected, it is the fault. */
const ANSWERS: ReadonlySet<ProbeFailure['kind']> = new Set(['refused', 'reset', 'bad-answer']);

export type Reply = Extract<ProbeResult, { kind: 'reply' }>;

/** Undefined: it is none. */
export function answerOf({ expects }: ProbeKind, result: ProbeResult): Reply | undefined {
  if (result.kind === 'reply') return result;
  const isAnswer = expects === 'silence' && result.kind === 'failure' && ANSWERS.has(result.failure.kind);
  return isAnswer ? { kind: 'reply', latencyNs: undefined } : undefined;
}

/** When a path is asked for the first time, and how often from then on. */
export interface RequestPace {
  periodMs: number;
  dueMs: number;
}

/** One path that is asked by requests: when it is due, what came of them, and what that says of it. */
export class RequestPath {
  readonly path: ProbePath;
  readonly counts: LiveCounts = noCounts(NO_ANSWERS);
  periodMs: number;
  dueMs: number;
  /** Whether it was asked at its pace yet. */
  isPaced = false;
  /** More to come besides the pace, and when. */
  burst: { left: number; readonly spacingMs: number; nextMs: number } | undefined;
  /** Requests without an outcome. */
  underWay = 0;
  phasesNs: Readonly<Record<string, number>> | undefined;
  #phase: 'new' | 'answering' | 'suspect' | 'silent' = 'new';
  /** Ends what waits for its silence while it is suspect. */
  #endSuspicion: (() => void) | undefined;
  /** When the last one that was answered began. */
  #answeredFromMs = Number.NEGATIVE_INFINITY;

  constructor(path: ProbePath, { periodMs, dueMs }: RequestPace) {
    this.path = path;
    this.periodMs = periodMs;
    this.dueMs = dueMs;
  }

  get phase(): 'new' | 'answering' | 'suspect' | 'silent' {
    return this.#phase;
  }

  #enter(phase: 'answering' | 'suspect' | 'silent'): void {
    this.endSuspicion();
    this.#phase = phase;
  }

  /** A request is late. @param end ends what waits for the path's silence: called when it is suspect no more */
  suspect(end: () => void): void {
    this.#enter('suspect');
    this.#endSuspicion = end;
  }

  /** Nothing waits for its silence any more. */
  endSuspicion(): void {
    this.#endSuspicion?.();
    this.#endSuspicion = undefined;
  }

  /** Another period from now on. */
  pace(periodMs: number): void {
    this.dueMs += periodMs - this.periodMs;
    this.periodMs = periodMs;
  }

  /** Whether it is to be asked now; if so, what comes next is due later. @param waitMs until its pace has it asked again */
  take(nowMs: number, waitMs: () => number): boolean {
    const { burst } = this;
    const bursts = burst !== undefined && burst.nextMs <= nowMs;
    // A path whose request hangs is not asked a second time meanwhile.
    if (this.underWay > 0 || (this.dueMs > nowMs && !bursts)) return false;
    if (bursts) {
      burst.nextMs = nowMs + burst.spacingMs;
      if (--burst.left <= 0) this.burst = undefined;
    }
    // Without drift; after a long sleep what was missed is not made up for.
    if (this.dueMs <= nowMs) this.dueMs = Math.max(this.dueMs + waitMs(), nowMs);
    return true;
  }

  /** A request that began then (monotonic ms) has an outcome. */
  sent(fromMs: number): void {
    this.counts.sent++;
    this.counts.sentLastNs = Math.max(this.counts.sentLastNs, fromMs * 1e6);
  }

  /** @param fromMs when the request began, monotonic. @returns whether that is news */
  answered({ latencyNs, phases }: Reply, fromMs: number, nowMs: number): boolean {
    this.#answeredFromMs = Math.max(this.#answeredFromMs, fromMs);
    const { counts } = this;
    counts.answered++;
    counts.answeredLastNs = nowMs * 1e6;
    counts.lostInARow = 0;
    this.phasesNs = phases;
    // The network's part where it is told: a busy peer is not a slow way. Of a SYN that was sent twice it is not: what was
    // lost is no round trip, however late the answer to the second one came.
    const rttNs = phases === undefined ? latencyNs : phases.network;
    if (latencyNs !== undefined) counts.rttLastNs = latencyNs;
    if (rttNs === undefined) {
      counts.unstamped++;
    } else {
      counts.rttSumNs += rttNs;
      counts.rttMaxNs = Math.max(counts.rttMaxNs, rttNs);
      if (counts.histogram === NO_ANSWERS) counts.histogram = new Uint32Array(HISTOGRAM_BUCKETS);
      const bucket = bucketOf(rttNs);
      counts.histogram[bucket] = (counts.histogram[bucket] ?? 0) + 1;
    }
    if (this.#phase === 'answering') return false;
    this.#enter('answering');
    return true;
  }

  /**
   * @param fromMs when the request began, monotonic
   * @returns what the failure says of the path now; undefined: nothing, for what was asked later was answered
   */
  failed({ kind }: ProbeFailure, fromMs: number): 'error' | 'suspect' | 'silent' | undefined {
    const { counts } = this;
    counts[kind === 'timeout' ? 'lost' : 'failed']++;
    if (fromMs < this.#answeredFromMs) return undefined;
    counts.lostInARow++;
    const news = this.#newsOfFailure();
    if (news !== undefined) this.#enter(news);
    return news ?? 'error';
  }

  /**
   * Requests of which the last began then (monotonic ms) are long under way.
   * @returns whether the path is silent by that, which is news: it was suspect, and all of its requests hang
   */
  hangs(fromMs: number): boolean {
    if (this.#phase !== 'suspect' || this.underWay <= RETRIES || fromMs < this.#answeredFromMs) return false;
    this.counts.sentLastNs = Math.max(this.counts.sentLastNs, fromMs * 1e6);
    this.#enter('silent');
    return true;
  }

  #newsOfFailure(): 'suspect' | 'silent' | undefined {
    if (this.#phase === 'new' || this.#phase === 'answering') return 'suspect';
    return this.#phase === 'suspect' && this.counts.lostInARow > RETRIES ? 'silent' : undefined;
  }

  /** A path that has begun to fail is asked again soon, and so often that its silence is one. */
  retry(nowMs: number): void {
    if (this.#phase !== 'suspect' || this.underWay > 0 || this.burst !== undefined) return;
    const left = RETRIES + 1 - this.counts.lostInARow;
    this.burst = { left, spacingMs: RETRY_MS, nextMs: nowMs + RETRY_MS };
  }
}
