import { type FaultKind, type PathReport, PROBE_KINDS, type RowNote } from '../../model/health.ts';

/**
 * What a report tells that its counts do not; undefined: nothing.
 * @param beside all of the same peer
 */
function faultOf(report: PathReport, beside: readonly PathReport[]): FaultKind | undefined {
  const { state, path, blackHole, lossPoint } = report;
  if (blackHole) return 'mtu-black-hole';
  if (state !== 'unreachable' && state !== 'degraded') return undefined;
  if (PROBE_KINDS[path.kind]?.expects === 'silence') return 'canary-open';
  if (lossPoint?.reason === undefined) return undefined;
  if (lossPoint.hook === 'socket' || lossPoint.hook === 'route') return 'route-missing';
  if (lossPoint.hook === 'stamp')
    return beside.some((other) => answersSince(report, other)) ? undefined : 'nic-drop';
  return /polic/i.test(lossPoint.reason) ? 'policy-drop' : 'drop';
}

/** Whether the other path to the same address had answers after this one had none: what is in the way picks packets. */
function answersSince({ path, state, sinceMs }: PathReport, other: PathReport): boolean {
  const isUp = other.state === 'reachable' || other.state === 'degraded';
  const isSameAddress = other.path.address === path.address && other.path.kind !== path.kind;
  return state === 'unreachable' && isUp && isSameAddress && (other.lastAnsweredMs ?? 0) > sinceMs;
}

/** The faults of this node's paths that only it can see, those first that began first. */
export function notesOf(reports: readonly PathReport[]): RowNote[] {
  return [...Map.groupBy(reports, ({ path }) => path.peer).values()]
    .flatMap((beside) =>
      beside.flatMap((report) => {
        const fault = faultOf(report, beside);
        const { path, lossPoint, sinceMs } = report;
        const { peer, kind, family } = path;
        return fault === undefined ? [] : [{ peer, kind, family, fault, lossPoint, sinceMs }];
      }),
    )
    .sort((a, b) => a.sinceMs - b.sinceMs);
}
