import { bucketOf, copyCounts, type LiveCounts, noCounts } from '../../probes/engine/index.ts';
import type { ProbeReadiness } from '../../probes/types.ts';
import type { Clock } from '../../src/health/index.ts';
import type { PathProber, ProberEvent } from '../../src/health/prober.ts';
import { PROBE_KINDS, type ProbePath } from '../../src/model/health.ts';

interface Timer {
  readonly dueMs: number;
  readonly order: number;
  act: (() => void) | undefined;
}

/** Time that passes only when a test says so; a heap, so that ten thousands of timers cost little. */
export class HeapClock implements Clock {
  #nowMs = 0;
  #order = 0;
  readonly #startMs: number;
  readonly #heap: Timer[] = [];

  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.#startMs = startMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#startMs + this.#nowMs;
  }

  after(ms: number, act: () => void): () => void {
    const timer: Timer = { dueMs: this.#nowMs + Math.max(0, ms), order: this.#order++, act };
    this.#push(timer);
    return () => {
      timer.act = undefined;
    };
  }

  #isBefore(a: number, b: number): boolean {
    const [x, y] = [this.#heap[a], this.#heap[b]];
    if (x === undefined || y === undefined) return false;
    return x.dueMs < y.dueMs || (x.dueMs === y.dueMs && x.order < y.order);
  }

  #swap(a: number, b: number): void {
    const [x, y] = [this.#heap[a], this.#heap[b]];
    if (x === undefined || y === undefined) return;
    this.#heap[a] = y;
    this.#heap[b] = x;
  }

  #push(timer: Timer): void {
    let at = this.#heap.push(timer) - 1;
    while (at > 0 && this.#isBefore(at, (at - 1) >> 1)) {
      this.#swap(at, (at - 1) >> 1);
      at = (at - 1) >> 1;
    }
  }

  #pop(): Timer | undefined {
    const [first] = this.#heap;
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return last;
    this.#heap[0] = last;
    for (let at = 0; ; ) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) if (this.#isBefore(child, least)) least = child;
      if (least === at) return first;
      this.#swap(at, least);
      at = least;
    }
  }

  /** Lets `ms` pass: timers run at their time, in order. Nothing waits for promises. */
  pass(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.dueMs > untilMs) break;
      this.#pop();
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.act?.();
    }
    this.#nowMs = untilMs;
  }
}

/** What becomes of a probe that is sent now: its round trip in ms, or undefined when it is lost. */
export type Fate = (path: ProbePath) => number | undefined;

export interface VirtualProberOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly fate: Fate;
}

interface Deadlines {
  readonly softTimeoutMs: number;
  readonly timeoutMs: number;
  readonly burst: number;
  readonly burstSpacingMs: number;
}

interface VirtualPath {
  readonly path: ProbePath;
  readonly counts: LiveCounts;
  periodMs: number;
  phase: 'new' | 'answering' | 'suspect' | 'silent';
  generation: number;
  open: boolean;
}

const SOFT_FACTOR = 4;
/** While all goes well what is late is noticed in turns so long (engine_thread.c), which begin with what was sent. */
const QUIET_TURN_MS = 80;

/** The rules of the probe engine (engine_deadline.c) over a network that a test makes up, on a virtual clock. */
export class VirtualProber implements PathProber {
  readonly #options: Deadlines & VirtualProberOptions;
  readonly #paths: VirtualPath[] = [];
  readonly #listeners: ((events: readonly ProberEvent[]) => void)[] = [];
  /** Probes sent since the start. */
  sent = 0;

  constructor(options: VirtualProberOptions) {
    this.#options = { softTimeoutMs: 50, timeoutMs: 1000, burst: 5, burstSpacingMs: 10, ...options };
  }

  start(): Promise<void> {
    return Promise.resolve();
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }

  readiness({ kind: index }: Pick<ProbePath, 'kind'>): ProbeReadiness {
    const kind = PROBE_KINDS[index];
    if (kind?.responder === 'http') return { ready: false, reason: 'not probed by packets' };
    return { ready: true, mode: 'virtual' };
  }

