import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ingress, object, World } from './world.ts';

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

  it('corner case 26 (paths): what a server would understand as another path is refused, however it is written', () => {
    const world = new World(ingress(`[{${CLIENT}, ${http('[{path: "/v1/.*"}]')}}]`));
    for (const path of ['/v1/../admin', '/v1/%2e%2e/admin', '/v1/..%2fadmin', '/v1/.%2e/admin']) {
      assert.notEqual(world.request('client', 'GET', path), 200, path);
    }
    assert.equal(world.request('client', 'GET', '/v1/fine'), 200);
  });
});
