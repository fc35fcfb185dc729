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

function union(
  a: readonly L7Filter[] | undefined,
  b: readonly L7Filter[] | undefined,
): L7Filter[] | undefined {
  if (a === undefined && b === undefined) return undefined;
  const byText = new Map([...(a ?? []), ...(b ?? [])].map((filter) => [JSON.stringify(filter), filter]));
  return [...byText.values()];
}

/** One policy for endpoints of a subject that name their ports differently. */
export function mergeL7(
  a: L7SubjectPolicy | undefined,
  b: L7SubjectPolicy | undefined,
): L7SubjectPolicy | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return { subject: a.subject, ingress: union(a.ingress, b.ingress), egress: union(a.egress, b.egress) };
}