  open(path: ProbePath, periodMs: number): number {
    const counts = noCounts();
    const opened: VirtualPath = { path, counts, periodMs, phase: 'new', generation: 0, open: true };
    const handle = this.#paths.push(opened) - 1;
    this.#schedule(handle, this.#options.random() * Math.min(1000, periodMs));
    return handle;
  }

  #schedule(handle: number, waitMs: number): void {
    const path = this.#paths[handle];
    if (path === undefined || path.periodMs <= 0) return;
    const { generation } = path;
    this.#options.clock.after(waitMs, () => {
      if (!path.open || path.generation !== generation) return;
      this.#send(handle, path);
      this.#schedule(handle, path.periodMs);
    });
  }

  close(handle: number): void {
    const path = this.#paths[handle];
    if (path !== undefined) path.open = false;
  }

  pace(handle: number, periodMs: number): void {
    const path = this.#paths[handle];
    if (path === undefined) return;
    path.periodMs = periodMs;
    path.generation++;
    this.#schedule(handle, periodMs);
  }

  burst(handle: number, count: number, spacingMs: number): void {
    const path = this.#paths[handle];
    for (let i = 0; path !== undefined && i < count; i++) {
      this.#options.clock.after(i * spacingMs, () => {
        if (path.open) this.#send(handle, path);
      });
    }
  }

  #send(handle: number, path: VirtualPath): void {
    const { clock, fate, softTimeoutMs, timeoutMs } = this.#options;
    const rttMs = fate(path.path);
    const isAnswered = rttMs !== undefined && rttMs <= timeoutMs;
    const ownMs = Math.min(timeoutMs, Math.max(softTimeoutMs, (SOFT_FACTOR * path.counts.rttLastNs) / 1e6));
    const isQuiet = path.phase === 'new' || path.phase === 'answering';
    const softMs = isQuiet ? Math.ceil(ownMs / QUIET_TURN_MS) * QUIET_TURN_MS : ownMs;
    this.sent++;
    path.counts.sent++;
    path.counts.sentLastNs = clock.nowMs() * 1e6;
    if (isAnswered) clock.after(rttMs, () => this.#answer(handle, path, rttMs * 1e6));
    else clock.after(timeoutMs, () => path.counts.lost++);
    if (!isAnswered || rttMs > softMs) clock.after(softMs, () => this.#missed(handle, path));
  }

  #answer(handle: number, path: VirtualPath, rttNs: number): void {
    const { counts } = path;
    const bucket = bucketOf(rttNs);
    counts.answered++;
    counts.rttSumNs += rttNs;
    counts.rttLastNs = rttNs;
    counts.rttMaxNs = Math.max(counts.rttMaxNs, rttNs);
    counts.answeredLastNs = this.#options.clock.nowMs() * 1e6;
    counts.lostInARow = 0;
    counts.histogram[bucket] = (counts.histogram[bucket] ?? 0) + 1;
    if (path.phase === 'answering' || !path.open) return;
    path.phase = 'answering';
    this.#tell('answer', handle);
  }

  #missed(handle: number, path: VirtualPath): void {
    if (!path.open) return;
    const { burst, burstSpacingMs } = this.#options;
    path.counts.lostInARow++;
    if (path.phase === 'new' || path.phase === 'answering') {
      path.phase = 'suspect';
      this.#tell('suspect', handle);
      this.burst(handle, burst, burstSpacingMs);
    } else if (path.phase === 'suspect' && path.counts.lostInARow > burst) {
      path.phase = 'silent';
      this.#tell('silent', handle);
    }
  }

  #tell(kind: ProberEvent['kind'], handle: number): void {
    for (const listener of this.#listeners) listener([{ kind, handle, reason: undefined }]);
  }

  read(handle: number, into: LiveCounts): void {
    copyCounts(this.#paths[handle]?.counts ?? noCounts(), into);
  }

  phasesNs(): undefined {
    return undefined;
  }

  onEvents(listener: (events: readonly ProberEvent[]) => void): void {
    this.#listeners.push(listener);
  }
}
