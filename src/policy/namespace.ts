import type { HeaderMatch } from '../model/l7.ts';
import { type Label, LabelKey } from '../model/labels.ts';
import {
  type LabelSelector,
  type MatchExpression,
  makeSelector,
  type SelectorKey,
} from '../model/selector.ts';
import type { Peers, PortRule, Rule, RuleItem, ServiceSpec } from './rule.ts';
import { namesSecrets } from './rule-context.ts';

export const POLICY_KINDS = [
  'CiliumNetworkPolicy',
  'CiliumClusterwideNetworkPolicy',
  'NetworkPolicy',
] as const;
export type PolicyKind = (typeof POLICY_KINDS)[number];

/** The object that a rule comes from. */
export interface PolicyObject {
  readonly kind: PolicyKind;
  readonly name: string;
  /** Empty for a clusterwide policy. */
  readonly namespace: string;
}

const isKubernetes = (key: SelectorKey): boolean => key.source === 'k8s' || key.source === 'any';

function keysOf(selector: LabelSelector): readonly SelectorKey[] {
  return [...selector.matchLabels, ...selector.matchExpressions];
}

function isNamespaceKey(key: SelectorKey): boolean {
  return isKubernetes(key) && key.key === LabelKey.podNamespace;
}

function isNamespaceLabelKey(key: SelectorKey): boolean {
  return isKubernetes(key) && key.key.startsWith(LabelKey.namespaceLabelPrefix);
}

function isReservedKey(key: SelectorKey): boolean {
  return key.source === 'reserved';
}

function selectsInit(selector: LabelSelector): boolean {
  return keysOf(selector).some((key) => isReservedKey(key) && key.key === 'init');
}

/** The selector within a namespace; it replaces one that `k8s:` labels of the selector name. */
export function withNamespace(selector: LabelSelector, namespace: string): LabelSelector {
  const label = { source: 'k8s', key: LabelKey.podNamespace, value: namespace };
  const others = selector.matchLabels.filter((part) => part.source !== 'k8s' || part.key !== label.key);
  return makeSelector([...others, label], selector.matchExpressions);
}

/** Holds for the endpoints that have a namespace: the pods that are managed. */
export const HAS_NAMESPACE: MatchExpression = {
  source: 'k8s',
  key: LabelKey.podNamespace,
  operator: 'Exists',
  values: [],
};

function inAnyNamespace(selector: LabelSelector): LabelSelector {
  return makeSelector(selector.matchLabels, [...selector.matchExpressions, HAS_NAMESPACE]);
}

/** Whether a subject names a namespace other than the object's; such parts are dropped, with a warning. */
export function namesForeignNamespace(selector: LabelSelector, namespace: string): boolean {
  return (
    selector.matchLabels.some((part) => isNamespaceKey(part) && part.value !== namespace) ||
    selector.matchExpressions.some(isNamespaceKey)
  );
}

/** The subject of a namespaced object: its own namespace and no other. Endpoints in `reserved:init` have no namespace yet. */
export function namespaceSubject(selector: LabelSelector, namespace: string): LabelSelector {
  if (selectsInit(selector)) return selector;
  const bare = makeSelector(
    selector.matchLabels.filter((part) => !isNamespaceKey(part)),
    selector.matchExpressions.filter((part) => !isNamespaceKey(part)),
  );
  return withNamespace(bare, namespace);
}

/** How the selectors of peers become those of their object. */
interface PeerScope {
  readonly peer: (selector: LabelSelector) => LabelSelector;
  /** Of `fromRequires`: a reserved label does not take it out of the namespace. */
  readonly required: (selector: LabelSelector) => LabelSelector;
  /** Of a service that names none. */
  readonly namespace: string;
}

/**
 * Peers of a namespaced object are of its namespace, unless the selector itself names a namespace, labels of
 * namespaces or a reserved label.
 */
function namespacedScope(namespace: string): PeerScope {
  const scoped = (selector: LabelSelector, free: (key: SelectorKey) => boolean): LabelSelector =>
    keysOf(selector).some(free) ? selector : withNamespace(selector, namespace);
  const named = (key: SelectorKey): boolean => isNamespaceKey(key) || isNamespaceLabelKey(key);
  return {
    peer: (selector) => scoped(selector, (key) => named(key) || isReservedKey(key)),
    required: (selector) => scoped(selector, named),
    namespace,
  };
}

