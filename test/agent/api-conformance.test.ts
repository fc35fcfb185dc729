import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { Check, Errors } from 'typebox/value';
import type { Agent } from '../../src/agent/agent.ts';
import { defaultAgentOptions } from '../../src/agent/options.ts';
import { AgentClient } from '../../src/api/client.ts';
import { contract } from '../../src/api/contract.ts';
import type { Operation } from '../../src/api/contract-types.ts';
import { parseCidr } from '../../src/base/ip.ts';
import { silentLog } from '../../src/base/log.ts';
import { createAgent } from '../../src/wiring/agent.ts';
import { answerSchema } from '../api/recorded.ts';
import { rawExchange, requestText, tempFolder } from './api/support.ts';

const RULE = JSON.stringify([
  {
    endpointSelector: { matchLabels: { 'any:class': 'deathstar' } },
    ingress: [
      {
        fromEndpoints: [{ matchLabels: { 'any:org': 'empire' } }],
        toPorts: [{ ports: [{ port: '80', protocol: 'TCP' }] }],
      },
    ],
    labels: [{ key: 'name', value: 'rule1', source: 'unspec' }],
  },
]);

/** Path -> the members that a real client follows without looking (`[]`: in every element). */
const NEEDED: Readonly<Record<string, readonly string[]>> = {
  '/healthz': [
    'encryption',
    'cilium.state',
    'cluster.ciliumHealth',
    'controllers[].configuration',
    'controllers[].status',
    ...[
      'nodePort',
      'sessionAffinity',
      'hostPort',
      'externalIPs',
      'socketLB',
      'socketLBTracing',
      'nat46X64',
    ].map((feature) => `kube-proxy-replacement.features.${feature}`),
  ],
  '/config': [
    'status.realized.options',
    'status.nodeMonitor.npages',
    'status.daemonConfigurationMap',
    'status.addressing',
  ],
  '/endpoint': [
    '[].status.state',
    '[].status.identity.labels',
    '[].status.labels.security-relevant',
    '[].status.networking.addressing',
    '[].status.policy.realized.policy-enabled',
  ],
  '/endpoint/12/config': ['realized.options'],
  '/endpoint/12/labels': ['status.realized'],
  '/endpoint/12/log': ['[].timestamp', '[].code', '[].message'],
  '/endpoint/12/healthz': ['overallHealth', 'bpf', 'policy', 'connected'],
  '/identity': ['[].id', '[].labels'],
  '/identity/1': ['id', 'labels'],
  '/identity/endpoints': ['[].identity.labels', '[].refCount'],
  '/policy': ['revision', 'policy'],
  '/policy/selectors': ['[].selector', '[].identities', '[].users', '[].labels'],
  '/policy/subject-selectors': ['[].selector', '[].identities'],
  '/policy/rules': ['[].id', '[].name', '[].endpoints', '[].connections', '[].requests'],
  '/policy/flows': ['flows'],
  '/policy/objects': ['revision', 'objects'],
  '/fqdn/names': [],
  '/ip': ['[].cidr', '[].identity', '[].metadata'],
  '/cluster/nodes': ['self', 'nodes-added[].name', 'nodes-added[].primary-address.ipv4.ip'],
  '/node/ids': ['[].id', '[].ips'],
  '/map': ['maps'],
  '/service': [
    '[].spec.id',
    '[].status.realized.flags.type',
    '[].status.realized.frontend-address.scope',
    '[].status.realized.backend-addresses',
  ],
  '/service/1': ['spec.frontend-address.ip', 'status.realized.flags', 'status.realized.backend-addresses'],
  '/debuginfo': [
    'cilium-version',
    'kernel-version',
    'policy.policy',
    'cilium-status.cilium',
    'endpoint-list[].status',
  ],
};

