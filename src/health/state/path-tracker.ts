import type { PathCounts } from '../../../probes/engine/index.ts';
import {
  type LossPoint,
  type PathChange,
  type PathReport,
  type PathState,
  PROBE_KINDS,
  type ProbePath,
  type Responder,
} from '../../model/health.ts';
import type { Instant } from '../clock.ts';
import type { ProberEvent } from '../prober.ts';
import { EMPTY_WINDOW, type Losses, NO_LOSSES } from './judgement.ts';
import { KeptState } from './kept-state.ts';
import { Outcomes } from './outcomes.ts';
import { missedOf, WindowRing } from './path-window.ts';
import { type PathSize, Quality } from './quality.ts';
import type { TrackerParts } from './tracker-parts.ts';

/** A path that was not probed for so many periods, and so long, is unknown. */
const STALE_PERIODS = 3;
const STALE_MS = 5000;
/** After the death of another path of the peer an echo that is asked for at once has come by then, if it comes. */
const ECHOED_MS = 300;
/** As `EngineProber` puts a port unreachable. */
const REFUSED = 'ECONNREFUSED';
/** The peer's kernel says that the port is closed: no program took the echo before it. */
const NO_RESPONDER =
  'no echo responder of the peer for our address: it has no programs, or its node list lacks the address';
/** So many probes in a row without an answer are silence, whatever the prober said of earlier ones. */
const SILENT_LEAST = 6;

/**
 * The state of one path. In steps:
 *
 * 1. an answer makes it reachable, the silence of a whole burst unreachable: at once, by events;
 * 2. loss and slowness make it degraded, by its last minute; the bounds to enter and to leave lie apart, so that it does
 *    not flap, and a path that comes back begins a new minute: its outage is no loss of after it;
 * 3. one that is not probed any more is unknown, never what it was last.
 *
 * Where silence is what a policy wants, an answer is the fault; and silence counts only while the path beside it that the
 * policy allows (`isTwinAnswering`) answers, or it would say nothing.
 */
export class PathTracker {
  readonly path: ProbePath;
  readonly #wantsSilence: boolean;
  readonly #responder: Responder | undefined;
  readonly #isTwinAnswering: () => boolean;
  readonly #ring: WindowRing;
  readonly #outcomes = new Outcomes();
  readonly #quality: Quality;
  #isSilent = false;
  readonly #kept: KeptState<PathTracker>;
  #error: string | undefined;
  #counts: PathCounts | undefined;
  /** When the last outage of the peer was over, monotonic ms. */
  #outageEndMs = Number.NEGATIVE_INFINITY;
  #periodMs: number;
  /** What else is found out of the probes that were lost, in the silence that it is in. */
  lossPoint: LossPoint | undefined;
  /** When it was asked once more in that silence, for something beside it had answered; monotonic ms. */
  askedAgainMs: number | undefined;

  constructor(
    path: ProbePath,
    periodMs: number,
    at: Instant,
    { windows, isTwinAnswering = () => true }: TrackerParts = {},
  ) {
    this.path = path;
    this.#isTwinAnswering = isTwinAnswering;
    this.#ring = new WindowRing(windows);
    this.#wantsSilence = PROBE_KINDS[path.kind]?.expects === 'silence';
    this.#responder = PROBE_KINDS[path.kind]?.responder;
    this.#kept = new KeptState<PathTracker>(this, at);
    this.#quality = new Quality(this.#ring, at.nowMs);
    this.#periodMs = periodMs;
  }

  /** Its path is not probed any more: what was counted is forgotten. Once. */
  close(): void {
    this.#counts = undefined;
    this.#ring.close();
  }

  /** Median round trip while all was well, ns; undefined: not known yet. */
  get usualNs(): number | undefined {
    return this.#quality.usualNs;
  }

  get state(): PathState {
    return this.#kept.value;
  }

  /** Since when it is unreachable, monotonic ms; undefined: it is not. */
  get deadMs(): number | undefined {
    return this.#kept.value === 'unreachable' && !this.#wantsSilence ? this.#kept.since.nowMs : undefined;
  }

