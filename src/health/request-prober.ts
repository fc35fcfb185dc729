import {
  bucketOf,
  copyCounts,
  HISTOGRAM_BUCKETS,
  type LiveCounts,
  NO_ANSWERS,
  noCounts,
} from '../../probes/engine/index.ts';
import type { Probe, ProbeFailure, ProbeReadiness, ProbeResult } from '../../probes/types.ts';
import {
  type PathEnd,
  PROBE_KINDS,
  type ProbeKind,
  type ProbePath,
  type Responder,
} from '../model/health.ts';
import type { Clock } from './clock.ts';
import type { PathProber, ProberEvent } from './prober.ts';

export interface RequestProberDeps {
  /** The kinds of paths that are its. */
  readonly responder: Responder;
  /** A probe for each end that requests start from, for the path classes that are named after their ends. */
  readonly probes: Readonly<Partial<Record<PathEnd, Probe>>>;
  /** A probe for each other path class. */
  readonly classes?: Readonly<Partial<Record<string, Probe>>> | undefined;
  readonly clock: Clock;
  readonly random: () => number;
  /** Least time after which a request without an answer is suspect. Default 100. */
  readonly softMs?: number | undefined;
}

/** What is due within one turn starts together. */
const TURN_MS = 100;
/** The first look at a path comes within this; of more paths than these a second, they come at this pace. */
const FIRST_LOOK_MS = 1000;
const FIRST_LOOKS_PER_SECOND = 200;
/** After a failure this many more follow, so far apart, before the path counts as silent. */
const RETRIES = 2;
const RETRY_MS = 100;
/**
 * A request without an answer in this time, or in so many times that of the last one, makes the path suspect: those that
 * follow do not wait for its end.
 */
const SOFT_MS = 100;
const SOFT_FACTOR = 4;
const SOFT_MOST_MS = 1000;
/** A timer that rings so late was held up by ourselves: the answer may be there. */
const HELD_UP_MS = 20;
/** Paths a second that become suspect so: where many are late at once, more requests would make it worse. */
const SUSPECTS_PER_SECOND = 5;

/** What only a peer that got the probe can cause: where silence is expected, it is the fault. */
const ANSWERS: ReadonlySet<ProbeFailure['kind']> = new Set(['refused', 'reset', 'bad-answer']);

/** Of a path that is not open. */
const NEVER = noCounts(NO_ANSWERS);

type Reply = Extract<ProbeResult, { kind: 'reply' }>;

/** Undefined: it is none. */
function answerOf({ expects }: ProbeKind, result: ProbeResult): Reply | undefined {
  if (result.kind === 'reply') return result;
  const isAnswer = expects === 'silence' && result.kind === 'failure' && ANSWERS.has(result.failure.kind);
  return isAnswer ? { kind: 'reply', latencyNs: undefined } : undefined;
}

interface Path {
  readonly path: ProbePath;
  readonly counts: LiveCounts;
  periodMs: number;
  dueMs: number;
  /** Whether it was asked at its pace yet. */
  isPaced: boolean;
  /** More to come besides the pace, and when. */
  burst: { left: number; readonly spacingMs: number; nextMs: number } | undefined;
  phase: 'new' | 'answering' | 'suspect' | 'silent';
  /** Requests without an outcome. */
  underWay: number;
  /** When the last one that was answered began. */
  answeredFromMs: number;
  phasesNs: Readonly<Record<string, number>> | undefined;
}

/** Requests to the peers' health agents, at a pace of their own. */
export class RequestProber implements PathProber {
  readonly #deps: RequestProberDeps;
  readonly #paths = new Map<number, Path>();
  readonly #listeners: ((events: readonly ProberEvent[]) => void)[] = [];
  #next = 1;
  /** When the first look at one more path may come. */
  #firstMs = Number.NEGATIVE_INFINITY;
  /** Paths that may still become suspect before their deadline in the second that began then. */
  #secondMs = Number.NEGATIVE_INFINITY;
  #left = 0;
  #cancel: (() => void) | undefined;
  #running = false;

  constructor(deps: RequestProberDeps) {
    this.#deps = deps;
  }

