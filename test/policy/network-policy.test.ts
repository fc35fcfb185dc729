import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatProblems, parsePolicy, type Rule, ruleJson } from '../../src/policy/index.ts';

function ruleOf(spec: string, apiVersion = 'networking.k8s.io/v1'): Rule {
  const text = `{apiVersion: ${apiVersion}, kind: NetworkPolicy, metadata: {name: p, namespace: web}, spec: ${spec}}`;
  const { errors, rules } = parsePolicy(text, { file: 'x' });
  assert.deepEqual(errors, [], formatProblems(errors));
  const [first] = rules;
  assert.ok(first !== undefined);
  return first.rule;
}

const NS = 'k8s:io.kubernetes.pod.namespace';
const nobody = [{}];

describe('a NetworkPolicy', () => {
  it('selects pods of its namespace, by labels of Kubernetes only', () => {
    const json = ruleJson(ruleOf('{podSelector: {matchLabels: {app: a}}}'));
    assert.deepEqual(json.endpointSelector, { matchLabels: { 'k8s:app': 'a', [NS]: 'web' } });
  });

  it('keeps its namespace when a selector names another', () => {
    const json = ruleJson(ruleOf('{podSelector: {matchLabels: {io.kubernetes.pod.namespace: other}}}'));
    assert.deepEqual(json.endpointSelector, { matchLabels: { [NS]: 'web' } });
  });

  it('has labels that name it and its kind', () => {
    assert.deepEqual(
      ruleOf('{podSelector: {}}').labels.map(({ source, key, value }) => [source, key, value]),
      [
        ['k8s', 'io.cilium.k8s.policy.name', 'p'],
        ['k8s', 'io.cilium.k8s.policy.namespace', 'web'],
        ['k8s', 'io.cilium.k8s.policy.derived-from', 'NetworkPolicy'],
      ],
    );
  });

  it('may be of the version of 2018', () => {
    assert.equal(ruleOf('{podSelector: {}}', 'extensions/v1beta1').ingress?.length, 1);
  });

  const sections: readonly [name: string, spec: string, ingress: unknown, egress: unknown][] = [
    ['closes ingress without rules and types', '{podSelector: {}}', nobody, undefined],
    ['closes ingress where it is named', '{podSelector: {}, policyTypes: [Ingress]}', nobody, undefined],
    [
      'closes egress alone where only it is named',
      '{podSelector: {}, policyTypes: [Egress]}',
      undefined,
      nobody,
    ],
    ['closes both where both are named', '{podSelector: {}, policyTypes: [Ingress, Egress]}', nobody, nobody],
    [
      'closes ingress also when there are rules of egress',
      '{podSelector: {}, egress: [{}]}',
      nobody,
      [{ toEndpoints: [{}] }],
    ],
    [
      'takes rules of a direction that policyTypes leaves out, as Cilium does',
      '{podSelector: {}, policyTypes: [Egress], ingress: [{}], egress: [{}]}',
      [{ fromEndpoints: [{}] }],
      [{ toEndpoints: [{}] }],
    ],
  ];
  for (const [name, spec, ingress, egress] of sections) {
    it(name, () => {
      const json = ruleJson(ruleOf(spec));
      assert.deepEqual([json.ingress, json.egress], [ingress, egress]);
    });
  }

  const peers: readonly [name: string, item: string, expected: unknown][] = [
    ['everybody where from is absent', '{}', [{ fromEndpoints: [{}] }]],
    ['everybody where from is empty', '{from: []}', [{ fromEndpoints: [{}] }]],
    [
      'pods of its namespace for a podSelector',
      '{from: [{podSelector: {matchLabels: {a: b}}}]}',
      [{ fromEndpoints: [{ matchLabels: { 'k8s:a': 'b', [NS]: 'web' } }] }],
    ],
    [
      'every pod for an empty namespaceSelector, but not the world',
      '{from: [{namespaceSelector: {}}]}',
      [{ fromEndpoints: [{ matchExpressions: [{ key: NS, operator: 'Exists' }] }] }],
    ],
    [
      'pods whose namespace has the labels, for a namespaceSelector',
      '{from: [{namespaceSelector: {matchLabels: {team: red}, matchExpressions: [{key: env, operator: DoesNotExist}]}}]}',
      [
        {
          fromEndpoints: [
            {
              matchLabels: { 'k8s:io.cilium.k8s.namespace.labels.team': 'red' },
              matchExpressions: [{ key: 'k8s:io.cilium.k8s.namespace.labels.env', operator: 'DoesNotExist' }],
            },
          ],
        },
      ],
    ],
    [
      'pods that both selectors pick',
      '{from: [{namespaceSelector: {matchLabels: {team: red}}, podSelector: {matchLabels: {a: b}}}]}',
      [
        {
          fromEndpoints: [
            { matchLabels: { 'k8s:a': 'b', 'k8s:io.cilium.k8s.namespace.labels.team': 'red' } },
          ],
        },
      ],
    ],
    [
      'a prefix, with ports and beside a selector',
      '{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}, {podSelector: {}}], ports: [{port: 80}]}',
      [
        {
          toPorts: [{ ports: [{ port: '80', protocol: 'TCP' }] }],
          fromCIDRSet: [{ cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] }],
        },
        {
          fromEndpoints: [{ matchLabels: { [NS]: 'web' } }],
          toPorts: [{ ports: [{ port: '80', protocol: 'TCP' }] }],
        },
      ],
    ],
    [
      'ports by number, range, name and none',
      '{ports: [{}, {protocol: UDP}, {port: 8000, endPort: 8999}, {port: http, protocol: SCTP}]}',
      [
        {
          fromEndpoints: [{}],
          toPorts: [
            { ports: [{ port: '0', protocol: 'TCP' }] },
            { ports: [{ port: '0', protocol: 'UDP' }] },
            { ports: [{ port: '8000', endPort: 8999, protocol: 'TCP' }] },
            { ports: [{ port: 'http', protocol: 'SCTP' }] },
          ],
        },
      ],
    ],
  ];
  for (const [name, item, expected] of peers) {
    it(`lets in ${name}`, () =>
      assert.deepEqual(
        JSON.parse(JSON.stringify(ruleJson(ruleOf(`{podSelector: {}, ingress: [${item}]}`)).ingress)),
        expected,
      ));
  }
});
