import { UsageError } from '../../src/base/errors.ts';
import { type PolicyObjectRef, parsePolicyObject } from '../../src/model/policy-object.ts';

/** What of the policy is meant: the rules that carry all labels, or these objects. */
export type PolicyChoice = { readonly words: readonly string[] } & (
  | { readonly kind: 'labels' }
  | { readonly kind: 'objects'; readonly refs: readonly PolicyObjectRef[] }
);

/**
 * Tells labels from objects, `k8s:app=web` from `cnp/default/rule1`.
 * @throws UsageError code POLICY_CHOICE for both at once
 */
export function policyChoice(words: readonly string[]): PolicyChoice {
  const refs = words.flatMap((word) => parsePolicyObject(word) ?? []);
  if (refs.length === 0) return { kind: 'labels', words };
  if (refs.length < words.length)
    throw new UsageError('give labels or objects, not both', { code: 'POLICY_CHOICE' });
  return { kind: 'objects', words, refs };
}
