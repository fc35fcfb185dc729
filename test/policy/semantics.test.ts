import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { type Identity, reservedIdentity } from '../../src/model/identity.ts';
import { parseLabels } from '../../src/model/labels.ts';
import type { Direction } from '../../src/model/map-state.ts';
import {
  evaluateMapState,
  evaluateNaive,
  identitiesWithVerdict,
  l4Summary,
  PolicyResolver,
  Repository,
  type ResolvedPolicy,
  type ResolveOptions,
  readPolicy,
} from '../../src/policy/index.ts';

const NS = 'k8s:io.kubernetes.pod.namespace';
const CLUSTER = 'k8s:io.cilium.k8s.policy.cluster';
const identity = (id: number, ...labels: readonly string[]): Identity => ({
  id,
  labels: parseLabels(labels),
});
const reserved = (name: string): Identity => {
  const found = reservedIdentity(name);
  assert.ok(found !== undefined);
  return found;
};

/** Everybody whom the cases name. */
const WHO = {
  web: identity(1000, 'k8s:app=web', `${NS}=default`),
  client: identity(1001, 'k8s:app=client', `${NS}=default`),
  stranger: identity(1002, 'k8s:app=client', `${NS}=other`),
  box: identity(1003, 'container:app=client'),
  abroad: identity(1004, 'k8s:app=client', `${NS}=default`, `${CLUSTER}=far`),
  here: identity(1005, 'k8s:app=db', `${NS}=default`, `${CLUSTER}=default`),
  starting: identity(1006, 'reserved:init', 'k8s:app=web'),
  host: reserved('host'),
  world: reserved('world'),
  world4: reserved('world-ipv4'),
  world6: reserved('world-ipv6'),
  unmanaged: reserved('unmanaged'),
  health: reserved('health'),
  init: reserved('init'),
  remote: reserved('remote-node'),
  apiserver: reserved('kube-apiserver'),
  ingressProxy: reserved('ingress'),
  unknown: reserved('unknown'),
} as const;
type Who = keyof typeof WHO;

const EVERYBODY = Object.keys(WHO) as Who[];
const IN_CLUSTER: readonly Who[] = ['web', 'client', 'stranger', 'box', 'here', 'starting'];

interface Flow {
  readonly peer: Who;
  readonly protocol?: number;
  readonly port?: number;
  readonly direction?: Direction;
  readonly subject?: Who;
}

const DEFAULTS: ResolveOptions = { mode: 'default', allowLocalhost: 'policy' };

function build(
  yaml: string,
  options: ResolveOptions = DEFAULTS,
): {
  allows: (flow: Flow) => boolean;
  policy: (subject?: Who) => ResolvedPolicy;
} {
  const rules = yaml === '' ? [] : readPolicy(yaml, { file: 'case.yaml' });
  const repository = Repository.empty();
  repository.add(rules);
  const resolver = new PolicyResolver({ ...options, clusterName: 'default' });
  resolver.updateIdentities({ upserts: Object.values(WHO) });
  resolver.setRules(repository.snapshot());
  const policy = (subject: Who = 'web'): ResolvedPolicy => resolver.resolve(WHO[subject]);
  const allows = ({
    peer,
    protocol = 6,
    port = 80,
    direction = 'ingress',
    subject = 'web',
  }: Flow): boolean => {
    const { mapState, enforcement } = policy(subject);
    const query = { direction, identity: WHO[peer].id, protocol, port };
    const compiled = evaluateMapState(mapState, enforcement, query).kind;
    const naive = evaluateNaive(
      rules,
      { ...options, clusterName: 'default' },
      { subject: WHO[subject], peer: WHO[peer], direction, protocol, port },
    );
    assert.equal(compiled, naive.kind, `both evaluators on ${peer} ${protocol}/${port}`);
    return compiled === 'allow';
  };
  return { allows, policy };
}

/** A rule for `web` with these ingress items. */
const rule = (items: string): string =>
  `- endpointSelector: {matchLabels: {app: web}}\n  ingress: ${items}\n`;
const cnp = (spec: string): string =>
  `apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p}\nspec:\n${spec.replace(/^/gm, '  ')}\n`;

function whoGetsIn(yaml: string, flow: Omit<Flow, 'peer'> = {}): Who[] {
  const { allows } = build(yaml);
  return EVERYBODY.filter((peer) => allows({ ...flow, peer }));
}

