export type { NamedPort } from '../model/named-port.ts';
export { OWN_DOCUMENT_LIMITS } from './document.ts';
export {
  DROP_POLICY,
  DROP_POLICY_DENY,
  evaluateMapState,
  type PolicyQuery,
  type PolicyVerdict,
} from './evaluate-map-state.ts';
export {
  contradictsNaive,
  evaluateNaive,
  type NaiveOptions,
  type NaiveQuery,
  type NaiveVerdict,
} from './evaluate-naive.ts';
export { latestObjects } from './former-objects.ts';
export {
  type EndpointImpact,
  type FlowImpact,
  type Impact,
  type ImpactInput,
  policyImpact,
} from './impact.ts';
export type { ImpactFlow, ImpactPeer, ImpactRequest } from './impact-flows.ts';
export { inventoryObjects, policyText } from './inventory-json.ts';
export { type L4RuleSummary, type L4Summary, l4Summary } from './l4-summary.ts';
export { checkLocalIdentities, type LocalIdentitiesJson } from './local-identities.ts';
export { identitiesWithVerdict } from './map-state.ts';
export { namedPortsText } from './named-ports.ts';
export { type PolicyObject, policyObjectLabels } from './namespace.ts';
export type { PolicyNode } from './node-identities.ts';
export type { ParsedRule } from './parse-context.ts';
export {
  type ParsedPolicy,
  type ParsePolicyOptions,
  parsePolicy,
  parsePolicySlices,
  readPolicy,
} from './parse-policy.ts';
export { type PeerSelector, peerSelectorApiText } from './peer-selector.ts';
export type { FqdnSelector, PolicyEngine, PolicyUpdate } from './policy-engine.ts';
export type { PrefixChanges, PrefixIdentity } from './prefix-changes.ts';
export { formatProblem, formatProblems, PolicyInvalidError, type PolicyProblem } from './problem.ts';
export {
  type PolicySnapshot,
  Repository,
  type RepositoryChange,
  type RepositoryJson,
  type StoredRule,
} from './repository.ts';
export {
  type EnforcementMode,
  lockedPolicy,
  type PolicyEnforcement,
  type ResolvedPolicy,
  type ResolveOptions,
} from './resolve.ts';
export { PolicyResolver, type ResolverOptions } from './resolver.ts';
export type { Rule, RuleItem } from './rule.ts';
export { servicePods } from './rule-context.ts';
export { type RuleJson, ruleJson, rulesText, rulesTextSlices } from './rule-json.ts';
export { ruleName } from './rule-name.ts';
export { type RuleRemark, shadowedRules, unselectedRules } from './rule-remarks.ts';
export type { IdentityChanges, SelectorUse } from './selector-cache.ts';
export {
  lacksNamespace,
  type TraceOptions,
  type TraceQuery,
  type TraceRule,
  tracePolicy,
} from './trace.ts';
export { type TraceHinge, traceHinges } from './trace-hinges.ts';
export { l4Text } from './trace-ports.ts';
export type { TracedRequest, TraceL4, TraceL7, TraceParty, TraceResult } from './trace-types.ts';
export { traceView } from './trace-view.ts';
export {
  formatValidation,
  type PolicyText,
  type ValidatedFile,
  type ValidateOptions,
  type ValidationReport,
  validatePolicies,
} from './validate.ts';
