import { type Label, LabelKey } from '../model/labels.ts';
import { type LabelSelector, makeSelector, type SelectorKey } from '../model/selector.ts';
import type { Peers, Rule, RuleItem } from './rule.ts';

/** Where a rule comes from: a CiliumNetworkPolicy's place and name. */
export interface PolicyObject {
  readonly name: string;
  readonly namespace: string;
}

const isKubernetes = (key: SelectorKey): boolean => key.source === 'k8s' || key.source === 'any';

function keysOf(selector: LabelSelector): readonly SelectorKey[] {
  return [...selector.matchLabels, ...selector.matchExpressions];
}

function isNamespaceKey(key: SelectorKey): boolean {
  return isKubernetes(key) && key.key === LabelKey.podNamespace;
}

function isReservedKey(key: SelectorKey): boolean {
  return key.source === 'reserved';
}

function withNamespace(selector: LabelSelector, namespace: string): LabelSelector {
  const label = { source: 'k8s', key: LabelKey.podNamespace, value: namespace };
  return makeSelector([...selector.matchLabels, label], selector.matchExpressions);
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
  if (keysOf(selector).some((key) => isReservedKey(key) && key.key === 'init')) return selector;
  const bare = makeSelector(
    selector.matchLabels.filter((part) => !isNamespaceKey(part)),
    selector.matchExpressions.filter((part) => !isNamespaceKey(part)),
  );
  return withNamespace(bare, namespace);
}

/**
 * A peer of a namespaced object: of its namespace, unless the selector itself names a namespace, labels of
 * namespaces or a reserved label.
 */
export function namespacePeer(selector: LabelSelector, namespace: string): LabelSelector {
  const named = keysOf(selector).some(
    (key) =>
      isNamespaceKey(key) ||
      isReservedKey(key) ||
      (isKubernetes(key) && key.key.startsWith(LabelKey.namespaceLabelPrefix)),
  );
  return named ? selector : withNamespace(selector, namespace);
}

function namespacePeers(peers: Peers | undefined, namespace: string): Peers | undefined {
  if (peers?.kind !== 'endpoints') return peers;
  return { ...peers, selectors: peers.selectors.map((selector) => namespacePeer(selector, namespace)) };
}

function namespaceItems(
  items: readonly RuleItem[] | undefined,
  namespace: string,
): readonly RuleItem[] | undefined {
  return items?.map((item) => ({ ...item, peers: namespacePeers(item.peers, namespace) }));
}

/** The labels by which the rules of an object are found again. */
export function policyObjectLabels(object: PolicyObject): readonly Label[] {
  return [
    { source: 'k8s', key: LabelKey.policyName, value: object.name },
    { source: 'k8s', key: LabelKey.policyNamespace, value: object.namespace },
  ];
}

/** A rule as it acts inside its object: selectors carry the namespace, labels name the object. */
export function namespaceRule(rule: Rule, object: PolicyObject): Rule {
  return {
    ...rule,
    subject: namespaceSubject(rule.subject, object.namespace),
    ingress: namespaceItems(rule.ingress, object.namespace),
    egress: namespaceItems(rule.egress, object.namespace),
    labels: [...rule.labels, ...policyObjectLabels(object)],
  };
}
