import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { readTarget, type Target } from '../../src/proxy/http/path.ts';

const read = (target: string, method = 'GET', host = 'h'): Target | string =>
  readTarget(method, target, host);

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
          // Twice, as a careless server would.
          let seen = path;
          for (let i = 0; i < 2; i++) {
            const url = new URL(`http://h${seen}`);
            assert.equal(url.pathname, seen, 'a URL parser changes nothing');
            seen = decodeURIComponent(seen.replace(/%(?![0-9A-Fa-f]{2})/g, '%25'));
            const trimmed = seen.replace(/(?<=\/)[. ]+(?=\/|$)/g, (name) => name.replaceAll(' ', ''));
            assert.ok(!/\/\.{1,2}(?:\/|$)/.test(trimmed), `${seen} is not seen otherwise by who trims names`);
            assert.ok(
              !/(?:^|\/)\.{1,2}(?:\/|$)/.test(seen) && !/[\\\0]/.test(seen) && !/\/\//.test(seen),
              seen,
            );
            seen = encodeURI(seen);
          }
        }
      }),
      { numRuns: 5000 },
    );
  });
});
