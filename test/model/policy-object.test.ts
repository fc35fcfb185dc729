import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseLabels } from '../../src/model/labels.ts';
import { EMPTY_INVENTORY, type PolicyInventory } from '../../src/model/policy-inventory.ts';
import {
  formatPolicyObject,
  objectOfRule,
  objectsOf,
  parsePolicyObject,
  withoutObjects,
} from '../../src/model/policy-object.ts';

const named = (text: string): string | undefined => {
  const ref = parsePolicyObject(text);
  return ref && formatPolicyObject(ref);
};

describe('a reference to a policy object', () => {
  it('is a kind, a namespace where the kind has one, and a name', () => {
    assert.equal(named('svc/shop/web'), 'Service/shop/web');
    assert.equal(named('Service/web'), 'Service/default/web');
    assert.equal(named('CILIUMCIDRGROUP/office'), 'CiliumCIDRGroup/office');
    assert.equal(named('netpol/a/b'), 'NetworkPolicy/a/b');
  });

  it('is never a label, nor half of a reference', () => {
    for (const text of [
      'svc',
      'svc/',
      'svc//a',
      'svc/a/b/c',
      'ccg/a/b',
      'pod/a/b',
      'svc/a=b',
      'k8s:svc/a',
      '',
    ])
      assert.equal(parsePolicyObject(text), undefined, text);
  });

  it('is found in the labels of a rule that comes from an object, and in no others', () => {
    const of = (...labels: string[]) => {
      const ref = objectOfRule(parseLabels(labels));
      return ref && formatPolicyObject(ref);
    };
    const [name, space] = ['k8s:io.cilium.k8s.policy.name=r', 'k8s:io.cilium.k8s.policy.namespace=n'];
    const from = 'k8s:io.cilium.k8s.policy.derived-from=';
    assert.equal(of(name, space), 'CiliumNetworkPolicy/n/r');
    assert.equal(of(name, space, `${from}NetworkPolicy`), 'NetworkPolicy/n/r');
    assert.equal(of(name, `${from}CiliumClusterwideNetworkPolicy`), 'CiliumClusterwideNetworkPolicy/r');
    assert.equal(of('unspec:name=r'), undefined);
  });

  it('takes its object out of an inventory, and nothing else', () => {
    const service = (namespace: string) => ({ name: 'web', namespace, labels: [], selector: undefined });
    const inventory: PolicyInventory = {
      ...EMPTY_INVENTORY,
      cidrGroups: [{ name: 'web', labels: [], cidrs: [] }],
      services: [service('a'), service('b')],
      addresses: [{ name: 'web', namespace: 'a', kind: 'endpoints', service: 'web', addresses: [] }],
    };
    const ref = parsePolicyObject('Service/a/web');
    assert.ok(ref);
    assert.deepEqual(objectsOf(withoutObjects(inventory, [ref])).map(formatPolicyObject), [
      'CiliumCIDRGroup/web',
      'Service/b/web',
      'Endpoints/a/web',
    ]);
  });
});