describe('a direction', () => {
  it('that no rule names is open to everybody', () => {
    assert.deepEqual(whoGetsIn(''), EVERYBODY);
    assert.deepEqual(whoGetsIn('- endpointSelector: {matchLabels: {app: db}}\n  ingress: [{}]\n'), EVERYBODY);
  });

  it('is left alone by an empty list and closed by an empty item', () => {
    const egressOnly = '- endpointSelector: {matchLabels: {app: web}}\n  egress: [{}]\n';
    assert.deepEqual(whoGetsIn(`${egressOnly}  ingress: []\n`), EVERYBODY);
    assert.deepEqual(whoGetsIn(egressOnly), EVERYBODY);
    assert.deepEqual(whoGetsIn(rule('[{}]')), []);
    assert.deepEqual(whoGetsIn(egressOnly, { direction: 'egress' }), []);
  });

  it('is independent of the other', () => {
    const { policy } = build(rule('[{fromEntities: [host]}]'));
    assert.deepEqual(policy().enforcement, { ingress: true, egress: false });
    assert.ok(policy().mapState.has('egress/0/0/0/0'));
    assert.ok(!policy().mapState.has('ingress/0/0/0/0'));
  });

  it('needs both sides: an egress rule of one lets nothing into the other', () => {
    const text = `${rule('[{}]')}- endpointSelector: {matchLabels: {app: client}}\n  egress: [{toEndpoints: [{matchLabels: {app: web}}]}]\n`;
    const { allows } = build(text);
    assert.ok(allows({ subject: 'client', direction: 'egress', peer: 'web' }));
    assert.ok(!allows({ subject: 'web', direction: 'ingress', peer: 'client' }));
  });
});

describe('peers of an item', () => {
  it('absent with ports are everybody, the unknown too', () => {
    assert.deepEqual(whoGetsIn(rule('[{toPorts: [{ports: [{port: "80"}]}]}]')), EVERYBODY);
  });

  it('that are an empty list are nobody, with and without ports', () => {
    assert.deepEqual(whoGetsIn(rule('[{fromEndpoints: []}]')), []);
    assert.deepEqual(whoGetsIn(rule('[{fromEndpoints: [], toPorts: [{ports: [{port: "80"}]}]}]')), []);
    assert.deepEqual(whoGetsIn(rule('[{fromEntities: []}]')), []);
    assert.deepEqual(whoGetsIn(rule('[{fromEntities: [none]}]')), []);
  });

  it('with an empty selector are everybody in a bare rule', () => {
    assert.deepEqual(whoGetsIn(rule('[{fromEndpoints: [{}]}]')), EVERYBODY);
  });

  it('with an empty selector are the namespace in an object', () => {
    const text = cnp('endpointSelector: {matchLabels: {app: web}}\ningress: [{fromEndpoints: [{}]}]');
    assert.deepEqual(whoGetsIn(text), ['web', 'client', 'abroad', 'here']);
  });

  it('can be of another namespace in an object', () => {
    const text = cnp(
      'endpointSelector: {}\ningress: [{fromEndpoints: [{matchLabels: {"k8s:io.kubernetes.pod.namespace": other}}]}]',
    );
    assert.deepEqual(whoGetsIn(text), ['stranger']);
  });

  it('are told apart by the source of their labels', () => {
    const from = (key: string): Who[] =>
      whoGetsIn(rule(`[{fromEndpoints: [{matchLabels: {"${key}": client}}]}]`));
    assert.deepEqual(from('app'), ['client', 'stranger', 'box', 'abroad']);
    assert.deepEqual(from('any:app'), from('app'));
    assert.deepEqual(from('k8s:app'), ['client', 'stranger', 'abroad']);
    assert.deepEqual(from('container:app'), ['box']);
  });

  it('by NotIn and DoesNotExist include those without the key, but never the unknown', () => {
    const from = (part: string): Who[] =>
      whoGetsIn(rule(`[{fromEndpoints: [{matchExpressions: [${part}]}]}]`));
    const notClient = from('{key: app, operator: NotIn, values: [client]}');
    assert.ok(notClient.includes('host') && notClient.includes('world') && notClient.includes('here'));
    assert.ok(!notClient.includes('unknown') && !notClient.includes('client') && !notClient.includes('box'));
    const nameless = from('{key: app, operator: DoesNotExist}');
    assert.ok(nameless.includes('host') && !nameless.includes('unknown') && !nameless.includes('web'));
  });
});