/**
 * Peers of a clusterwide object are managed pods of any namespace, so that `{}` does not take in the world; unless
 * the selector names a namespace or a reserved label, or the rule is for endpoints that have no labels yet.
 */
function clusterwideScope(subject: LabelSelector, defaultNamespace: string): PeerScope {
  const init = selectsInit(subject);
  const scoped = (selector: LabelSelector, free: (key: SelectorKey) => boolean): LabelSelector =>
    init || keysOf(selector).some(free) ? selector : inAnyNamespace(selector);
  return {
    peer: (selector) => scoped(selector, (key) => isNamespaceKey(key) || isReservedKey(key)),
    required: (selector) => scoped(selector, isNamespaceKey),
    namespace: defaultNamespace,
  };
}

function scopeService(service: ServiceSpec, namespace: string): ServiceSpec {
  return service.kind === 'name' && service.namespace === '' ? { ...service, namespace } : service;
}

function scopePeers(peers: Peers | undefined, scope: PeerScope): Peers | undefined {
  if (peers?.kind === 'endpoints') return { ...peers, selectors: peers.selectors.map(scope.peer) };
  if (peers?.kind !== 'services') return peers;
  return { ...peers, services: peers.services.map((service) => scopeService(service, scope.namespace)) };
}

function scopeSecrets(ports: RuleItem['ports'], namespace: string): RuleItem['ports'] {
  return ports?.map((rule): PortRule => {
    const { l7 } = rule;
    if (l7?.kind !== 'http' || !namesSecrets(l7)) return rule;
    const scoped = (match: HeaderMatch): HeaderMatch =>
      match.secret?.namespace === '' ? { ...match, secret: { ...match.secret, namespace } } : match;
    const rules = l7.rules.map((one) => ({ ...one, headerMatches: one.headerMatches.map(scoped) }));
    return { ...rule, l7: { kind: 'http', rules } };
  });
}

function scopeItem(item: RuleItem, scope: PeerScope): RuleItem {
  const requires = item.requires?.map(scope.required);
  return {
    ...item,
    peers: scopePeers(item.peers, scope),
    ports: scopeSecrets(item.ports, scope.namespace),
    ...(requires !== undefined && { requires }),
  };
}

function scopeRule(rule: Rule, scope: PeerScope): Rule {
  const items = (list: readonly RuleItem[] | undefined): readonly RuleItem[] | undefined =>
    list?.map((item) => scopeItem(item, scope));
  return {
    ...rule,
    ingress: items(rule.ingress),
    egress: items(rule.egress),
    ...(rule.ingressDeny !== undefined && { ingressDeny: items(rule.ingressDeny) }),
    ...(rule.egressDeny !== undefined && { egressDeny: items(rule.egressDeny) }),
  };
}

/** The labels by which the rules of an object are found again. Those of a CiliumNetworkPolicy are as they were in 2018. */
export function policyObjectLabels(object: PolicyObject): readonly Label[] {
  const label = (key: string, value: string): Label => ({ source: 'k8s', key, value });
  return [
    label(LabelKey.policyName, object.name),
    ...(object.namespace === '' ? [] : [label(LabelKey.policyNamespace, object.namespace)]),
    ...(object.kind === 'CiliumNetworkPolicy' ? [] : [label(LabelKey.policyDerivedFrom, object.kind)]),
  ];
}

/**
 * A rule as it acts inside its object: selectors carry the namespace, labels name the object.
 * @param defaultNamespace of services that a clusterwide policy names without one
 */
export function objectRule(rule: Rule, object: PolicyObject, defaultNamespace: string): Rule {
  const labels = [...rule.labels, ...policyObjectLabels(object)];
  if (object.kind === 'NetworkPolicy') return { ...rule, labels };
  if (object.namespace === '')
    return { ...scopeRule(rule, clusterwideScope(rule.subject, defaultNamespace)), labels };
  return {
    ...scopeRule(rule, namespacedScope(object.namespace)),
    subject: namespaceSubject(rule.subject, object.namespace),
    labels,
  };
}

/** A rule without an object, whose services without a namespace are of this one. */
export function bareRule(rule: Rule, namespace: string): Rule {
  const same = (selector: LabelSelector): LabelSelector => selector;
  return scopeRule(rule, { peer: same, required: same, namespace });
}
