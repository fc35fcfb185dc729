import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseIp } from '../../src/base/ip.ts';
import { type Identity, reservedIdentity } from '../../src/model/identity.ts';
import { NO_PROXY_PORTS, type ProxyPorts } from '../../src/model/l7.ts';
import { parseLabels } from '../../src/model/labels.ts';
import type { Direction } from '../../src/model/map-state.ts';
import type { NamedPort } from '../../src/model/named-port.ts';
import {
  evaluateMapState,
  l4Summary,
  PolicyResolver,
  Repository,
  readPolicy,
} from '../../src/policy/index.ts';
import { PrefixSet } from '../../src/policy/prefix-set.ts';

const workload = (id: number, ...labels: readonly string[]): Identity => ({
  id,
  labels: parseLabels(labels),
});
const web = workload(1000, 'k8s:app=web');
const a = workload(1001, 'k8s:app=a', 'k8s:user=1');
const b = workload(1002, 'k8s:app=b');
const PORTS: ProxyPorts = { ...NO_PROXY_PORTS, 'http-ingress': 10_001, 'dns-egress': 10_002 };

interface Flow {
  readonly peer?: Identity | string;
  readonly direction?: Direction;
  readonly protocol?: number;
  readonly port?: number;
  readonly namedPorts?: readonly NamedPort[];
}

/** Judges flows of `web` by rules whose items are given for it. */
function policyOf(rules: string): { resolver: PolicyResolver; judge: (flow: Flow) => string } {
  const repository = Repository.empty();
  repository.add(readPolicy(rules, { file: 'case.yaml' }));
  const resolver = new PolicyResolver({
    mode: 'default',
    allowLocalhost: 'always',
    clusterName: 'default',
    proxyPorts: PORTS,
  });
  resolver.updateIdentities({ upserts: [web, a, b] });
  resolver.setRules(repository.snapshot());
  const identityOf = (address: string): number => {
    const bytes = parseIp(address);
    const host = { family: bytes.length === 4 ? 4 : 6, bytes, length: bytes.length * 8 } as const;
    const narrowest = new PrefixSet(resolver.prefixes().map(({ prefix }) => prefix)).narrowest(host);
    const found = resolver
      .prefixes()
      .find(({ prefix }) => prefix.length === narrowest?.length && new PrefixSet([prefix]).covers(host));
    return found?.identity.id ?? 2;
  };
  const judge = ({ peer = a, direction = 'ingress', protocol = 6, port = 80, namedPorts }: Flow): string => {
    const { mapState, enforcement, conflict } = resolver.resolve(web, namedPorts);
    if (conflict !== undefined) return 'locked';
    const identity = typeof peer === 'string' ? identityOf(peer) : peer.id;
    const verdict = evaluateMapState(mapState, enforcement, { direction, identity, protocol, port });
    if (verdict.kind === 'deny') return `deny ${verdict.reason}`;
    return verdict.kind === 'redirect' ? `redirect ${verdict.proxyPort}` : 'allow';
  };
  return { resolver, judge };
}

const rule = (body: string): string => `- endpointSelector: {matchLabels: {app: web}}\n  ${body}\n`;
const host = (): Identity => reservedIdentity('host') ?? web;
const FROM_A = 'fromEndpoints: [{matchLabels: {app: a}}]';
const tcp = (port: string): string => `toPorts: [{ports: [{port: "${port}", protocol: TCP}]}]`;

