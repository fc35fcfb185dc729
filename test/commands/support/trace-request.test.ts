import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { traceRequest } from '../../../commands/support/trace-request.ts';
import { RequestHead } from '../../../src/proxy/http/request-head.ts';
import { httpRule } from '../../proxy/rig.ts';

describe('a request that a trace is asked about', () => {
  it('has the values of a repeated header joined as the proxy joins them', () => {
    const fields = ['X-Team: a', 'x-team: b'];
    const judge = traceRequest({ http: 'GET /', headers: fields, dns: undefined, serverName: undefined });
    const head = new RequestHead(10);
    const bytes = Buffer.from(['GET / HTTP/1.1', 'Host: h', ...fields, '', ''].join('\r\n'));
    assert.equal(head.parse(bytes, 0, bytes.length), undefined);
    const value = head.joined('x-team');
    assert.equal(
      judge?.isAllowedBy({ kind: 'http', rules: [httpRule({ headers: [`X-Team: ${value}`] })] }),
      true,
    );
    assert.equal(judge?.isAllowedBy({ kind: 'http', rules: [httpRule({ headers: ['X-Team: a'] })] }), false);
  });

  it('goes on as the rules of its client leave it, all of them judged together', () => {
    const asked = traceRequest({
      http: 'GET /a',
      headers: ['X-Team: b', 'X-Gone: 1'],
      dns: undefined,
      serverName: undefined,
    });
    const out = [
      { name: 'X-Team', value: 'a', mismatch: 'REPLACE' as const },
      { name: 'X-Gone', value: 'a', mismatch: 'DELETE' as const },
      { name: 'X-More', value: '1', mismatch: 'ADD' as const },
      { name: 'X-Seen', value: '1', mismatch: 'LOG' as const },
    ];
    const changing = { kind: 'http' as const, rules: [httpRule({ headerMatches: out })] };
    const left = asked?.leftBy([changing]);
    assert.deepEqual(left?.changes, [
      'X-Team: a in place of what there was',
      'X-Gone removed',
      'X-More: 1 added',
    ]);
    const inward = (...headers: string[]) =>
      left?.request.isAllowedBy({ kind: 'http', rules: [httpRule({ headers })] });
    assert.equal(inward('X-Team: a', 'X-More: 1'), true);
    assert.equal(inward('X-Team: b'), false);
    assert.equal(inward('X-Gone'), false);
    const plain = { kind: 'http' as const, rules: [httpRule({ path: '/a' })] };
    assert.deepEqual(asked?.leftBy([changing, plain]).changes, [], 'a rule that changes nothing goes first');
  });
});
