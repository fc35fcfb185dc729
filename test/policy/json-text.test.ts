import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { DEFAULT_DOCUMENT_LIMITS, parseText } from '../../src/policy/document.ts';
import { readJsonText } from '../../src/policy/json-text.ts';
import { testSeed } from '../support/policy-gen.ts';

/** Read as YAML, since a comment is no JSON. */
function asYaml(text: string): unknown {
  const problems: string[] = [];
  const { documents, position } = parseText(`${text}\n# no JSON`, (_, code, reason) =>
    problems.push(`${code} ${reason}`),
  );
  assert.deepEqual(problems, []);
  return { document: documents[0], end: position(text.length) };
}

function asJson(text: string): unknown {
  const { documents, position } = parseText(text, () => undefined);
  return { document: documents[0], end: position(text.length) };
}

const json = fc
  .oneof(
    fc.array(fc.jsonValue({ maxDepth: 3 }), { maxLength: 4 }),
    fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 }), { maxKeys: 4 }),
  )
  .chain((value) =>
    fc.constantFrom(undefined, 2, '\t').map((space) => JSON.stringify(value, undefined, space)),
  );

describe('readJsonText', () => {
  it('reads JSON as YAML is read, places included', (t) => {
    const seed = testSeed();
    t.diagnostic(`seed ${seed}`);
    fc.assert(
      fc.property(json, (text) => {
        assert.notEqual(readJsonText(text, DEFAULT_DOCUMENT_LIMITS), undefined);
        assert.deepEqual(asJson(text), asYaml(text));
      }),
      { seed, numRuns: 1000 },
    );
  });

  const others: readonly [name: string, text: string][] = [
    ['YAML in the form of flows', '{a: b}'],
    ['a key twice', '{"a": 1, "a": 2}'],
    ['a comma at the end', '[1, ]'],
    ['text behind the end', '[1] x'],
    ['two documents', '[1]\n---\n[2]'],
    ['a number with a leading zero', '[01]'],
    ['a text without end', '["a]'],
    ['a control character in a text', '["a\tb"]'],
    ['an unknown escape', '["\\x41"]'],
    ['a text alone', '"a"'],
    ['nothing', ''],
    ['an open list', '[[1]'],
    ['depth without end', '['.repeat(100_000)],
    ['depth beyond the limit', `${'['.repeat(40)}${']'.repeat(40)}`],
    ['values beyond the limit', `[${'1,'.repeat(DEFAULT_DOCUMENT_LIMITS.maxJsonNodes)}1]`],
  ];
  for (const [name, text] of others) {
    it(`leaves ${name} to the reader of YAML`, () =>
      assert.equal(readJsonText(text, DEFAULT_DOCUMENT_LIMITS), undefined));
  }

  it('takes texts that would be too long as YAML', () => {
    const text = `[${'"0123456789",'.repeat(300_000)}1]`;
    const problems: string[] = [];
    const { documents } = parseText(text, (_, code) => problems.push(code));
    assert.deepEqual([documents.length, problems], [1, []]);
    assert.deepEqual(parseText(`# YAML\n${text}`, (_, code) => problems.push(code)).documents, []);
    assert.deepEqual(problems, ['LIMIT']);
  });
});
