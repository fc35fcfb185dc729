import type { NumericIdentity } from '../model/identity.ts';
import type { L7Filter, L7SubjectPolicy } from '../model/l7.ts';
import { type Direction, Protocol } from '../model/map-state.ts';
import type { Grant } from './compile-rule.ts';
import { type L4Match, portRange } from './l4.ts';
import { grantIdentities, type ResolvedPolicy } from './resolve.ts';
import { ruleName } from './rule-name.ts';
import type { SelectorCache } from './selector-cache.ts';

/** Protocols that a proxy can see. */
const PROXIED: readonly number[] = [Protocol.any, Protocol.tcp, Protocol.udp];

/** Whether flows of the policy pass the proxy in this direction. */
export function redirects(policy: ResolvedPolicy, direction: Direction): boolean {
  return policy.grants.some((grant) => grant.direction === direction && grant.verdict.kind === 'redirect');
}

function filterOf(match: L4Match, grant: Grant, peers: L7Filter['peers']): L7Filter {
  const { first, last } = portRange(match);
  const { l7, ruleId, derivedFrom, log } = grant;
  return {
    protocol: match.protocol,
    firstPort: first,
    lastPort: last,
    peers,
    l7,
    ruleId,
    ruleName: ruleName(derivedFrom),
    ...(log !== undefined && { log }),
  };
}

function filtersOf(grant: Grant, identities: ReadonlySet<NumericIdentity>): readonly L7Filter[] {
  if (grant.verdict.kind === 'deny') return [];
  if (identities.size === 0) return [];
  const peers = identities.has(0) ? undefined : [...identities].sort((a, b) => a - b);
  const matches = grant.l4.filter(
    ({ protocol, prefixes }) => PROXIED.includes(protocol) && prefixes.length > 0,
  );
  const filters = matches.map((match) => filterOf(match, grant, peers));
  if (grant.l7Open !== true) return filters;
  return [...filters, ...filters.map((filter) => ({ ...filter, l7: undefined }))];
}

function directionFilters(
  policy: ResolvedPolicy,
  direction: Direction,
  cache: SelectorCache,
): readonly L7Filter[] | undefined {
  if (!redirects(policy, direction)) return undefined;
  return policy.grants
    .filter((grant) => grant.direction === direction)
    .flatMap((grant) => filtersOf(grant, grantIdentities(grant, policy.requirements, cache)));
}

/**
 * What the proxy must know of a subject: every grant of a direction that has L7 rules, since a request passes if one of
 * them allows it, whichever sent the flow to the proxy. Undefined when nothing of the subject is redirected.
 */
export function l7SubjectPolicy(policy: ResolvedPolicy, cache: SelectorCache): L7SubjectPolicy | undefined {
  if (policy.conflict !== undefined) return undefined;
  const ingress = directionFilters(policy, 'ingress', cache);
  const egress = directionFilters(policy, 'egress', cache);
  if (ingress === undefined && egress === undefined) return undefined;
  return { subject: policy.subject.id, ingress, egress };
}

/** The policy of a subject for those of its endpoints that name their ports in one of these ways. */
export interface L7Variant {
  readonly portNames: readonly string[];
  readonly policy: ResolvedPolicy;
}

function mergedFilters(
  variants: readonly L7Variant[],
  direction: Direction,
  cache: SelectorCache,
): readonly L7Filter[] | undefined {
  const each = variants.map(({ portNames, policy }) => {
    // One whose rules contradict each other is closed.
    const filters = policy.conflict === undefined ? directionFilters(policy, direction, cache) : [];
    return { portNames, policy, filters };
  });
  if (each.every(({ filters, policy }) => filters === undefined || policy.conflict !== undefined))
    return undefined;
  const merged = new Map<string, { readonly filter: L7Filter; readonly of: Set<(typeof each)[number]> }>();
  for (const variant of each) {
    for (const filter of variant.filters ?? []) {
      const text = JSON.stringify(filter);
      const known = merged.get(text) ?? { filter, of: new Set() };
      merged.set(text, known);
      known.of.add(variant);
    }
  }
  return [...merged.values()].map(({ filter, of }) =>
    of.size === each.length
      ? filter
      : { ...filter, portNames: [...of].flatMap(({ portNames }) => portNames).sort() },
  );
}

/** One policy for a subject whose endpoints name their ports differently: each filter says of which of them it is. */
export function mergedL7Policy(
  variants: readonly L7Variant[],
  cache: SelectorCache,
): L7SubjectPolicy | undefined {
  const [first] = variants;
  if (first === undefined) return undefined;
  if (variants.length === 1) return l7SubjectPolicy(first.policy, cache);
  const ingress = mergedFilters(variants, 'ingress', cache);
  const egress = mergedFilters(variants, 'egress', cache);
  if (ingress === undefined && egress === undefined) return undefined;
  return { subject: first.policy.subject.id, ingress, egress };
}
