import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ICMP, ingress, networkPolicy, object, PODS, UDP, World } from './world.ts';

const CLUSTER_PODS = Object.keys(PODS);
const EVERYBODY = [...CLUSTER_PODS, 'host', 'remote-node', 'health', '198.51.100.7', '2001:db8::7'];
const NAMESPACE = ['web', 'client', 'plain'];
const WEB = 'endpointSelector: {matchLabels: {app: web}}';
const NS_TEAM = 'k8s:io.cilium.k8s.namespace.labels.team';
const PORT_80 = 'toPorts: [{ports: [{port: "80", protocol: TCP}]}]';

describe('corner cases of selection', () => {
  it('corner case 1: an empty list leaves a direction open, an empty item closes it, an absent section leaves it open', () => {
    const sides = [
      { direction: 'ingress', other: 'egress: [{toEntities: [all]}]' },
      { direction: 'egress', other: 'ingress: [{fromEntities: [all]}]' },
    ] as const;
    for (const { direction, other } of sides) {
      const who = (section: string): readonly string[] =>
        new World(object(`${WEB}\n${other}${section}`)).who(EVERYBODY, { direction });
      assert.deepEqual(who(`\n${direction}: []`), EVERYBODY, direction);
      assert.deepEqual(who(''), EVERYBODY, direction);
      assert.deepEqual(who(`\n${direction}: [{}]`), [], direction);
    }
  });

  it('corner case 1: in a NetworkPolicy it is the other way about: an empty list closes a direction, an empty item opens it', () => {
    const who = (section: string): readonly string[] =>
      new World(networkPolicy(`{podSelector: {matchLabels: {app: web}}${section}}`)).who(EVERYBODY);
    assert.deepEqual(who(', ingress: []'), []);
    assert.deepEqual(who(''), [], 'ingress is meant where no types are named');
    assert.deepEqual(who(', ingress: [{}]'), EVERYBODY);
    assert.deepEqual(who(', policyTypes: [Egress], egress: [{}]'), EVERYBODY, 'ingress is not meant');
  });

  it('corner case 2: no peers listed with ports is nobody, an empty selector the namespace, absent peers everybody', () => {
    assert.deepEqual(new World(ingress(`[{fromEndpoints: [], ${PORT_80}}]`)).who(EVERYBODY), []);
    assert.deepEqual(new World(ingress(`[{fromEndpoints: [{}], ${PORT_80}}]`)).who(EVERYBODY), NAMESPACE);
    const everybody = new World(ingress(`[{${PORT_80}}]`));
    assert.deepEqual(everybody.who(EVERYBODY), EVERYBODY);
    assert.deepEqual(everybody.who(EVERYBODY, { port: 81 }), [], 'at this port');
  });

  it('corner case 3: an empty selector stays inside the namespace, and clusterwide leaves the world out', () => {
    assert.deepEqual(new World(ingress('[{fromEndpoints: [{}]}]')).who(EVERYBODY), NAMESPACE);
    const clusterwide = new World(ingress('[{fromEndpoints: [{}]}]', 'clusterwide'));
    assert.deepEqual(clusterwide.who(EVERYBODY), [...NAMESPACE, 'stranger', 'web2']);
  });

  it('corner case 4: NotIn holds for who has no such label at all', () => {
    const items = '[{fromEndpoints: [{matchExpressions: [{key: tier, operator: NotIn, values: [front]}]}]}]';
    assert.deepEqual(new World(ingress(items)).who(NAMESPACE), ['web', 'plain']);
  });

  it("corner case 5: a namespace's labels pick its pods, not those of one without, and follow when it is labelled anew", () => {
    const world = new World(ingress(`[{fromEndpoints: [{matchLabels: {"${NS_TEAM}": blue}}]}]`));
    assert.deepEqual(world.who(EVERYBODY), ['stranger', 'web2']);
    world.relabel(
      'stranger',
      2003,
      'k8s:app=client',
      'k8s:io.kubernetes.pod.namespace=other',
      `${NS_TEAM}=red`,
    );
    world.relabel(
      'plain',
      2002,
      'k8s:app=plain',
      'k8s:io.kubernetes.pod.namespace=default',
      `${NS_TEAM}=blue`,
    );
    assert.deepEqual(world.who(EVERYBODY), ['plain', 'web2']);
  });

  it('corner case 5: a namespace without labels is one of all namespaces, and of those that lack a label, as is who has no namespace', () => {
    const who = (namespaces: string): readonly string[] => {
      const from = `ingress: [{from: [{namespaceSelector: ${namespaces}}]}]`;
      return new World(networkPolicy(`{podSelector: {matchLabels: {app: web}}, ${from}}`)).who(EVERYBODY);
    };
    assert.deepEqual(who('{}'), [...NAMESPACE, 'stranger', 'web2']);
    assert.deepEqual(who('{matchLabels: {team: blue}}'), ['stranger', 'web2']);
    const others = EVERYBODY.filter((name) => name !== 'stranger' && name !== 'web2');
    for (const operator of ['NotIn, values: [blue]', 'DoesNotExist'])
      assert.deepEqual(who(`{matchExpressions: [{key: team, operator: ${operator}}]}`), others);
  });

  it("corner case 6: the object's namespace stands for another one that its endpointSelector names", () => {
    const spec =
      'endpointSelector: {matchLabels: {app: web, "k8s:io.kubernetes.pod.namespace": other}}\ningress: [{}]';
    const world = new World(object(spec));
    assert.equal(world.verdict({ peer: 'client' }), 'deny 133');
    assert.equal(world.verdict({ peer: 'client', subject: 'web2' }), 'allow');
  });

  it('corner case 7: a key without source or with any: matches every source, another one only its own', () => {
    const from = (key: string): readonly string[] =>
      new World(
        `- endpointSelector: {matchLabels: {app: web}}\n  ingress: [{fromEndpoints: [{matchLabels: {"${key}": client}}]}]\n`,
      ).who(CLUSTER_PODS);
    assert.deepEqual(from('app'), ['client', 'stranger', 'box']);
    assert.deepEqual(from('any:app'), ['client', 'stranger', 'box']);
    assert.deepEqual(from('k8s:app'), ['client', 'stranger']);
    assert.deepEqual(from('container:app'), ['box']);
  });

  it('corner case 8: a flow needs the egress of the one and the ingress of the other', () => {
    const out = (port: number): string =>
      object(
        `endpointSelector: {matchLabels: {app: client}}\negress: [{toEndpoints: [{matchLabels: {app: web}}], toPorts: [{ports: [{port: "${port}"}]}]}]`,
        'out',
      );
    const world = new World(
      out(80) + ingress(`[{fromEndpoints: [{matchLabels: {app: client}}], ${PORT_80}}]`),
    );
    const both = (port: number): readonly boolean[] => [
      world.passes({ subject: 'client', peer: 'web', direction: 'egress', port }),
      world.passes({ subject: 'web', peer: 'client', direction: 'ingress', port }),
    ];
    assert.deepEqual(both(80), [true, true]);
    world.apply(out(443));
    assert.deepEqual(both(80), [false, true], 'the egress is closed');
    assert.deepEqual(both(443), [true, false], 'the ingress never opened');
  });

  it('corner case 13: a policy for TCP ports blocks ping, a policy for peers alone lets it in', () => {
    const ping = { peer: 'client', protocol: ICMP, port: 8 } as const;
    assert.equal(new World(ingress(`[{fromEndpoints: [{}], ${PORT_80}}]`)).verdict(ping), 'deny 133');
    assert.equal(new World(ingress('[{fromEndpoints: [{}]}]')).verdict(ping), 'allow');
  });

  it('corner case 21: the world is neither host nor remote nodes, the cluster is all but the world', () => {
    const entity = (name: string): World => new World(ingress(`[{fromEntities: [${name}]}]`));
    const outside = ['198.51.100.7', '2001:db8::7'];
    const inside = ['host', 'remote-node', 'kube-apiserver', 'init', 'health', 'unmanaged', 'ingress'];
    assert.deepEqual(entity('world').who([...CLUSTER_PODS, ...inside, ...outside]), outside);
    assert.deepEqual(entity('cluster').who(inside), inside);
    assert.deepEqual(entity('cluster').who(outside), []);
  });

  it('corner case 30: a pod on the network of its node is the host, or a remote node, not a pod', () => {
    assert.deepEqual(new World(ingress('[{fromEndpoints: [{}]}]')).who(['host', 'remote-node']), []);
    const nodes = new World(ingress('[{fromEntities: [host, remote-node]}]'));
    assert.deepEqual(nodes.who(EVERYBODY), ['host', 'remote-node']);
  });

  it('corner case 37: policies of one name live side by side in two namespaces; an update changes its subject only', () => {
    const closed = `${WEB}\ningress: [{}]`;
    const world = new World(object(closed) + object(closed, 'p', 'other'));
    assert.equal(world.repository.snapshot().rules.length, 2);
    const open = (): readonly boolean[] => [
      world.passes({ peer: 'client', subject: 'web' }),
      world.passes({ peer: 'client', subject: 'web2' }),
      world.passes({ peer: 'web', subject: 'plain' }),
    ];
    assert.deepEqual(open(), [false, false, true]);
    world.apply(object('endpointSelector: {matchLabels: {app: plain}}\ningress: [{}]'));
    assert.deepEqual(open(), [true, false, false], 'the former subject is free, the other namespace is not');
    assert.equal(world.repository.snapshot().rules.length, 2);
  });

  it('corner case 45: labels that a filter leaves out of the identity pick nobody', () => {
    // What filters leave is decided where an endpoint comes in; a selector sees the labels of the identity alone.
    const world = new World(ingress('[{fromEndpoints: [{matchLabels: {tier: front}}]}]'));
    assert.deepEqual(world.who(NAMESPACE), ['client']);
    world.relabel('client', 2001, 'k8s:app=client', 'k8s:io.kubernetes.pod.namespace=default');
    assert.deepEqual(world.who(NAMESPACE), []);
  });

  it('corner case 46: an endpoint without labels yet is locked both ways until a rule names it or its labels come', () => {
    const world = new World('');
    for (const direction of ['ingress', 'egress'] as const) {
      const flow = { subject: 'starting', peer: 'client', direction } as const;
      assert.equal(world.verdict(flow), 'deny 133', direction);
    }
    world.apply(
      '- endpointSelector: {matchLabels: {"reserved:init": ""}}\n  egress: [{toEntities: [all], toPorts: [{ports: [{port: "53", protocol: UDP}]}]}]\n',
    );
    const dns = {
      subject: 'starting',
      peer: 'client',
      direction: 'egress',
      protocol: UDP,
      port: 53,
    } as const;
    assert.equal(world.verdict(dns), 'allow');
    assert.equal(world.verdict({ ...dns, port: 54 }), 'deny 133');
    world.relabel('starting', 2006, 'k8s:app=late', 'k8s:io.kubernetes.pod.namespace=default');
    assert.equal(world.verdict({ subject: 'starting', peer: 'client' }), 'allow');
  });
});

