import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseLabel } from '../../src/model/labels.ts';
import {
  formatValidation,
  type Rule,
  readPolicy,
  shadowedRules,
  unselectedRules,
  validatePolicies,
} from '../../src/policy/index.ts';

const rulesOf = (...rules: readonly string[]): readonly Rule[] =>
  readPolicy(rules.map((rule) => `- {${rule}}`).join('\n'), { file: 'x' });

const A = 'endpointSelector: {matchLabels: {app: a}}';
const ANY = 'endpointSelector: {}';

describe('unselectedRules', () => {
  const endpoints = [[parseLabel('k8s:app=a')], [parseLabel('reserved:health')]];

  it('finds rules whose subject is no endpoint', () => {
    const rules = rulesOf(`${A}, ingress: [{}]`, 'endpointSelector: {matchLabels: {app: b}}, ingress: [{}]');
    assert.deepEqual(unselectedRules(rules, endpoints), [{ kind: 'selects-nothing', rule: 1 }]);
  });

  it('finds every rule when there are no endpoints, but for those of nodes', () => {
    const rules = rulesOf(`${ANY}, ingress: [{}]`, 'nodeSelector: {}, ingress: [{}]');
    assert.deepEqual(unselectedRules(rules, []), [{ kind: 'selects-nothing', rule: 0 }]);
  });
});

/** Pairs of rules; `covered`: the second has no effect beside the first. */
const COVERED: readonly [name: string, wide: string, narrow: string, covered: boolean][] = [
  [
    'an identical rule',
    `${A}, ingress: [{fromEntities: [host]}]`,
    `${A}, ingress: [{fromEntities: [host]}]`,
    true,
  ],
  [
    'a narrower subject',
    `${ANY}, ingress: [{fromEntities: [host]}]`,
    `${A}, ingress: [{fromEntities: [host]}]`,
    true,
  ],
  [
    'a subject of another label',
    'endpointSelector: {matchLabels: {app: b}}, ingress: [{}]',
    `${A}, ingress: [{}]`,
    false,
  ],
  [
    'a key of any source',
    `${A}, ingress: [{}]`,
    'endpointSelector: {matchLabels: {"k8s:app": a}}, ingress: [{}]',
    true,
  ],
  [
    'a key of one source',
    'endpointSelector: {matchLabels: {"k8s:app": a}}, ingress: [{}]',
    `${A}, ingress: [{}]`,
    false,
  ],
  [
    'an expression that the labels fulfil',
    'endpointSelector: {matchExpressions: [{key: app, operator: In, values: [a, b]}]}, ingress: [{}]',
    `${A}, ingress: [{}]`,
    true,
  ],
  [
    'a NotIn, which labels of other sources may break',
    'endpointSelector: {matchExpressions: [{key: app, operator: NotIn, values: [b]}]}, ingress: [{}]',
    `${A}, ingress: [{}]`,
    false,
  ],
  [
    'a port within a range',
    `${ANY}, ingress: [{toPorts: [{ports: [{port: "1", endPort: 99}]}]}]`,
    `${ANY}, ingress: [{toPorts: [{ports: [{port: "80", protocol: TCP}]}]}]`,
    true,
  ],
  [
    'a port of any protocol beside TCP',
    `${ANY}, ingress: [{toPorts: [{ports: [{port: "80", protocol: TCP}]}]}]`,
    `${ANY}, ingress: [{toPorts: [{ports: [{port: "80"}]}]}]`,
    false,
  ],
  [
    'every peer',
    `${ANY}, ingress: [{fromEntities: [all]}]`,
    `${ANY}, ingress: [{fromCIDR: [10.0.0.0/8]}]`,
    true,
  ],
  [
    'a prefix in the world',
    `${ANY}, egress: [{toEntities: [world]}]`,
    `${ANY}, egress: [{toCIDR: [10.0.0.0/8]}]`,
    true,
  ],
  [
    'a prefix in a wider one',
    `${ANY}, egress: [{toCIDR: [10.0.0.0/8]}]`,
    `${ANY}, egress: [{toCIDRSet: [{cidr: 10.1.0.0/16, except: [10.1.1.0/24]}]}]`,
    true,
  ],
  [
    'a prefix with a hole of the wider one',
    `${ANY}, egress: [{toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.1.0/24]}]}]`,
    `${ANY}, egress: [{toCIDR: [10.1.0.0/16]}]`,
    false,
  ],
  [
    'http rules beside none',
    `${ANY}, ingress: [{toPorts: [{ports: [{port: "80", protocol: TCP}]}]}]`,
    `${ANY}, ingress: [{toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{path: /a}]}}]}]`,
    true,
  ],
  [
    'no rules beside those of http',
    `${ANY}, ingress: [{toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{path: /a}]}}]}]`,
    `${ANY}, ingress: [{toPorts: [{ports: [{port: "80", protocol: TCP}]}]}]`,
    false,
  ],
  [
    'the closing of a direction',
    `${ANY}, enableDefaultDeny: {ingress: false}, ingress: [{fromEntities: [all]}]`,
    `${ANY}, ingress: [{fromEntities: [host]}]`,
    false,
  ],
  ['a rule that only closes', `${ANY}, ingress: [{fromEntities: [host]}]`, `${ANY}, ingress: [{}]`, true],
  [
    'a requirement',
    `${ANY}, ingress: [{fromEntities: [all]}]`,
    `${ANY}, ingress: [{fromEntities: [all], fromRequires: [{matchLabels: {a: b}}]}]`,
    false,
  ],
  [
    'a text for the log',
    `${ANY}, ingress: [{fromEntities: [all]}]`,
    `${ANY}, ingress: [{fromEntities: [all]}], log: {value: a}`,
    false,
  ],
  [
    'the other direction',
    `${ANY}, ingress: [{fromEntities: [all]}]`,
    `${ANY}, egress: [{toEntities: [all]}]`,
    false,
  ],
  [
    'types of ICMP beside ports',
    `${ANY}, ingress: [{fromEntities: [all], toPorts: [{ports: [{port: "0"}]}]}]`,
    `${ANY}, ingress: [{icmps: [{fields: [{type: 8}]}]}]`,
    false,
  ],
];

