import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { formatCidr } from '../../src/base/ip.ts';
import { formatProblems, parsePolicy, type Rule, ruleJson } from '../../src/policy/index.ts';
import { readRuleValue } from '../../src/policy/parse-policy.ts';
import { testSeed } from '../support/policy-gen.ts';
import { languageRule } from '../support/rule-arbitrary.ts';
import { object } from './bad-texts.ts';

interface Accepted {
  readonly rule: Rule;
  readonly warnings: readonly string[];
}

function accept(text: string): Accepted {
  const { errors, warnings, rules } = parsePolicy(text, { file: 'x' });
  assert.deepEqual(errors, [], formatProblems(errors));
  const [first] = rules;
  assert.ok(first !== undefined, 'there is a rule');
  return { rule: first.rule, warnings: warnings.map(({ reason }) => reason) };
}

const ingress = (item: string): string => `- {endpointSelector: {}, ingress: [${item}]}`;
const egress = (item: string): string => `- {endpointSelector: {}, egress: [${item}]}`;

describe('ruleJson', () => {
  it('reads back to the same rule, whatever its parts', (t) => {
    const seed = testSeed();
    t.diagnostic(`seed ${seed}`);
    fc.assert(
      fc.property(languageRule, (rule) => {
        const json: unknown = JSON.parse(JSON.stringify(ruleJson(rule)));
        assert.deepEqual(readRuleValue(json, 'x', 'rule'), structuredClone(rule));
      }),
      { seed, numRuns: 2000 },
    );
  });
});

describe('what one version of Cilium takes, and the other does not', () => {
  it('takes a rule without any section, with a warning', () => {
    const { rule, warnings } = accept('- endpointSelector: {}\n');
    assert.deepEqual([rule.ingress, rule.egress], [undefined, undefined]);
    assert.match(warnings.join(), /no section/);
  });

  it('takes port 0, as every port', () => {
    assert.deepEqual(accept(ingress('{toPorts: [{ports: [{port: "0", protocol: UDP}]}]}')).rule.ingress, [
      { peers: undefined, ports: [{ ports: [{ port: 0, endPort: undefined, protocol: 'UDP' }] }] },
    ]);
  });

  it('takes prefixes with ports on ingress', () => {
    const [item] =
      accept(ingress('{fromCIDR: [10.0.0.1, 192.0.2.9/24], toPorts: [{ports: [{port: "80"}]}]}')).rule
        .ingress ?? [];
    assert.deepEqual(item?.peers?.kind === 'cidrs' && item.peers.cidrs.map(formatCidr), [
      '10.0.0.1/32',
      '192.0.2.0/24',
    ]);
    assert.equal(item?.ports?.length, 1);
  });

  it('takes more than 40 lengths of prefixes', () => {
    const cidrs = Array.from({ length: 60 }, (_, i) => `"2001:db8::/${i + 60}"`);
    assert.deepEqual(accept(egress(`{toCIDR: [${cidrs.join(', ')}]}`)).warnings, []);
  });

  it('takes labels of source cilium-generated', () => {
    const text = '- {endpointSelector: {}, ingress: [{}], labels: ["cilium-generated:a=b"]}';
    assert.deepEqual(accept(text).rule.labels, [{ source: 'cilium-generated', key: 'a', value: 'b' }]);
  });

  it('takes requirements and nodes', () => {
    const { rule } = accept(ingress('{fromNodes: [{}], fromRequires: [{matchLabels: {a: b}}]}'));
    assert.equal(rule.ingress?.[0]?.peers?.kind, 'nodes');
    assert.equal(rule.ingress[0]?.requires?.length, 1);
  });

  it('takes services with ports', () => {
    const text = egress('{toServices: [{k8sService: {serviceName: a}}], toPorts: [{ports: [{port: "80"}]}]}');
    assert.deepEqual(accept(text).rule.egress?.[0]?.peers, {
      kind: 'services',
      services: [{ kind: 'name', name: 'a', namespace: 'default' }],
    });
  });

  it('takes authentication that is disabled', () => {
    assert.deepEqual(accept(ingress('{authentication: {mode: disabled}}')).rule.ingress, [
      { peers: undefined, ports: undefined },
    ]);
  });
});

