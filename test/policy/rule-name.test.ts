import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseLabels } from '../../src/model/labels.ts';
import { ruleName } from '../../src/policy/rule-name.ts';

const NAME = 'k8s:io.cilium.k8s.policy.name=rule1';
const NAMESPACE = 'k8s:io.cilium.k8s.policy.namespace=default';

describe('ruleName', () => {
  const cases: readonly (readonly [string, readonly string[], string])[] = [
    ['namespace/name of the object', [NAME, NAMESPACE, 'unspec:a=b'], 'default/rule1'],
    ['the name alone of a cluster-wide object', [NAME], 'rule1'],
    ['the labels where there is no object', ['unspec:a=b', 'k8s:c'], 'k8s:c,unspec:a=b'],
    ['nothing without labels', [], ''],
    [
      'the labels when the name has another source',
      ['unspec:io.cilium.k8s.policy.name=x'],
      'unspec:io.cilium.k8s.policy.name=x',
    ],
  ];
  for (const [what, labels, expected] of cases) {
    it(`is ${what}`, () => assert.equal(ruleName(parseLabels(labels)), expected));
  }
});
