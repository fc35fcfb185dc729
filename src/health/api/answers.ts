import type {
  HealthFaultPlace,
  HealthHistory,
  HealthMtu,
  HealthPathChange,
  HealthPathReport,
} from '../../api/schema.ts';
import {
  type FaultPlace,
  type PathChange,
  type PathReport,
  PROBE_KINDS,
  type ProbePath,
} from '../../model/health.ts';

/** What is known of paths in the form of the health API. */

/** RFC 3339 with milliseconds. @param wallMs realtime */
export function timeText(wallMs: number): string {
  return new Date(wallMs).toISOString();
}

type PathNames = Pick<
  HealthPathReport,
  'peer' | 'kind' | 'path-class' | 'responder' | 'expects' | 'family' | 'address' | 'primary'
>;

/** What names a path; a kind that this build does not know keeps its number. */
export function pathNames(path: ProbePath): PathNames {
  const kind = PROBE_KINDS[path.kind];
  return {
    peer: path.peer,
    kind: kind?.name ?? String(path.kind),
    'path-class': kind?.pathClass ?? '',
    responder: kind?.responder ?? 'icmp',
    expects: kind?.expects ?? 'answer',
    family: path.family,
    address: path.address,
    primary: path.primary,
  };
}

function window(found: PathReport['window']): HealthPathReport['window'] {
  const { spanMs, sent, answered, late, duplicate, reordered, rttNs, residenceNs } = found;
  return {
    'span-ms': Math.round(spanMs),
    sent,
    answered,
    late,
    duplicate,
    reordered,
    ...(rttNs === undefined ? {} : { 'rtt-ns': rounded(rttNs) }),
    ...(residenceNs === undefined ? {} : { 'residence-ns': Math.round(residenceNs) }),
  };
}

function rounded<K extends string>(values: Readonly<Record<K, number>>): Record<K, number> {
  const pairs = Object.entries<number>(values).map(([name, value]) => [name, Math.round(value)]);
  return Object.fromEntries(pairs) as Record<K, number>;
}

export function pathAnswer(report: PathReport): HealthPathReport {
  const { path, state, sinceMs, reason, lastProbedMs, lastAnsweredMs, lossPoint, pathMtu, phasesNs } = report;
  return {
    ...pathNames(path),
    state,
    since: timeText(sinceMs),
    ...(reason === undefined ? {} : { reason }),
    window: window(report.window),
    ...(lastProbedMs === undefined ? {} : { 'last-probed': timeText(lastProbedMs) }),
    ...(lastAnsweredMs === undefined ? {} : { 'last-answered': timeText(lastAnsweredMs) }),
    ...(lossPoint === undefined ? {} : { 'loss-point': lossPoint }),
    ...(pathMtu === undefined ? {} : { 'path-mtu': pathMtu }),
    'black-hole': report.blackHole,
    ...(phasesNs === undefined ? {} : { 'phases-ns': rounded(phasesNs) }),
  };
}

export function changeAnswer(change: PathChange): HealthPathChange {
  const { path, from, to, atMs, reason, lossPoint } = change;
  return {
    ...pathNames(path),
    from,
    to,
    at: timeText(atMs),
    ...(reason === undefined ? {} : { reason }),
    ...(lossPoint === undefined ? {} : { 'loss-point': lossPoint }),
  };
}

export function historyAnswer(
  node: string | undefined,
  sinceMs: number,
  changes: readonly PathChange[],
): HealthHistory {
  return { node, since: timeText(sinceMs), changes: changes.map(changeAnswer) };
}

/** Large packets go to the peer's kernel only. */
function isMeasured({ kind }: ProbePath): boolean {
  const found = PROBE_KINDS[kind];
  return found?.responder === 'icmp' && found.expects === 'answer';
}

export function mtuAnswer(node: string | undefined, reports: readonly PathReport[]): HealthMtu {
  const paths = reports
    .filter(({ path }) => isMeasured(path))
    .map(({ path, state, pathMtu, blackHole }) => ({
      ...pathNames(path),
      state,
      ...(pathMtu === undefined ? {} : { 'path-mtu': pathMtu }),
      'black-hole': blackHole,
    }));
  return { node, paths };
}

const PLACES: {
  readonly [K in FaultPlace['kind']]: (place: Extract<FaultPlace, { kind: K }>) => HealthFaultPlace;
} = {
  node: (place) => place,
  pair: (place) => place,
  zone: (place) => place,
  'zone-pair': (place) => place,
  observer: (place) => place,
  'path-class': ({ kind, pathClass }) => ({ kind, 'path-class': pathClass }),
};

export function placeAnswer(place: FaultPlace): HealthFaultPlace {
  return (PLACES[place.kind] as (place: FaultPlace) => HealthFaultPlace)(place);
}
