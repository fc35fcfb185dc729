import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { RE2JS } from 're2js';
import { isDisguise } from '../../src/proxy/http/disguise.ts';
import { MatchBudget } from '../../src/proxy/http/match-budget.ts';
import { readTarget } from '../../src/proxy/http/path.ts';
import { PathIndex } from '../../src/proxy/http/path-index.ts';
import { compileMatcher } from '../../src/proxy/http/pattern.ts';
import { HttpRuleSet, type JudgedRequest } from '../../src/proxy/http/rule-set.ts';
import { httpFilter, httpRule } from './rig.ts';

function request(
  path: string,
  parts: { method?: string; host?: string; headers?: Record<string, string> } = {},
): JudgedRequest {
  const understood = readTarget('GET', path, 'h');
  if (typeof understood === 'string') throw new Error(understood);
  return {
    method: parts.method ?? 'GET',
    hostText: parts.host ?? 'h',
    understood,
    joined: (lower) => parts.headers?.[lower],
    disguised: (lower) => Object.keys(parts.headers ?? {}).filter((name) => isDisguise(name, lower)),
  };
}

describe('HTTP rules', () => {
  it('hold expressions against whole values, the query included', () => {
    const set = new HttpRuleSet([httpFilter([httpRule({ path: '/v1/a', method: 'GET' })])]);
    assert.equal(set.judge(request('/v1/a')).allowed, true);
    for (const path of ['/v1/a?q', '/v1/ab', '/x/v1/a'])
      assert.equal(set.judge(request(path)).allowed, false, path);
    assert.equal(set.judge(request('/v1/a', { method: 'GETS' })).allowed, false);
  });

  it('allow everything when empty, and nothing when there are none', () => {
    assert.equal(new HttpRuleSet([httpFilter([httpRule()])]).judge(request('/x')).allowed, true);
    assert.equal(new HttpRuleSet([httpFilter([])]).judge(request('/x')).allowed, false);
    assert.equal(new HttpRuleSet([]).judge(request('/x')).allowed, false);
  });

  it('are a union with filters that have none, which let every request pass', () => {
    const set = new HttpRuleSet([httpFilter([]), httpFilter(undefined, { ruleName: 'open' })]);
    const allowed = { allowed: true, rules: ['open'], edits: [], remark: '', fields: [] };
    assert.deepEqual(set.judge(request('/x')), allowed);
  });

  it('allow a path with parameters only if they allow it without them too', () => {
    const css = new HttpRuleSet([httpFilter([httpRule({ path: '/.*[.]css' })])]);
    assert.equal(css.judge(request('/admin;x.css')).allowed, false);
    assert.equal(css.judge(request('/a.css;v=1.css')).allowed, true);
  });

  it('want headers with their whole value, or only there', () => {
    const set = new HttpRuleSet([httpFilter([httpRule({ headers: ['X-Token: secret', 'X-Any'] })])]);
    const judged = (headers: Record<string, string>): boolean => set.judge(request('/', { headers })).allowed;
    assert.equal(judged({ 'x-token': 'secret', 'x-any': '' }), true);
    assert.equal(judged({ 'x-token': 'secret' }), false);
    assert.equal(judged({ 'x-token': 'secrets', 'x-any': '1' }), false);
    assert.equal(judged({ 'x-token': 'secret,secret', 'x-any': '1' }), false);
  });

  it('about a header that a connection has to name (RFC 9110 §7.8, §10.1.4) allow it named, and others not', () => {
    const judged = (name: string, value: string, connection: string): boolean => {
      const set = new HttpRuleSet([httpFilter([httpRule({ headers: [`${name}: ${value}`] })])]);
      const headers = { [name.toLowerCase()]: value, connection };
      return set.judge(request('/', { headers })).allowed;
    };
    assert.equal(judged('Upgrade', 'websocket', 'keep-alive, Upgrade'), true);
    assert.equal(judged('TE', 'trailers', 'TE'), true);
    assert.equal(judged('Keep-Alive', 'timeout=5', 'Keep-Alive'), true);
    assert.equal(judged('X-Role', 'user', 'Upgrade, X-Role'), false);
  });

  it('about a header allow nothing while another field is that header too to some servers, but where it may be anything', () => {
    const user = { 'x-role': 'user' };
    const judged = (name: string, mismatch?: 'LOG' | 'DELETE' | 'REPLACE' | 'ADD') => {
      const rule = httpRule({ headerMatches: [{ name: 'X-Role', value: 'user', mismatch }] });
      return new HttpRuleSet([httpFilter([rule])]).judge(
        request('/', { headers: { ...user, [name]: 'admin' } }),
      );
    };
    for (const name of ['x_role', 'x.role', 'x!role']) {
      for (const mismatch of [undefined, 'DELETE', 'REPLACE', 'ADD'] as const) {
        const { allowed, remark } = judged(name, mismatch);
        assert.deepEqual([allowed, remark], [false, `${name} is X-Role to some servers`], mismatch);
      }
      const { allowed, remark, edits } = judged(name, 'LOG');
      assert.deepEqual([allowed, remark, edits.length], [true, 'header X-Role does not match', 0]);
    }
    for (const name of ['x-roles', 'xrole', 'x_roll', 'y-role'])
      assert.equal(judged(name).allowed, true, name);
    const about = httpRule({ headers: ['X_Role'] });
    const set = new HttpRuleSet([httpFilter([about])]);
    assert.equal(set.judge(request('/', { headers: { x_role: '1' } })).allowed, true);
    assert.equal(set.judge(request('/', { headers: { x_role: '1', 'x-role': '2' } })).allowed, false);
    const other = new HttpRuleSet([httpFilter([about, httpRule({ path: '/open' })])]);
    assert.equal(
      other.judge(request('/open', { headers: { 'x-role': '2' } })).allowed,
      true,
      'a rule about no header',
    );
  });

  it('let one rule change a header where another one denies because of it', () => {
    const denies = httpRule({ headers: ['X-A: 1'] });
    const changes = httpRule({ headerMatches: [{ name: 'X-A', value: '2', mismatch: 'REPLACE' }] });
    for (const rules of [
      [denies, changes],
      [changes, denies],
    ]) {
      const verdict = new HttpRuleSet([httpFilter(rules)]).judge(request('/', { headers: { 'x-a': '3' } }));
      assert.deepEqual([verdict.allowed, verdict.edits.length], [true, 1]);
    }
  });

  it('change headers that do not match as they are told to, and prefer a rule that changes none', () => {
    const actions = ['LOG', 'ADD', 'DELETE', 'REPLACE'] as const;
    const headerMatches = actions.map((mismatch) => ({ name: `X-${mismatch}`, value: 'v', mismatch }));
    const set = new HttpRuleSet([httpFilter([httpRule({ headerMatches }), httpRule({ path: '/plain' })])]);
    const verdict = set.judge(request('/a', { headers: { 'x-replace': 'w' } }));
    assert.equal(verdict.allowed, true);
    assert.deepEqual(
      verdict.edits.map(({ action, name }) => `${action} ${name}`),
      ['ADD X-ADD', 'DELETE X-DELETE', 'REPLACE X-REPLACE'],
    );
    assert.match(verdict.remark, /X-LOG/);
    assert.deepEqual(set.judge(request('/plain')).edits, []);
  });

  it('that cannot be used allow nothing, and say so', () => {
    const bad = [httpRule({ path: '(' }), httpRule({ method: '[' }), httpRule({ headers: ['a b c: d'] })];
    const framing = httpRule({ headerMatches: [{ name: 'Content-Length', value: '0', mismatch: 'ADD' }] });
    const set = new HttpRuleSet([httpFilter([...bad.slice(0, 2), framing])]);
    assert.equal(set.problems.length, 3);
    assert.equal(set.judge(request('/x')).allowed, false);
  });
});

