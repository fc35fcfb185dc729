import type { Direction, MapState, MapStateEntry, MapStateKey } from '../model/map-state.ts';
import type { Rule } from '../policy/index.ts';

/** In which directions an endpoint's flows may be sent to the proxy. */
export type Redirects = Readonly<Record<Direction, boolean>>;

export const NO_REDIRECTS: Redirects = { ingress: false, egress: false };
/** What is to be taken for granted of a policy map that nobody knows. */
export const ALL_REDIRECTS: Redirects = { ingress: true, egress: true };

/** Redirects to nobody do not count: what they name is dropped. */
export function redirectsIn(mapState: MapState): Redirects {
  const found = { ingress: false, egress: false };
  for (const { key, entry } of mapState.values())
    if (entry.verdict.kind === 'redirect' && entry.verdict.proxyPort !== 0) found[key.direction] = true;
  return found;
}

export function eitherRedirects(a: Redirects, b: Redirects): Redirects {
  return { ingress: a.ingress || b.ingress, egress: a.egress || b.egress };
}

/** The same state with nobody behind its redirects: what the proxy should judge is dropped, all else is as it was. */
export function withoutProxy(mapState: MapState): MapState {
  const closed = ({ key, entry }: { key: MapStateKey; entry: MapStateEntry }) =>
    entry.verdict.kind === 'redirect'
      ? { key, entry: { ...entry, verdict: { kind: 'redirect', proxyPort: 0 } as const } }
      : { key, entry };
  return new Map([...mapState].map(([text, item]) => [text, closed(item)]));
}

/** What `work` makes of a map state, worked out once for all endpoints that share it. */
export function oncePerState<T>(work: (mapState: MapState) => T): (mapState: MapState) => T {
  const known = new WeakMap<MapState, { readonly result: T }>();
  return (mapState) => {
    const found = known.get(mapState) ?? { result: work(mapState) };
    known.set(mapState, found);
    return found.result;
  };
}

/** Whether a rule needs the proxy. */
export function needsProxy({ ingress, egress }: Rule): boolean {
  return [...(ingress ?? []), ...(egress ?? [])].some((item) =>
    item.ports?.some(({ l7, serverNames }) => l7 !== undefined || (serverNames?.length ?? 0) > 0),
  );
}
