import { type AgentOperations, ApiError } from '../../api/operations.ts';
import type * as Api from '../../api/schema.ts';
import { allInTurns } from '../../base/slices.ts';
import { NO_CONNECTIONS, type RuleConnections, UNCOUNTED_RULES } from '../../datapath/types.ts';
import { DatapathLimit } from '../../model/constants.gen.ts';
import { formatLabels, parseLabels } from '../../model/labels.ts';
import {
  formatPolicyObject,
  objectOfRule,
  objectsOf,
  type PolicyObjectRef,
  parsePolicyObject,
} from '../../model/policy-object.ts';
import { goSelectorText, matchesSelector, selectorText } from '../../model/selector.ts';
import {
  inventoryObjects,
  PolicyInvalidError,
  peerSelectorApiText,
  type Rule,
  ruleName,
  rulesText,
  rulesTextSlices,
} from '../../policy/index.ts';
import type { Endpoint } from '../endpoint.ts';
import { HOST_ENDPOINT_ID } from '../endpoint-request.ts';
import { notFound, type OperationsDeps, refuseWhileStarting } from './deps.ts';
import { resolvePolicy } from './policy-resolve.ts';

type PolicyOperations = Pick<
  AgentOperations,
  | 'getPolicy'
  | 'putPolicy'
  | 'deletePolicy'
  | 'resolvePolicy'
  | 'getPolicyObjects'
  | 'deletePolicyObjects'
  | 'getPolicySelectors'
  | 'getPolicySubjectSelectors'
  | 'listPolicyRules'
  | 'listPolicyFlows'
>;

/** The rules with their revision. */
export async function policyAnswer({ policy }: OperationsDeps): Promise<Api.Policy> {
  const { revision, inventory } = policy;
  const rules = policy.rules([]).map(({ rule }) => rule);
  const objects = objectsOf(inventory).map(formatPolicyObject);
  return {
    revision,
    policy: await allInTurns(rulesTextSlices(rules)),
    ...(objects.length > 0 && { objects }),
  };
}

/** @throws ApiError 400 */
function parseObjects(texts: readonly string[]): readonly PolicyObjectRef[] {
  return texts.map((text) => {
    const ref = parsePolicyObject(text);
    if (ref !== undefined) return ref;
    throw new ApiError(
      400,
      `${JSON.stringify(text)} is not KIND/NAME or KIND/NAMESPACE/NAME of a policy object`,
      {
        field: 'objects',
      },
    );
  });
}

/** @throws ApiError 404 naming those that are not there */
function refuseAbsent({ policy }: OperationsDeps, refs: readonly PolicyObjectRef[]): void {
  const ofRules = policy.rules([]).flatMap(({ rule }) => objectOfRule(rule.labels) ?? []);
  const there = new Set([...ofRules, ...objectsOf(policy.inventory)].map(formatPolicyObject));
  const absent = refs.map(formatPolicyObject).filter((name) => !there.has(name));
  if (absent.length > 0) throw notFound(`there is no ${absent.join(', no ')}: nothing was deleted`);
}

/** What rules decided that found no room to be counted: of which of them is not known. */
function uncountedRules(connections: RuleConnections): Api.PolicyRuleStatus {
  return {
    id: UNCOUNTED_RULES,
    name: '(not counted)',
    labels: [],
    description: `connections of rules beyond the ${DatapathLimit.ruleStats - 1} that are counted`,
    endpoints: [],
    connections,
    requests: { allowed: 0, denied: 0 },
  };
}

/** Whether the rule is for the endpoint: those of nodes are for the node itself alone. */
function isSubject({ subject, subjectKind = 'endpoint' }: Rule, { id, identity }: Endpoint): boolean {
  const isHost = id === HOST_ENDPOINT_ID;
  return (
    isHost === (subjectKind === 'node') && identity !== undefined && matchesSelector(subject, identity.labels)
  );
}