describe('the index of paths', () => {
  it('matches as each expression alone does', () => {
    const piece = fc.constantFrom(
      '/',
      'a',
      'b',
      '.',
      '.*',
      '.+',
      '[ab]',
      '(a|b)',
      'a|b',
      '\\.',
      '[^/]+',
      'a+',
      '^',
      '$',
    );
    const source = fc.array(piece, { minLength: 1, maxLength: 6 }).map((parts) => parts.join(''));
    const path = fc
      .array(fc.constantFrom('/', 'a', 'b', '.'), { maxLength: 6 })
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(fc.array(source, { maxLength: 8 }), fc.array(path, { maxLength: 8 }), (sources, paths) => {
        const index = new PathIndex();
        for (const [place, text] of sources.entries()) index.add(text, place);
        for (const text of [...paths, ...paths]) {
          const wanted = sources.flatMap((one, place) => (RE2JS.compile(one).matches(text) ? [place] : []));
          assert.deepEqual(index.match(text), wanted);
          for (const one of sources)
            assert.equal(compileMatcher(one, new MatchBudget())(text), RE2JS.compile(one).matches(text), one);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('is not held up by expressions that others take exponential time for', () => {
    const index = new PathIndex();
    index.add('/(a+)+b', 0);
    index.add('/(a|aa)*c', 1);
    const start = performance.now();
    for (let i = 0; i < 20; i++) assert.deepEqual(index.match(`/${'a'.repeat(2000 + i)}d`), []);
    assert.ok(performance.now() - start < 5000);
  });
});