  /** Whether an answer has come since then, monotonic ms. */
  hasAnsweredSince(sinceMs: number): boolean {
    return (this.#counts?.answeredLastNs ?? 0) / 1e6 >= sinceMs;
  }

  /**
   * The state, if it rests on an answer since then (monotonic ms): what answered before may have died as well. An echo is
   * on its way then, and until it must have come nothing is changed. What was silent before the peer came back may
   * have come back with it. And loss of which nothing was seen lately is not told: without any it would look like slowness.
   */
  stateSince(sinceMs: number, nowMs: number): PathState {
    const counts = this.#counts;
    if (this.#kept.value === 'unreachable' && (counts === undefined || this.#isOfOutage(counts)))
      return 'unknown';
    const isStale = !this.hasAnsweredSince(sinceMs) && !this.#wantsSilence;
    const isDue = this.#responder === 'http' || nowMs - sinceMs >= ECHOED_MS;
    const answers = this.#kept.value === 'reachable' || this.#kept.value === 'degraded';
    if (isStale && isDue && answers) return 'unknown';
    const isOver = this.#kept.value === 'degraded' && this.#quality.isLossy && this.lately().lost === 0;
    return isOver ? 'reachable' : this.#kept.value;
  }

  /**
   * An outage of its peer since then (monotonic ms) is over: what this path lost meanwhile, and what came late,
   * says nothing of after it, nor does what was sent until now and is not heard of yet.
   * @param counts of now, not as they were looked at last
   */
  forgetOutage(sinceMs: number, counts: PathCounts, at: Instant): void {
    this.#outageEndMs = at.nowMs;
    const outcomes = this.#outcomes;
    const isUnderWay = counts.sent > counts.answered + missedOf(counts);
    const hasMissed = outcomes.misses(counts) || (outcomes.missedNowMs ?? 0) >= sinceMs;
    if (isUnderWay || hasMissed || this.#quality.isSlow) this.#ring.restart(counts, at.nowMs);
  }

  /** Since when it is in its state, monotonic ms. */
  get sinceNowMs(): number {
    return this.#kept.since.nowMs;
  }

  /** The same by the realtime clock. */
  get sinceMs(): number {
    return this.#kept.since.wallMs;
  }

  /** When an answer was first seen of those counted last, monotonic ms; undefined: never. */
  get answeredNowMs(): number | undefined {
    return this.#outcomes.answeredNowMs;
  }

  set periodMs(periodMs: number) {
    this.#periodMs = periodMs;
  }

  /** What is known of the packets that it carries. */
  set mtu(size: PathSize | undefined) {
    this.#quality.size = size;
  }

  get mtu(): PathSize | undefined {
    return this.#quality.size;
  }

  /** @returns the change of state, if it is one */
  onEvent(event: Pick<ProberEvent, 'kind' | 'reason'>, at: Instant): PathChange | undefined {
    switch (event.kind) {
      case 'suspect':
        return undefined;
      case 'error':
        this.#error = event.reason;
        if (this.#isUnanswerable() && this.#kept.value === 'unreachable')
          return this.#become('unknown', NO_RESPONDER, at);
        // Of one that is down, the latest reason counts.
        if (this.#kept.value === 'unreachable' && !this.#wantsSilence)
          this.#kept.blame(event.reason ?? this.#kept.reason);
        return undefined;
      case 'silent':
        this.#isSilent = true;
        if (this.#wantsSilence) return this.#judgeSilence(at);
        if (this.#isUnanswerable()) return this.#become('unknown', NO_RESPONDER, at);
        if (this.#counts !== undefined && this.#isOfOutage(this.#counts))
          return this.#become('unknown', 'silent while its peer was dead, and not asked since', at);
        return this.#become('unreachable', this.#error ?? 'no answer', at);
      case 'answer': {
        this.#error = undefined;
        this.lossPoint = undefined;
        this.#isSilent = false;
        if (this.#wantsSilence) return this.#become('unreachable', 'answered, though a policy denies it', at);
        if (this.#kept.value === 'reachable' || this.#kept.value === 'degraded') return undefined;
        if (this.#counts !== undefined) this.#ring.restart(this.#counts, at.nowMs);
        return this.#become('reachable', undefined, at);
      }
    }
  }

  /**
   * Takes the path's counts, about once a second: always in the same memory, or each time in other.
   * @returns the change of state, if it is one
   */
  onCounts(counts: PathCounts, at: Instant): PathChange | undefined {
    const outcomes = this.#outcomes;
    this.#counts = counts;
    this.#ring.roll(counts, at.nowMs);
    outcomes.look(counts, at);
    if (outcomes.isSent || outcomes.isAnswered) this.#kept.changed();
    if (this.#isOfOutage(counts) && (outcomes.isMissed || outcomes.isAnswered))
      this.#ring.restart(counts, at.nowMs);
    if (this.#isStale(at)) return this.#become('unknown', 'not probed lately', at);
    if (this.#wantsSilence && this.#isSilent) return this.#judgeSilence(at);
    const again = this.#probedAgain(counts, at);
    if (again !== undefined) return again;
    if (this.#wantsSilence || this.#kept.value === 'unknown' || this.#kept.value === 'unreachable')
      return undefined;
    const reason = this.#quality.judge(counts, outcomes, at.nowMs);
    return this.#become(reason === undefined ? 'reachable' : 'degraded', reason, at);
  }

  /** Whether its last probe was sent before the last outage of the peer was over. */
  #isOfOutage({ sentLastNs }: PathCounts): boolean {
    return sentLastNs / 1e6 < this.#outageEndMs;
  }

  /** The peer's stack says that no program answers there: of the way to it nothing is wrong. */
  #isUnanswerable(): boolean {
    return this.#responder === 'echo' && this.#error?.startsWith(REFUSED) === true;
  }

  #judgeSilence(at: Instant): PathChange | undefined {
    return this.#isTwinAnswering()
      ? this.#become('reachable', undefined, at)
      : this.#become('unknown', 'silent, but so is the path that the policy allows', at);
  }

  /** What was unknown because nobody probed it: its prober may say nothing new, for to it nothing has changed. */
  #probedAgain({ lostInARow }: PathCounts, at: Instant): PathChange | undefined {
    const { isLater, isSent, isAnswered } = this.#outcomes;
    if (this.#kept.value !== 'unknown' || !isLater) return undefined;
    if (isAnswered) return this.onEvent({ kind: 'answer', reason: undefined }, at);
    const isSilent = isSent && lostInARow >= SILENT_LEAST;
    return isSilent ? this.onEvent({ kind: 'silent', reason: undefined }, at) : undefined;
  }

  #isStale(at: Instant): boolean {
    const agoMs = at.nowMs - (this.#outcomes.sentNowMs ?? this.#kept.since.nowMs);
    return this.#kept.value !== 'unknown' && agoMs > Math.max(STALE_MS, STALE_PERIODS * this.#periodMs);
  }

  #become(to: PathState, reason: string | undefined, at: Instant): PathChange | undefined {
    const from = this.#kept.become(to, reason, at);
    if (from === undefined) return undefined;
    if (to !== 'degraded') this.#quality.clear();
    if (to === 'unreachable') [this.lossPoint, this.askedAgainMs] = [undefined, undefined];
    return { path: this.path, from, to, atMs: at.wallMs, reason, lossPoint: this.lossPoint };
  }

  /** All that is known of the path now. */
  report(nowMs: number, phasesNs: PathReport['phasesNs']): PathReport {
    const counts = this.#counts;
    const window = counts === undefined ? EMPTY_WINDOW : this.#ring.read(counts, nowMs);
    return {
      path: this.path,
      state: this.#kept.value,
      sinceMs: this.sinceMs,
      reason: this.#kept.reason,
      window,
      lastProbedMs: this.#outcomes.sentMs,
      lastAnsweredMs: this.#outcomes.answeredMs,
      lossPoint: this.lossPoint,
      pathMtu: this.mtu?.bytes,
      blackHole: this.mtu?.blackHole ?? false,
      phasesNs,
    };
  }

  /** Calls back once, when `brief`, or whether the path is filtered, may say something else than now. */
  whenBriefChanges(listener: (tracker: PathTracker) => void): void {
    this.#kept.whenChanged(listener);
  }

  /** What Cilium's form of the status has room for. */
  brief(): Pick<PathReport, 'state' | 'reason' | 'lastProbedMs'> & { readonly rttLastNs: number } {
    const rttLastNs = this.#counts?.rttLastNs ?? 0;
    return {
      state: this.#kept.value,
      reason: this.#kept.reason,
      lastProbedMs: this.#outcomes.sentMs,
      rttLastNs,
    };
  }

  /** Probes of the last minute and those of them that were lost. */
  recent(): Losses {
    return this.#counts === undefined ? NO_LOSSES : this.#ring.losses(this.#counts);
  }

  /** The same of the last half minute: what is over is soon not told any more. */
  lately(): Losses {
    return this.#counts === undefined ? NO_LOSSES : this.#ring.lately(this.#counts);
  }

  /** Median round trip lately, ns; undefined without an answer. */
  get medianNs(): number | undefined {
    return this.#counts === undefined ? undefined : this.#ring.medianNs(this.#counts);
  }

  get counts(): PathCounts | undefined {
    return this.#counts;
  }
}
