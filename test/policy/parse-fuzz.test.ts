import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { parsePolicy, type Rule, rulesText } from '../../src/policy/index.ts';
import { ruleSetArbitrary, testSeed } from '../support/policy-gen.ts';

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
  .tuple(ruleSetArbitrary, fc.boolean())
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
