import {
  type FaultKind,
  type PathReport,
  PROBE_KINDS,
  type Responder,
  type RowNote,
} from '../../model/health.ts';

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
  if (lossPoint.hook === 'stamp') return isCut(report, beside) ? 'nic-drop' : undefined;
  return /polic/i.test(lossPoint.reason) ? 'policy-drop' : 'drop';
}

/**
 * Whether all that is sent to the address is lost, and not what somebody picks: one that had answers after this path had none
 * says that it is not, and while only packets of one kind are known to be lost it may be a filter of these. Echoes of other kinds
 * are asked for at once when a path dies: while they are not known to be lost, they may be about to say so.
 */
function isCut({ path, state, sinceMs }: PathReport, beside: readonly PathReport[]): boolean {
  if (state !== 'unreachable') return true;
  const others = beside.filter((other) => other.path.address === path.address);
  const up = others.filter((other) => other.state === 'reachable' || other.state === 'degraded');
  const says = (other: PathReport): boolean =>
    responderOf(other) !== 'http' || (other.lastAnsweredMs ?? 0) > sinceMs;
  if (up.some((other) => other.path.kind !== path.kind && says(other))) return false;
  const isOfAnotherKind = (other: PathReport): boolean => responderOf(other) !== responderOf({ path });
  const isOneKind = !others.some((other) => other.state === 'unreachable' && isOfAnotherKind(other));
  return !(isOneKind && up.some(isOfAnotherKind));
}

function responderOf({ path }: Pick<PathReport, 'path'>): Responder | undefined {
  return PROBE_KINDS[path.kind]?.responder;
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
