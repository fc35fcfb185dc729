import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Label } from '../../src/model/labels.ts';
import { makeSelector, matchesSelector, SELECTOR_OPERATORS } from '../../src/model/selector.ts';
import { contradictoryKey } from '../../src/policy/selector-contradiction.ts';
import { testSeed } from '../support/policy-gen.ts';

const VALUES = ['x', 'y', 'z'];
const SOURCES = ['k8s', 'container'];

/** Every label set over two sources and two keys, each label absent or with one of the values. */
function labelSets(): readonly (readonly Label[])[] {
  const keys = SOURCES.flatMap((source) => ['a', 'b'].map((key) => ({ source, key })));
  return keys.reduce<readonly (readonly Label[])[]>(
    (sets, key) => sets.flatMap((set) => [set, ...VALUES.map((value) => [...set, { ...key, value }])]),
    [[]],
  );
}

const key = fc.record({ source: fc.constantFrom('any', ...SOURCES), key: fc.constantFrom('a', 'b') });
const values = fc.uniqueArray(fc.constantFrom(...VALUES), { minLength: 1 });
const expression = fc
  .record({ key, operator: fc.constantFrom(...SELECTOR_OPERATORS), values })
  .map((part) => ({
    ...part.key,
    operator: part.operator,
    values: part.operator === 'In' || part.operator === 'NotIn' ? part.values : [],
  }));
const label = fc
  .record({ key, value: fc.constantFrom(...VALUES) })
  .map((part) => ({ ...part.key, value: part.value }));
const selector = fc
  .record({
    labels: fc.uniqueArray(label, { maxLength: 2, selector: (part) => `${part.source}:${part.key}` }),
    expressions: fc.array(expression, { maxLength: 3 }),
  })
  .map(({ labels, expressions }) => makeSelector(labels, expressions));

describe('a selector that is said to select nothing', () => {
  it('matches none of all label sets', (t) => {
    const seed = testSeed();
    t.diagnostic(`seed ${seed}`);
    const sets = labelSets();
    let told = 0;
    fc.assert(
      fc.property(selector, (drawn) => {
        if (contradictoryKey(drawn) === undefined) return;
        told++;
        assert.ok(!sets.some((labels) => matchesSelector(drawn, labels)));
      }),
      { seed, numRuns: 3000 },
    );
    assert.ok(told > 100, `${told} told`);
  });
});

describe('contradictoryKey', () => {
  const a = { source: 'k8s', key: 'a' };
  const any = { source: 'any', key: 'a' };

  it('is the key of which a label is wanted that is also forbidden', () => {
    const found = [
      makeSelector([{ ...a, value: 'x' }], [{ ...any, operator: 'DoesNotExist', values: [] }]),
      makeSelector(
        [],
        [
          { ...a, operator: 'In', values: ['x', 'y'] },
          { ...any, operator: 'NotIn', values: ['x', 'y', 'z'] },
        ],
      ),
      makeSelector([{ ...a, value: 'x' }], [{ ...a, operator: 'In', values: ['y'] }]),
    ].map(contradictoryKey);
    assert.deepEqual(found, ['k8s:a', 'k8s:a', 'k8s:a']);
  });

  it('is none where labels of two sources could be meant', () => {
    const found = [
      makeSelector([{ ...any, value: 'x' }], [{ ...a, operator: 'DoesNotExist', values: [] }]),
      makeSelector([{ ...any, value: 'x' }], [{ ...any, operator: 'In', values: ['y'] }]),
      makeSelector([{ ...a, value: 'x' }], [{ ...any, operator: 'In', values: ['y'] }]),
    ].map(contradictoryKey);
    assert.deepEqual(found, [undefined, undefined, undefined]);
  });
});
