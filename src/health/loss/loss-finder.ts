import type { EngineSelf, PathCounts, ProbeEngine, Routes } from '../../../probes/engine/index.ts';
import type { Waypoint } from '../../base/waypoint.ts';
import type { LossPoint, ProbePath } from '../../model/health.ts';
import { PeerReturns } from './peer-returns.ts';
import { type PathId, type Sighting, type Sightings, sightingsOf } from './sightings.ts';

export interface LossFinderDeps {
  readonly engine: Pick<ProbeEngine, 'prober' | 'waypoints' | 'heardNs' | 'departuresNs'> & {
    self(): Pick<EngineSelf, 'programs'>;
  };
  /** What this node's datapath saw. */
  readonly datapath: { read(path: PathId): readonly Waypoint[] };
  /** Of the host's namespace; undefined: not asked. */
  readonly routes?: Pick<Routes, 'devices'> | undefined;
  /** What the node at that address saw; undefined: it does not say. Never rejects. */
  readonly ask: (address: string, path: PathId) => Promise<Sightings | undefined>;
  /** Monotonic ns, of the clock that programs read. */
  readonly nowNs: () => number;
}

/** A path whose probes get no answer. */
export interface LostPath {
  readonly path: ProbePath;
  /** Its index at the engine. */
  readonly handle: number;
  readonly counts: PathCounts;
  readonly self: string;
  /** An address of the peer itself, of the path's family if it has one. */
  readonly peerAddress: string;
  /** Whether the peer's agent has answered requests since then. */
  readonly isPeerAnswering: () => boolean;
}

/** Text of a loss behind our device of which the peer says, or shows, that nothing came. */
export const NEVER_CAME = 'left this node and never came to the peer';
/** Text of a loss behind our endpoint's device that our own kernel's routes explain. */
const NO_ROUTE_HERE = 'no route on this node';
/** So long ago the peer must have been heard of at least to be alive. */
const HEARD_MS = 2500;
/**
 * One may have been lost by chance just before a peer died, and that peer heard of after it; of the next one it is not heard any
 * more. A peer that gets no answers to its neighbour requests is soon silent itself, so that none must be waited for longer.
 */
const NO_CHANCE = 2;

interface Place {
  readonly node: 'self' | 'peer';
  readonly hook: string;
  readonly leg: LossPoint['leg'];
}

/**
 * The places that a probe and its answer pass, in that order; of no path all of them. A departure is stamped on the device
 * that it begins at: of a path from our endpoint, before it comes to the host; of one from the host, before the policy of
 * the node (`from_host`) is asked.
 */
const WAY: readonly Place[] = [
  { node: 'self', hook: 'stamp', leg: 'request' },
  { node: 'self', hook: 'from_pod', leg: 'request' },
  { node: 'self', hook: 'from_host', leg: 'request' },
  { node: 'peer', hook: 'ingress', leg: 'request' },
  { node: 'peer', hook: 'from_netdev', leg: 'request' },
  { node: 'peer', hook: 'to_host', leg: 'request' },
  { node: 'peer', hook: 'to_pod', leg: 'request' },
  { node: 'peer', hook: 'from_pod', leg: 'answer' },
  { node: 'peer', hook: 'from_host', leg: 'answer' },
  { node: 'peer', hook: 'echo', leg: 'answer' },
  { node: 'self', hook: 'from_netdev', leg: 'answer' },
  { node: 'self', hook: 'to_host', leg: 'answer' },
  { node: 'self', hook: 'to_pod', leg: 'answer' },
];

/**
 * Finds out where probes without an answer were seen last. In steps:
 *
 * 1. what this node's programs saw since the last answer, and whether probes left its device;
 * 2. what the peer saw, by its own word, if it can still be asked;
 * 3. the place furthest on the way that saw one is the loss point, with the reason if it dropped it there;
 * 4. a probe that came from our endpoint to our host, and which that has no route for, was lost there;
 * 5. those that left here while the peer lived (it says so, or its own probes came in after them and nothing of ours is
 *    answered), and are unknown to it, were lost between; a peer that was cut off lives since it was heard of again.
 */
