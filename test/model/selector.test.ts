import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseLabels } from '../../src/model/labels.ts';
import {
  EMPTY_SELECTOR,
  goSelectorText,
  type LabelSelector,
  labelKeyProblem,
  labelValueProblem,
  makeSelector,
  matchesSelector,
  parseSelectorKey,
  type SelectorOperator,
  selectorJson,
  selectorText,
} from '../../src/model/selector.ts';

function labels(...parts: readonly string[]): LabelSelector {
  return makeSelector(
    parts.map((part) => {
      const [key = '', value = ''] = part.split('=');
      return { ...parseSelectorKey(key), value };
    }),
  );
}

function expression(key: string, operator: SelectorOperator, ...values: readonly string[]): LabelSelector {
  return makeSelector([], [{ ...parseSelectorKey(key), operator, values }]);
}

describe('matchesSelector', () => {
  const pod = ['k8s:app=web', 'k8s:tier', 'container:app=box', 'k8s:io.kubernetes.pod.namespace=default'];
  const cases: readonly [name: string, selector: LabelSelector, matches: boolean][] = [
    ['nothing asked', EMPTY_SELECTOR, true],
    ['a key without source sees every source', labels('app=box'), true],
    ['any: is the same', labels('any:app=web'), true],
    ['a source sees its own labels', labels('k8s:app=web'), true],
    ['a source does not see another’s', labels('k8s:app=box'), false],
    ['container: sees its own', labels('container:app=box'), true],
    ['all labels are needed', labels('app=web', 'tier=front'), false],
    ['an empty value is a value', labels('tier='), true],
    ['In with a listed value', expression('app', 'In', 'x', 'web'), true],
    ['In without', expression('app', 'In', 'x'), false],
    ['In with an absent key', expression('org', 'In', 'x'), false],
    ['NotIn with an absent key holds', expression('org', 'NotIn', 'x'), true],
    ['NotIn with a listed value', expression('app', 'NotIn', 'web'), false],
    ['NotIn of any source sees all of them', expression('app', 'NotIn', 'box'), false],
    ['NotIn of one source sees only that', expression('k8s:app', 'NotIn', 'box'), true],
    ['Exists', expression('tier', 'Exists'), true],
    ['Exists of an absent key', expression('org', 'Exists'), false],
    ['DoesNotExist of an absent key', expression('org', 'DoesNotExist'), true],
    ['DoesNotExist in one source', expression('container:tier', 'DoesNotExist'), true],
    ['DoesNotExist of a present key', expression('tier', 'DoesNotExist'), false],
  ];
  for (const [name, selector, matches] of cases) {
    it(`${name}: ${matches}`, () => assert.equal(matchesSelector(selector, parseLabels(pod)), matches));
  }
});

describe('selector texts', () => {
  it('are canonical whatever the order', () => {
    assert.equal(selectorText(labels('b=2', 'k8s:a=1')), 'any:b=2,k8s:a=1');
    assert.equal(selectorText(labels('k8s:a=1', 'b=2')), 'any:b=2,k8s:a=1');
    assert.equal(selectorText(expression('a', 'In', 'y', 'x')), 'any:a In (x,y)');
    assert.equal(selectorText(expression('a', 'Exists')), 'any:a Exists');
  });

  it('in JSON have keys with their source', () => {
    const selector = makeSelector(labels('app=web').matchLabels, [
      { source: 'k8s', key: 'tier', operator: 'In', values: ['a'] },
      { source: 'any', key: 'org', operator: 'Exists', values: [] },
    ]);
    assert.deepEqual(selectorJson(selector), {
      matchLabels: { 'any:app': 'web' },
      matchExpressions: [
        { key: 'k8s:tier', operator: 'In', values: ['a'] },
        { key: 'any:org', operator: 'Exists' },
      ],
    });
    assert.deepEqual(selectorJson(EMPTY_SELECTOR), {});
  });

  it('for the API are as a Cilium agent writes them', () => {
    const selector = labels('app=a', 'k8s:io.kubernetes.pod.namespace=default');
    assert.equal(
      goSelectorText(selector),
      '&LabelSelector{MatchLabels:map[string]string{any.app: a,k8s.io.kubernetes.pod.namespace: default,},' +
        'MatchExpressions:[]LabelSelectorRequirement{},}',
    );
  });
});

describe('label syntax', () => {
  const keys: readonly [key: string, good: boolean][] = [
    ['app', true],
    ['app.kubernetes.io/name', true],
    ['io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name', true],
    [`io.cilium.k8s.namespace.labels.${'x'.repeat(63)}`, true],
    ['', false],
    ['-app', false],
    ['app_', false],
    ['a b', false],
    ['App.Example/name', false],
    ['a/b/c', false],
    ['/name', false],
    ['x'.repeat(64), false],
    [`${'x'.repeat(254)}/a`, false],
  ];
  for (const [key, good] of keys) {
    it(`${good ? 'takes' : 'refuses'} the key ${JSON.stringify(key.slice(0, 60))}`, () => {
      assert.equal(labelKeyProblem(key) === undefined, good);
    });
  }

  const values: readonly [value: string, good: boolean][] = [
    ['', true],
    ['v1.2_3-4', true],
    ['system:node', false],
    ['-a', false],
    ['a/b', false],
    ['x'.repeat(253), true],
    ['x'.repeat(254), false],
  ];
  for (const [value, good] of values) {
    it(`${good ? 'takes' : 'refuses'} the value ${JSON.stringify(value.slice(0, 20))}`, () => {
      assert.equal(labelValueProblem(value) === undefined, good);
    });
  }
});
