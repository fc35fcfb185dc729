import { NO_ANSWERS, noCounts, type PathCounts } from '../../probes/engine/index.ts';
import { atOnce, type Slices } from '../base/slices.ts';
import {
  type HealthCell,
  type PathChange,
  type PathReport,
  PROBE_KINDS,
  type ProbePath,
} from '../model/health.ts';
import type { Instant } from './clock.ts';
import { NEVER_CAME } from './loss/loss-finder.ts';
import { type OpenPath, OpenPaths } from './open-paths.ts';
import { ownCell } from './own-cell.ts';
import type { PlannedPath } from './plan/planner.ts';
import type { ProbedPath } from './probe-run.ts';
import { type ProbeTotal, ProbeTotals } from './probe-totals.ts';
import { countsNow, type PathProber, type ProberEvent } from './prober.ts';
import { isAgentAnswering } from './state/filtered.ts';
import { PathTracker } from './state/path-tracker.ts';
import { windowPool } from './state/path-window.ts';
import type { TrackerParts } from './state/tracker-parts.ts';

/** To look at a planned path is a step, to open or close one costs as much as so many; a slice takes some 5 ms. */
const STEPS_A_SLICE = 5000;
const CHANGE_STEPS = 20;
const ALLOWED_TWIN = PROBE_KINDS.findIndex(({ pathClass }) => pathClass === 'policy-allowed');

/**
 * The paths of this node: opened at their probers as the plan says, with what is known of each. A path that stays in the
 * plan keeps what is known of it.
 */
export class PathBook {
  readonly #probers: readonly PathProber[];
  readonly #now: () => Instant;
  readonly #onChange: (change: PathChange) => void;
  readonly #paths: OpenPaths;
  readonly #totals = new ProbeTotals();
  readonly #parts: TrackerParts = { windows: windowPool() };
  readonly #looked = noCounts(NO_ANSWERS);
  readonly #ailing = new Set<PathTracker>();
  /** Where `tickSome` goes on. */
  #walk: Iterator<OpenPath>;
  #onSuspect: (path: ProbePath) => void = () => undefined;
  #refused = 0;
  #lossy = new Set<string>();

  constructor(probers: readonly PathProber[], now: () => Instant, onChange: (change: PathChange) => void) {
    this.#probers = probers;
    this.#now = now;
    this.#onChange = onChange;
    this.#paths = new OpenPaths(probers);
    this.#walk = this.#paths.all();
    for (const prober of probers) prober.onEvents((events) => this.#take(prober, events, now()));
  }

  /** Calls back when a path has begun to miss answers: nobody knows yet whether that means anything. */
  onSuspect(listener: (path: ProbePath) => void): void {
    this.#onSuspect = listener;
  }

  /** The prober of such a path; undefined: it cannot be probed here. */
  proberOf(path: Pick<ProbePath, 'kind' | 'family'>): PathProber | undefined {
    return this.#probers.find((prober) => prober.readiness(path).ready);
  }

  /** Opens and closes what has changed. What there is no room for is counted, and tried again the next time. */
  follow(plan: ReadonlyMap<string, PlannedPath>): void {
    atOnce(this.followSlices(plan));
  }

  /** The same slice by slice. */
  *followSlices(plan: ReadonlyMap<string, PlannedPath>): Slices<void> {
    let [steps, refused] = [0, 0];
    for (const [key, open] of this.#paths.entries()) {
      if (!plan.has(key)) steps += this.#close(key, open);
      if (++steps < STEPS_A_SLICE) continue;
      steps = 0;
      yield;
    }
    for (const [key, planned] of plan) {
      const open = this.#paths.byKey(key);
      if (open !== undefined) steps += this.#pace(open, planned.periodMs);
      else if (this.#open(key, planned)) steps += CHANGE_STEPS;
      else refused++;
      if (++steps < STEPS_A_SLICE) continue;
      steps = 0;
      yield;
    }
    this.#refused = refused;
  }

  /** @returns whether there is room for it */
  #open(key: string, { path, periodMs }: PlannedPath): boolean {
    const prober = this.proberOf(path);
    if (prober === undefined) return true;
    const handle = prober.open(path, periodMs);
    if (handle === undefined) return false;
    const tracker = new PathTracker(path, periodMs, this.#now(), this.#partsOf(path));
    this.#paths.add(key, { tracker, prober, handle, periodMs });
    return true;
  }

  #partsOf(path: ProbePath): TrackerParts {
    if (PROBE_KINDS[path.kind]?.expects !== 'silence') return this.#parts;
    return { ...this.#parts, isTwinAnswering: () => this.#isTwinAnswering(path) };
  }

  /** @returns steps that it took */
  #close(key: string, open: OpenPath): number {
    this.#paths.delete(key, open);
    this.#ailing.delete(open.tracker);
    open.prober.read(open.handle, open.counts);
    this.#totals.close({ path: open.tracker.path, counts: open.counts });
    open.prober.close(open.handle);
    open.tracker.close();
    return CHANGE_STEPS;
  }

  /** Of a path that a policy denies: whether the same one that a policy allows works. */
  #isTwinAnswering(path: ProbePath): boolean {
    const state = this.#paths.of({ ...path, kind: ALLOWED_TWIN })?.tracker.state;
    return state === 'reachable' || state === 'degraded';
  }

