import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { readTarget, type Target } from '../../src/proxy/http/path.ts';

const read = (target: string, method = 'GET', host = 'h'): Target | string =>
  readTarget(method, target, host);

/** One round of decoding, of ASCII, by who minds nothing. */
const decoded = (text: string): string =>
  text.replace(/%(?:u00)?([0-7][0-9a-f])/gi, (_, code: string) =>
    String.fromCharCode(Number.parseInt(code, 16)),
  );

describe('a request target', () => {
  const kept = [
    '/',
    '/a',
    '/a/',
    '/a/b.c/d',
    '/.well-known/x',
    '/a..b/c.',
    '/...',
    "/a!$&'()*+,=:@-_~",
    '/a?x=//..%2f',
    '/a?',
    '/%E2%82%AC',
    '/a%20b',
    '/a.%20/b',
    '/%20a/..b',
    '/{a}|"<>^`',
    '/100%25',
    '/100%25/2e',
    '/%25g/%25u00',
    '/%E7%94%B2%EF%BC%8F%E4%B9%99',
    '/a%3Fb/%23c',
    '/%3F.',
    '/%C2%A5100%E3%80%82',
    '/a%E2%80%8Db',
    '/%E2%80%A6',
    '/a%EF%BC%8E%EF%BC%8E/%F0%9F%9A%80',
  ];
  for (const target of kept) {
    it(`${target} is judged and passed as it is`, () => {
      assert.deepEqual(read(target), { path: target, bare: undefined, rewritten: false });
    });
  }

  const rewritten: readonly (readonly [target: string, path: string])[] = [
    ['/%7Euser', '/~user'],
    ['/%61%62c', '/abc'],
    ['/file%2ejson', '/file.json'],
    ['/%e2%82%ac', '/%E2%82%AC'],
    ['/a%3db', '/a%3Db'],
    ['http://h/a?b', '/a?b'],
    ['http://H:80', '/'],
    ['http://h?q', '/?q'],
  ];
  for (const [target, path] of rewritten) {
    it(`${target} is judged and passed as ${path}`, () => {
      assert.deepEqual(read(target), { path, bare: undefined, rewritten: true });
    });
  }

  it('with parameters is judged with and without them', () => {
    assert.deepEqual(read('/a;v=1/b;w?q;r'), { path: '/a;v=1/b;w?q;r', bare: '/a/b?q;r', rewritten: false });
    assert.deepEqual(read('/a%3bv/b'), { path: '/a%3Bv/b', bare: '/a/b', rewritten: true });
  });

  it('* is for OPTIONS only', () => {
    assert.deepEqual(read('*', 'OPTIONS'), { path: '*', bare: undefined, rewritten: false });
    assert.equal(typeof read('*'), 'string');
    assert.deepEqual(read('http://h', 'OPTIONS'), { path: '*', bare: undefined, rewritten: true });
  });

  it('that is accepted is understood alike by who decodes and simplifies it first', () => {
    const piece = fc.constantFrom(
      '/',
      '.',
      '..',
      'a',
      '%2e',
      '%2E',
      '%2f',
      '%5c',
      '\\',
      ';',
      '%3b',
      '%61',
      '%25',
      '2e',
      '%32',
      '%65',
      'u002e',
      '%75',
      '%ef%bc%8e',
      '%e2%80%a5',
      '%ef%bc%8f',
      '%c3%a9',
      '%c0',
      '%ae',
      '%00',
      '%20',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const result = read(`/${pieces.join('')}`);
        if (typeof result === 'string') return;
        for (const path of [result.path, result.bare ?? result.path]) {
          assert.equal(new URL(`http://h${path}`).pathname, path, 'a URL parser changes nothing');
          // Twice, as a careless server would; or with other scripts' characters for those that look so.
          const once = decoded(path);
          const views = [once, decoded(once)];
          for (const seen of [...views, decodeURIComponent(path).normalize('NFKC')]) {
            const names = seen.split(/[\\/]/).map((name) => name.replaceAll(/\s/g, ''));
            assert.ok(!names.includes('.') && !names.includes('..'), `${seen} has dot segments`);
          }
          for (const seen of views) assert.ok(!/[\\\0]|\/\//.test(seen), seen);
        }
      }),
      { numRuns: 5000 },
    );
  });
});
