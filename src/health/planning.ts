import type { Logger } from '../base/log.ts';
import { PROBE_KINDS, type ProbePath } from '../model/health.ts';
import { type Clock, instantOf } from './clock.ts';
import type { NodeView } from './node-view.ts';
import type { PathBook } from './path-book.ts';
import { type ProbeInterval, periodMs } from './plan/interval.ts';
import { type PlanOptions, planPaths, watchedPeers } from './plan/planner.ts';

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
  /** Called with each list that was planned, and the peers that this node watches. */
  readonly onPlanned: (view: NodeView, watched: readonly string[]) => void;
}

/** From one plan to the next. */
const APART_MS = 200;

/** Keeps the open paths to what the node list asks for. */
export class Planning {
  readonly #options: PlanningOptions;
  readonly #deps: PlanningDeps;
  #periodMs: number;
  #cancel: (() => void) | undefined;
  #plannedMs = Number.NEGATIVE_INFINITY;
  #running = false;

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
      this.now();
      return;
    }
    this.#cancel = clock.after(waitMs, () => {
      this.#cancel = undefined;
      this.now();
    });
  }

  /** Takes the list as it is. */
  now(): void {
    if (!this.#running) return;
    const { clock, book, view: viewNow, onPlanned } = this.#deps;
    const view = viewNow();
    const at = instantOf(clock);
    const addresses = view.nodes.reduce((count, { targets }) => count + targets.length, 0);
    this.#plannedMs = at.nowMs;
    this.#periodMs = periodMs(this.#options.interval, addresses);
    const options = { ...this.#options.plan, periodMs: this.#periodMs };
    const plan = planPaths(view.nodes, view.self, options, (path) => this.#canProbe(path, view.self));
    const { refused } = book;
    book.follow(plan, at);
    if (book.refused !== refused) this.#tellRefused();
    onPlanned(view, watchedPeers(view.nodes, view.self, options));
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