describe('a denial', () => {
  it('beats a more specific allow, whichever rule has it', () => {
    const { judge } = policyOf(
      `${rule(`ingress: [{${FROM_A}, ${tcp('80')}}]`)}${rule('ingressDeny: [{fromEntities: [all]}]')}`,
    );
    assert.equal(judge({}), 'deny 181');
    assert.equal(judge({ peer: b }), 'deny 181');
  });

  it('of a port takes it out of a range, and of a range out of everything', () => {
    const range = 'toPorts: [{ports: [{port: "80", endPort: 90, protocol: TCP}]}]';
    const { judge } = policyOf(
      `${rule(`ingress: [{${FROM_A}, ${range}}]\n  ingressDeny: [{${FROM_A}, ${tcp('85')}}]`)}`,
    );
    assert.deepEqual(
      [80, 84, 85, 86, 90, 91].map((port) => judge({ port })),
      ['allow', 'allow', 'deny 181', 'allow', 'allow', 'deny 133'],
    );
    const wide = policyOf(rule(`ingress: [{${FROM_A}}]\n  ingressDeny: [{${range}}]`));
    assert.deepEqual(
      [79, 80, 90, 91].map((port) => wide.judge({ port })),
      ['allow', 'deny 181', 'deny 181', 'allow'],
    );
  });

  it('binds the node itself, which no missing rule does', () => {
    assert.equal(policyOf(rule('ingress: [{}]')).judge({ peer: host() }), 'allow');
    assert.equal(policyOf(rule('ingressDeny: [{fromEntities: [host]}]')).judge({ peer: host() }), 'deny 181');
  });
});

describe('enableDefaultDeny: false', () => {
  it('leaves open what the rule does not deny', () => {
    const off = 'enableDefaultDeny: {ingress: false}';
    const { judge, resolver } = policyOf(rule(`ingressDeny: [{${FROM_A}}]\n  ${off}`));
    assert.deepEqual([judge({}), judge({ peer: b })], ['deny 181', 'allow']);
    assert.equal(resolver.resolve(web).enforcement.ingress, false);
  });

  it('does not weaken another rule that denies by default', () => {
    const { judge } = policyOf(
      `${rule(`ingress: [{${FROM_A}}]\n  enableDefaultDeny: {ingress: false}`)}${rule('ingress: [{}]')}`,
    );
    assert.deepEqual([judge({}), judge({ peer: b })], ['allow', 'deny 133']);
  });

  it('lets every request through that an L7 rule of it sends to the proxy', () => {
    const http = 'toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{path: "/v1"}]}}]';
    const { judge, resolver } = policyOf(
      `${rule(`ingress: [{${http}}]\n  enableDefaultDeny: {ingress: false}`)}${rule('ingress: [{}]')}`,
    );
    assert.equal(judge({}), 'redirect 10001');
    const [subject] = resolver.l7Policy().subjects;
    assert.ok(subject?.ingress?.some(({ l7, peers, firstPort }) => !l7 && !peers && firstPort === 80));
  });
});

describe('L7 rules of endpoints that name their ports differently', () => {
  const http = (port: string, path: string): string =>
    rule(
      `ingress: [{toPorts: [{ports: [{port: "${port}", protocol: TCP}], rules: {http: [{path: "${path}"}]}}]}]`,
    );
  const web1 = [{ name: 'web', protocol: 6, port: 8080 }];
  const web2 = [{ name: 'web', protocol: 6, port: 9090 }];
  const paths = (resolver: ReturnType<typeof policyOf>['resolver'], names: string, port: number): string[] =>
    (resolver.l7Policy().subjects[0]?.ingress ?? [])
      .filter(({ peers, portNames }) => peers === undefined && (portNames?.includes(names) ?? true))
      .filter(({ firstPort, lastPort }) => firstPort <= port && port <= lastPort)
      .flatMap(({ l7 }) => (l7?.kind === 'http' ? l7.rules.map(({ path }) => path ?? '*') : ['every']));

  it('are those of the endpoint: a name counts for the number that it has there, and for no other', () => {
    const { resolver } = policyOf(`${http('web', '/web')}${http('8080', '/number')}`);
    resolver.resolve(web, web1);
    assert.deepEqual(paths(resolver, 'web/6/8080', 8080), ['/web', '/number']);
    assert.ok(resolver.l7Policy().subjects[0]?.ingress?.every(({ portNames }) => portNames === undefined));
    resolver.resolve(web, web2);
    resolver.resolve(web, []);
    assert.deepEqual(paths(resolver, 'web/6/8080', 8080), ['/web', '/number']);
    assert.deepEqual(paths(resolver, 'web/6/8080', 9090), []);
    assert.deepEqual(paths(resolver, 'web/6/9090', 8080), ['/number']);
    assert.deepEqual(paths(resolver, 'web/6/9090', 9090), ['/web']);
    assert.deepEqual(paths(resolver, '', 8080), ['/number']);
    assert.deepEqual(paths(resolver, '', 9090), []);
  });

  it('let nothing pass of an endpoint whose rules contradict each other, and count for the others', () => {
    const kafka = 'toPorts: [{ports: [{port: "9090", protocol: TCP}], rules: {kafka: [{topic: t}]}}]';
    const other = policyOf(`${http('web', '/web')}${rule(`ingress: [{${kafka}}]`)}`).resolver;
    for (const names of [web1, web2]) other.resolve(web, names);
    assert.ok(other.resolve(web, web2).conflict !== undefined);
    assert.deepEqual(paths(other, 'web/6/9090', 9090), []);
    assert.deepEqual(paths(other, 'web/6/8080', 8080), ['/web']);
  });
});

