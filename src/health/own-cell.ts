import { type HealthCell, type PathState, PathStates, PROBE_KINDS } from '../model/health.ts';
import type { PathTracker } from './state/path-tracker.ts';
import { ToldStates } from './told-states.ts';

const CELL_MAX = 0xffff;
const U32_MAX = 0xffff_ffff;

/**
 * What this node tells the others of a peer, from all its paths. Requests count as sent and lost only where nothing else is
 * answered: one that is late is more likely a busy agent's, which is no loss of packets.
 * @param nowMs monotonic
 */
export function ownCell(peer: string, trackers: readonly PathTracker[], nowMs: number): HealthCell {
  const states = { 4: 0, 6: 0 };
  const told = new ToldStates(trackers, nowMs);
  const [echoes, requests] = [
    { sent: 0, lost: 0 },
    { sent: 0, lost: 0 },
  ];
  let hasEcho = false;
  let [rttNs, rttKind] = [0, Number.POSITIVE_INFINITY];
  for (const tracker of trackers) {
    const { kind, family } = tracker.path;
    const state = told.of(tracker);
    states[family] = worst(states[family], kind, state);
    // Of a path of which nothing can be said, for nobody answers such probes there, the losses say nothing either.
    if (PROBE_KINDS[kind]?.expects !== 'answer' || tracker.state === 'unknown') continue;
    const isRequest = PROBE_KINDS[kind]?.responder === 'http';
    hasEcho ||= !isRequest;
    // Nor those of an outage since which it was not asked.
    if (state === 'unknown') continue;
    const lately = tracker.lately();
    const sum = isRequest ? requests : echoes;
    sum.sent += lately.sent;
    sum.lost += lately.lost;
    const { medianNs } = tracker;
    if (medianNs === undefined || kind >= rttKind) continue;
    rttKind = kind;
    rttNs = Math.min(U32_MAX, Math.round(medianNs));
  }
  // Of a peer that has just come back no echo was sent yet, and what its requests lost is of the outage.
  const { sent, lost } = hasEcho ? echoes : requests;
  return { peer, states, rttNs, sent: Math.min(CELL_MAX, sent), lost: Math.min(CELL_MAX, lost) };
}

/** The word with the worse of what it says of a kind and a further path's state: a peer has several addresses. */
function worst(word: number, kind: number, state: PathState): number {
  const before = (word >>> (2 * kind)) & 3;
  const code = Math.max(before, PathStates[state]);
  return (word & ~(3 << (2 * kind))) | (code << (2 * kind));
}
