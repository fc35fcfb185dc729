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
    assert.equal(judge?.({ kind: 'http', rules: [httpRule({ headers: [`X-Team: ${value}`] })] }), true);
    assert.equal(judge?.({ kind: 'http', rules: [httpRule({ headers: ['X-Team: a'] })] }), false);
  });
});
