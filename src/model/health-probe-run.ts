/** Probes on demand: of each path at most, and of each path where nobody says how many. */
export const PROBE_COUNT_MAX = 1000;
export const PROBE_COUNT = 5;
/** How long one run may take. */
export const PROBE_RUN_MAX_MS = 60_000;
/** What a probe takes at most when nothing answers: its deadline, and the turn of whoever sends it. */
const PROBE_WORST_MS = 1100;
const SLACK_MS = 2000;

/** How long a run may take of which nobody says how long. @param count probes of each path */
export function probeRunMs(count: number): number {
  return Math.min(PROBE_RUN_MAX_MS, SLACK_MS + count * PROBE_WORST_MS);
}
