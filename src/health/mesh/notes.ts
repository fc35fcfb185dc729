import { type FaultKind, type PathReport, PROBE_KINDS, type RowNote } from '../../model/health.ts';

/** What a report tells that its counts do not; undefined: nothing. */
function faultOf({ state, path, blackHole, lossPoint }: PathReport): FaultKind | undefined {
  if (blackHole) return 'mtu-black-hole';
  if (state !== 'unreachable' && state !== 'degraded') return undefined;
  if (PROBE_KINDS[path.kind]?.expects === 'silence') return 'canary-open';
  if (lossPoint?.reason === undefined) return undefined;
  if (lossPoint.hook === 'socket' || lossPoint.hook === 'route') return 'route-missing';
  if (lossPoint.hook === 'stamp') return 'nic-drop';
  return /polic/i.test(lossPoint.reason) ? 'policy-drop' : 'drop';
}

/** The faults of this node's paths that only it can see, those first that began first. */
export function notesOf(reports: readonly PathReport[]): RowNote[] {
  return reports
    .flatMap((report) => {
      const fault = faultOf(report);
      const { path, lossPoint, sinceMs } = report;
      const { peer, kind, family } = path;
      return fault === undefined ? [] : [{ peer, kind, family, fault, lossPoint, sinceMs }];
    })
    .sort((a, b) => a.sinceMs - b.sinceMs);
}