/** Rules: `/policy`. */
export function policyOperations(deps: OperationsDeps): PolicyOperations {
  return {
    async getPolicy(labels: readonly string[]): Promise<Api.Policy> {
      if (labels.length === 0) return policyAnswer(deps);
      const { policy } = deps;
      const found = policy.rules(parseLabels(labels, 'any', 'any'));
      if (found.length === 0) throw notFound(`no rule has the labels ${labels.join(', ')}`);
      return { revision: policy.revision, policy: rulesText(found.map(({ rule }) => rule)) };
    },

    async putPolicy(text: string): Promise<Api.Policy> {
      refuseWhileStarting(deps);
      const { policy } = deps;
      try {
        await policy.import(text, 'the request');
      } catch (cause) {
        if (!(cause instanceof PolicyInvalidError)) throw cause;
        const syntax = cause.problems.some(({ code }) => code === 'SYNTAX');
        throw new ApiError(syntax ? 400 : 460, cause.message, { code: cause.code, hint: cause.hint, cause });
      }
      return policyAnswer(deps);
    },

    async deletePolicy(labels: readonly string[]): Promise<Api.Policy> {
      refuseWhileStarting(deps);
      const { policy } = deps;
      const wanted = parseLabels(labels, 'any', 'any');
      if (wanted.length > 0 && policy.rules(wanted).length === 0) {
        throw notFound(`no rule has the labels ${labels.join(', ')}`);
      }
      await policy.delete(wanted);
      return policyAnswer(deps);
    },

    resolvePolicy: (selector) => resolvePolicy(deps, selector),

    async getPolicyObjects(): Promise<Api.PolicyObjects> {
      const { revision, inventory } = deps.policy;
      return { revision, objects: JSON.stringify(inventoryObjects(inventory), undefined, 2) };
    },

    async deletePolicyObjects(texts: readonly string[]): Promise<Api.Policy> {
      refuseWhileStarting(deps);
      const refs = parseObjects(texts);
      refuseAbsent(deps, refs);
      await deps.policy.deleteObjects(refs);
      return policyAnswer(deps);
    },

    async getPolicySelectors(): Promise<readonly Api.SelectorIdentityMapping[]> {
      return deps.policy.selectors().map(({ peer, identities, users }) => ({
        selector: peerSelectorApiText(peer),
        identities: [...identities],
        users,
        labels: [],
      }));
    },

    async getPolicySubjectSelectors(): Promise<readonly Api.SelectorIdentityMapping[]> {
      const { policy, manager } = deps;
      const subjects = new Map(
        policy.rules([]).map(({ rule }) => [selectorText(rule.subject), rule.subject]),
      );
      return [...subjects].map(([text, subject]) => {
        const rules = policy.rules([]).filter(({ rule }) => selectorText(rule.subject) === text);
        const picked = manager
          .listAll()
          .filter((endpoint) => rules.some(({ rule }) => isSubject(rule, endpoint)));
        const identities = [...new Set(picked.map(({ identity }) => identity?.id ?? 0))].sort(
          (a, b) => a - b,
        );
        return { selector: goSelectorText(subject), identities, users: rules.length, labels: [] };
      });
    },

    async listPolicyRules(): Promise<readonly Api.PolicyRuleStatus[]> {
      const { policy, manager, activity, datapath } = deps;
      const connections = await datapath.readRuleConnections();
      const endpoints = manager.listAll();
      const rules = policy.rules([]).map(({ id, rule }) => ({
        id,
        name: ruleName(rule.labels),
        labels: formatLabels(rule.labels),
        description: rule.description,
        endpoints: endpoints.filter((endpoint) => isSubject(rule, endpoint)).map(({ id }) => id),
        connections: connections.get(id) ?? NO_CONNECTIONS,
        requests: activity.requestsOf(id),
      }));
      const uncounted = connections.get(UNCOUNTED_RULES);
      return uncounted === undefined ? rules : [...rules, uncountedRules(uncounted)];
    },

    async listPolicyFlows(): Promise<Api.PolicyFlows> {
      return deps.activity.flows();
    },
  };
}
