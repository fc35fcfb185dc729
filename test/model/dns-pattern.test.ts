import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  compileDnsPattern,
  DnsPatternError,
  DnsPatternSet,
  dnsPatternText,
  foldDnsName,
  parseDnsName,
  parseDnsPattern,
} from '../../src/model/dns-pattern.ts';

function matches(pattern: string, name: string): boolean {
  return compileDnsPattern(parseDnsPattern(pattern))(foldDnsName(name));
}

describe('a matchName', () => {
  it('is folded to lower case without the final dot', () => {
    assert.deepEqual(parseDnsName('WWW.Example.COM.'), { kind: 'name', name: 'www.example.com' });
    assert.equal(dnsPatternText(parseDnsName('WWW.Example.COM.')), 'www.example.com');
  });

  it('matches exactly its name, in any case', () => {
    const match = compileDnsPattern(parseDnsName('_srv.example.com'));
    assert.ok(match(foldDnsName('_SRV.example.com.')));
    for (const other of ['srv.example.com', 'a._srv.example.com', 'example.com', ''])
      assert.ok(!match(other), other);
  });

  it('does not fold letters beyond ASCII into it', () => {
    assert.equal(foldDnsName('\u212A.com'), '\u212A.com');
    assert.ok(!compileDnsPattern(parseDnsName('k.com'))(foldDnsName('\u212A.com')));
  });

  it('that is empty, too long or of other characters is refused', () => {
    const wrong = [
      '',
      '.',
      '..',
      'a..b',
      '.a',
      'a b',
      'a*',
      'exämple.com',
      'a/b',
      'a\n',
      'a..',
      `${'a.'.repeat(127)}aa`,
    ];
    for (const text of wrong) assert.throws(() => parseDnsName(text), DnsPatternError, JSON.stringify(text));
    assert.equal(dnsPatternText(parseDnsName(`${'a.'.repeat(127)}a`)).length, 255);
  });

  it('that is refused is told why', () => {
    assert.throws(() => parseDnsName('a.*.com'), /"\*" is none of letters, digits, - and _/);
    assert.throws(() => parseDnsName('a..com'), /a label is empty/);
    assert.throws(() => parseDnsName('a'.repeat(256)), /256 characters/);
  });
});