describe('L7 rules', () => {
  const http = (path: string): string =>
    `toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{path: "${path}"}]}}]`;

  it('send a port to the proxy even for a peer that another rule allows whole, and the proxy knows of both', () => {
    const { judge, resolver } = policyOf(
      `${rule(`ingress: [{${http('/v1')}}]`)}${rule(`ingress: [{${FROM_A}}]`)}`,
    );
    assert.deepEqual(
      [judge({}), judge({ peer: b }), judge({ port: 81 }), judge({ peer: b, port: 81 })],
      ['redirect 10001', 'redirect 10001', 'allow', 'deny 133'],
    );
    const filters = resolver.l7Policy().subjects[0]?.ingress ?? [];
    assert.deepEqual(
      filters.map(({ peers, firstPort, lastPort, l7 }) => [peers, firstPort, lastPort, l7?.kind]),
      [
        [undefined, 80, 80, 'http'],
        [[a.id], 0, 65_535, undefined],
        [[1], 0, 65_535, undefined],
      ],
    );
    assert.equal(resolver.l7Policy().subjects[0]?.egress, undefined);
  });

  it('yield to a denial', () => {
    const { judge } = policyOf(rule(`ingress: [{${http('/v1')}}]\n  ingressDeny: [{${FROM_A}}]`));
    assert.deepEqual([judge({}), judge({ peer: b })], ['deny 181', 'redirect 10001']);
  });

  it('that come to bind a peer tell of a change for the proxy, though no entry changes', () => {
    const { resolver } = policyOf(
      `${rule(`ingress: [{fromEndpoints: [{matchExpressions: [{key: app, operator: Exists}]}], ${http('/v1')}}]`)}${rule(`ingress: [{fromEndpoints: [{matchLabels: {user: "1"}}], ${http('/v2')}}]`)}`,
    );
    resolver.resolve(web);
    resolver.l7Policy();
    const [update] = resolver.updateIdentities({ upserts: [workload(b.id, 'k8s:app=b', 'k8s:user=1')] });
    assert.deepEqual([update?.diff, update?.l7Changed], [{ upserts: [], deletes: [] }, true]);
    const filters = resolver.l7Policy().subjects[0]?.ingress ?? [];
    assert.ok(filters.some(({ peers, ruleId }) => ruleId === 2 && peers?.includes(b.id)));
  });

  it('drop everything where nobody listens', () => {
    const { judge, resolver } = policyOf(rule(`ingress: [{${http('/v1')}}]`));
    resolver.resolve(web);
    const [update] = resolver.setOptions({ proxyPorts: NO_PROXY_PORTS });
    assert.equal(update?.diff.upserts.length, 1);
    assert.equal(judge({}), 'redirect 0');
  });

  it('of two kinds on one port lock the endpoint and say which rules contradict each other', () => {
    const kafka = 'toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {kafka: [{topic: "t"}]}}]';
    const text = `${rule(`ingress: [{${FROM_A}, ${kafka}}]\n  labels: [one]`)}${rule(`ingress: [{${http('/')}}]\n  labels: [two]`)}`;
    const { judge, resolver } = policyOf(text);
    assert.equal(judge({}), 'locked');
    const { conflict, enforcement, mapState } = resolver.resolve(web);
    assert.match(conflict ?? '', /identity 1001 on TCP port 80: .*one asks for kafka.*two for http/);
    assert.deepEqual([enforcement, mapState.size], [{ ingress: true, egress: true }, 0]);
    const [update] = resolver.updateIdentities({ deletes: [a.id] });
    assert.equal(update?.policy.conflict, undefined, 'nobody is left whom both are for');
  });
});

