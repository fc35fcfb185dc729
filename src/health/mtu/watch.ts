import { constants } from 'node:os';
import type { EngineEvent, ProbeEngine } from '../../../probes/engine/index.ts';
import { PROBE_KINDS } from '../../model/health.ts';
import type { Clock } from '../clock.ts';
import type { OriginOf } from '../engine-prober.ts';
import type { PathTracker } from '../state/path-tracker.ts';
import { MtuLadder, type PathMtu } from './ladder.ts';
import { NarrowPaths } from './narrow-paths.ts';

export interface MtuWatchDeps {
  readonly engine: Pick<
    ProbeEngine,
    'open' | 'tryOpen' | 'close' | 'burst' | 'counts' | 'wake' | 'pace' | 'onEvents'
  >;
  readonly origins: OriginOf;
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
  /** The node's paths, the same array as long as none comes or goes; what is found is written into them. */
  readonly trackers: () => readonly PathTracker[];
  /** From one measurement that nothing has called for to the next, ms. Default 100. */
  readonly pauseMs?: number | undefined;
}

interface Watched {
  readonly tracker: PathTracker;
  readonly origin: number;
  /** Path of the large packets; undefined: not measured yet. */
  canary: number | undefined;
  canaryBytes: number;
  measuredMs: number;
  /** The canary has no answer: why is being found out, or is known. */
  silent: boolean;
  underWay: boolean;
}

/** Bytes of large packets that a node sends in a second, to all peers together: 0.08 % of a link of 1 Gbit/s. */
const BYTES_PER_SECOND = 100_000;
const CANARY_LEAST_MS = 1000;
const TICK_MS = 1000;
const PAUSE_MS = 100;
/** Paths whose canary was silent that are measured at once: a link that became narrow has many. */
const URGENT_AT_ONCE = 8;
/** A path may have become wider, which no canary tells: by another way than one on which a router said that less passes. */
const AGAIN_MS = 3_600_000;
const AGAIN_UNANSWERED_MS = 30_000;
/** A black hole whose canary is answered: it was over before the canary was missed, so that no event tells of its end. */
const AGAIN_DOUBTED_MS = 2000;
const WATCHED_MAX = 4096;
/** After a black hole was found, the others are asked at once; so often at most. */
const ALARM_MS = 10_000;
const { EMSGSIZE } = constants.errno;

/**
 * Keeps the exact MTU of every path, and tells a black hole soon after it appears. In steps:
 *
 * 1. a new path is measured, mostly by one batch of usual sizes, one path after the other;
 * 2. from then on a packet of just that size, the canary, is sent at the pace that the bytes of all canaries allow, once
 *    a second at most: that nothing large passes any more can be seen by large packets only;
 * 3. a canary that is silent, refused or answered again is a reason to measure at once. A small packet beside it tells a
 *    black hole from a path that is down;
 * 4. where one path has a black hole, others may: all canaries are sent at once;
 * 5. on a path on which a router says that less passes, a packet one byte longer is tried now and then, when there is nothing
 *    else to do.
 */
export class MtuWatch {
  readonly #deps: MtuWatchDeps;
  readonly #ladder: MtuLadder;
  readonly #watched = new Map<PathTracker, Watched>();
  readonly #byCanary = new Map<number, Watched>();
  readonly #urgent = new Set<Watched>();
  readonly #waiting = new Set<Watched>();
  readonly #narrow = new NarrowPaths<Watched>();
  /** Narrow paths that may have become wide. */
  readonly #doubted = new Set<Watched>();
  #followed: readonly PathTracker[] = [];
  #periodMs = CANARY_LEAST_MS;
  #alarmMs = Number.NEGATIVE_INFINITY;
  /** By slot: the first one also measures what nothing has called for, all others only what is urgent. */
  readonly #measuring = new Map<number, Promise<void>>();
  #cancel: (() => void) | undefined;
  #stopped = false;

  constructor(deps: MtuWatchDeps) {
    this.#deps = deps;
    this.#ladder = new MtuLadder({ engine: deps.engine, clock: deps.clock });
  }