describe('shadowedRules', () => {
  for (const [name, wide, narrow, covered] of COVERED) {
    it(`${covered ? 'finds' : 'does not take for covered'} ${name}`, () => {
      const expected = covered ? [{ kind: 'covered', rule: 1, by: 0 }] : [];
      const remarks = shadowedRules(rulesOf(wide, narrow));
      assert.deepEqual(
        remarks.filter(({ rule }) => rule === 1),
        expected,
      );
    });
  }

  it('finds allowances that are denied, and leaves the others', () => {
    const rules = rulesOf(
      `${A}, egress: [{toCIDR: [10.1.0.0/16]}, {toCIDR: [192.0.2.0/24]}]`,
      `${ANY}, egressDeny: [{toCIDR: [10.0.0.0/8]}]`,
    );
    assert.deepEqual(shadowedRules(rules), [{ kind: 'denied', rule: 0, section: 'egress', item: 0, by: 1 }]);
  });

  it('tells one of two rules that say the same', () => {
    const rule = `${A}, ingress: [{fromEndpoints: [{}]}]`;
    assert.deepEqual(shadowedRules(rulesOf(rule, rule, rule)), [
      { kind: 'covered', rule: 1, by: 0 },
      { kind: 'covered', rule: 2, by: 0 },
    ]);
  });
});

