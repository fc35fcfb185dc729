import type { KafkaRule, L7Filter } from '../../model/l7.ts';
import type { Direction } from '../../model/map-state.ts';
import type { Verdict } from '../judged-flow.ts';
import type { DirectionView } from '../policy-table.ts';
import type { KafkaRequest } from './request.ts';

/** Names of requests by API key, from 0 on, as rules have them (protocol guide, "API keys"). */
const API_KEYS = [
  ...['produce', 'fetch', 'offsets', 'metadata', 'leaderandisr', 'stopreplica', 'updatemetadata'],
  ...['controlledshutdown', 'offsetcommit', 'offsetfetch', 'findcoordinator', 'joingroup', 'heartbeat'],
  ...['leavegroup', 'syncgroup', 'describegroups', 'listgroups', 'saslhandshake', 'apiversions'],
  ...['createtopics', 'deletetopics', 'deleterecords', 'initproducerid', 'offsetforleaderepoch'],
  ...[
    'addpartitionstotxn',
    'addoffsetstotxn',
    'endtxn',
    'writetxnmarkers',
    'txnoffsetcommit',
    'describeacls',
  ],
  ...['createacls', 'deleteacls', 'describeconfigs', 'alterconfigs'],
];

/** Keys that a role stands for: what a producer or a consumer needs. */
const ROLES: Readonly<Record<'produce' | 'consume', ReadonlySet<number>>> = {
  produce: new Set([0, 3, 18]),
  consume: new Set([1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 18]),
};

/** Whether the rule is about the request, its topics aside. */
function isAbout(rule: KafkaRule, { apiKey, apiVersion, clientId }: KafkaRequest): boolean {
  if (rule.role !== undefined && !ROLES[rule.role].has(apiKey)) return false;
  if (rule.apiKey !== undefined && API_KEYS[apiKey] !== rule.apiKey) return false;
  if (rule.apiVersion !== undefined && rule.apiVersion !== apiVersion) return false;
  return rule.clientId === undefined || rule.clientId === clientId;
}

/**
 * Names of the filters whose rules together allow the request: each of its topics needs one. A request without topics
 * needs a rule about it, whatever topic that names; one of every topic needs a rule that names none.
 * @returns undefined when it is not allowed
 */
function allowedBy(filters: readonly L7Filter[], request: KafkaRequest): readonly string[] | undefined {
  const open = filters.find(({ l7 }) => l7 === undefined);
  if (open !== undefined) return [open.ruleName];
  const missing = new Set(request.topics?.map(({ name }) => name));
  const names = new Set<string>();
  for (const { l7, ruleName } of filters) {
    if (l7?.kind !== 'kafka') continue;
    for (const rule of l7.rules) {
      if (!isAbout(rule, request)) continue;
      if (rule.topic === undefined || request.topics?.length === 0) return [ruleName];
      if (!missing.delete(rule.topic)) continue;
      names.add(ruleName);
      if (missing.size === 0) return [...names];
    }
  }
  return undefined;
}

/** A request passes if each direction that judges it allows it. */
export function judgeKafka(
  views: readonly DirectionView[],
  request: KafkaRequest,
  fallback: Direction,
): Verdict {
  let direction = fallback;
  const rules: string[] = [];
  for (const view of views) {
    direction = view.direction;
    const names = allowedBy(view.filters, request);
    if (names === undefined) return { allowed: false, direction, rules: [], reason: 'no rule allows it' };
    rules.push(...names);
  }
  return { allowed: true, direction, rules, reason: '' };
}
