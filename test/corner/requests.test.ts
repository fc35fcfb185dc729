import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compileDnsPattern, foldDnsName, parseDnsPattern } from '../../src/model/dns-pattern.ts';
import { FqdnCache } from '../../src/policy/fqdn.ts';
import { httpFilter, httpRule, ingressPolicy, Rig } from '../proxy/rig.ts';
import { ingress, object, World } from './world.ts';

const PUBLIC = ingressPolicy([httpFilter([httpRule({ path: '/v1/.*' })])]);

const http = (rules: string): string =>
  `toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: ${rules}}}]`;
const GET_PUBLIC = http('[{method: GET, path: "/public"}]');
const CLIENT = 'fromEndpoints: [{matchLabels: {app: client}}]';

describe('corner cases of requests', () => {
  it('corner case 22: rules of HTTP and rules for peers or ports alone are united, and a denial stands above all', () => {
    const base = `{${CLIENT}, ${GET_PUBLIC}}`;
    const only = new World(ingress(`[${base}]`));
    assert.equal(only.verdict({ peer: 'client' }), 'redirect');
    assert.deepEqual(
      [only.request('client', 'GET', '/public'), only.request('client', 'GET', '/x')],
      [200, 403],
    );
    const withPeers = new World(ingress(`[${base}, {${CLIENT}}]`));
    assert.equal(
      withPeers.request('client', 'GET', '/x'),
      200,
      'a rule for the peer alone lets every request pass',
    );
    const withPorts = new World(ingress(`[${base}, {toPorts: [{ports: [{port: "80", protocol: TCP}]}]}]`));
    assert.equal(withPorts.request('client', 'GET', '/x'), 200, 'so does one for the port alone');
    const other = new World(
      ingress(`[${base}, {fromEndpoints: [{matchLabels: {app: plain}}], ${http('[{path: "/x"}]')}}]`),
    );
    assert.deepEqual([other.request('client', 'GET', '/x'), other.request('plain', 'GET', '/x')], [403, 200]);
    const deny = `endpointSelector: {matchLabels: {app: web}}\ningress: [${base}]\ningressDeny: [{${CLIENT}}]`;
    assert.equal(new World(object(deny)).verdict({ peer: 'client' }), 'deny 181');
  });

  it('corner case 23: an empty rule of HTTP allows every request, an empty list restricts nothing', () => {
    const empty = new World(ingress(`[{${CLIENT}, ${http('[{}]')}}]`));
    assert.equal(empty.verdict({ peer: 'client' }), 'redirect');
    assert.equal(empty.request('client', 'DELETE', '/anything'), 200);
    const none = new World(ingress(`[{${CLIENT}, ${http('[]')}}]`));
    assert.ok(none.passes({ peer: 'client' }));
    assert.equal(none.verdict({ peer: 'plain' }), 'deny 133');
  });

  it('corner case 24: a path is matched whole, with its query, and the method with its case', () => {
    const world = new World(ingress(`[{${CLIENT}, ${GET_PUBLIC}}]`));
    const answers = ['/public', '/public/', '/publicity', '/a/public', '/public?x=1'].map((path) =>
      world.request('client', 'GET', path),
    );
    assert.deepEqual(answers, [200, 403, 403, 403, 403]);
    assert.equal(world.request('client', 'get', '/public'), 403);
    const query = new World(ingress(`[{${CLIENT}, ${http('[{path: "/public[?]x=[0-9]+"}]')}}]`));
    assert.deepEqual(
      ['/public?x=1', '/public?x=a', '/public'].map((path) => query.request('client', 'GET', path)),
      [200, 403, 403],
    );
  });

  it('corner case 26: smuggled, doubled and disguised requests are refused; what a server would understand as another path is refused, however it is written', async () => {
    const world = new World(ingress(`[{${CLIENT}, ${http('[{path: "/v1/.*"}]')}}]`));
    for (const path of ['/v1/../admin', '/v1/%2e%2e/admin', '/v1/..%2fadmin', '/v1/.%2e/admin']) {
      assert.notEqual(world.request('client', 'GET', path), 200, path);
    }
    assert.equal(world.request('client', 'GET', '/v1/fine'), 200);
    await using rig = await new Rig().start(PUBLIC);
    const attacks = [
      'POST /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      'GET /v1/a HTTP/1.1\r\nHost: h\r\nHost: other\r\n\r\n',
      'POST /v1/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
      'CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n',
      'GET http://other/admin HTTP/1.1\r\nHost: h\r\n\r\n',
    ];
    for (const attack of attacks) {
      const client = await rig.client();
      client.send(attack);
      const [status = 0] = await client.answers(1);
      assert.ok(status >= 400, attack);
      client.destroy();
    }
    assert.equal(rig.server.text, '', 'none of them reached the server');
  });

  it('corner case 25: every request of a connection is judged, also of those that are sent at once', async () => {
    await using rig = await new Rig().start(PUBLIC);
    const client = await rig.client();
    const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`;
    client.send(get('/v1/a') + get('/admin') + get('/v1/b'));
    assert.deepEqual(await client.answers(3), [200, 403, 200]);
    client.send(get('/admin'));
    assert.deepEqual(await client.answers(4), [200, 403, 200, 403]);
    assert.equal(rig.server.text, get('/v1/a') + get('/v1/b'));
    client.destroy();
  });

  it('corner case 27: an address outlives its TTL with a connection; an alias has the address that it leads to, and gives none to others; case does not count, nor what was typed before the search', () => {
    const cache = new FqdnCache({ isInCluster: () => false }, { graceSeconds: 0 });
    cache.setSelectors([parseDnsPattern('*.x.io')]);
    const observe = (names: readonly string[], address: string): void => {
      cache.observe({ endpoint: 5, identity: 300, names, addresses: [address], ttlSeconds: 30 }, 0);
    };
    observe(['www.x.io'], '192.0.2.1');
    observe(['alias.x.io', 'real.example'], '192.0.2.2');
    observe(['alias.example', 'real.x.io'], '192.0.2.4');
    observe(['www.svc.local'], '192.0.2.3');
    const known = (): readonly string[] => cache.addresses().map(({ address }) => address);
    assert.deepEqual(known(), ['192.0.2.1', '192.0.2.2']);
    cache.collect(60_000, (endpoint, address) => endpoint === 5 && address === '192.0.2.1');
    assert.deepEqual(known(), ['192.0.2.1'], 'the one that a connection uses');
    cache.collect(61_000, () => false);
    assert.deepEqual(known(), []);
    const matches = compileDnsPattern(parseDnsPattern('*.X.io.'));
    assert.ok(matches(foldDnsName('WWW.x.IO.')));
    assert.ok(!matches(foldDnsName('www.x.io.svc.local')));
  });
});
