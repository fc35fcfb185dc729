import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { parsePolicy, type Rule, rulesText } from '../../src/policy/index.ts';
import { ruleSetArbitrary, testSeed } from '../support/policy-gen.ts';
import { languageRule } from '../support/rule-arbitrary.ts';

/** Whatever the text, the answer is rules or errors with a place in the text, never a throw. */
function checkAnswer(text: string): void {
  const { rules, errors } = parsePolicy(text, { file: 'fuzz' });
  const lines = text.split('\n').length;
  for (const { line, column, reason } of errors) {
    assert.ok(line >= 1 && line <= lines + 1, `line ${line} of ${lines}`);
    assert.ok(column >= 1);
    assert.notEqual(reason, '');
  }
  if (errors.length > 0) assert.deepEqual(rules, []);
  const kept: readonly Rule[] = rules.map(({ rule }) => rule);
  const again = parsePolicy(rulesText(kept), { file: 'again' });
  assert.deepEqual(again.errors, []);
  assert.deepEqual(
    again.rules.map(({ rule }) => rule),
    kept,
  );
}

/** A valid text of rules, as YAML or JSON. */
const ruleText = fc
  .tuple(fc.oneof(ruleSetArbitrary, fc.array(languageRule, { maxLength: 2 })), fc.boolean())
  .map(([rules, yaml]) => (yaml ? stringify(JSON.parse(rulesText(rules))) : rulesText(rules)));

const SNIPPETS = [
  ...[
    '',
    ' ',
    '\n',
    '\t',
    '"',
    "'",
    ':',
    ': ',
    '-',
    '- ',
    '[',
    ']',
    '{',
    '}',
    ',',
    '&a ',
    '*a',
    '!!map ',
    '|',
    '>',
    '#',
  ],
  ...[
    'null',
    'true',
    '0',
    '-1',
    '1e9',
    '65536',
    '__proto__',
    'ingress',
    'toFQDNs',
    'toPorts',
    'rules',
    'http',
    '"("',
    '::/0',
    '10.0.0.0/33',
    '---\n',
    '...\n',
    '%YAML 1.1\n',
    '<<',
  ],
  ...['\u0000', '\ufeff', '\u2028', '\ud800', '\u{1f680}', '? ', '[{}]', '{a: }', '!<tag:x> '],
];

interface Edit {
  readonly at: number;
  readonly remove: number;
  readonly insert: string;
}

const edit: fc.Arbitrary<Edit> = fc.record({
  at: fc.integer({ min: 0, max: 4000 }),
  remove: fc.integer({ min: 0, max: 12 }),
  insert: fc.constantFrom(...SNIPPETS),
});

function applyEdits(text: string, edits: readonly Edit[]): string {
  return edits.reduce((now, { at, remove, insert }) => {
    const start = at % (now.length + 1);
    return now.slice(0, start) + insert + now.slice(start + remove);
  }, text);
}

describe('parsePolicy on random texts', () => {
  it('answers with rules or with errors that have a place', (t) => {
    const seed = testSeed();
    fc.assert(
      fc.property(ruleText, fc.array(edit, { minLength: 1, maxLength: 4 }), (text, edits) => {
        checkAnswer(applyEdits(text, edits));
      }),
      { seed, numRuns: 500 },
    );
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 60 }), checkAnswer), { seed, numRuns: 500 });
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...SNIPPETS), { maxLength: 12 }), (parts) =>
        checkAnswer(parts.join('')),
      ),
      { seed, numRuns: 1000 },
    );
    t.diagnostic(`seed ${seed}`);
  });
});

describe('parsePolicy on hostile texts', () => {
  const rule = (item: string): string => `[{"endpointSelector":{},"egress":[${item}]}]`;

  it('reads long lists', () => {
    const cidrs = Array.from({ length: 40_000 }, (_, i) => `"10.${i >> 8}.${i & 255}.0/24"`);
    assert.deepEqual(parsePolicy(rule(`{"toCIDR":[${cidrs.join()}]}`), { file: 'long' }).errors, []);
    const names = Array.from({ length: 20_000 }, (_, i) => `{"matchName":"n${i}.example.org"}`);
    assert.deepEqual(parsePolicy(rule(`{"toFQDNs":[${names.join()}]}`), { file: 'long' }).errors, []);
  });

  it('names every one of many errors', () => {
    const entities = Array.from({ length: 20_000 }, () => '"wrold"').join();
    const { errors } = parsePolicy(rule(`{"toEntities":[${entities}]}`), { file: 'many' });
    assert.equal(errors.length, 20_000);
    assert.equal(errors[19_999]?.field, '[0].egress[0].toEntities[19999]');
  });

  const HUGE: readonly (readonly [what: string, text: string, errors: number])[] = [
    ['keys', Array.from({ length: 40_000 }, (_, i) => `k${i}: 1`).join('\n'), 40_001],
    [
      'anchors and aliases',
      Array.from({ length: 20_000 }, (_, i) => `- &a${i} x\n- *a${i}`).join('\n'),
      40_000,
    ],
    ['documents', '---\n'.repeat(100_000), 1],
  ];
  for (const [what, text, count] of HUGE) {
    it(`takes time in proportion for tens of thousands of ${what} in YAML`, () => {
      const before = process.cpuUsage();
      assert.equal(parsePolicy(text, { file: 'huge' }).errors.length, count);
      // Each compared with each they take minutes.
      assert.ok(process.cpuUsage(before).user < 20e6);
    });
  }

  it('finds keys that come twice at any depth', () => {
    const text =
      '- endpointSelector: {}\n  ingress:\n  - {}\n  - {fromEntities: [all], "fromEntities": [host]}\n';
    const [error, ...others] = parsePolicy(text, { file: 'x' }).errors;
    assert.deepEqual(others, []);
    assert.deepEqual([error?.line, error?.column, error?.code], [4, 27, 'SYNTAX']);
    assert.match(error?.reason ?? '', /the same key occurs twice: "fromEntities"/);
  });

  it('takes no key for one of its own that only every object has', () => {
    const keys = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf'];
    const places: readonly ((key: string) => string)[] = [
      (key) => rule(`{"${key}":[]}`),
      (key) => rule(`{"toPorts":[{"ports":[{"port":"80"}],"${key}":{}}]}`),
      (key) => rule(`{"toPorts":[{"ports":[{"port":"80","protocol":"TCP"}],"rules":{"${key}":[{}]}}]}`),
      (key) => rule(`{"icmps":[{"fields":[{"type":"${key}"}]}]}`),
      (key) => rule(`{"toPorts":[{"ports":[{"port":"80","protocol":"${key}"}]}]}`),
      (key) => `{"kind":"${key}"}`,
      (key) => `{"kind":"${key}List","items":[{}]}`,
      (key) =>
        `{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"p"},"spec":{"${key}":{}}}`,
    ];
    for (const key of keys) {
      for (const place of places)
        assert.notEqual(parsePolicy(place(key), { file: 'x' }).errors.length, 0, place(key));
    }
  });

  it('keeps labels that are named as what every object has', () => {
    const text = '[{"endpointSelector":{"matchLabels":{"constructor":"a","toString":"b"}},"ingress":[{}]}]';
    const [parsed] = parsePolicy(text, { file: 'x' }).rules;
    assert.equal(parsed?.rule.subject.matchLabels.length, 2);
    assert.match(rulesText([parsed.rule]), /"any:constructor": "a"/);
  });
});