export class LossFinder {
  readonly #deps: LossFinderDeps;
  readonly #returns = new PeerReturns();

  constructor(deps: LossFinderDeps) {
    this.#deps = deps;
  }

  /** What this node saw of a path, whoever probes it. */
  sightings(path: PathId): Sightings {
    const { engine, datapath, nowNs } = this.#deps;
    const seen = sightingsOf([...datapath.read(path), ...engine.waypoints(path)], nowNs());
    return { devices: engine.self().programs.ready, seen };
  }

  async find(lost: LostPath): Promise<LossPoint | undefined> {
    const { engine, nowNs, ask } = this.#deps;
    const id = { prober: engine.prober, path: lost.handle };
    const sinceMs = (nowNs() - lost.counts.answeredLastNs) / 1e6;
    const own = this.sightings(id).seen;
    const departures = engine.departuresNs(lost.handle).filter((ns) => ns > lost.counts.answeredLastNs);
    const here = departures.length === 0 ? own : [...own, stamp(departures, nowNs())];
    const there = await ask(lost.peerAddress, id);
    const furthest = WAY.findLast(({ node, hook, leg }) => {
      const seen = node === 'self' ? here : (there?.seen ?? []);
      return seen.some((one) => one.hook === hook && one.leg === leg && one.agoMs < sinceMs);
    });
    if (furthest === undefined) return undefined;
    const { node, hook, leg } = furthest;
    const seen = node === 'self' ? here : (there?.seen ?? []);
    const dropped = seen.find((one) => one.hook === hook && one.leg === leg)?.reason;
    const isGone = node === 'self' && leg === 'request' && dropped === undefined;
    const behind = isGone ? this.#behind(lost, { hook, departures, there }) : undefined;
    return behind ?? { node: node === 'self' ? lost.self : lost.path.peer, hook, leg, reason: dropped };
  }

  /** Of a probe that was seen on this node, was not dropped by its programs, and nowhere else seen. */
  #behind(lost: LostPath, { hook, departures, there }: Departure): LossPoint | undefined {
    const { path, self } = lost;
    const isRouted = hook !== 'from_pod' || (this.#deps.routes?.devices([path.address]).length ?? 1) > 0;
    if (!isRouted) return { node: self, hook: 'route', leg: 'request', reason: NO_ROUTE_HERE };
    return this.#neverCame(lost, { departures, there })
      ? { node: self, hook: 'stamp', leg: 'request', reason: NEVER_CAME }
      : undefined;
  }

  /** Whether the peer lived when probes left us that it never saw. */
  #neverCame(
    { peerAddress, counts, isPeerAnswering }: LostPath,
    { departures, there }: Pick<Departure, 'departures' | 'there'>,
  ): boolean {
    const nowNs = this.#deps.nowNs();
    const heardNs = this.#deps.engine.heardNs(peerAddress);
    // It could not be asked in time, though other packets come to it: it may have seen the probes, and answer none.
    if (there === undefined && isPeerAnswering()) return false;
    const isHeard = nowNs - heardNs < HEARD_MS * 1e6 && heardNs > Math.min(...departures);
    if (there === undefined && !isHeard) {
      this.#returns.silent(peerAddress, heardNs, nowNs);
      return false;
    }
    const sinceNs = this.#returns.livesSinceNs(peerAddress, counts.answeredLastNs, nowNs);
    const since = departures.filter((ns) => ns > sinceNs).sort((a, b) => a - b);
    if (there !== undefined) return there.devices && (sinceNs === 0 || since.length > 0);
    return heardNs > (since[NO_CHANCE - 1] ?? Number.POSITIVE_INFINITY);
  }
}

/** Where a probe was seen last here, when its path's last ones left, and what the peer says. */
interface Departure {
  readonly hook: string;
  readonly departures: readonly number[];
  readonly there: Sightings | undefined;
}

function stamp(departures: readonly number[], nowNs: number): Sighting {
  const agoMs = Math.max(0, (nowNs - Math.max(...departures)) / 1e6);
  return { hook: 'stamp', leg: 'request', agoMs, reason: undefined };
}