describe('validatePolicies', () => {
  it('warns of rules without effect, with the place of the rule that decides', () => {
    const report = validatePolicies(
      [
        {
          file: 'a.yaml',
          text: `- endpointSelector: {}\n  labels: [wide]\n  ingressDeny: [{fromEntities: [world]}]\n`,
        },
        { file: 'b.yaml', text: `- endpointSelector: {}\n  ingress: [{fromCIDR: [10.0.0.0/8]}]\n` },
      ],
      { endpoints: [] },
    );
    assert.equal(report.valid, true);
    assert.deepEqual(formatValidation(report).split('\n'), [
      'a.yaml:1:3: warning: [0]: no endpoint has the labels of its subject: it has no effect now (look at the labels with endpoint list)',
      'a.yaml: valid, 1 rule',
      'b.yaml:1:3: warning: [0]: no endpoint has the labels of its subject: it has no effect now (look at the labels with endpoint list)',
      'b.yaml:1:3: warning: [0].ingress[0]: it allows nothing: rule unspec:wide at a.yaml:1 denies all of it (remove it)',
      'b.yaml: valid, 1 rule',
    ]);
  });

  it('warns of rules and items that ask for two kinds of requests on one port, once for each two', () => {
    const item = (peers: string, kind: string, ports = '{port: "80", protocol: TCP}'): string =>
      `{fromEntities: [${peers}], toPorts: [{ports: [${ports}], rules: {${kind}: [{}]}}]}`;
    const rule = (labels: string, ...items: readonly string[]): string =>
      `- {endpointSelector: {matchLabels: {${labels}}}, ingress: [${items.join(', ')}]}\n`;
    const range = '{port: "70", endPort: 90, protocol: TCP}';
    const texts = [
      rule('a: b', item('world', 'http')) + rule('a: b', item('world', 'kafka', range)),
      rule('c: d', item('host', 'http')) +
        rule('c: d, e: f', item('host', 'kafka'), item('host', 'http', range)),
      rule('c: other', item('host', 'kafka')) + rule('c: d', item('world', 'kafka')),
    ];
    const { valid, files } = validatePolicies([{ file: 'p', text: texts.join('') }]);
    assert.equal(valid, true);
    assert.deepEqual(
      files[0]?.warnings.map(({ field, code, reason }) => [field, code, reason.split(':')[0]]),
      [
        ['[1].ingress[0]', 'CONFLICT', 'it asks for kafka on port 80, where the rule at p'],
        ['[3].ingress[0]', 'CONFLICT', 'it asks for kafka on port 80, where the rule at p'],
        [
          '[3].ingress[1]',
          'CONFLICT',
          'it asks for http on port 80, where an item before it asks for kafka of the same peers',
        ],
      ],
    );
  });

  it('takes of an object that comes twice, in one file or two, the last one, and warns of the others', () => {
    const object = (name: string, spec: string): string =>
      `apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: ${name}}\n${spec}\n`;
    const spec = (entity: string): string => `{endpointSelector: {}, ingress: [{fromEntities: [${entity}]}]}`;
    const twice = `${object('p', `spec: ${spec('world')}`)}---\n${object('p', `specs: [${spec('host')}, ${spec('health')}]`)}`;
    assert.deepEqual(
      readPolicy(twice, { file: 'x' }).map(({ ingress }) => ingress?.[0]?.peers),
      ['host', 'health'].map((entity) => ({ kind: 'entities', entities: [entity] })),
    );
    const { files } = validatePolicies([
      { file: 'a', text: twice },
      { file: 'b', text: object('p', `spec: ${spec('cluster')}`) },
      { file: 'c', text: object('q', `spec: ${spec('ingress')}`) },
    ]);
    assert.deepEqual(
      files.map(({ rules }) => rules),
      [0, 1, 1],
    );
    assert.deepEqual(
      files[0]?.warnings.map(({ line, reason }) => [line, reason]),
      [
        [4, 'CiliumNetworkPolicy default/p comes again at a:9, and that one counts'],
        [9, 'CiliumNetworkPolicy default/p comes again at b:4, and that one counts'],
        [9, 'CiliumNetworkPolicy default/p comes again at b:4, and that one counts'],
      ],
    );
  });

  it('says nothing of effects while there are errors', () => {
    const rule = '- {endpointSelector: {}, ingress: [{fromEntities: [host]}]}\n';
    const report = validatePolicies(
      [
        { file: 'a', text: rule + rule },
        { file: 'b', text: '- 1' },
      ],
      { endpoints: [] },
    );
    assert.deepEqual(report.files[0]?.warnings, []);
  });
});
