import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ProxyContext } from '../../src/agent/agent-deps.ts';
import type { ProxyPart } from '../../src/agent/proxy-part.ts';
import { parseIp } from '../../src/base/ip.ts';
import type { L7Policy, ProxyPorts } from '../../src/model/l7.ts';
import { ClusterFixture, type NodeFixture, request, until } from './agent-fixture.ts';

const PORTS: ProxyPorts = {
  'http-ingress': 10001,
  'http-egress': 10002,
  'kafka-ingress': 10003,
  'kafka-egress': 10004,
  'dns-ingress': 0,
  'dns-egress': 10005,
  'tls-ingress': 10020,
  'tls-egress': 10021,
  'memcache-ingress': 10007,
  'memcache-egress': 10008,
  'cassandra-ingress': 10009,
  'cassandra-egress': 10010,
  'r2d2-ingress': 10011,
  'r2d2-egress': 10012,
};

/** A proxy in memory. What it does is written among the calls of the datapath, so that their order shows. */
class FakeProxy implements ProxyPart {
  ports: ProxyPorts = { ...PORTS, 'http-ingress': 0, 'dns-egress': 0 };
  readonly policies: L7Policy[] = [];
  readonly applied: number[] = [];
  answers = true;
  readonly #calls: string[];
  readonly context: ProxyContext;

  constructor(context: ProxyContext, calls: string[]) {
    this.context = context;
    this.#calls = calls;
  }
  start = async (): Promise<void> => undefined;
  stop = async (): Promise<void> => undefined;
  async need(): Promise<void> {
    this.ports = PORTS;
  }
  async apply(policy: L7Policy): Promise<boolean> {
    if (!this.answers) return false;
    this.policies.push(policy);
    this.#calls.push(`proxy ${policy.subjects.length}`);
    return true;
  }
  dnsApplied(id: number): void {
    this.applied.push(id);
    this.#calls.push(`dns-applied ${id}`);
  }
  status() {
    return { state: 'Ok', message: '' } as const;
  }
}

const rule = (name: string, body: object): string =>
  JSON.stringify([
    {
      endpointSelector: { matchLabels: { 'k8s:app': 'web' } },
      labels: [{ source: 'unspec', key: 'name', value: name }],
      ...body,
    },
  ]);
const cidrRule = (name: string, ...cidrs: string[]): string => rule(name, { egress: [{ toCIDR: cidrs }] });
const httpRule = rule('http', {
  ingress: [
    {
      fromEndpoints: [{ matchLabels: { 'k8s:app': 'db' } }],
      toPorts: [{ ports: [{ port: '80', protocol: 'TCP' }], rules: { http: [{ method: 'GET' }] } }],
    },
  ],
});
const fqdnRule = rule('names', { egress: [{ toFQDNs: [{ matchPattern: '*.example.com' }] }] });

