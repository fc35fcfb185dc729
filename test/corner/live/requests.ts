import assert from 'node:assert/strict';
import { it } from 'node:test';
import { statuses } from '../../support/http-statuses.ts';
import { FROM_CLIENT, toServers } from './rules.ts';
import { HTTP_PORT, type Stage } from './stage.ts';

const http = (rules: string): string =>
  `toPorts: [{ports: [{port: "${HTTP_PORT}", protocol: TCP}], rules: {http: ${rules}}}]`;
const GET_PUBLIC = http('[{method: GET, path: "/public"}]');
const BASE = `{${FROM_CLIENT}, ${GET_PUBLIC}}`;
const SERVERS = ['server', 'server2'] as const;

const request = (method: string, target: string, more = ''): string =>
  `${method} ${target} HTTP/1.1\r\nHost: h\r\n${more}\r\n`;

/** Requests through the proxy of the server's node. */
export function defineRequests({ live, traffic }: Stage): void {
  const ask = async (from: string, method: string, target: string, to = 'server'): Promise<number> =>
    (await traffic.http(from, to, HTTP_PORT, request(method, target)))[0] ?? 0;
  const all = async (
    from: string,
    targets: readonly string[],
    method = 'GET',
  ): Promise<readonly number[]> => {
    const answers: number[] = [];
    for (const target of targets) answers.push(await ask(from, method, target));
    return answers;
  };

  it('corner case 22: rules of HTTP and rules for peers or ports alone are united, and a denial stands above all', async () => {
    await live.policy(toServers(`[${BASE}]`));
    for (const server of SERVERS) {
      assert.equal(await ask('client', 'GET', '/public', server), 200);
      assert.equal(await ask('client', 'GET', '/x', server), 403);
    }
    assert.equal(await traffic.tcp('plain', 'server', HTTP_PORT), '133');
    await live.change(toServers(`[${BASE}, {${FROM_CLIENT}}]`));
    assert.equal(await ask('client', 'GET', '/x'), 200, 'a rule for the peer alone lets every request pass');
    await live.change(toServers(`[${BASE}, {toPorts: [{ports: [{port: "${HTTP_PORT}", protocol: TCP}]}]}]`));
    assert.deepEqual([await ask('client', 'GET', '/x'), await ask('plain', 'GET', '/x')], [200, 200]);
    const other = `{fromEndpoints: [{matchLabels: {app: plain}}], ${http('[{path: "/x"}]')}}`;
    await live.change(toServers(`[${BASE}, ${other}]`));
    assert.deepEqual([await ask('client', 'GET', '/x'), await ask('plain', 'GET', '/x')], [403, 200]);
    await live.change(toServers(`[${BASE}]`, `\ningressDeny: [{${FROM_CLIENT}}]`));
    assert.equal(await traffic.tcp('client', 'server', HTTP_PORT), '181');
  });

  it('corner case 23: an empty rule of HTTP allows every request, an empty list restricts nothing', async () => {
    await live.policy(toServers(`[{${FROM_CLIENT}, ${http('[{}]')}}]`));
    assert.equal(await ask('client', 'DELETE', '/anything'), 200);
    const [status = 0] = await traffic.http('client', 'server', HTTP_PORT, 'no request at all\r\n\r\n');
    assert.ok(status >= 400, `but what is none: ${status}`);
    assert.deepEqual(traffic.requests(), ['DELETE /anything']);
    await live.change(toServers(`[{${FROM_CLIENT}, ${http('[]')}}]`));
    await traffic.http('client', 'server', HTTP_PORT, 'no request at all\r\n\r\n');
    assert.deepEqual(traffic.requests(), ['a broken request'], 'nobody reads what passes');
    assert.equal(await traffic.tcp('plain', 'server', HTTP_PORT), '133');
  });

  it('corner case 24: a path is matched whole, with its query, and the method with its case', async () => {
    await live.policy(toServers(`[${BASE}]`));
    const targets = ['/public', '/public/', '/publicity', '/a/public', '/public?x=1'];
    assert.deepEqual(await all('client', targets), [200, 403, 403, 403, 403]);
    assert.deepEqual(await all('client', ['/public'], 'Get'), [403]);
    await live.change(toServers(`[{${FROM_CLIENT}, ${http('[{path: "/public[?]x=[0-9]+"}]')}}]`));
    assert.deepEqual(await all('client', ['/public?x=1', '/public?x=a', '/public']), [200, 403, 403]);
    assert.deepEqual(traffic.requests(), ['GET /public', 'GET /public?x=1']);
  });

  it('corner case 25: every request of a connection is judged, also of those that are sent at once', async () => {
    await live.policy(toServers(`[${BASE}]`));
    const [yes, no] = [request('GET', '/public'), request('GET', '/admin')];
    for (const server of SERVERS) {
      const socket = await traffic.connect('client', server, HTTP_PORT);
      assert.deepEqual(await statuses(socket, yes, 1), [200]);
      assert.deepEqual(await statuses(socket, no, 1), [403]);
      assert.deepEqual(await statuses(socket, yes + no + yes, 3), [200, 403, 200]);
      await live.change(toServers(`[{${FROM_CLIENT}, ${http('[{path: "/admin"}]')}}]`));
      assert.deepEqual(await statuses(socket, yes + no, 2), [403, 200], 'by the rules of now');
      await live.change(toServers(`[${BASE}]`));
      assert.deepEqual(traffic.requests(), ['GET /public', 'GET /public', 'GET /public', 'GET /admin']);
    }
  });

  it('corner case 26: smuggled, doubled and disguised requests are refused, and none reaches the server', async () => {
    await live.policy(toServers(`[{${FROM_CLIENT}, ${http('[{path: "/v1/.*"}]')}}]`));
    const attacks = [
      ...['/v1/../admin', '/v1/%2e%2e/admin', '/v1/..%2fadmin', '/v1/.%2e/admin'].map((target) =>
        request('GET', target),
      ),
      request('POST', '/v1/a', 'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n').concat('0\r\n\r\n'),
      request('POST', '/v1/a', 'Content-Length: 1\r\nContent-Length: 2\r\n').concat('ab'),
      request('GET', '/v1/a', 'Host: other\r\n'),
      request('CONNECT', 'h:80'),
      request('GET', 'http://other/admin'),
      request('GET', '/admin', 'Connection: Upgrade\r\nUpgrade: websocket\r\n'),
      request('POST', '/v1/a', 'Transfer-Encoding: chunked\r\n').concat('fffffffffffffffff1\r\n'),
    ];
    for (const attack of attacks) {
      const [status = 0] = await traffic.http('client', 'server', HTTP_PORT, attack);
      assert.ok(status >= 400, `${status} ${attack}`);
    }
    assert.deepEqual(traffic.requests(), [], 'none of them');
    assert.equal(await ask('client', 'GET', '/v1/fine'), 200, 'an honest one does');
  });
}