describe('prefixes', () => {
  it('that lie in one another apply both, with the ports of each', () => {
    const { judge } = policyOf(
      `${rule(`ingress: [{fromCIDR: [20.0.0.0/8], ${tcp('80')}}]`)}${rule(`ingress: [{fromCIDR: [20.1.0.0/16], ${tcp('443')}}]`)}`,
    );
    const at = (peer: string): string[] => [80, 443].map((port) => judge({ peer, port }));
    assert.deepEqual(at('20.1.2.3'), ['allow', 'allow']);
    assert.deepEqual(at('20.2.2.3'), ['allow', 'deny 133']);
    assert.deepEqual(at('21.1.2.3'), ['deny 133', 'deny 133']);
  });

  it('except what is excepted, unless another rule has it', () => {
    const sets = 'ingress: [{fromCIDRSet: [{cidr: 20.0.0.0/8, except: [20.1.0.0/16]}]}]';
    const one = policyOf(rule(sets));
    assert.deepEqual(
      [one.judge({ peer: '20.2.0.1' }), one.judge({ peer: '20.1.0.1' })],
      ['allow', 'deny 133'],
    );
    const two = policyOf(`${rule(sets)}${rule('ingress: [{fromCIDR: [20.1.2.0/24]}]')}`);
    assert.deepEqual(
      ['20.2.0.1', '20.1.0.1', '20.1.2.1'].map((peer) => two.judge({ peer })),
      ['allow', 'deny 133', 'allow'],
    );
  });

  it('never select endpoints, the host or nodes, and the whole of one family is not the other', () => {
    const { judge } = policyOf(rule('ingress: [{fromCIDR: [0.0.0.0/0]}]'));
    const remote = reservedIdentity('remote-node') ?? web;
    assert.deepEqual(
      [a, remote, '8.8.8.8', '2001:db8::1'].map((peer) => judge({ peer })),
      ['deny 133', 'deny 133', 'allow', 'deny 133'],
    );
  });
});

describe('requirements', () => {
  it('bind every peer of the subject, whichever rule allows it', () => {
    const { judge } = policyOf(
      `${rule('ingress: [{fromRequires: [{matchLabels: {user: "1"}}]}]')}${rule('ingress: [{fromEntities: [all]}]')}`,
    );
    assert.deepEqual(
      [judge({}), judge({ peer: b }), judge({ peer: '8.8.8.8' })],
      ['allow', 'deny 133', 'deny 133'],
    );
  });
});

describe('ICMP rules', () => {
  it('allow the type of the family and nothing else', () => {
    const { judge } = policyOf(rule('ingress: [{icmps: [{fields: [{family: IPv4, type: 8}]}]}]'));
    const of = (protocol: number, port: number): string => judge({ protocol, port });
    assert.deepEqual(
      [of(1, 8), of(1, 0), of(58, 8), of(6, 8)],
      ['allow', 'deny 133', 'deny 133', 'deny 133'],
    );
  });
});