describe('entities', () => {
  const cases: readonly [entity: string, who: readonly Who[]][] = [
    ['all', EVERYBODY],
    ['none', []],
    ['world', ['world', 'world4', 'world6']],
    ['world-ipv4', ['world4']],
    ['world-ipv6', ['world6']],
    [
      'cluster',
      [...IN_CLUSTER, 'host', 'unmanaged', 'health', 'init', 'remote', 'apiserver', 'ingressProxy'],
    ],
    ['host', ['host']],
    ['remote-node', ['remote', 'apiserver']],
    ['kube-apiserver', ['apiserver']],
    ['health', ['health']],
    ['init', ['starting', 'init']],
    ['unmanaged', ['unmanaged']],
    ['ingress', ['ingressProxy']],
  ];
  for (const [entity, who] of cases) {
    it(`${entity} is ${who.length === EVERYBODY.length ? 'everybody' : who.join(', ') || 'nobody'}`, () => {
      assert.deepEqual(whoGetsIn(rule(`[{fromEntities: [${entity}]}]`)), who);
    });
  }

  it('are alternatives', () => {
    assert.deepEqual(whoGetsIn(rule('[{fromEntities: [host, health]}]')), ['host', 'health']);
  });
});

describe('ports of an item', () => {
  const to = (ports: string): ((protocol: number, port: number) => boolean) => {
    const { allows } = build(rule(`[{toPorts: [{ports: [${ports}]}]}]`));
    return (protocol, port) => allows({ peer: 'client', protocol, port });
  };

  it('absent are every protocol, ICMP too', () => {
    const { allows } = build(rule('[{fromEndpoints: [{matchLabels: {app: client}}]}]'));
    for (const protocol of [1, 6, 17, 47, 58, 132]) assert.ok(allows({ peer: 'client', protocol, port: 0 }));
  });

  it('of TCP let no ping through', () => {
    const open = to('{port: "80", protocol: TCP}');
    assert.deepEqual(
      [open(6, 80), open(6, 81), open(17, 80), open(1, 0), open(58, 0)],
      [true, false, false, false, false],
    );
  });

  it('without protocol are TCP, UDP and SCTP', () => {
    const open = to('{port: "80"}');
    assert.deepEqual(
      [6, 17, 132, 1, 47].map((protocol) => open(protocol, 80)),
      [true, true, true, false, false],
    );
  });

  it('"0" are every port of the protocol', () => {
    const open = to('{port: "0", protocol: UDP}');
    assert.deepEqual([open(17, 1), open(17, 65535), open(6, 80), open(1, 0)], [true, true, false, false]);
  });

  it('may be a range, both ends included', () => {
    const open = to('{port: "80", endPort: 443, protocol: TCP}');
    assert.deepEqual(
      [79, 80, 81, 442, 443, 444].map((port) => open(6, port)),
      [false, true, true, true, true, false],
    );
  });

  it('may be the widest range', () => {
    const open = to('{port: "1", endPort: 65535, protocol: TCP}');
    assert.deepEqual(
      [1, 2, 32768, 65535].map((port) => open(6, port)),
      [true, true, true, true],
    );
    const { policy } = build(rule('[{toPorts: [{ports: [{port: "1", endPort: 65535, protocol: TCP}]}]}]'));
    assert.equal([...policy().mapState.keys()].filter((key) => key.startsWith('ingress')).length, 16);
  });

  it('are alternatives, within an entry and among entries', () => {
    const { allows } = build(
      rule('[{toPorts: [{ports: [{port: "80"}, {port: "81"}]}, {ports: [{port: "90"}]}]}]'),
    );
    assert.deepEqual(
      [80, 81, 90, 91].map((port) => allows({ peer: 'client', port })),
      [true, true, true, false],
    );
  });
});

describe('enforcement modes', () => {
  it('always closes what no rule opens, in both directions', () => {
    const { policy, allows } = build('', { mode: 'always', allowLocalhost: 'policy' });
    assert.deepEqual(policy().enforcement, { ingress: true, egress: true });
    assert.equal(policy().mapState.size, 0);
    assert.ok(!allows({ peer: 'client' }));
  });

  it('never opens everything whatever the rules say', () => {
    const { policy, allows } = build(rule('[{}]'), { mode: 'never', allowLocalhost: 'policy' });
    assert.deepEqual(policy().enforcement, { ingress: false, egress: false });
    assert.deepEqual([...policy().mapState.keys()], ['ingress/0/0/0/0', 'egress/0/0/0/0']);
    assert.ok(allows({ peer: 'unknown' }));
  });

  it('default locks an endpoint down until its labels are known', () => {
    const { policy, allows } = build('');
    assert.deepEqual(policy('init').enforcement, { ingress: true, egress: true });
    assert.deepEqual(policy('starting').enforcement, { ingress: true, egress: true });
    assert.ok(!allows({ subject: 'init', direction: 'egress', peer: 'world' }));
  });

  it('lets rules select endpoints without labels yet', () => {
    const { allows } = build(
      '- endpointSelector: {matchLabels: {"reserved:init": ""}}\n  egress: [{toEntities: [all], toPorts: [{ports: [{port: "53", protocol: UDP}]}]}]\n',
    );
    assert.ok(allows({ subject: 'init', direction: 'egress', peer: 'world', protocol: 17, port: 53 }));
    assert.ok(!allows({ subject: 'init', direction: 'egress', peer: 'world', protocol: 17, port: 54 }));
  });
});

