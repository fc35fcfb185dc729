import type { Logger } from '../../base/log.ts';
import { PROBE_KINDS, probeKindIndex, type Responder } from '../../model/health.ts';
import type { PathTracker } from './path-tracker.ts';

/** An address as Cilium shows it: by ICMP and by HTTP, from the host. */
export interface AddressState {
  readonly icmp: PathTracker | undefined;
  readonly http: PathTracker | undefined;
}

/** What of an address does not come through, while the address answers by other means. */
export type Filtered = 'icmp' | 'http';

/** So long after the silence began an answer was surely asked for within it: counts are looked at once a second. */
const SURELY_MS = 2500;
/** Of HTTP: no connection. One that is refused, or made and not answered, comes through: that agent is down. */
const NO_CONNECTION = /^(?:no connection|connection timed out)/;

/** Whether the last request without an answer failed otherwise than by a connection that could not be made. */
export function hasConnected(http: PathTracker): boolean {
  const { reason } = http.brief();
  return reason !== undefined && !NO_CONNECTION.test(reason);
}

function answers(tracker: PathTracker, sinceMs: number): boolean {
  const up = tracker.state === 'reachable' || tracker.state === 'degraded';
  return up && (tracker.answeredNowMs ?? Number.NEGATIVE_INFINITY) - sinceMs > SURELY_MS;
}

const AGENT = probeKindIndex('host-host/http');

/** Whether a peer's agent has answered since then. @param trackers the paths to the peer. @param sinceMs monotonic */
export function isAgentAnswering(trackers: readonly PathTracker[], sinceMs: number): boolean {
  return trackers.some(({ path, state, answeredNowMs = 0 }) => {
    return path.kind === AGENT && state !== 'unreachable' && answeredNowMs > sinceMs;
  });
}

/**
 * Whether only one of two probes of an address is silent, and which: an address that answered the other one after that
 * silence began is not down, but filtered. Until then nobody can say: a dead one is unreachable at once.
 */
export function filteredOf({ icmp, http }: AddressState): Filtered | undefined {
  if (icmp === undefined || http === undefined) return undefined;
  if (icmp.state === 'unreachable') return answers(http, icmp.sinceNowMs) ? 'icmp' : undefined;
  const silent = http.state === 'unreachable' && NO_CONNECTION.test(http.brief().reason ?? '');
  return silent && answers(icmp, http.sinceNowMs) ? 'http' : undefined;
}

/** What is said of a probe that is filtered, in a status and in the log. */
export const FILTERED_TEXT: Readonly<Record<Filtered, string>> = {
  icmp: 'filtered: no answer to ICMP, though HTTP answers',
  http: 'filtered: no connection for HTTP, though ICMP answers',
};

type PathsOf = (peer: string) => readonly PathTracker[];

/** Those of some paths that are filtered. @param pathsOf all paths to a peer */
export function filteredPaths(
  trackers: Iterable<PathTracker>,
  pathsOf: PathsOf,
): ReadonlyMap<PathTracker, Filtered> {
  const found = new Map<PathTracker, Filtered>();
  for (const tracker of trackers) {
    if (tracker.state !== 'unreachable') continue;
    const which = filteredOf(addressOf(tracker, pathsOf));
    if (which !== undefined && which === responderOf(tracker)) found.set(tracker, which);
  }
  return found;
}

function responderOf({ path }: PathTracker): Responder | undefined {
  return PROBE_KINDS[path.kind]?.responder;
}

/** The paths that end where this one does, by the same way. */
function addressOf({ path }: PathTracker, pathsOf: PathsOf): AddressState {
  const pathClass = PROBE_KINDS[path.kind]?.pathClass;
  const all = pathsOf(path.peer).filter((other) => {
    return other.path.address === path.address && PROBE_KINDS[other.path.kind]?.pathClass === pathClass;
  });
  const by = (responder: Responder): PathTracker | undefined =>
    all.find((one) => responderOf(one) === responder);
  return { icmp: by('icmp'), http: by('http') };
}

/** Says once when an address begins to be filtered, and once when that is over. */
export class FilterLog {
  readonly #log: Logger;
  #known: ReadonlyMap<PathTracker, Filtered> = new Map();

  constructor(log: Logger) {
    this.#log = log;
  }

  look(trackers: Iterable<PathTracker>, pathsOf: PathsOf): void {
    const now = filteredPaths(trackers, pathsOf);
    for (const [tracker, which] of now) {
      if (!this.#known.has(tracker)) this.#log.warn(fieldsOf(tracker), FILTERED_TEXT[which]);
    }
    for (const tracker of this.#known.keys()) {
      if (!now.has(tracker)) this.#log.info(fieldsOf(tracker), 'not filtered any more, or down');
    }
    this.#known = now;
  }
}

function fieldsOf({ path }: PathTracker): object {
  return { peer: path.peer, path: PROBE_KINDS[path.kind]?.name, address: path.address };
}
