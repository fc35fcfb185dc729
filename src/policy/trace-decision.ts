import type { Direction } from '../model/map-state.ts';
import type { TracedDirection, TracedItem, TracedRequest, TracedRule } from './trace-types.ts';

export type Decision = Pick<TracedDirection, 'verdict' | 'reason' | 'changes'> & {
  /** Which rules made it. */
  readonly by: (rule: TracedRule) => boolean;
  /** The request as the proxy passes it on, where it changes it. */
  readonly left?: TracedRequest | undefined;
};

/** What a decision takes besides the rules. */
export interface DecisionContext {
  readonly direction: Direction;
  /** Whether what nothing allows is dropped. */
  readonly enforced: boolean;
  /** The peer is this node itself, whose own processes reach its endpoints. */
  readonly fromOwnNode: boolean;
  readonly request: TracedRequest | undefined;
  /** Whether the request is a connection by TLS. */
  readonly speaksTls: boolean;
}

const nobody = (): boolean => false;

function matching(rules: readonly TracedRule[], effect: 'allow' | 'deny'): readonly TracedItem[] {
  return rules.flatMap(({ items }) => items.filter((item) => item.matches && item.effect === effect));
}

const hasMatch =
  (effect: 'allow' | 'deny') =>
  ({ items }: TracedRule): boolean =>
    items.some((item) => item.matches && item.effect === effect);

/** What the proxy makes of a request that passes: as it is where some port lets every request pass. */
function passed(
  allows: readonly TracedItem[],
  { enforced, request }: DecisionContext,
): Pick<Decision, 'changes' | 'left'> {
  if (request === undefined || !enforced || allows.some(({ open }) => open)) return {};
  const { request: left, changes } = request.leftBy(allows.flatMap(({ l7 }) => l7));
  return changes.length === 0 ? {} : { changes, left };
}

function decideAllowed(rules: readonly TracedRule[], context: DecisionContext): Decision {
  const { enforced, speaksTls } = context;
  const by = hasMatch('allow');
  const allows = matching(rules, 'allow');
  if (allows.every(({ l7 }) => l7.length === 0))
    return { verdict: 'allowed', reason: 'a rule allows it', by };
  const parser = allows.flatMap(({ l7 }) => l7).find(({ kind }) => kind !== 'tls');
  if (speaksTls && parser !== undefined)
    return {
      verdict: 'denied',
      reason: `connections there are of ${parser.kind}: the proxy refuses TLS`,
      by,
    };
  if (!enforced || allows.some(({ requestAllowed }) => requestAllowed === true)) {
    const how = passed(allows, context);
    const changed = how.changes === undefined ? '' : ` and changes it: ${how.changes.join(', ')}`;
    return {
      verdict: 'redirected',
      reason: `through the proxy, which lets the request pass${changed}`,
      by,
      ...how,
    };
  }
  if (allows.every(({ requestAllowed }) => requestAllowed === undefined)) {
    const some = allows.some(({ open }) => open);
    const reason = some
      ? 'through the proxy, where every request passes'
      : 'through the proxy, which judges each request';
    return { verdict: 'redirected', reason, by };
  }
  return { verdict: 'denied', reason: 'the proxy denies the request: no rule allows it', by };
}

/** Steps 2 to 5 of a trace (see trace.ts). */
export function decide(rules: readonly TracedRule[], context: DecisionContext): Decision {
  const { direction, enforced } = context;
  if (matching(rules, 'deny').length > 0) {
    return { verdict: 'denied', reason: 'a rule denies it', by: hasMatch('deny') };
  }
  if (rules.some(({ requires }) => requires !== undefined)) {
    const reason = 'the peer does not meet what a rule requires';
    return { verdict: 'denied', reason, by: (rule) => rule.requires !== undefined };
  }
  if (matching(rules, 'allow').length > 0) return decideAllowed(rules, context);
  if (context.fromOwnNode) {
    return { verdict: 'allowed', reason: "the node's own processes reach its endpoints", by: nobody };
  }
  return enforced
    ? { verdict: 'denied', reason: 'nothing allows it', by: nobody }
    : { verdict: 'allowed', reason: notEnforced(rules, direction), by: nobody };
}

function notEnforced(rules: readonly TracedRule[], direction: Direction): string {
  return rules.length === 0
    ? `not enforced: no rule for ${direction} selects the endpoint`
    : 'not enforced: the rules that select the endpoint do not deny by default';
}