describe('the node itself', () => {
  it('reaches an endpoint under any rules when localhost is always allowed', () => {
    const { allows, policy } = build(rule('[{}]'), { mode: 'default', allowLocalhost: 'always' });
    assert.ok(allows({ peer: 'host' }));
    assert.ok(!allows({ peer: 'remote' }));
    assert.equal(policy().mapState.get('ingress/1/0/0/0')?.entry.ruleId, 0);
  });

  it('does not where policy decides', () => {
    assert.ok(!build(rule('[{}]')).allows({ peer: 'host' }));
  });

  it('needs no entry where nothing is enforced', () => {
    const { policy } = build('', { mode: 'default', allowLocalhost: 'always' });
    assert.ok(!policy().mapState.has('ingress/1/0/0/0'));
  });
});

describe('a resolved policy', () => {
  const star = rule(
    '[{fromEndpoints: [{matchLabels: {app: client}}], toPorts: [{ports: [{port: "80", protocol: TCP}]}]}]',
  );

  it('names the rule of each entry', () => {
    const { policy } = build(`${star}${rule('[{fromEntities: [health]}]')}`);
    const { mapState } = policy();
    assert.equal(mapState.get('ingress/1001/6/80/16')?.entry.ruleId, 1);
    assert.equal(mapState.get('ingress/4/0/0/0')?.entry.ruleId, 2);
    assert.equal(mapState.get('egress/0/0/0/0')?.entry.ruleId, 0);
    assert.deepEqual(identitiesWithVerdict(mapState, 'ingress', 'allow'), [4]);
    assert.deepEqual(identitiesWithVerdict(mapState, 'egress', 'allow'), [0]);
  });

  it('is summed up port by port with selectors and rules', () => {
    const labelled = star.replace('  ingress', '  labels: ["k8s:one=1"]\n  ingress');
    const second = rule('[{fromEntities: [host], toPorts: [{ports: [{port: "80", protocol: TCP}]}]}]');
    const { policy } = build(`${labelled}${second}`);
    const client =
      '&LabelSelector{MatchLabels:map[string]string{any.app: client,},MatchExpressions:[]LabelSelectorRequirement{},}';
    const host =
      '&LabelSelector{MatchLabels:map[string]string{reserved.host: ,},MatchExpressions:[]LabelSelectorRequirement{},}';
    const summary = l4Summary(policy());
    assert.deepEqual(summary.egress, []);
    assert.equal(summary.ingress.length, 1);
    assert.deepEqual(summary.ingress[0]?.['rules-by-selector'], { [client]: [['k8s:one=1']], [host]: [[]] });
    assert.deepEqual(summary.ingress[0]['derived-from-rules'], [['k8s:one=1'], []]);
    assert.ok(
      summary.ingress[0].rule.startsWith('{"port":80,"protocol":"TCP","l7-rules":[{"\\u0026LabelSelector{'),
    );
    assert.deepEqual(JSON.parse(summary.ingress[0].rule), {
      port: 80,
      protocol: 'TCP',
      'l7-rules': [{ [client]: null }, { [host]: null }],
    });
  });

  it('is summed up as a Cilium agent sums up the same rule', () => {
    const file = new URL('../fixtures/cilium-1.19-agent/api-endpoint_1281.json', import.meta.url);
    const recorded = JSON.parse(readFileSync(file, 'utf8')) as {
      status: { policy: { spec: { l4: unknown } } };
    };
    const peer =
      '{matchLabels: {app: a, "k8s:io.cilium.k8s.policy.cluster": default, "k8s:io.kubernetes.pod.namespace": default}}';
    const { policy } = build(`- endpointSelector: {matchLabels: {app: web}}
  ingress: [{fromEndpoints: [${peer}], toPorts: [{ports: [{port: "8080", protocol: TCP}, {port: "5201", protocol: TCP}]}]}]
  labels: ["directory:filename=l4.yaml", "directory:io.cilium.k8s.policy.namespace=default", "directory:policy-derived-from=CiliumNetworkPolicy"]
`);
    assert.deepEqual(l4Summary(policy()), recorded.status.policy.spec.l4);
  });

  it('is the same object for a subject asked for again', () => {
    const { policy } = build(star);
    assert.equal(policy(), policy());
  });
});