describe('named ports', () => {
  const http = (protocol: number, port: number): NamedPort => ({ name: 'http', protocol, port });
  const named = 'toPorts: [{ports: [{port: http, protocol: TCP}]}]';

  it('mean on ingress what the endpoint itself calls so, protocol by protocol', () => {
    const { judge } = policyOf(rule(`ingress: [{${named}}]`));
    const own = [http(6, 80), http(17, 81)];
    assert.deepEqual(
      [
        judge({ namedPorts: own }),
        judge({ namedPorts: own, port: 81 }),
        judge({ namedPorts: [http(6, 8080)] }),
      ],
      ['allow', 'deny 133', 'deny 133'],
    );
    assert.equal(judge({ namedPorts: [http(6, 8080)], port: 8080 }), 'allow');
    assert.equal(judge({}), 'deny 133', 'an endpoint without the name');
  });

  it('mean on egress the one number that the cluster gives the name, and none if it gives several', () => {
    const { judge, resolver } = policyOf(rule(`egress: [{${named}}]`));
    const out = (port: number): string => judge({ direction: 'egress', port });
    assert.equal(out(80), 'deny 133', 'nobody has the name');
    assert.equal(resolver.setNamedPorts([http(6, 80), http(6, 80), http(17, 90)]).length, 1);
    assert.deepEqual([out(80), out(90)], ['allow', 'deny 133']);
    resolver.setNamedPorts([http(6, 80), http(6, 81)]);
    assert.deepEqual([out(80), out(81)], ['deny 133', 'deny 133']);
    assert.deepEqual(resolver.setNamedPorts([http(6, 80), http(6, 82)]), [], 'still none');
  });

  it('share one policy among endpoints as long as no rule names a port', () => {
    const { resolver } = policyOf(rule(`ingress: [{${tcp('80')}}]`));
    assert.equal(resolver.resolve(web, [http(6, 80)]), resolver.resolve(web, [http(6, 81)]));
    const other = policyOf(rule(`ingress: [{${named}}]`)).resolver;
    assert.notEqual(other.resolve(web, [http(6, 80)]), other.resolve(web, [http(6, 81)]));
  });
});

describe('names of toFQDNs', () => {
  const text = rule('egress: [{toFQDNs: [{matchName: a.example}, {matchPattern: "*.example"}]}]');

  it('let addresses through as long as they are known to have such a name', () => {
    const { judge, resolver } = policyOf(text);
    assert.deepEqual(
      resolver.fqdnSelectors().map((selector) => selector.text),
      ['*.example', 'a.example'],
    );
    const out = (peer: string): string => judge({ direction: 'egress', peer });
    assert.equal(out('192.0.2.1'), 'deny 133');
    const names = new Set(['a.example', '*.example']);
    assert.equal(resolver.setFqdnAddresses(new Map([['192.0.2.1', names]])).length, 1);
    assert.equal(out('192.0.2.1'), 'allow');
    const second = resolver.setFqdnAddresses(new Map([['192.0.2.2', names]]));
    assert.deepEqual(second, [], 'one more address of known names changes no map');
    assert.equal(out('192.0.2.2'), 'allow');
    resolver.setFqdnAddresses(new Map([['192.0.2.1', new Set<string>()]]));
    assert.deepEqual([out('192.0.2.1'), out('192.0.2.2')], ['deny 133', 'allow']);
  });
});

describe('the summary of a policy port by port', () => {
  it('shows what requests must look like, what is denied, ranges and names', () => {
    const http =
      'toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{method: GET, path: /v1}]}}]';
    const ranges =
      'toPorts: [{ports: [{port: "90", endPort: 99, protocol: TCP}, {port: web, protocol: UDP}]}]';
    const { resolver } = policyOf(
      rule(
        `ingress: [{${FROM_A}, ${http}}, {${FROM_A}, ${ranges}}]\n  ingressDeny: [{${FROM_A}, ${tcp('85')}}]`,
      ),
    );
    const texts = l4Summary(resolver.resolve(web)).ingress.map((summary) => {
      const { 'l7-rules': uses, ...port } = JSON.parse(summary.rule);
      return [port, ...uses.flatMap((use: object) => Object.values(use))];
    });
    assert.deepEqual(texts, [
      [{ port: 0, 'port-name': 'web', protocol: 'UDP' }, null],
      [{ port: 80, protocol: 'TCP' }, { http: [{ path: '/v1', method: 'GET' }] }],
      [{ port: 85, protocol: 'TCP' }, { isDeny: true }],
      [{ port: 90, endPort: 99, protocol: 'TCP' }, null],
    ]);
  });
});