describe('a list that is empty', () => {
  const nobody = { kind: 'endpoints', selectors: [] };

  it('selects nobody as peers', () => {
    assert.deepEqual(accept(ingress('{fromCIDR: []}')).rule.ingress?.[0]?.peers, {
      kind: 'cidrs',
      cidrs: [],
    });
  });

  it('has no effect beside peers of another kind', () => {
    const { rule } = accept(ingress('{fromEndpoints: [], fromEntities: [host]}'));
    assert.deepEqual(rule.ingress?.[0]?.peers, { kind: 'entities', entities: ['host'] });
  });

  it('restricts nothing as toPorts or icmps', () => {
    const { rule, warnings } = accept(ingress('{fromEndpoints: [{}], toPorts: [], icmps: []}'));
    assert.equal(rule.ingress?.[0]?.ports, undefined);
    assert.equal(warnings.length, 2);
  });

  it('is for no port within an entry of toPorts', () => {
    for (const entry of ['{}', '{ports: []}']) {
      const { rule, warnings } = accept(ingress(`{fromEndpoints: [{}], toPorts: [${entry}]}`));
      assert.deepEqual(rule.ingress, [{ peers: nobody, ports: undefined }]);
      assert.match(warnings.join(), /no port at all/);
    }
  });

  it('leaves the other entries of toPorts alone', () => {
    const { rule } = accept(ingress('{toPorts: [{}, {ports: [{port: "80"}]}]}'));
    assert.equal(rule.ingress?.[0]?.ports?.length, 1);
    assert.equal(rule.ingress[0]?.peers, undefined);
  });

  it('is for no type within icmps', () => {
    assert.deepEqual(accept(ingress('{icmps: [{fields: []}]}')).rule.ingress, [
      { peers: nobody, ports: undefined },
    ]);
  });

  it('restricts nothing as rules of a parser, with a warning', () => {
    const text = ingress('{toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: []}}]}');
    const { rule, warnings } = accept(text);
    assert.equal(rule.ingress?.[0]?.ports?.[0]?.l7, undefined);
    assert.match(warnings.join(), /http rules restricts nothing/);
  });

  it('is not an empty rule, which every request matches', () => {
    const text = ingress('{toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{}]}}]}');
    assert.equal(accept(text).rule.ingress?.[0]?.ports?.[0]?.l7?.rules.length, 1);
  });
});

describe('ports', () => {
  const portOf = (text: string): unknown =>
    accept(ingress(`{toPorts: [{ports: [${text}]}]}`)).rule.ingress?.[0]?.ports?.[0]?.ports[0];
  const spec = (port: number | string, endPort?: number, protocol = 'ANY'): unknown => ({
    port,
    endPort,
    protocol,
  });

  const ports: readonly [text: string, expected: unknown][] = [
    ['{port: "80"}', spec(80)],
    ['{port: "80", protocol: ""}', spec(80)],
    ['{port: "80", protocol: sctp}', spec(80, undefined, 'SCTP')],
    ['{port: HTTP-2}', spec('http-2')],
    ['{port: "0x50"}', spec('0x50')],
    ['{port: "0100"}', spec(64)],
    ['{port: "8_080"}', spec(8080)],
    ['{port: "1", endPort: 65535}', spec(1, 65535)],
    ['{port: "80", endPort: 80}', spec(80)],
    ['{port: "80", endPort: 0}', spec(80)],
    ['{port: "80", endPort: 79}', spec(80)],
    ['{port: "0", endPort: 90}', spec(1, 90)],
    ['{port: "0", endPort: 65535}', spec(0)],
    ['{port: http, endPort: 90}', spec('http')],
  ];
  for (const [text, expected] of ports) {
    it(`may be ${text}`, () => assert.deepEqual(portOf(text), expected));
  }

  it('warns of a range that is reversed and of numbers that are octal', () => {
    const warn = (text: string): string => accept(ingress(`{toPorts: [{ports: [${text}]}]}`)).warnings.join();
    assert.match(warn('{port: "80", endPort: 79}'), /only port 80 is meant/);
    assert.match(warn('{port: "0100"}'), /octal: port 64/);
    assert.match(warn('{port: http, endPort: 90}'), /no effect/);
  });

  it('are types where the protocol is ICMP, in an item of their own', () => {
    const text = '{fromEntities: [all], toPorts: [{ports: [{port: "8", protocol: ICMP}, {port: "80"}]}]}';
    const peers = { kind: 'entities', entities: ['all'] };
    assert.deepEqual(accept(ingress(text)).rule.ingress, [
      { peers, ports: [{ ports: [spec(80)] }] },
      { peers, ports: undefined, icmps: [{ family: 4, type: 8 }] },
    ]);
  });

  it('are every type where ICMPv6 has port 0', () => {
    const { rule } = accept(ingress('{toPorts: [{ports: [{port: "0", protocol: ICMPv6}]}]}'));
    assert.equal(rule.ingress?.length, 1);
    assert.equal(rule.ingress[0]?.icmps?.length, 256);
  });
});

