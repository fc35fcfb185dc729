import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseJson, stringifyJson } from '../../src/base/json.ts';

describe('lossless JSON', () => {
  it('keeps 64-bit integers', () => {
    const text = '{"a":18446744073709551615,"b":[-9223372036854775808,9007199254740993],"c":1.5,"d":12}';
    const value = parseJson(text);
    assert.deepEqual(value, { a: 2n ** 64n - 1n, b: [-(2n ** 63n), 2n ** 53n + 1n], c: 1.5, d: 12 });
    assert.equal(stringifyJson(value), text);
  });

  it('leaves fractions, exponents and texts of many digits alone', () => {
    const text =
      '{"pi":3.14159265358979311599,"big":1e300,"id":"18446744073709551615","safe":9007199254740991}';
    assert.deepEqual(parseJson(text), JSON.parse(text));
  });

  it('gives back what it was given', () => {
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { depthSize: 'small' },
        fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n }),
        fc.string(),
        fc.integer(),
        fc.array(tie('any')),
        fc.dictionary(
          fc.string().filter((key) => key !== '__proto__'),
          tie('any'),
          { noNullPrototype: true },
        ),
      ),
    })).any;
    fc.assert(fc.property(value, (any) => assert.deepEqual(parseJson(stringifyJson(any)), any)));
  });

  it('indents, and throws what JSON throws', () => {
    assert.equal(stringifyJson({ a: 1n }, 2), '{\n  "a": 1\n}');
    assert.throws(() => parseJson('{'), SyntaxError);
    const loop: Record<string, unknown> = {};
    loop.self = loop;
    assert.throws(() => stringifyJson(loop), TypeError);
  });
});