  async start(): Promise<void> {
    await Promise.all(this.#probes().map((probe) => probe.start()));
    this.#running = true;
    this.#arm();
  }

  async stop(): Promise<void> {
    this.#running = false;
    this.#cancel?.();
    await Promise.all(this.#probes().map((probe) => probe.stop()));
  }

  #probes(): Probe[] {
    const { probes, classes = {} } = this.#deps;
    return [...Object.values(probes), ...Object.values(classes)].filter((probe) => probe !== undefined);
  }

  #probeOf({ pathClass, from, to }: ProbeKind): Probe | undefined {
    const { probes, classes = {} } = this.#deps;
    return classes[pathClass] ?? (pathClass === `${from}-${to}` ? probes[from] : undefined);
  }

  readiness({ kind: index, family }: Pick<ProbePath, 'kind' | 'family'>): ProbeReadiness {
    const kind = PROBE_KINDS[index];
    if (kind?.responder !== this.#deps.responder) return { ready: false, reason: 'not probed by requests' };
    const probe = this.#probeOf(kind);
    return probe?.readiness(family) ?? { ready: false, reason: `no ${kind.from} to probe from` };
  }

  open(path: ProbePath, periodMs: number): number {
    const handle = this.#next++;
    const nowMs = this.#deps.clock.nowMs();
    this.#firstMs = Math.max(nowMs, this.#firstMs + 1000 / FIRST_LOOKS_PER_SECOND);
    const byChanceMs = nowMs + this.#deps.random() * Math.min(FIRST_LOOK_MS, periodMs);
    this.#paths.set(handle, {
      path,
      counts: noCounts(NO_ANSWERS),
      periodMs,
      dueMs: Math.max(byChanceMs, this.#firstMs - FIRST_LOOK_MS),
      isPaced: false,
      burst: undefined,
      phase: 'new',
      underWay: 0,
      answeredFromMs: Number.NEGATIVE_INFINITY,
      phasesNs: undefined,
    });
    return handle;
  }

  close(handle: number): void {
    this.#paths.delete(handle);
  }

  pace(handle: number, periodMs: number): void {
    const path = this.#paths.get(handle);
    if (path === undefined) return;
    path.dueMs += periodMs - path.periodMs;
    path.periodMs = periodMs;
  }

  burst(handle: number, count: number, spacingMs: number): void {
    const path = this.#paths.get(handle);
    // A longer burst that was asked for does as well.
    if (path === undefined || (path.burst?.left ?? 0) > count) return;
    const nowMs = this.#deps.clock.nowMs();
    path.burst = { left: count, spacingMs, nextMs: nowMs };
    if (this.#running) this.#turn(handle, path, nowMs);
  }

  read(handle: number, into: LiveCounts): void {
    copyCounts(this.#paths.get(handle)?.counts ?? NEVER, into);
  }

  phasesNs(handle: number): Readonly<Record<string, number>> | undefined {
    return this.#paths.get(handle)?.phasesNs;
  }

  onEvents(listener: (events: readonly ProberEvent[]) => void): void {
    this.#listeners.push(listener);
  }

  #arm(): void {
    if (!this.#running) return;
    this.#cancel = this.#deps.clock.after(TURN_MS, () => {
      const nowMs = this.#deps.clock.nowMs();
      for (const [handle, path] of this.#paths) this.#turn(handle, path, nowMs);
      this.#arm();
    });
  }

  #turn(handle: number, path: Path, nowMs: number): void {
    const bursts = path.burst !== undefined && path.burst.nextMs <= nowMs;
    // A path whose request hangs is not asked a second time meanwhile.
    if (path.underWay > 0 || (path.dueMs > nowMs && !bursts)) return;
    if (path.burst !== undefined && bursts) {
      path.burst.nextMs = nowMs + path.burst.spacingMs;
      if (--path.burst.left <= 0) path.burst = undefined;
    }
    // Without drift; after a long sleep what was missed is not made up for.
    if (path.dueMs <= nowMs) path.dueMs = Math.max(path.dueMs + this.#waitMs(path), nowMs);
    void this.#probe(handle, path, nowMs);
  }

  /** All are asked first within a second of the start: from then on they are spread over their period, or all came at once. */
  #waitMs(path: Path): number {
    const share = path.isPaced ? 1 : 1 - this.#deps.random();
    path.isPaced = true;
    return share * path.periodMs;
  }