describe('icmps', () => {
  it('may name types by family', () => {
    const fields = '[{type: 8}, {type: "13"}, {type: EchoRequest}, {family: IPv6, type: EchoRequest}]';
    assert.deepEqual(accept(ingress(`{icmps: [{fields: ${fields}}]}`)).rule.ingress?.[0]?.icmps, [
      { family: 4, type: 8 },
      { family: 4, type: 13 },
      { family: 4, type: 8 },
      { family: 6, type: 128 },
    ]);
  });
});

describe('prefixes', () => {
  const sets = (text: string): unknown =>
    accept(ingress(`{fromCIDRSet: [${text}]}`)).rule.ingress?.[0]?.peers;

  it('of a set may have exceptions, and one that is wider takes all', () => {
    const json = JSON.stringify(
      ruleJson(
        accept(ingress('{fromCIDRSet: [{cidr: 10.1.0.0/16, except: [10.1.2.0/24, 10.1.0.5/8]}]}')).rule,
      ),
    );
    assert.match(json, /"except":\["10\.1\.2\.0\/24","10\.1\.0\.0\/16"\]/);
  });

  it('may be those of groups, by name and by label', () => {
    assert.deepEqual(
      sets('{cidrGroupRef: g, except: [10.0.0.0/8]}, {cidrGroupSelector: {matchLabels: {a: b}}}'),
      {
        kind: 'cidr-sets',
        sets: [
          {
            kind: 'group',
            name: 'g',
            except: [{ family: 4, bytes: Uint8Array.of(10, 0, 0, 0), length: 8 }],
          },
          {
            kind: 'group-selector',
            selector: { matchLabels: [{ source: 'cidrgroup', key: 'a', value: 'b' }], matchExpressions: [] },
            except: [],
          },
        ],
      },
    );
  });

  it('may be picked by their labels, IPv6 with colons or dashes', () => {
    for (const key of ['cidr:2001:db8::/32', 'cidr:2001-db8--/32']) {
      const { rule } = accept(ingress(`{fromEndpoints: [{matchLabels: {"${key}": ""}}]}`));
      const [selector] =
        rule.ingress?.[0]?.peers?.kind === 'endpoints' ? rule.ingress[0].peers.selectors : [];
      assert.deepEqual(selector?.matchLabels, [{ source: 'cidr', key: '2001:db8::/32', value: '' }]);
    }
  });
});

describe('L7 rules', () => {
  const l7Of = (rules: string, port = '{port: "80", protocol: TCP}'): unknown =>
    accept(egress(`{toPorts: [{ports: [${port}], rules: ${rules}}]}`)).rule.egress?.[0]?.ports?.[0]?.l7;

  it('may be http, and empty parts are none', () => {
    const text =
      '{http: [{path: /v1, method: "", headers: ["X-A:  b c ", X-B], headerMatches: [{name: a, value: "", mismatch: LOG}]}]}';
    assert.deepEqual(l7Of(text), {
      kind: 'http',
      rules: [
        {
          path: '/v1',
          method: undefined,
          host: undefined,
          headers: ['X-A: b c', 'X-B'],
          headerMatches: [{ name: 'a', value: undefined, mismatch: 'LOG' }],
        },
      ],
    });
  });

  it('may be kafka, in any case', () => {
    assert.deepEqual(
      l7Of('{kafka: [{role: Produce, topic: t}, {apiKey: Fetch, apiVersion: "2", clientID: c}]}'),
      {
        kind: 'kafka',
        rules: [
          { role: 'produce', apiKey: undefined, apiVersion: undefined, clientId: undefined, topic: 't' },
          { role: undefined, apiKey: 'fetch', apiVersion: 2, clientId: 'c', topic: undefined },
        ],
      },
    );
  });

  it('may be dns, over UDP, TCP and both, and a name beside a pattern is either', () => {
    for (const protocol of ['UDP', 'TCP', 'ANY']) {
      const rules = '{dns: [{matchName: WWW.Example.org., matchPattern: "*.b"}]}';
      assert.deepEqual(l7Of(rules, `{port: "53", protocol: ${protocol}}`), {
        kind: 'dns',
        rules: [
          { kind: 'name', name: 'www.example.org' },
          { kind: 'pattern', pattern: '*.b' },
        ],
      });
    }
  });
});

