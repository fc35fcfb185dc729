import { formatLabels, type Label, LabelKey } from '../model/labels.ts';

function labelValue(labels: readonly Label[], key: string): string | undefined {
  return labels.find((label) => label.source === 'k8s' && label.key === key)?.value;
}

/**
 * What people call a rule: `namespace/name` of the object that it is from, `name` where that has no namespace, else its
 * labels, joined by commas; empty for a rule without labels.
 */
export function ruleName(labels: readonly Label[]): string {
  const name = labelValue(labels, LabelKey.policyName);
  if (name === undefined) return formatLabels(labels).join(',');
  const namespace = labelValue(labels, LabelKey.policyNamespace);
  return namespace === undefined || namespace === '' ? name : `${namespace}/${name}`;
}