  async #probe(handle: number, path: Path, nowMs: number): Promise<void> {
    const kind = PROBE_KINDS[path.path.kind];
    const probe = kind === undefined ? undefined : this.#probeOf(kind);
    if (probe === undefined) return;
    path.underWay++;
    const cancel = this.#watch(handle, path);
    const result = await probe.probe(path.path.address);
    cancel();
    path.underWay--;
    if (this.#paths.get(handle) !== path || !this.#running || result.kind === 'not-probed') return;
    path.counts.sent++;
    path.counts.sentLastNs = Math.max(path.counts.sentLastNs, nowMs * 1e6);
    const answer = kind === undefined ? undefined : answerOf(kind, result);
    if (answer !== undefined) this.#answered(handle, path, answer, nowMs);
    else if (result.kind === 'failure') this.#failed(handle, path, result.failure, nowMs);
  }

  /** Of a path that answers, a request that takes long is not waited for alone. @returns what ends it */
  #watch(handle: number, path: Path): () => void {
    if (path.phase !== 'answering') return () => undefined;
    const { clock, softMs: leastMs = SOFT_MS } = this.#deps;
    const ownMs = Math.min(SOFT_MOST_MS, (SOFT_FACTOR * path.counts.rttLastNs) / 1e6);
    const softMs = Math.max(leastMs, ownMs);
    let cancel: () => void;
    const arm = (): void => {
      const dueMs = clock.nowMs() + softMs;
      cancel = clock.after(softMs, () => {
        if (clock.nowMs() - dueMs > HELD_UP_MS) arm();
        else this.#late(handle, path);
      });
    };
    arm();
    return () => cancel();
  }

  #late(handle: number, path: Path): void {
    if (this.#paths.get(handle) !== path || !this.#running || path.phase !== 'answering') return;
    const nowMs = this.#deps.clock.nowMs();
    if (nowMs - this.#secondMs >= 1000) [this.#secondMs, this.#left] = [nowMs, SUSPECTS_PER_SECOND];
    if (this.#left <= 0) return;
    this.#left--;
    this.#suspect(handle, path);
    for (let i = 0; i < RETRIES; i++) void this.#probe(handle, path, nowMs);
  }

  #suspect(handle: number, path: Path): void {
    path.phase = 'suspect';
    this.#tell({ kind: 'suspect', handle, reason: undefined });
  }

  #answered(handle: number, path: Path, { latencyNs, phases }: Reply, fromMs: number): void {
    path.answeredFromMs = Math.max(path.answeredFromMs, fromMs);
    const { counts } = path;
    counts.answered++;
    counts.answeredLastNs = this.#deps.clock.nowMs() * 1e6;
    counts.lostInARow = 0;
    path.phasesNs = phases;
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
    if (path.phase === 'answering') return;
    path.phase = 'answering';
    this.#tell({ kind: 'answer', handle, reason: undefined });
  }

  #failed(handle: number, path: Path, failure: ProbeFailure, fromMs: number): void {
    const { counts } = path;
    counts[failure.kind === 'timeout' ? 'lost' : 'failed']++;
    // What was answered later says more of the path than this one.
    if (fromMs < path.answeredFromMs) return;
    counts.lostInARow++;
    this.#tell({ kind: 'error', handle, reason: failure.text });
    if (path.phase === 'new' || path.phase === 'answering') {
      this.#suspect(handle, path);
    } else if (path.phase === 'suspect' && counts.lostInARow > RETRIES) {
      path.phase = 'silent';
      this.#tell({ kind: 'silent', handle, reason: undefined });
    }
    const left = RETRIES + 1 - counts.lostInARow;
    if (path.phase === 'suspect' && path.underWay === 0 && path.burst === undefined)
      path.burst = { left, spacingMs: RETRY_MS, nextMs: this.#deps.clock.nowMs() + RETRY_MS };
  }

  #tell(event: ProberEvent): void {
    for (const listener of this.#listeners) listener([event]);
  }
}
