import { PROBE_KINDS } from '../model/health.ts';
import { filteredPaths } from './state/filtered.ts';
import type { PathTracker } from './state/path-tracker.ts';
import type { PeerScore } from './worst-peers.ts';

/** What each part of a score is worth: all paths unreachable, or all degraded; all probes lost; slower without end. */
const UNREACHABLE = 100;
const DEGRADED = 30;
const LOSS = 50;
const SLOWER = 10;
/** So many times the usual round trip is worth half of `SLOWER`. */
const HALF_RATIO = 4;
/** Below it a difference of round trips is chance. */
const RTT_LEAST_NS = 200_000;

interface Sums {
  paths: number;
  unreachable: number;
  degraded: number;
  sent: number;
  lost: number;
  rttRatio: number;
}

/** Scores of all peers, from their paths: by state first, then loss, then how much slower they are than usual. */
export function peerScores(trackers: readonly PathTracker[]): readonly PeerScore[] {
  const byPeer = new Map<string, PathTracker[]>();
  for (const tracker of trackers) {
    const paths = byPeer.get(tracker.path.peer);
    if (paths === undefined) byPeer.set(tracker.path.peer, [tracker]);
    else paths.push(tracker);
  }
  const filtered = filteredPaths(trackers, (peer) => byPeer.get(peer) ?? []);
  return [...byPeer].map(([peer, paths]) => scoreOf(peer, sumsOf(paths, filtered)));
}

function sumsOf(paths: readonly PathTracker[], filtered: ReadonlyMap<PathTracker, unknown>): Sums {
  const sums = { paths: 0, unreachable: 0, degraded: 0, sent: 0, lost: 0, rttRatio: 1 };
  for (const tracker of paths) {
    // What is only filtered loses all, and says nothing of the peer: it counts as degraded.
    if (filtered.has(tracker)) addFiltered(sums);
    else addPath(sums, tracker);
  }
  return sums;
}

function addFiltered(sums: Sums): void {
  sums.paths++;
  sums.degraded++;
}

function addPath(sums: Sums, tracker: PathTracker): void {
  const wantsAnswer = PROBE_KINDS[tracker.path.kind]?.expects === 'answer';
  // A denied path that is silent says nothing for the peer, nor does one that nobody has probed yet.
  if (tracker.state === 'unknown' || (!wantsAnswer && tracker.state === 'reachable')) return;
  sums.paths++;
  if (tracker.state === 'unreachable') sums.unreachable++;
  if (tracker.state === 'degraded') sums.degraded++;
  if (!wantsAnswer) return;
  const { sent, lost } = tracker.recent();
  sums.sent += sent;
  sums.lost += lost;
  const { medianNs, usualNs } = tracker;
  if (medianNs === undefined || usualNs === undefined || usualNs === 0) return;
  if (medianNs - usualNs >= RTT_LEAST_NS) sums.rttRatio = Math.max(sums.rttRatio, medianNs / usualNs);
}

function scoreOf(peer: string, { paths, unreachable, degraded, sent, lost, rttRatio }: Sums): PeerScore {
  const lossRatio = sent === 0 ? 0 : Math.min(1, lost / sent);
  const slower = (rttRatio - 1) / (rttRatio - 1 + HALF_RATIO - 1);
  // What is unreachable loses all its probes: that counts once.
  const states = (UNREACHABLE * unreachable + DEGRADED * degraded) / Math.max(1, paths);
  const score = Math.min(UNREACHABLE, Math.max(states, LOSS * lossRatio) + SLOWER * slower);
  const grade = unreachable > 0 ? 2 : degraded > 0 ? 1 : 0;
  return { peer, score, grade, lossRatio };
}