describe('a change of policy', () => {
  let cluster: ClusterFixture;
  let node: NodeFixture;
  let proxy: FakeProxy;

  beforeEach(async () => {
    cluster = new ClusterFixture();
    node = cluster.node(1);
    node.proxy = (context) => {
      proxy = new FakeProxy(context, node.kernel.calls);
      return proxy;
    };
    await node.start();
  });
  afterEach(() => cluster.dispose());

  const add = (id: number, app: string, more = {}) =>
    node.client.putEndpoint(
      String(id),
      request(node, [`k8s:app=${app}`], { addressing: { ipv4: `10.0.1.${id}` }, id, ...more }),
    );
  const realized = async (revision: number): Promise<void> =>
    until(`revision ${revision} is realized`, async () => {
      const endpoints = await node.client.endpoints();
      return endpoints.every((one) => one.status?.policy?.realized?.['policy-revision'] === revision);
    });
  const put = async (text: string): Promise<void> => {
    const { revision = 0 } = await node.client.putPolicy(text);
    await realized(revision);
  };
  const indexOf = (pattern: RegExp): number => node.kernel.calls.findIndex((call) => pattern.test(call));
  const clear = (): void => void node.kernel.calls.splice(0);

  it('names a prefix in the ipcache after every policy map knows it, and takes it back in the opposite order', async () => {
    await add(10, 'web');
    await add(11, 'web');
    clear();
    await put(cidrRule('c', '192.0.2.128/25'));
    const named = indexOf(/^ipcache \+ 192\.0\.2\.128\/25 16777216$/);
    assert.ok(named > indexOf(/^policy 10 /) && named > indexOf(/^policy 11 /), node.kernel.calls.join('\n'));
    clear();
    await node.client.deletePolicy([]);
    await until(
      'the identity has left the maps',
      () => indexOf(/^policy 10 /) >= 0 && indexOf(/^ipcache - /) >= 0,
    );
    await until('maps are empty of it', () =>
      [...node.kernel.endpoints.values()].every(
        ({ policy }) => ![...policy.keys()].some((key) => key.includes('16777216')),
      ),
    );
    assert.ok(!node.kernel.ipcache.has('192.0.2.128/25'));
  });

  it('gives no prefix inside the cluster and no address of a node an identity of its own', async () => {
    await add(10, 'web');
    await put(cidrRule('c', '10.0.1.128/25', '192.0.2.1/32', '198.51.100.0/24'));
    assert.ok(!node.kernel.ipcache.has('10.0.1.128/25'));
    assert.equal(node.kernel.ipcache.get('192.0.2.1/32')?.identity, 1);
    assert.ok((node.kernel.ipcache.get('198.51.100.0/24')?.identity ?? 0) >= 1 << 24);
    const id = node.kernel.ipcache.get('198.51.100.0/24')?.identity ?? 0;
    assert.deepEqual((await node.client.identity(id)).labels, [
      'cidr:198.51.100.0/24',
      'reserved:world-ipv4',
    ]);
    const [line] = await node.client.ips({ cidr: '198.51.100.0/24' });
    assert.equal(line?.metadata?.source, 'generated');
  });

  it('keeps the number of a prefix over a restart, and takes no other one where the file is lost', async () => {
    await add(10, 'web');
    await put(cidrRule('c', '198.51.100.0/24', '203.0.113.0/24'));
    const idOf = (cidr: string): number => node.kernel.ipcache.get(cidr)?.identity ?? 0;
    const before = [idOf('198.51.100.0/24'), idOf('203.0.113.0/24')];
    await node.stop();
    await node.start();
    await until('ready', () => node.agent.manager.list().every(({ state }) => state === 'ready'));
    assert.deepEqual([idOf('198.51.100.0/24'), idOf('203.0.113.0/24')], before);
    await node.stop();
    writeFileSync(join(node.folder, 'local-identities.json'), '{"version":');
    await node.start();
    await until('ready', () => node.agent.manager.list().every(({ state }) => state === 'ready'));
    const after = [idOf('198.51.100.0/24'), idOf('203.0.113.0/24')];
    assert.equal(after.filter((id) => before.includes(id)).length, 0);
    assert.match((await node.client.healthz()).cilium?.msg ?? '', /local-identities\.json is corrupt/);
  });

  it('reaches the proxy before a map sends it anything', async () => {
    await add(10, 'web');
    await add(11, 'db');
    clear();
    await put(httpRule);
    assert.ok(
      indexOf(/^proxy 1$/) >= 0 && indexOf(/^proxy 1$/) < indexOf(/^policy 10 /),
      node.kernel.calls.join('\n'),
    );
    const entries = [...(node.kernel.endpoints.get(10)?.policy.values() ?? [])];
    assert.ok(
      entries.some(({ entry }) => entry.verdict.kind === 'redirect' && entry.verdict.proxyPort === 10001),
    );
    const status = await node.client.healthz();
    assert.equal(status.proxy?.['total-redirects'], 1);
    const metrics = await node.client.metrics();
    assert.match(metrics, /^cilium_proxy_redirects\{protocol="http"\} 1$/m);
    assert.match(metrics, /^cilium_policy_change_total\{outcome="success"\} 1$/m);
    assert.match(metrics, /^cilium_policy_l7_total\{rule="denied",proxy_type="fqdn"\} 0$/m);
    assert.match(metrics, /^cilium_policy_implementation_delay_count\{source="api"\} 1$/m);
    assert.deepEqual(status.proxy?.redirects?.[0], {
      name: '10:ingress:TCP:80',
      proxy: 'http',
      'proxy-port': 10001,
    });
  });

  it('stays known to the proxy until no map sends it flows of it any more', async () => {
    await add(10, 'web');
    await add(11, 'db');
    await put(httpRule);
    const told = proxy.policies.length;
    await put(rule('http', { ingress: [{ fromEndpoints: [{ matchLabels: { 'k8s:app': 'other' } }] }] }));
    await until('the proxy has forgotten it', () => proxy.policies.at(-1)?.subjects.length === 0);
    const calls = node.kernel.calls;
    assert.ok(calls.lastIndexOf('proxy 0') > calls.findLastIndex((call) => call.startsWith('policy 10 ')));
    assert.ok(proxy.policies.slice(told).every(({ subjects }) => subjects.length <= 1));
  });

  it('drops what a silent proxy should judge, does the rest, and says so until the proxy answers', async () => {
    await add(10, 'web');
    await add(11, 'db');
    proxy.answers = false;
    await node.client.putPolicy(httpRule);
    await until('it is told', () => node.agent.manager.list()[0]?.failure !== undefined);
    assert.match(node.agent.manager.list()[0]?.failure ?? '', /the proxy has not taken the policy over yet/);
    const redirects = [...(node.kernel.endpoints.get(10)?.policy.values() ?? [])].flatMap(
      ({ entry: { verdict } }) => (verdict.kind === 'redirect' ? [verdict.proxyPort] : []),
    );
    assert.deepEqual(redirects, [0]);
    proxy.answers = true;
    await until('it is ready', () => node.agent.manager.list().every(({ state }) => state === 'ready'));
  });

  it('judges nothing of a restored endpoint before the new agent knows its policy', async () => {
    await add(10, 'web');
    await add(11, 'db');
    await put(httpRule);
    await node.stop();
    await node.start();
    await until('ready', () => node.agent.manager.list().every(({ state }) => state === 'ready'));
    const web = node.agent.manager.list()[0]?.identity?.id;
    for (const { subjects } of proxy.policies)
      assert.ok(subjects.some(({ subject, ingress }) => subject === web && ingress?.[0]?.l7 !== undefined));
  });

  it('leaves the proxy what it has where the rules are lost', async () => {
    await add(10, 'web');
    await add(11, 'db');
    await put(httpRule);
    await node.stop();
    for (const file of ['policy.json', 'policy.backup.json']) writeFileSync(join(node.folder, file), '{');
    await node.start();
    await until('both are built', () => node.agent.manager.list().every(({ builds }) => builds > 0));
    await node.client.endpoints();
    await add(12, 'web');
    await sleep(50);
    assert.equal(proxy.policies.length, 0);
    await put(httpRule);
    assert.equal(proxy.policies.at(-1)?.subjects.length, 1);
  });

  it('puts the addresses of a name in force before the answer goes on, and they survive a restart', async () => {
    await add(10, 'web');
    await put(fqdnRule);
    clear();
    const identity = node.agent.manager.list()[0]?.identity?.id ?? 0;
    const observation = {
      endpoint: 10,
      identity,
      names: ['www.example.com'],
      addresses: ['203.0.113.7'],
      ttlSeconds: 60,
    };
    proxy.context.onObservation(4, observation);
    await until('it is applied', () => proxy.applied.includes(4));
    const order = [
      indexOf(/^policy 10 /),
      indexOf(/^ipcache \+ 203\.0\.113\.7\/32/),
      indexOf(/^dns-applied 4$/),
    ];
    assert.ok(
      order.every((at, i) => at >= 0 && (i === 0 || at > (order[i - 1] ?? 0))),
      node.kernel.calls.join('\n'),
    );
    const id = node.kernel.ipcache.get('203.0.113.7/32')?.identity ?? 0;
    assert.deepEqual((await node.client.identity(id)).labels, ['fqdn:*.example.com', 'reserved:world-ipv4']);
    clear();
    proxy.context.onObservation(5, { ...observation, addresses: ['203.0.113.8'] });
    await until('it is applied', () => proxy.applied.includes(5));
    assert.equal(indexOf(/^policy /), -1, 'a further address costs no policy map write');
    const lookups = await node.client.fqdnCache({ pattern: 'www.*.com' });
    assert.deepEqual(lookups.flatMap(({ ips }) => ips).sort(), ['203.0.113.7', '203.0.113.8']);
    await node.stop();
    await node.start();
    await until('ready', () => node.agent.manager.list().every(({ state }) => state === 'ready'));
    assert.equal(node.kernel.ipcache.get('203.0.113.7/32')?.identity, id);
    assert.equal(
      node.kernel.calls.findIndex((call) => call.startsWith('ipcache - 203')),
      -1,
    );
    // Its connection to the agent of before is gone: only what changes nothing is asked again by itself.
    await node.client.fqdnCache();
    await node.client.cleanFqdnCache('www.example.com');
    await until('they are gone', () => !node.kernel.ipcache.has('203.0.113.7/32'));
    assert.deepEqual(await node.client.fqdnCache(), []);
  });

  it('takes an answer for an endpoint that is not here as no news', async () => {
    await put(fqdnRule);
    const strange = {
      endpoint: 99,
      identity: 300,
      names: ['a.example.com'],
      addresses: ['203.0.113.9'],
      ttlSeconds: 60,
    };
    proxy.context.onObservation(1, strange);
    await until('it goes on', () => proxy.applied.includes(1));
    assert.deepEqual(await node.client.fqdnCache(), []);
  });

  it('lets an address of a name live as long as a connection to it', async () => {
    await add(10, 'web');
    await put(fqdnRule);
    const identity = node.agent.manager.list()[0]?.identity?.id ?? 0;
    const end = { port: 1, identity, ifindex: 0, tcpFlags: 0, closing: false };
    const initiator = {
      ...end,
      address: parseIp('10.0.1.10'),
      ifindex: node.agent.manager.list()[0]?.spec.interfaceIndex ?? 0,
    };
    node.flows = [
      {
        protocol: 6,
        initiator,
        responder: { ...end, address: parseIp('203.0.113.7') },
        seenReply: true,
        service: 0,
        host: false,
        expiresInSeconds: 9,
      },
    ];
    const observation = {
      endpoint: 10,
      identity,
      names: ['a.example.com'],
      addresses: ['203.0.113.7', '203.0.113.8'],
      ttlSeconds: 0,
    };
    proxy.context.onObservation(1, observation);
    await until('it is applied', () => proxy.applied.includes(1));
    const collect = () => node.agent.fqdn.collect(Date.now() + 60_000);
    await collect();
    await until('the other is gone', () => !node.kernel.ipcache.has('203.0.113.8/32'));
    assert.ok(node.kernel.ipcache.has('203.0.113.7/32'));
    node.flows = [];
    await collect();
    await until('both are gone', () => !node.kernel.ipcache.has('203.0.113.7/32'));
  });

  it('follows the groups that rules name, over a restart too', async () => {
    await add(10, 'web');
    const group = (...externalCIDRs: string[]) => ({
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumCIDRGroup',
      metadata: { name: 'outside' },
      spec: { externalCIDRs },
    });
    await put(rule('g', { egress: [{ toCIDRSet: [{ cidrGroupRef: 'outside' }] }] }));
    await node.client.putPolicy(JSON.stringify([group('198.51.100.0/24')]));
    await until('it is named', () => node.kernel.ipcache.has('198.51.100.0/24'));
    await node.client.putPolicy(JSON.stringify([group('203.0.113.0/24')]));
    await until(
      'the other is',
      () => node.kernel.ipcache.has('203.0.113.0/24') && !node.kernel.ipcache.has('198.51.100.0/24'),
    );
    await node.stop();
    node.kernel.ipcache.clear();
    await node.start();
    await until('it is named again', () => node.kernel.ipcache.has('203.0.113.0/24'));
    assert.match(readFileSync(join(node.folder, 'policy.json'), 'utf8'), /CiliumCIDRGroup/);
  });

  it('shows groups and services, and takes them and rules out by their objects', async () => {
    await add(10, 'web');
    const group = {
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumCIDRGroup',
      metadata: { name: 'outside' },
      spec: { externalCIDRs: ['198.51.100.0/24'] },
    };
    const policy = {
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumNetworkPolicy',
      metadata: { name: 'g', namespace: 'shop' },
      spec: { endpointSelector: {}, egress: [{ toCIDRSet: [{ cidrGroupRef: 'outside' }] }] },
    };
    const clusterwide = {
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumClusterwideNetworkPolicy',
      metadata: { name: 'g' },
      spec: {
        endpointSelector: { matchLabels: { app: 'web' } },
        egress: [{ toCIDRSet: [{ cidrGroupRef: 'outside' }] }],
      },
    };
    await put(JSON.stringify([policy, clusterwide, group]));
    await until('it is named', () => node.kernel.ipcache.has('198.51.100.0/24'));
    assert.deepEqual((await node.client.policy()).objects, ['CiliumCIDRGroup/outside']);
    assert.match((await node.client.policyObjects()).objects ?? '', /"198\.51\.100\.0\/24"/);
    const both = ['CiliumCIDRGroup/outside', 'ccg/nobody'];
    await assert.rejects(node.client.deletePolicyObjects(both), {
      status: 404,
      text: /CiliumCIDRGroup\/nobody/,
    });
    await assert.rejects(node.client.deletePolicyObjects(['outside']), { status: 400, text: /KIND\/NAME/ });
    assert.ok(node.kernel.ipcache.has('198.51.100.0/24'), 'nothing was deleted');
    const left = await node.client.deletePolicyObjects(['ccg/outside']);
    assert.equal(left.objects, undefined);
    await until('it is gone', () => !node.kernel.ipcache.has('198.51.100.0/24'));
    const names = async () => (await node.client.policyRules()).map(({ name }) => name);
    assert.deepEqual(await names(), ['shop/g', 'g']);
    await node.client.deletePolicyObjects(['cnp/shop/g']);
    assert.deepEqual(await names(), ['g']);
  });

  it('gives the value of a Secret to the proxy, and shows it to nobody', async () => {
    await add(10, 'web');
    const value = 's3cret-of-the-test';
    const secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'token' },
      stringData: { x: value },
    };
    const matches = [{ name: 'X-Token', secret: { name: 'token' } }];
    const ports = [{ port: '80', protocol: 'TCP' }];
    const using = rule('s', {
      ingress: [{ toPorts: [{ ports, rules: { http: [{ headerMatches: matches }] } }] }],
    });
    await put(JSON.stringify([...JSON.parse(using), secret]));
    const sent = (): string => JSON.stringify(proxy.policies.at(-1));
    assert.match(sent(), new RegExp(`"secretValue":"${value}"`));
    const answers = [
      ...[await node.client.policy(), await node.client.policyObjects(), await node.client.policyRules()],
      ...[await node.client.endpoints(), await node.client.policySelectors()],
    ];
    assert.deepEqual((await node.client.policy()).objects, ['Secret/default/token']);
    for (const text of [value, Buffer.from(value).toString('base64')])
      assert.ok(!JSON.stringify(answers).includes(text), text);
    const mode = statSync(join(node.folder, 'policy.json')).mode & 0o777;
    assert.equal(mode, 0o600);
    await node.client.deletePolicyObjects(['secret/token']);
    await until('the proxy forgets it', () => !sent().includes(value));
  });

  it('gives a name of a port the number that the endpoint gave it', async () => {
    await add(10, 'web', { 'named-ports': [{ name: 'http', port: 8080 }] });
    await put(rule('n', { ingress: [{ toPorts: [{ ports: [{ port: 'http', protocol: 'TCP' }] }] }] }));
    const keys = [...(node.kernel.endpoints.get(10)?.policy.values() ?? [])].map(({ key }) => key.port);
    assert.ok(keys.includes(8080), String(keys));
  });

  it('locks an endpoint whose rules contradict each other, with the reason', async () => {
    await add(10, 'web');
    const port = { ports: [{ port: '80', protocol: 'TCP' }] };
    const kafka = rule('k', {
      ingress: [{ toPorts: [{ ...port, rules: { kafka: [{ role: 'produce', topic: 't' }] } }] }],
    });
    await put(rule('h', { ingress: [{ toPorts: [{ ...port, rules: { http: [{ method: 'GET' }] } }] }] }));
    await node.client.putPolicy(kafka);
    await until('it is told', () => node.agent.manager.list()[0]?.failure !== undefined);
    assert.match(node.agent.manager.list()[0]?.failure ?? '', /contradict/);
    assert.equal(node.kernel.endpoints.get(10)?.policy.size, 0);
    assert.deepEqual(node.kernel.endpoints.get(10)?.enforcement, { ingress: true, egress: true });
    const shown = (await node.client.endpoints())[0]?.status?.policy?.realized;
    assert.equal(shown?.['policy-enabled'], 'both', 'as it is in force');
  });
});