describe('a clusterwide policy', () => {
  const clusterwide = (spec: string): Accepted =>
    accept(object(spec).replace('CiliumNetworkPolicy', 'CiliumClusterwideNetworkPolicy'));
  const peersOf = (selector: string, subject = '{}'): string =>
    JSON.stringify(
      ruleJson(
        clusterwide(`  endpointSelector: ${subject}\n  ingress: [{fromEndpoints: [${selector}]}]\n`).rule,
      ).ingress,
    );

  it('has subjects of every namespace and labels that say what it is', () => {
    const { rule } = clusterwide('  endpointSelector: {}\n  ingress: [{}]\n');
    assert.deepEqual(rule.subject, { matchLabels: [], matchExpressions: [] });
    assert.deepEqual(
      rule.labels.map(({ key, value }) => [key, value]),
      [
        ['io.cilium.k8s.policy.name', 'p'],
        ['io.cilium.k8s.policy.derived-from', 'CiliumClusterwideNetworkPolicy'],
      ],
    );
  });

  it('has peers that are managed pods, not the world', () => {
    assert.match(peersOf('{}'), /"k8s:io.kubernetes.pod.namespace","operator":"Exists"/);
    assert.doesNotMatch(peersOf('{matchLabels: {io.kubernetes.pod.namespace: a}}'), /Exists/);
    assert.doesNotMatch(peersOf('{matchLabels: {"reserved:host": ""}}'), /Exists/);
    assert.doesNotMatch(peersOf('{}', '{matchLabels: {"reserved:init": ""}}'), /Exists/);
  });

  it('may be for nodes', () => {
    const { rule } = clusterwide(
      '  nodeSelector: {matchLabels: {a: b}}\n  ingress: [{fromEndpoints: [{}]}]\n',
    );
    assert.equal(rule.subjectKind, 'node');
    assert.deepEqual(ruleJson(rule).nodeSelector, { matchLabels: { 'any:a': 'b' } });
  });
});

describe('a namespaced policy', () => {
  it('has requirements of its namespace, also those with reserved labels', () => {
    const { rule } = accept(
      object('  endpointSelector: {}\n  egress: [{toRequires: [{matchLabels: {"reserved:host": ""}}]}]\n'),
    );
    assert.match(JSON.stringify(ruleJson(rule).egress), /pod\.namespace":"default"/);
  });

  it('has services of its namespace unless they name one', () => {
    const services = '[{k8sService: {serviceName: a}}, {k8sServiceSelector: {selector: {}}}]';
    const { rule } = accept(
      object(`  endpointSelector: {}\n  egress: [{toServices: ${services}}]\n`).replace(
        'name: p',
        'name: p\n  namespace: q',
      ),
    );
    assert.match(JSON.stringify(ruleJson(rule).egress), /"serviceName":"a","namespace":"q"/);
    assert.match(JSON.stringify(ruleJson(rule).egress), /"k8sServiceSelector":\{"selector":\{\}\}/);
  });

  it('denies within its namespace', () => {
    const { rule } = accept(object('  endpointSelector: {}\n  ingressDeny: [{fromEndpoints: [{}]}]\n'));
    assert.match(JSON.stringify(ruleJson(rule).ingressDeny), /pod\.namespace":"default"/);
  });
});