  start(): void {
    this.#deps.engine.onEvents((events) => {
      this.#ladder.take(events);
      for (const event of events) this.#take(event);
    });
    this.#tick();
  }

  /** Before the engine's. May be called twice. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    await Promise.all(this.#measuring.values());
  }

  #tick(): void {
    this.#follow();
    this.#keepPace();
    this.#work();
    this.#cancel = this.#deps.clock.after(TICK_MS, () => this.#tick());
  }

  /** Follows the paths that ICMP is answered on. */
  #follow(): void {
    const trackers = this.#deps.trackers();
    if (trackers !== this.#followed) this.#comeAndGo(trackers);
    this.#followed = trackers;
    const nowMs = this.#deps.clock.nowMs();
    for (const watched of this.#watched.values()) {
      if (isUp(watched.tracker) && nowMs - watched.measuredMs >= againMs(watched)) this.#waiting.add(watched);
    }
    for (const watched of this.#narrow.due(nowMs)) this.#doubted.add(watched);
  }

  #comeAndGo(trackers: readonly PathTracker[]): void {
    const now = new Set(trackers);
    for (const [tracker, watched] of this.#watched) if (!now.has(tracker)) this.#forget(watched);
    for (const tracker of now) {
      const origin = this.#originOf(tracker);
      if (this.#watched.has(tracker) || origin === undefined || this.#watched.size >= WATCHED_MAX) continue;
      this.#watched.set(tracker, {
        tracker,
        origin,
        canary: undefined,
        canaryBytes: 0,
        measuredMs: Number.NEGATIVE_INFINITY,
        silent: false,
        underWay: false,
      });
    }
  }

  #originOf({ path }: PathTracker): number | undefined {
    const kind = PROBE_KINDS[path.kind];
    return kind?.responder === 'icmp' && kind.expects === 'answer'
      ? this.#deps.origins[kind.from]
      : undefined;
  }

  #forget(watched: Watched): void {
    this.#watched.delete(watched.tracker);
    this.#urgent.delete(watched);
    this.#waiting.delete(watched);
    this.#doubted.delete(watched);
    this.#narrow.forget(watched);
    this.#closeCanary(watched);
  }

  #keepPace(): void {
    const canaries = [...this.#byCanary.values()];
    const bytes = canaries.reduce((sum, { canaryBytes }) => sum + canaryBytes, 0);
    const periodMs = Math.max(CANARY_LEAST_MS, (bytes / BYTES_PER_SECOND) * 1000);
    // Small steps are not worth a command for each.
    if (Math.abs(periodMs / this.#periodMs - 1) < 0.1) return;
    this.#periodMs = periodMs;
    for (const handle of this.#byCanary.keys()) this.#deps.engine.pace(handle, periodMs);
  }

  #take(event: EngineEvent): void {
    const watched = this.#byCanary.get(event.path);
    if (watched === undefined) return;
    if (event.kind === 'silent') watched.silent = true;
    else if (event.kind === 'answer' && watched.silent) watched.silent = false;
    else if (event.kind !== 'error' || event.errno !== EMSGSIZE) return;
    this.#urgent.add(watched);
    this.#work();
  }

  /** As many at once as there is urgent work for. */
  #work(): void {
    for (let slot = 0; slot < URGENT_AT_ONCE; slot++) {
      if (this.#measuring.has(slot)) continue;
      if (slot > 0 && firstIdle(this.#urgent) === undefined) return;
      this.#measuring.set(
        slot,
        this.#measureAll(slot).finally(() => this.#measuring.delete(slot)),
      );
    }
  }

  async #measureAll(slot: number): Promise<void> {
    const { clock, pauseMs = PAUSE_MS } = this.#deps;
    for (;;) {
      const urgent = firstIdle(this.#urgent);
      const called = urgent ?? (slot === 0 ? firstIdle(this.#waiting) : undefined);
      const watched = called ?? (slot === 0 ? firstIdle(this.#doubted) : undefined);
      if (watched === undefined || this.#stopped) return;
      for (const set of [this.#urgent, this.#waiting, this.#doubted]) set.delete(watched);
      if (urgent === undefined && !isUp(watched.tracker)) continue;
      watched.underWay = true;
      const found = called === undefined ? await this.#measureIfWider(watched) : await this.#measure(watched);
      watched.underWay = false;
      if (this.#stopped || !this.#watched.has(watched.tracker)) continue;
      if (found === undefined) this.#narrow.isStill(watched, clock.nowMs());
      else this.#note(watched, found);
      if (urgent === undefined && this.#urgent.size === 0)
        await new Promise<void>((resolve) => void clock.after(pauseMs, resolve));
    }
  }

  async #measure({ tracker, origin, silent, canaryBytes }: Watched): Promise<PathMtu> {
    const { address, family } = tracker.path;
    const target = { address, origin };
    const options = { most: canaryBytes };
    if (silent)
      return (
        (await this.#ladder.ends(target, family, options)) ??
        (await this.#ladder.measure(target, family, options))
      );
    return (await this.#ladder.guess(target, family)) ?? this.#ladder.measure(target, family);
  }

  /** @returns undefined: no more passes than before */
  async #measureIfWider(watched: Watched): Promise<PathMtu | undefined> {
    const { origin, canaryBytes, tracker } = watched;
    const { address, family } = tracker.path;
    const isWider = await this.#ladder.passes({ address, origin }, family, canaryBytes + 1);
    return isWider ? this.#measure(watched) : undefined;
  }

  #note(watched: Watched, found: PathMtu): void {
    const nowMs = this.#deps.clock.nowMs();
    watched.measuredMs = nowMs;
    // A path that does not answer keeps what was known: that it is down is told by others.
    if (found.kind === 'no-answer') return;
    this.#narrow.measured(watched, found.verdict === 'too-big', nowMs);
    const blackHole = found.verdict === 'black-hole';
    const before = watched.tracker.mtu;
    watched.tracker.mtu = { bytes: found.mtu, blackHole };
    // The canary of a black hole stays as large as it was: its answer says that the hole is gone.
    const bytes = blackHole ? Math.max(watched.canaryBytes, found.vanished ?? 0) : found.mtu;
    this.#setCanary(watched, bytes);
    if (blackHole && before?.blackHole !== true) this.#alarm(watched);
  }

  #setCanary(watched: Watched, bytes: number): void {
    if (watched.canary !== undefined && watched.canaryBytes === bytes) return;
    this.#closeCanary(watched);
    watched.canary = this.#openCanary(watched, bytes);
    watched.canaryBytes = bytes;
    if (watched.canary !== undefined) this.#byCanary.set(watched.canary, watched);
  }

  /** @returns undefined when the engine has no room for more paths: tried again as if nothing had been measured */
  #openCanary({ tracker, origin }: Watched, packetBytes: number): number | undefined {
    const { address } = tracker.path;
    const { engine } = this.#deps;
    return engine.tryOpen({ address, origin, responder: 'icmp', periodMs: this.#periodMs, packetBytes });
  }

  #closeCanary(watched: Watched): void {
    if (watched.canary === undefined) return;
    this.#byCanary.delete(watched.canary);
    this.#deps.engine.close(watched.canary);
    watched.canary = undefined;
  }

  #alarm(found: Watched): void {
    const nowMs = this.#deps.clock.nowMs();
    if (nowMs - this.#alarmMs < ALARM_MS) return;
    this.#alarmMs = nowMs;
    for (const [handle, watched] of this.#byCanary)
      if (watched !== found) this.#deps.engine.burst(handle, 1, 1);
  }
}

function againMs({ tracker, canary, silent }: Watched): number {
  const isHole = tracker.mtu?.blackHole === true;
  if (isHole && canary !== undefined && !silent) return AGAIN_DOUBTED_MS;
  // A canary that is silent for another reason than a black hole had no answer to anything when it was looked into.
  return canary === undefined || (silent && !isHole) ? AGAIN_UNANSWERED_MS : AGAIN_MS;
}

function isUp({ state }: PathTracker): boolean {
  return state === 'reachable' || state === 'degraded';
}

/** One that was called for again while it is measured waits until that is over. */
function firstIdle(all: ReadonlySet<Watched>): Watched | undefined {
  for (const watched of all) if (!watched.underWay) return watched;
  return undefined;
}
