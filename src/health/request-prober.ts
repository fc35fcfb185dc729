import { copyCounts, type LiveCounts, NO_ANSWERS, noCounts } from '../../probes/engine/index.ts';
import type { Probe, ProbeFailure, ProbeReadiness } from '../../probes/types.ts';
import {
  type PathEnd,
  PROBE_KINDS,
  type ProbeKind,
  type ProbePath,
  type Responder,
} from '../model/health.ts';
import type { Clock } from './clock.ts';
import { LateAllowance } from './late-allowance.ts';
import type { PathProber, ProberEvent } from './prober.ts';
import { answerOf, RETRIES, RequestPath } from './request-path.ts';

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
const TURN_MS = 50;
/** The first look at a path comes within this; of more paths than these a second, they come at this pace. */
const FIRST_LOOK_MS = 1000;
const FIRST_LOOKS_PER_SECOND = 200;
/**
 * A request without an answer in this time, or in so many times that of the last one, makes the path suspect: those that
 * follow do not wait for its end.
 */
const SOFT_MS = 100;
const SOFT_FACTOR = 4;
const SOFT_MOST_MS = 1000;
/** Of a suspect path that answered nothing in so many times that, the requests under way are silence before they end. */
const HARD_FACTOR = 6;
/** Unless more than these are under way to all peers: some may wait for their turn, which is ours to blame. */
const CALM_MOST = 128;
/** A timer that rings so late was held up by ourselves: the answer may be there. */
const HELD_UP_MS = 20;

/** Of a path that is not open. */
const NEVER = noCounts(NO_ANSWERS);

/** Requests to the peers' health agents, at a pace of their own. */
export class RequestProber implements PathProber {
  readonly #deps: RequestProberDeps;
  readonly #paths = new Map<number, RequestPath>();
  readonly #listeners: ((events: readonly ProberEvent[]) => void)[] = [];
  #next = 1;
  /** When the first look at one more path may come. */
  #firstMs = Number.NEGATIVE_INFINITY;
  /** Who may become suspect before its deadline. */
  readonly #lateOnes = new LateAllowance();
  #cancel: (() => void) | undefined;
  #running = false;
  /** Requests without an outcome, to all peers. */
  #underWay = 0;

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
    for (const path of this.#paths.values()) path.endSuspicion();
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
    const dueMs = Math.max(byChanceMs, this.#firstMs - FIRST_LOOK_MS);
    this.#paths.set(handle, new RequestPath(path, { periodMs, dueMs }));
    return handle;
  }

  close(handle: number): void {
    this.#paths.get(handle)?.endSuspicion();
    this.#paths.delete(handle);
  }

  pace(handle: number, periodMs: number): void {
    this.#paths.get(handle)?.pace(periodMs);
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

  #turn(handle: number, path: RequestPath, nowMs: number): void {
    if (path.take(nowMs, () => this.#waitMs(path))) void this.#probe(handle, path, nowMs);
  }

  /** All are asked first within a second of the start: from then on they are spread over their period, or all came at once. */
  #waitMs(path: RequestPath): number {
    const share = path.isPaced ? 1 : 1 - this.#deps.random();
    path.isPaced = true;
    return share * path.periodMs;
  }

  async #probe(handle: number, path: RequestPath, nowMs: number): Promise<void> {
    const kind = PROBE_KINDS[path.path.kind];
    const probe = kind === undefined ? undefined : this.#probeOf(kind);
    if (probe === undefined) return;
    path.underWay++;
    this.#underWay++;
    const cancel = this.#watch(handle, path);
    const result = await probe.probe(path.path.address);
    cancel();
    path.underWay--;
    this.#underWay--;
    if (!this.#isOpen(handle, path) || result.kind === 'not-probed') return;
    path.sent(nowMs);
    const answer = kind === undefined ? undefined : answerOf(kind, result);
    if (answer !== undefined) {
      if (path.answered(answer, nowMs, this.#deps.clock.nowMs()))
        this.#tell({ kind: 'answer', handle, reason: undefined });
    } else if (result.kind === 'failure') this.#failed(handle, path, result.failure, nowMs);
  }

  /** Of a path that answers, a request that takes long is not waited for alone. @returns what ends it */
  #watch(handle: number, path: RequestPath): () => void {
    if (path.phase !== 'answering') return () => undefined;
    const { softMs: leastMs = SOFT_MS } = this.#deps;
    const softMs = Math.max(leastMs, Math.min(SOFT_MOST_MS, (SOFT_FACTOR * path.counts.rttLastNs) / 1e6));
    return this.#afterOurs(softMs, () => this.#late(handle, path, softMs));
  }

  /** Calls back after `ms` in which we could have heard an answer. @returns what cancels it */
  #afterOurs(ms: number, then: () => void): () => void {
    const { clock } = this.#deps;
    let cancel: () => void;
    const arm = (): void => {
      const dueMs = clock.nowMs() + ms;
      cancel = clock.after(ms, () => {
        if (clock.nowMs() - dueMs > HELD_UP_MS) arm();
        else then();
      });
    };
    arm();
    return () => cancel();
  }

  #isOpen(handle: number, path: RequestPath): boolean {
    return this.#paths.get(handle) === path && this.#running;
  }

  #late(handle: number, path: RequestPath, softMs: number): void {
    if (!this.#isOpen(handle, path) || path.phase !== 'answering') return;
    const nowMs = this.#deps.clock.nowMs();
    if (!this.#lateOnes.takes(PROBE_KINDS[path.path.kind]?.pathClass, nowMs)) return;
    path.suspect(this.#afterOurs(HARD_FACTOR * softMs, () => this.#hangs(handle, path, nowMs)));
    this.#tell({ kind: 'suspect', handle, reason: undefined });
    for (let i = 0; i < RETRIES; i++) void this.#probe(handle, path, nowMs);
  }

  /** Requests of which the last began then (monotonic ms) have no answer yet. */
  #hangs(handle: number, path: RequestPath, fromMs: number): void {
    if (this.#underWay <= CALM_MOST && this.#isOpen(handle, path) && path.hangs(fromMs))
      this.#tell({ kind: 'silent', handle, reason: undefined });
  }

  #failed(handle: number, path: RequestPath, failure: ProbeFailure, fromMs: number): void {
    const said = path.failed(failure, fromMs);
    if (said === undefined) return;
    this.#tell({ kind: 'error', handle, reason: failure.text });
    if (said !== 'error') this.#tell({ kind: said, handle, reason: undefined });
    path.retry(this.#deps.clock.nowMs());
  }

  #tell(event: ProberEvent): void {
    for (const listener of this.#listeners) listener([event]);
  }
}