/** Every value at `path` in `value`; an absent one is `undefined`. */
function valuesAt(value: unknown, path: string): readonly unknown[] {
  const steps = path
    .replace(/\[\]/g, '.[]')
    .split('.')
    .filter((step) => step !== '');
  return steps.reduce<readonly unknown[]>(
    (values, step) =>
      values.flatMap((item): readonly unknown[] => {
        if (step === '[]') return Array.isArray(item) ? item : [undefined];
        return [(item as Record<string, unknown> | undefined)?.[step]];
      }),
    [value],
  );
}

describe('the API of a running agent', () => {
  const folder = tempFolder();
  const socketPath = join(folder.path, 'ciliate.sock');
  const client = new AgentClient({ address: { kind: 'unix', path: socketPath }, timeoutMs: 10_000 });
  let agent: Agent | undefined;

  before(async () => {
    const options = {
      ...defaultAgentOptions(),
      'node-name': 'node-a',
      'state-dir': folder.path,
      'bpf-dir': join(folder.path, 'bpf'),
      datapath: 'none' as const,
      'ipv4-node': '127.0.0.1',
      'ipv6-node': '::1',
      'ipv4-range': parseCidr('10.9.1.0/24'),
      'ipv6-range': parseCidr('fd09::/120'),
      health: false,
      'metrics-address': undefined,
      'liveness-address': undefined,
    };
    agent = createAgent({ options, log: silentLog });
    await agent.start();
    await client.putPolicy(RULE);
    await client.putService(1, {
      'frontend-address': { ip: '10.96.0.1', port: 443, protocol: 'tcp' },
      'backend-addresses': [{ ip: '10.9.1.12', port: 6443 }],
    });
    const names: readonly [string, readonly string[], string, string][] = [
      ['12', ['k8s:org=empire', 'k8s:class=deathstar'], '10.9.1.12', 'fd09::c'],
      ['13', ['k8s:org=alliance', 'k8s:class=xwing'], '10.9.1.13', 'fd09::d'],
    ];
    for (const [id, labels, ipv4, ipv6] of names) {
      const request = { state: 'waiting-for-identity', labels, addressing: { ipv4, ipv6 } } as const;
      await client.putEndpoint(id, { ...request, 'container-id': `c${id}`, 'sync-build-endpoint': true });
    }
  });

  after(async () => {
    await agent?.stop();
    folder[Symbol.dispose]();
  });

  const get = (path: string, body?: string) =>
    rawExchange(socketPath, requestText('GET', `/v1${path}`, body));

  it('answers every path in the right types, with every object that real clients need', async () => {
    for (const [path, needed] of Object.entries(NEEDED)) {
      const answer = await get(path);
      assert.equal(answer.status, 200, `${path}: ${answer.body}`);
      const body: unknown = JSON.parse(answer.body);
      const schema = answerSchema(path);
      assert.ok(
        schema && Check(schema, body),
        `${path}: ${JSON.stringify(schema && Errors(schema, body).slice(0, 3))}`,
      );
      for (const member of needed) {
        const values = valuesAt(body, member);
        assert.ok(values.length > 0, `${path} has no ${member}`);
        assert.ok(
          values.every((value) => value !== undefined && value !== null),
          `${path} lacks ${member}`,
        );
      }
    }
    const metrics = await get('/metrics');
    assert.match(metrics.headers.get('content-type') ?? '', /^text\/plain/);
  });

  it('answers every GET of the contract that the table above knows, and no other', () => {
    const gets = (Object.values(contract) as Operation[]).filter((operation) => operation.method === 'get');
    const templates = new Set(gets.map((operation) => operation.path));
    const asked = Object.keys(NEEDED).map((path) =>
      path.replace(/\/12(?=\/|$)/, '/{id}').replace(/\/1$/, '/{id}'),
    );
    const missing = [...templates].filter((template) => !asked.includes(template));
    assert.deepEqual(missing.toSorted(), [
      '/endpoint/{id}',
      '/fqdn/cache',
      '/fqdn/cache/{id}',
      '/map/{name}',
      '/metrics',
      '/policy/resolve',
    ]);
  });

  it('answers the requests of real clients', async () => {
    const filter = (path: string, body: string): string =>
      `GET /v1${path} HTTP/1.1\r\nHost: \r\nAccept: application/json\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    for (const path of ['/endpoint', '/identity', '/ip', '/policy']) {
      for (const body of ['null\n', '[]\n']) {
        assert.equal((await rawExchange(socketPath, filter(path, body))).status, 200, `${path} ${body}`);
      }
    }
    const found = await rawExchange(socketPath, filter('/endpoint', '["any:class=deathstar"]\n'));
    assert.deepEqual(
      (JSON.parse(found.body) as { id: number }[]).map((endpoint) => endpoint.id),
      [12],
    );
    assert.equal((await rawExchange(socketPath, filter('/endpoint', '["k8s:none=here"]\n'))).status, 404);
  });

  it('says what the rules allow between labels, as it did in 2018', async () => {
    const resolve = async (selector: object) => {
      const answer = await get('/policy/resolve', JSON.stringify(selector));
      const body = JSON.parse(answer.body) as { verdict: string; log: string };
      return { status: answer.status, ...body };
    };
    const to = (...dports: object[]) => ({ labels: ['any:class=deathstar'], dports });
    const http = { port: 80, protocol: 'TCP' };
    const empire = { from: { labels: ['k8s:org=empire'] }, to: to(http), verbose: true };
    const allowed = await resolve(empire);
    assert.equal(allowed.verdict, 'allowed', allowed.log);
    assert.match(allowed.log, /class=deathstar[\s\S]*Final verdict: ALLOWED/);
    const alliance = { labels: ['any:org=alliance'] };
    assert.equal((await resolve({ from: alliance, to: to(http) })).verdict, 'denied');
    assert.equal((await resolve({ ...empire, to: to({ port: 80 }) })).verdict, 'allowed', 'of any protocol');
    assert.equal(
      (await resolve({ ...empire, to: to(http, { port: 81, protocol: 'TCP' }) })).verdict,
      'denied',
    );
    assert.equal((await get('/policy/resolve', '{"to": {"labels": ["a=b"]}}')).status, 400);
    assert.equal((await get('/policy/resolve', '{"from": 5}')).status, 400);
    assert.equal((await get('/policy/resolve')).status, 400);
  });

  it('finds an endpoint by each of its names', async () => {
    for (const name of ['12', 'cilium-local:12', 'container-id:c12', 'ipv4:10.9.1.12', 'ipv6:fd09::c']) {
      assert.equal((await client.endpoint(name)).id, 12, name);
    }
    await assert.rejects(client.endpoint('14'), { code: 'NOT_FOUND', status: 404 });
    await assert.rejects(client.endpoint('pod-name:default:none'), { code: 'NOT_FOUND' });
  });

  it('refuses what does not fit, and changes nothing', async () => {
    const before = JSON.stringify(
      (await client.endpoints()).map(({ id, status }) => [id, status?.labels, status?.state]),
    );
    const revision = (await client.policy()).revision;
    const create = { state: 'waiting-for-identity', labels: ['k8s:a=b'] } as const;
    const refused: readonly [() => Promise<unknown>, number, RegExp][] = [
      [() => client.putEndpoint('12', { ...create, addressing: { ipv4: '10.9.1.50' } }), 409, /12/],
      [() => client.putEndpoint('20', { ...create, addressing: { ipv4: '10.9.1.13' } }), 409, /10\.9\.1\.13/],
      [() => client.putEndpoint('21', { ...create, addressing: { ipv4: 'ten' } }), 400, /addressing\.ipv4/],
      [
        () =>
          client.putEndpoint('22', { ...create, labels: ['nobody:a=b'], addressing: { ipv4: '10.9.1.60' } }),
        400,
        /labels/,
      ],
      [
        () => client.putEndpoint('23', { ...create, mac: 'zz', addressing: { ipv4: '10.9.1.61' } }),
        400,
        /mac/,
      ],
      [() => client.patchConfig({ options: { NoSuchOption: 'Enabled' } }), 400, /NoSuchOption/],
      [() => client.patchEndpointConfig('12', { options: { NoSuchOption: '1' } }), 400, /NoSuchOption/],
      [() => client.putPolicy('{'), 400, /./],
      [() => client.putPolicy('[{"endpointSelector": 5, "ingress": [{}]}]'), 460, /endpointSelector/],
      [() => client.putPolicy('[{"ingress": [{"fromUnicorns": []}]}]'), 460, /./],
      [() => client.deletePolicy(['unspec:name=other']), 404, /other/],
      [() => client.deletePolicyObjects(['svc/other']), 404, /Service\/default\/other/],
      [() => client.allocateIp('10.8.0.1'), 400, /10\.8\.0\.1/],
      [() => client.allocateIp('10.9.1.12'), 409, /10\.9\.1\.12/],
      [() => client.releaseIp('10.9.1.12'), 409, /endpoint 12/],
      [() => client.releaseIp('10.9.1.77'), 404, /10\.9\.1\.77/],
      [() => client.service(2), 404, /no service 2/],
      [() => client.deleteService(2), 404, /no service 2/],
      [() => client.putService(2, {}), 400, /^frontend-address: is missing/],
      [() => client.putService(2, { 'frontend-address': { ip: '10.96.0.1', port: 443 } }), 409, /the id 1$/],
      [
        () => client.putService(1, { 'frontend-address': { ip: '10.96.0.1', port: 44 } }),
        409,
        /10\.96\.0\.1:443/,
      ],
      [() => client.putService(70_000, {}), 400, /id/],
    ];
    for (const [call, status, text] of refused) await assert.rejects(call(), { status, text }, String(call));
    const now = JSON.stringify(
      (await client.endpoints()).map(({ id, status }) => [id, status?.labels, status?.state]),
    );
    assert.equal(now, before);
    assert.equal((await client.policy()).revision, revision);
  });

  it('survives anything that is written to any of its paths: no 5xx, and what was there stays', async () => {
    const writes = (Object.values(contract) as Operation[]).filter(
      ({ method, body }) => method !== 'get' || body,
    );
    const label = fc.oneof(
      fc.constantFrom('k8s:a=b', 'reserved:host', 'a', ':', '=', 'k8s:', 'x:y=z', ''),
      fc.string(),
    );
    const body = fc.oneof(
      fc.jsonValue({ maxDepth: 3 }),
      fc.array(label, { maxLength: 3 }),
      fc.record(
        {
          state: fc.constantFrom('ready', 'invalid', 'waiting-for-identity', 'disconnected'),
          id: fc.integer(),
          labels: fc.array(label, { maxLength: 3 }),
          user: fc.array(label, { maxLength: 3 }),
          options: fc.dictionary(fc.constantFrom('Debug', 'toString', '__proto__', 'x'), fc.string()),
          addressing: fc.record(
            { ipv4: fc.oneof(fc.ipV4(), fc.string()), ipv6: fc.string() },
            { requiredKeys: [] },
          ),
          'container-id': fc.string(),
          'interface-name': fc.string(),
          'container-netns-path': fc.constantFrom('/proc/self/ns/net', '/dev/null', '../..', '\0'),
        },
        { requiredKeys: [] },
      ),
    );
    const id = fc.constantFrom(
      '30',
      '12x',
      'container-id:x',
      'ipv4:10.9.1.99',
      'pod-name:a:b',
      '__proto__',
      '0',
    );
    const request = fc.record({ operation: fc.constantFrom(...writes), id, body });
    await fc.assert(
      fc.asyncProperty(request, async ({ operation, id: name, body: value }) => {
        const path = `/v1${operation.path.replace(/\{\w+\}/, encodeURIComponent(name))}`;
        const text = requestText(operation.method.toUpperCase(), path, JSON.stringify(value));
        const answer = await rawExchange(socketPath, text);
        assert.ok(answer.status >= 200 && answer.status < 500, `${path}: ${answer.status} ${answer.body}`);
      }),
      { numRuns: 300 },
    );
    const ids = (await client.endpoints()).map((endpoint) => endpoint.id);
    assert.ok(ids.includes(12) && ids.includes(13), `endpoints ${ids.join()}`);
  });
});
