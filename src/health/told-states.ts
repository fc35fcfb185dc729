import { type PathState, probeKindIndex } from '../model/health.ts';
import type { PathTracker } from './state/path-tracker.ts';

const AGENT = probeKindIndex('host-host/http');
const STACK = probeKindIndex('host-host/icmp');
const ECHO = probeKindIndex('host-host/echo');

/** After a death the echoes that are asked for at once are answered or silent by then, whatever the machine does besides. */
const HEARD_MS = 1000;
/** So long after a silent kernel was asked once more it is silent indeed. */
export const AGAIN_MS = 400;

/**
 * The states of the paths to one peer as they are told to others. What a silent one means, a death or a filter, hangs on the
 * paths beside it, and on these only once they were asked since. So it is not told
 *
 * 1. that an agent is dead, before the echoes of its host were heard of since the silence began: it may be the whole host;
 * 2. that a kernel is silent whose agent answers, before it was asked once more: echoes that all come late look like a filter.
 */
export class ToldStates {
  readonly #trackers: readonly PathTracker[];
  readonly #nowMs: number;
  /** When a path of the peer died last, monotonic ms; 0: none is dead. */
  readonly #deadMs: number;

  /** @param trackers all paths to a peer. @param nowMs monotonic */
  constructor(trackers: readonly PathTracker[], nowMs: number) {
    this.#trackers = trackers;
    this.#nowMs = nowMs;
    this.#deadMs = trackers.reduce((latest, { deadMs = 0 }) => Math.max(latest, deadMs), 0);
  }

  of(tracker: PathTracker): PathState {
    const state = tracker.stateSince(this.#deadMs, this.#nowMs);
    return state === 'unreachable' && this.#isOpen(tracker) ? 'unknown' : state;
  }

  #isOpen(tracker: PathTracker): boolean {
    const { kind } = tracker.path;
    return (
      (kind === AGENT && this.#isHostUnheard()) ||
      (kind === STACK && isInDoubt(tracker, this.#trackers, this.#nowMs))
    );
  }

  /** Whether anything of the host died just now, and an echo path that answered before was not heard of since. */
  #isHostUnheard(): boolean {
    const hosts = this.#trackers.filter(({ path }) => [AGENT, STACK, ECHO].includes(path.kind));
    const since = hosts.flatMap(({ deadMs }) =>
      deadMs !== undefined && this.#nowMs - deadMs < HEARD_MS ? [deadMs] : [],
    );
    if (since.length === 0) return false;
    const firstMs = Math.min(...since);
    return hosts.some((one) => one.path.kind !== AGENT && isUp(one) && !one.hasAnsweredSince(firstMs));
  }
}

/**
 * Whether a dead path is to a kernel beside which the peer's agent has answered since, nobody knows why, and echoes that were sent
 * after that are not known to be silent too.
 */
export function isInDoubt(tracker: PathTracker, trackers: readonly PathTracker[], nowMs: number): boolean {
  const { path, deadMs, askedAgainMs = Number.POSITIVE_INFINITY } = tracker;
  if (path.kind !== STACK || deadMs === undefined || tracker.lossPoint?.reason !== undefined) return false;
  if (nowMs - askedAgainMs >= AGAIN_MS) return false;
  return trackers.some((one) => one.path.kind === AGENT && isUp(one) && one.hasAnsweredSince(deadMs));
}

function isUp({ state }: PathTracker): boolean {
  return state === 'reachable' || state === 'degraded';
}