  /** @returns steps that it took */
  #pace(open: OpenPath, periodMs: number): number {
    if (open.periodMs === periodMs) return 0;
    open.periodMs = periodMs;
    open.tracker.periodMs = periodMs;
    open.prober.pace(open.handle, periodMs);
    return CHANGE_STEPS;
  }

  #take(prober: PathProber, events: readonly ProberEvent[], at: Instant): void {
    for (const event of events) {
      const open = this.#paths.ofHandle(prober, event.handle);
      if (open === undefined) continue;
      if (event.kind === 'suspect') this.#onSuspect(open.tracker.path);
      this.#read(open, at);
      const { deadMs } = open.tracker;
      this.#tell(open, open.tracker.onEvent(event, at), { deadMs, at });
    }
  }

  /**
   * What a peer's other paths lost while one of them was dead is of that outage, not of after it.
   * @param deadMs since when it was dead before
   */
  #tell(
    { tracker }: OpenPath,
    change: PathChange | undefined,
    { deadMs, at }: { readonly deadMs: number | undefined; readonly at: Instant },
  ): void {
    if (change === undefined) return;
    if (change.to === 'degraded' || change.to === 'unreachable') this.#ailing.add(tracker);
    else this.#ailing.delete(tracker);
    if (deadMs !== undefined && change.to === 'reachable')
      for (const other of this.#paths.ofPeer(tracker.path.peer)) {
        other.prober.read(other.handle, other.counts);
        other.tracker.forgetOutage(deadMs, other.counts, at);
      }
    this.#onChange(change);
  }

  /** Reads all counts. */
  tick(at: Instant): void {
    for (const open of this.#paths.all()) this.#read(open, at);
  }

  /** Reads the counts of so many paths; each call goes on where the last one ended, and after all of them from the first. */
  tickSome(count: number, at: Instant): void {
    for (let n = 0; n < count; n++) {
      let next = this.#walk.next();
      if (next.done === true) {
        this.#walk = this.#paths.all();
        next = this.#walk.next();
        if (next.done === true) return;
      }
      this.#read(next.value, at);
    }
  }

  /** Peers to which more was lost since the last call. */
  takeLossy(): ReadonlySet<string> {
    const lossy = this.#lossy;
    if (lossy.size > 0) this.#lossy = new Set();
    return lossy;
  }

  /** Reads the counts of one peer's paths now. */
  tickPeer(peer: string, at: Instant): void {
    for (const open of this.#paths.ofPeer(peer)) this.#read(open, at);
  }

  #read(open: OpenPath, at: Instant): void {
    const { tracker, prober, handle, counts } = open;
    const { deadMs } = tracker;
    const missed = counts.lost + counts.failed;
    prober.read(handle, counts);
    if (counts.lost + counts.failed > missed) this.#lossy.add(tracker.path.peer);
    const change = tracker.onCounts(counts, at);
    if (change !== undefined) this.#tell(open, change, { deadMs, at });
  }

  /** Finds out where a path loses its probes. @returns whether more is known now */
  async findLoss(path: ProbePath, self: string, peerAddress: string): Promise<boolean> {
    const open = this.#paths.of(path);
    if (open === undefined) return false;
    const { tracker, prober, handle } = open;
    const { sinceNowMs } = tracker;
    const isPeerAnswering = (): boolean => isAgentAnswering(this.trackers(path.peer), sinceNowMs);
    const found = await prober.findLoss?.(handle, { path, self, peerAddress, isPeerAnswering });
    // What was found of one silence says nothing of the next, which may have begun meanwhile.
    if (tracker.sinceNowMs !== sinceNowMs) return false;
    // What was concluded from a peer's silence is void when it speaks.
    const isVoid = tracker.lossPoint?.reason === NEVER_CAME && isPeerAnswering();
    if (tracker.state === 'reachable' || (found === undefined && !isVoid)) return false;
    tracker.lossPoint = found;
    return true;
  }

  /** Probes paths besides their pace. */
  burst(paths: readonly PathTracker[], count: number, spacingMs: number): void {
    for (const { path } of paths) {
      const open = this.#paths.of(path);
      open?.prober.burst(open.handle, count, spacingMs);
    }
  }

  /** The paths to some peers, to be probed on demand. */
  probed(peers: readonly string[]): ProbedPath[] {
    return peers
      .flatMap((peer) => this.#paths.ofPeer(peer))
      .map(({ tracker, prober, handle }) => ({
        path: tracker.path,
        reason: () => tracker.brief().reason,
        counts: () => countsNow(prober, handle),
        burst: (count, spacingMs) => prober.burst(handle, count, spacingMs),
      }));
  }

  /** Planned paths that are not probed, for their prober has no room for them. */
  get refused(): number {
    return this.#refused;
  }

  /** Grows whenever paths have come or gone. */
  get layout(): number {
    return this.#paths.layout;
  }

  get size(): number {
    return this.#paths.size;
  }

  /** Of all paths, or of those to a peer; the same array as long as none has come or gone. */
  trackers(peer?: string): readonly PathTracker[] {
    return this.#paths.trackers(peer);
  }

  /** Of paths that are degraded or unreachable. */
  get ailing(): ReadonlySet<PathTracker> {
    return this.#ailing;
  }

  reports(nowMs: number, peer?: string): PathReport[] {
    const open = peer === undefined ? [...this.#paths.all()] : this.#paths.ofPeer(peer);
    return open.map(({ tracker, prober, handle }) => tracker.report(nowMs, prober.phasesNs(handle)));
  }

  /** Sums over all paths that are or were open, as of the last tick. */
  totals(): readonly ProbeTotal[] {
    return this.#totals.sum(this.trackers());
  }

  /** Counts of a path by now, not as of the last tick; until the next call, which uses the same memory. */
  countsOf(tracker: PathTracker): PathCounts | undefined {
    const open = this.#paths.of(tracker.path);
    if (open === undefined) return undefined;
    open.prober.read(open.handle, this.#looked);
    return this.#looked;
  }

  /** What this node tells the others of a peer; undefined without any path to it. @param nowMs monotonic */
  cell(peer: string, nowMs: number): HealthCell | undefined {
    const trackers = this.trackers(peer);
    return trackers.length === 0 ? undefined : ownCell(peer, trackers, nowMs);
  }
}
