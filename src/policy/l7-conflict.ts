import type { NumericIdentity } from '../model/identity.ts';
import type { Grant } from './compile-rule.ts';
import { type L4Match, portRange } from './l4.ts';

type JudgedGrant = Grant & { readonly l7: NonNullable<Grant['l7']> };

/** The ports that two matches share, as text; undefined when there are none. */
function sharedPorts(a: readonly L4Match[], b: readonly L4Match[]): string | undefined {
  for (const one of a) {
    for (const other of b) {
      if (one.protocol !== other.protocol || one.prefixes.length === 0 || other.prefixes.length === 0)
        continue;
      const [left, right] = [portRange(one), portRange(other)];
      const first = Math.max(left.first, right.first);
      if (first <= Math.min(left.last, right.last)) return `${one.protocolName} port ${first}`;
    }
  }
  return undefined;
}

function sharedPeer(
  a: ReadonlySet<NumericIdentity>,
  b: ReadonlySet<NumericIdentity>,
): NumericIdentity | undefined {
  if (a.has(0)) return [...b][0];
  if (b.has(0)) return [...a][0];
  for (const id of a) if (b.has(id)) return id;
  return undefined;
}

/** Server names contradict nothing: where requests of a kind are judged, they give way to it. */
const isOfKind = (l7: Grant['l7']): l7 is NonNullable<Grant['l7']> => l7 !== undefined && l7.kind !== 'tls';

/** Whether grants judge requests of more than one kind in one direction: only then can they contradict each other. */
export function mixesL7(grants: readonly Grant[]): boolean {
  const kinds = new Set(
    grants.flatMap(({ direction, l7 }) => (isOfKind(l7) ? [`${direction} ${l7.kind}`] : [])),
  );
  return kinds.size > new Set([...kinds].map((kind) => kind.split(' ')[0])).size;
}

/**
 * Two kinds of requests on one port for one peer: no parser can judge both.
 * @param identitiesOf the peers of a grant; 0 stands for everybody
 * @returns what contradicts what; undefined when nothing does
 */
export function findL7Conflict(
  grants: readonly Grant[],
  identitiesOf: (grant: Grant) => ReadonlySet<NumericIdentity>,
  nameOf: (grant: Grant) => string,
): string | undefined {
  if (!mixesL7(grants)) return undefined;
  const judged = grants.filter((grant): grant is JudgedGrant => isOfKind(grant.l7));
  for (const [i, one] of judged.entries()) {
    for (const other of judged.slice(i + 1)) {
      if (one.direction !== other.direction || one.l7.kind === other.l7.kind) continue;
      const ports = sharedPorts(one.l4, other.l4);
      if (ports === undefined) continue;
      const peer = sharedPeer(identitiesOf(one), identitiesOf(other));
      if (peer === undefined) continue;
      const who = peer === 0 ? 'every peer' : `identity ${peer}`;
      return `${one.direction} of ${who} on ${ports}: ${nameOf(one)} asks for ${one.l7.kind}, ${nameOf(other)} for ${other.l7.kind}`;
    }
  }
  return undefined;
}