describe('corner cases of ports and prefixes', () => {
  it('corner case 14: a named port is what each pod calls so, by protocol; an undefined name is no port', () => {
    const world = new World(ingress('[{toPorts: [{ports: [{port: http, protocol: TCP}]}]}]'));
    const at = (
      port: number,
      namedPorts: readonly { name: string; protocol: number; port: number }[],
    ): string => world.verdict({ peer: 'client', port, namedPorts });
    const one = [
      { name: 'http', protocol: 6, port: 80 },
      { name: 'http', protocol: 17, port: 81 },
    ];
    const other = [{ name: 'http', protocol: 6, port: 8080 }];
    assert.deepEqual([at(80, one), at(81, one), at(8080, one)], ['allow', 'deny 133', 'deny 133']);
    assert.deepEqual([at(80, other), at(8080, other)], ['deny 133', 'allow']);
    assert.deepEqual([at(80, []), at(0, [])], ['deny 133', 'deny 133']);
    const udp = { peer: 'client', protocol: UDP, port: 81, namedPorts: one };
    assert.equal(world.verdict(udp), 'deny 133', 'the name of UDP is another one');
  });

  it('corner case 14: towards others a named port is what pods of the cluster call so, if they agree', () => {
    const clusterPorts = [
      { name: 'http', protocol: 6, port: 80 },
      { name: 'http', protocol: 17, port: 81 },
      { name: 'torn', protocol: 6, port: 90 },
      { name: 'torn', protocol: 6, port: 91 },
    ];
    const to = (name: string): readonly number[] => {
      const rule = `egress: [{toPorts: [{ports: [{port: ${name}, protocol: TCP}]}]}]`;
      const world = new World(object(`endpointSelector: {matchLabels: {app: client}}\n${rule}`), {
        clusterPorts,
      });
      const flow = { subject: 'client', peer: 'web', direction: 'egress' } as const;
      const namedPorts = [{ name: 'http', protocol: 6, port: 8080 }];
      return [0, 80, 81, 90, 91, 8080].filter((port) => world.passes({ ...flow, port, namedPorts }));
    };
    assert.deepEqual(to('http'), [80], 'whatever the subject calls so itself');
    assert.deepEqual(to('torn'), [], 'two numbers are none');
    assert.deepEqual(to('nobody'), []);
  });

  it('corner case 15: a range holds its edges and nothing beyond, may be every port, is one port when reversed, and yields to a deny inside', () => {
    const range = (first: number, last: number, more = ''): string =>
      object(
        `${WEB}\ningress: [{toPorts: [{ports: [{port: "${first}", endPort: ${last}, protocol: TCP}]}]}]${more}`,
      );
    const edges = new World(range(100, 200));
    const passing = [99, 100, 101, 127, 128, 199, 200, 201].filter((port) =>
      edges.passes({ peer: 'client', port }),
    );
    assert.deepEqual(passing, [100, 101, 127, 128, 199, 200]);
    const all = new World(range(1, 65535));
    assert.ok([1, 2, 65534, 65535].every((port) => all.passes({ peer: 'client', port })));
    assert.ok(!all.passes({ peer: 'client', port: 80, protocol: UDP }));
    const reversed = new World(range(200, 100));
    const left = [99, 100, 150, 200, 201].filter((port) => reversed.passes({ peer: 'client', port }));
    assert.deepEqual(left, [200], 'reversed it is its first port, as in Cilium, and warned of');
    const deny = '\ningressDeny: [{toPorts: [{ports: [{port: "150", protocol: TCP}]}]}]';
    const holed = new World(range(100, 200, deny));
    assert.deepEqual(
      [149, 150, 151].map((port) => holed.verdict({ peer: 'client', port })),
      ['allow', 'deny 181', 'allow'],
    );
  });

  it('corner case 16: a denial beats an allow that is more specific, and a denied range one of all', () => {
    const world = new World(
      object(
        `${WEB}\ningress: [{fromEndpoints: [{matchLabels: {app: client}}], ${PORT_80}}, {fromEntities: [all]}]\ningressDeny: [{fromEndpoints: [{}], toPorts: [{ports: [{port: "50", endPort: 100, protocol: TCP}]}]}]`,
      ),
    );
    const verdicts = [49, 50, 80, 100, 101].map((port) => world.verdict({ peer: 'client', port }));
    assert.deepEqual(verdicts, ['allow', 'deny 181', 'deny 181', 'deny 181', 'allow']);
    assert.equal(world.verdict({ peer: 'stranger', port: 80 }), 'allow');
  });

  it('corner case 17: of a prefix inside another with other ports, both apply to its addresses', () => {
    const world = new World(
      ingress(
        `[{fromCIDR: [203.0.113.0/24], ${PORT_80}}, {fromCIDR: [203.0.113.128/25], toPorts: [{ports: [{port: "443"}]}]}]`,
      ),
    );
    const ports = (peer: string): readonly number[] =>
      [80, 443, 22].filter((port) => world.passes({ peer, port }));
    assert.deepEqual(ports('203.0.113.1'), [80]);
    assert.deepEqual(ports('203.0.113.200'), [80, 443]);
    assert.deepEqual(ports('203.0.112.255'), []);
  });

  it('corner case 18: a prefix never matches pods, the host or nodes, whatever addresses they have', () => {
    const world = new World(ingress('[{fromCIDR: [0.0.0.0/0, "::/0"]}]'));
    assert.deepEqual(world.who([...CLUSTER_PODS, 'host', 'remote-node', 'health']), []);
    assert.deepEqual(world.who(['198.51.100.7', '2001:db8::7']), ['198.51.100.7', '2001:db8::7']);
  });

  it('corner case 19: an exception holds inside its own entry only', () => {
    const set = '{fromCIDRSet: [{cidr: 203.0.113.0/24, except: [203.0.113.0/26]}]}';
    const alone = new World(ingress(`[${set}]`));
    assert.deepEqual(alone.who(['203.0.113.9', '203.0.113.99']), ['203.0.113.99']);
    const other = new World(ingress(`[${set}, {fromCIDR: [203.0.113.8/30]}]`));
    assert.deepEqual(other.who(['203.0.113.9', '203.0.113.20', '203.0.113.99']), [
      '203.0.113.9',
      '203.0.113.99',
    ]);
  });

  it('corner case 20: every address of IPv4 is none of IPv6', () => {
    const world = new World(ingress('[{fromCIDR: [0.0.0.0/0]}]'));
    assert.deepEqual(world.who(['198.51.100.7', '2001:db8::7']), ['198.51.100.7']);
  });
});