describe('a matchPattern', () => {
  it('with * stands for letters, digits, - and _ of one label', () => {
    const table: readonly [string, string, boolean][] = [
      ['*.cilium.io', 'sub.cilium.io', true],
      ['*.cilium.io', 'SUB-1_x.Cilium.IO.', true],
      ['*.cilium.io', 'cilium.io', false],
      ['*.cilium.io', 'a.sub.cilium.io', false],
      ['*.cilium.io', 'evilcilium.io', false],
      ['*cilium.io', 'cilium.io', true],
      ['*cilium.io', 'evilcilium.io', true],
      ['*cilium.io', 'sub.cilium.io', false],
      ['sub*.cilium.io', 'sub.cilium.io', true],
      ['sub*.cilium.io', 'subsub.cilium.io', true],
      ['sub*.cilium.io', 'asub.cilium.io', false],
      ['a*b*c.io', 'abc.io', true],
      ['a*b*c.io', 'axxbyyc.io', true],
      ['a*b*c.io', 'acb.io', false],
      ['a*a.io', 'a.io', false],
      ['a*ab*b.io', 'ab.io', false],
      ['www.*.com', 'www.x.com', true],
      ['www.*.com', 'www.x.y.com', false],
      ['*.*', 'a.b', true],
      ['*.*', 'a', false],
      ['*.cilium.io', 'a\\.b.cilium.io', false],
      ['*.cilium.io', 'a\\000.cilium.io', false],
    ];
    for (const [pattern, name, expected] of table)
      assert.equal(matches(pattern, name), expected, `${pattern} ~ ${name}`);
  });

  it('with a leading **. stands for one or more labels', () => {
    for (const name of ['sub.cilium.io', 'a.b.c.cilium.io']) assert.ok(matches('**.cilium.io', name), name);
    for (const name of ['cilium.io', 'xcilium.io', 'a.cilium.io.evil', 'a\\.b.cilium.io'])
      assert.ok(!matches('**.cilium.io', name), name);
    assert.ok(matches('**.a*.io', 'x.y.abc.io'));
    assert.ok(!matches('**', 'a.b'), 'elsewhere ** is *');
  });

  it('of one star matches everything, the root and odd names too', () => {
    for (const name of ['', 'a', 'a.b', 'a\\032b.c']) assert.ok(matches('*', name), name);
  });

  it('takes * with a final dot for names of one label, not for every name', () => {
    assert.deepEqual(parseDnsPattern('*.'), { kind: 'pattern', pattern: '**' });
    assert.ok(matches('*.', 'com'));
    for (const name of ['', 'a.b', 'evil.example.com']) assert.ok(!matches('*.', name), name);
  });

  it('without a star is a name', () => {
    assert.deepEqual(parseDnsPattern('A.b.'), { kind: 'name', name: 'a.b' });
  });

  it('of other characters is refused', () => {
    for (const text of ['', '.', '*..io', '*.i o', '[a].io', '*.io?', `*${'a'.repeat(255)}`])
      assert.throws(() => parseDnsPattern(text), DnsPatternError, text);
  });

  it('agrees with a regular expression for random patterns and names', () => {
    const label = (letters: string) =>
      fc.string({ unit: fc.constantFrom(...letters), minLength: 1, maxLength: 5 });
    const dotted = (letters: string) =>
      fc.array(label(letters), { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'));
    fc.assert(
      fc.property(dotted('ab*'), dotted('ab'), fc.boolean(), (body, name, deep) => {
        const pattern = deep ? `**.${body}` : body;
        const anyDepth = pattern.startsWith('**.');
        const run = '[-a-z0-9_]';
        const rest = (anyDepth ? pattern.slice(3) : pattern)
          .replaceAll('.', '\\.')
          .replaceAll('*', `${run}*`);
        const regex = new RegExp(`^${anyDepth ? `(?:${run}+\\.)+` : ''}${rest}$`);
        assert.equal(matches(pattern, name), pattern === '*' || regex.test(name));
      }),
      { numRuns: 3000 },
    );
  });

  it('that would make a backtracking engine run for ever is answered', () => {
    assert.ok(!matches(`${'a*'.repeat(120)}b`, 'a'.repeat(255)));
    assert.ok(!matches(`${'a*'.repeat(120)}b.c`, `${'a'.repeat(250)}.c`));
  });
});

describe('a set of patterns', () => {
  const texts = [
    'example.com',
    '*.example.com',
    '**.example.com',
    '*',
    'www.*',
    '*.*.com',
    'www.example.com',
  ];
  const set = new DnsPatternSet(texts.map((text) => [parseDnsPattern(text), text] as const));

  it('finds the values of all patterns that match', () => {
    assert.deepEqual(set.match('www.example.com').sort(), [
      '*',
      '**.example.com',
      '*.*.com',
      '*.example.com',
      'www.example.com',
    ]);
    assert.deepEqual(set.match('').sort(), ['*']);
    assert.deepEqual(set.match('www.x').sort(), ['*', 'www.*']);
  });

  it('agrees with the patterns one by one', () => {
    const names = [
      'a',
      'a.com',
      'www.com',
      'a.b.com',
      'x.example.com',
      'y.x.example.com',
      'www.example.com',
      '',
    ];
    for (const name of names) {
      const single = texts.filter((text) => matches(text, name));
      assert.deepEqual(set.match(name).sort(), single.sort(), name);
      assert.equal(set.has(name), single.length > 0);
    }
  });

  it('that is empty has nothing', () => {
    assert.ok(!new DnsPatternSet([]).has('a'));
  });
});
