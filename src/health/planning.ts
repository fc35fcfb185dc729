import type { Logger } from '../base/log.ts';
import { inTurns, type Slices } from '../base/slices.ts';
import { PROBE_KINDS, type ProbePath } from '../model/health.ts';
import type { Clock } from './clock.ts';
import type { NodeView } from './node-view.ts';
import type { PathBook } from './path-book.ts';
import { type ProbeInterval, periodMs } from './plan/interval.ts';
import { type PlanOptions, planSlices, watchedPeers } from './plan/planner.ts';

export interface PlanningOptions {
  readonly interval: ProbeInterval;
  /** What a large cluster may cost. */
  readonly plan?: Omit<PlanOptions, 'periodMs'> | undefined;
}

export interface PlanningDeps {
  readonly clock: Clock;
  readonly book: PathBook;
  readonly view: () => NodeView;
  readonly log: Logger;
  /** Called, one after the other, with each list before its paths are opened, and the peers that this node watches. */
  readonly followers: readonly ((view: NodeView, watched: readonly string[]) => Slices<void> | undefined)[];
}

/** From one plan to the next. */
const APART_MS = 200;
/** Told to all followers in one turn of the event loop. */
const NODES_AT_ONCE = 500;

/** Keeps the open paths to what the node list asks for. */
export class Planning {
  readonly #options: PlanningOptions;
  readonly #deps: PlanningDeps;
  #periodMs: number;
  #cancel: (() => void) | undefined;
  #plannedMs = Number.NEGATIVE_INFINITY;
  #running = false;
  #taking: Promise<void> | undefined;
  /** Another list has come while one is taken. */
  #isDue = false;

  constructor(options: PlanningOptions, deps: PlanningDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#periodMs = periodMs(options.interval, 0);
  }

  /** From one probe of an address to the next, as planned last. */
  get periodMs(): number {
    return this.#periodMs;
  }

  start(): void {
    this.#running = true;
  }

  stop(): void {
    this.#running = false;
    this.#cancel?.();
  }

  /** The list has changed. One that changes all the time is taken a few times a second. */
  soon(): void {
    if (!this.#running || this.#cancel !== undefined) return;
    const { clock } = this.#deps;
    const waitMs = Math.max(0, this.#plannedMs + APART_MS - clock.nowMs());
    if (waitMs === 0) {
      void this.now();
      return;
    }
    this.#cancel = clock.after(waitMs, () => {
      this.#cancel = undefined;
      void this.now();
    });
  }

  /**
   * Takes the list as it is: one of a few hundred nodes at once, a longer one in many turns of the event loop, so that
   * others are served meanwhile. One that comes in the middle is taken after it.
   */
  now(): Promise<void> {
    this.#isDue = this.#taking !== undefined;
    this.#taking ??= this.#take().finally(() => {
      this.#taking = undefined;
      this.#plannedMs = this.#deps.clock.nowMs();
      if (this.#isDue) this.soon();
    });
    return this.#taking;
  }

  async #take(): Promise<void> {
    if (this.#running) await inTurns(this.#slices(this.#deps.view()), () => this.#running);
  }

  *#slices(view: NodeView): Slices<void> {
    const { clock, book } = this.#deps;
    const addresses = view.nodes.reduce((count, { targets }) => count + targets.length, 0);
    this.#plannedMs = clock.nowMs();
    this.#periodMs = periodMs(this.#options.interval, addresses);
    const options = { ...this.#options.plan, periodMs: this.#periodMs };
    yield* this.#tell(view, watchedPeers(view.nodes, view.self, options));
    const canProbe = (path: ProbePath): boolean => this.#canProbe(path, view.self);
    const plan = yield* planSlices(view.nodes, view.self, options, canProbe);
    const { refused } = book;
    yield* book.followSlices(plan);
    if (book.refused !== refused) this.#tellRefused();
  }

  /** Of a long list each follower has a turn of its own. */
  *#tell(view: NodeView, watched: readonly string[]): Slices<void> {
    for (const follow of this.#deps.followers) {
      const work = follow(view, watched);
      if (work !== undefined) yield* work;
      if (view.nodes.length > NODES_AT_ONCE) yield;
    }
  }

  #tellRefused(): void {
    const { book, log } = this.#deps;
    const { size, refused } = book;
    if (refused === 0) log.info({ paths: size }, 'there is room for all paths again');
    else log.warn({ paths: size, refused }, 'no room for more paths: some are not probed');
  }

  /** What an endpoint sends to itself passes no policy; and our own echo does not answer on the loopback. */
  #canProbe(path: ProbePath, self: string | undefined): boolean {
    const kind = PROBE_KINDS[path.kind];
    const isLoop =
      path.peer === self &&
      (kind?.responder === 'echo' || (kind?.from === 'endpoint' && kind.to === 'endpoint'));
    return !isLoop && this.#deps.book.proberOf(path) !== undefined;
  }
}
