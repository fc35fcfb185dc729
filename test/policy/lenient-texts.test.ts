import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parsePolicy, ruleJson } from '../../src/policy/index.ts';

const rule = (parts: string): string => `- {endpointSelector: {}, ${parts}}\n`;
const egress = (item: string): string => rule(`egress: [${item}]`);
const l7 = (rules: string): string =>
  egress(`{toPorts: [{ports: [{port: "80", protocol: TCP}], rules: ${rules}}]}`);
const dns = (rules: string): string =>
  egress(`{toPorts: [{ports: [{port: "53", protocol: ANY}], rules: {dns: ${rules}}}]}`);
const E0 = '[0].egress[0]';
const H0 = `${E0}.toPorts[0].rules.http[0]`;

/** Name, text, field, reason, hint of what one of the two versions of Cilium takes and that then means little. */
const TAKEN: readonly (readonly [
  name: string,
  text: string,
  field: string,
  reason: RegExp,
  hint?: RegExp,
])[] = [
  [
    'a protocol that is dropped whatever rules say',
    egress('{toPorts: [{ports: [{port: "0", protocol: VRRP}, {port: "1", protocol: TCP}]}]}'),
    `${E0}.toPorts[0].ports[0].protocol`,
    /VRRP are dropped/,
  ],
  [
    'a label source that nobody uses',
    rule('ingress: [{fromEndpoints: [{matchLabels: {"k8:a": b}}]}]'),
    '[0].ingress[0].fromEndpoints[0].matchLabels.k8:a',
    /source "k8"/,
    /"k8s"/,
  ],
  [
    'a label source that nobody uses in an expression',
    rule('ingress: [{fromEndpoints: [{matchExpressions: [{key: "foo:a", operator: Exists}]}]}]'),
    '[0].ingress[0].fromEndpoints[0].matchExpressions[0].key',
    /source "foo"/,
  ],
  [
    'a reserved label that nobody has',
    egress('{toEndpoints: [{matchLabels: {"reserved:hots": ""}}]}'),
    `${E0}.toEndpoints[0].matchLabels.reserved:hots`,
    /nothing has the label "reserved:hots"/,
    /"host"/,
  ],
  [
    'a label of source cidr that is no prefix',
    egress('{toEndpoints: [{matchLabels: {"cidr:ten": ""}}]}'),
    `${E0}.toEndpoints[0].matchLabels.cidr:ten`,
    /nothing has the label "cidr:ten"/,
  ],
  ['an entry of toFQDNs without name', egress('{toFQDNs: [{}]}'), `${E0}.toFQDNs[0]`, /no name matches/],
  [
    'an entry of dns without name',
    dns('[{matchName: ""}]'),
    `${E0}.toPorts[0].rules.dns[0]`,
    /no name matches/,
  ],
  [
    'a regular expression for names in toFQDNs',
    egress(`{toFQDNs: [{matchName: '(www|api)[.]example[.]org'}]}`),
    `${E0}.toFQDNs[0].matchName`,
    /as 2018 had them/,
    /matchPattern/,
  ],
  [
    'a regular expression for names in dns',
    dns(`[{matchName: '.*[.]example[.]org'}]`),
    `${E0}.toPorts[0].rules.dns[0].matchName`,
    /as 2018 had them/,
  ],
  ['a host that is no regular expression', l7('{http: [{host: "("}]}'), `${H0}.host`, /allows nothing/],
  ['look-ahead in a host', l7('{http: [{host: "(?!a).*"}]}'), `${H0}.host`, /allows nothing/, /RE2/],
  [
    'a header without name',
    l7('{http: [{headers: [": x"]}]}'),
    `${H0}.headers[0]`,
    /empty: this rule allows/,
  ],
  ['a header without blank', l7('{http: [{headers: ["a:b"]}]}'), `${H0}.headers[0]`, /no name of a header/],
  ['a line break in a header', l7('{http: [{headers: ["A: b\\nc"]}]}'), `${H0}.headers[0]`, /no line break/],
  [
    'an odd name in headerMatches',
    l7('{http: [{headerMatches: [{name: "a b"}]}]}'),
    `${H0}.headerMatches[0].name`,
    /no name of a header/,
  ],
  [
    'a protocol that nothing judges',
    l7('{l7proto: casandra, l7: [{query_action: select}]}'),
    `${E0}.toPorts[0].rules.l7proto`,
    /no connection to these ports passes/,
    /"cassandra"/,
  ],
  [
    'a key that the protocol does not have',
    l7('{l7proto: r2d2, l7: [{comand: READ}]}'),
    `${E0}.toPorts[0].rules.l7[0].comand`,
    /allows nothing/,
  ],
  [
    'a command that the protocol does not have',
    l7('{l7proto: memcache, l7: [{command: gett}]}'),
    `${E0}.toPorts[0].rules.l7[0].command`,
    /allows nothing/,
    /"get"/,
  ],
  [
    'a key of memcached without command',
    l7('{l7proto: memcache, l7: [{keyExact: a}]}'),
    `${E0}.toPorts[0].rules.l7[0].keyExact`,
    /needs a command/,
  ],
  [
    'a table for an action without',
    l7('{l7proto: cassandra, l7: [{query_action: list-roles, query_table: t}]}'),
    `${E0}.toPorts[0].rules.l7[0].query_table`,
    /has no table/,
  ],
  [
    'a pair that is no regular expression',
    l7('{l7proto: r2d2, l7: [{file: "("}]}'),
    `${E0}.toPorts[0].rules.l7[0].file`,
    /not a regular expression/,
  ],
  [
    'a number that Go reads as octal',
    egress('{icmps: [{fields: [{type: 010}]}]}'),
    `${E0}.icmps[0].fields[0].type`,
    /^010 is octal: 8$/,
    /write 8/,
  ],
  [
    'the end of a range that Go reads as octal',
    egress('{toPorts: [{ports: [{port: "60", endPort: 0100}]}]}'),
    `${E0}.toPorts[0].ports[0].endPort`,
    /^0100 is octal: 64$/,
  ],
  [
    'a subject that wants and forbids one label',
    '- {endpointSelector: {matchLabels: {a: b}, matchExpressions: [{key: a, operator: NotIn, values: [b]}]}, ingress: [{}]}',
    '[0].endpointSelector',
    /selects nothing: .* any:a /,
  ],
  [
    'peers that want two values of one label',
    egress(
      '{toEndpoints: [{matchLabels: {"k8s:a": b}, matchExpressions: [{key: "k8s:a", operator: In, values: [c]}]}]}',
    ),
    `${E0}.toEndpoints[0]`,
    /selects nothing: .* k8s:a /,
  ],
  [
    'an empty section',
    '- endpointSelector: {}\n  ingress:\n  egress: []\n',
    '[0].ingress',
    /as if it were not there/,
  ],
  [
    'peers that are empty',
    egress('{toEndpoints: , toPorts: [{ports: [{port: "1"}]}]}'),
    `${E0}.toEndpoints`,
    /as if/,
  ],
];

describe('a text that one version of Cilium takes', () => {
  for (const [name, text, field, reason, hint] of TAKEN)
    it(`is taken with a warning: ${name}`, () => {
      const { rules, errors, warnings } = parsePolicy(text, { file: 'p.yaml' });
      assert.deepEqual(errors, []);
      assert.equal(rules.length, 1);
      const found = warnings.find((one) => one.field === field);
      assert.ok(found !== undefined, JSON.stringify(warnings));
      assert.match(found.reason, reason);
      if (hint !== undefined) assert.match(found.hint ?? '', hint);
    });

  for (const [name, text] of TAKEN)
    it(`is the same when it is read again: ${name}`, () => {
      const { rules } = parsePolicy(text, { file: 'p.yaml' });
      const json = JSON.stringify(rules.map((one) => ruleJson(one.rule)));
      const again = parsePolicy(json, { file: 'p.json' });
      assert.deepEqual(again.errors, []);
      assert.deepEqual(
        again.rules.map((one) => one.rule),
        rules.map((one) => one.rule),
      );
    });

  it('means what Go makes of its numbers', () => {
    const text = egress('{toPorts: [{ports: [{port: "60", endPort: 0100}, {port: "60", endPort: 080}]}]}');
    const { rules, errors } = parsePolicy(text, { file: 'p.yaml' });
    assert.deepEqual(errors, []);
    const [first] = rules[0]?.rule.egress?.[0]?.ports ?? [];
    assert.deepEqual(
      first?.ports.map(({ endPort }) => endPort),
      [64, 80],
    );
  });

  it('may begin with a byte order mark, which counts for nothing in places', () => {
    const { rules, errors } = parsePolicy('\uFEFF- endpointSelector: {}\n  ingress: [{}]\n', {
      file: 'p.yaml',
    });
    assert.deepEqual(errors, []);
    assert.deepEqual([rules.length, rules[0]?.line, rules[0]?.column], [1, 1, 3]);
    const twice = parsePolicy('\uFEFF\uFEFF{}', { file: 'p.yaml' });
    assert.notDeepEqual(twice.errors, []);
  });

  it('may have rule labels of any source', () => {
    const { rules, errors } = parsePolicy(rule('ingress: [{}], labels: ["k9s:a=b"]'), { file: 'p.yaml' });
    assert.deepEqual(errors, []);
    assert.deepEqual(rules[0]?.rule.labels, [{ source: 'k9s', key: 'a', value: 'b' }]);
  });
});

/** What the regular expressions of Go, in which both versions of Cilium check path and method, have and have not. */
const GO_HAS = String.raw`(?P<n>b) (?<n>b) (?i)ab (?s). (?U)a+ (?m)^a$ \Qa.b\E \pL \p{Greek} \P{Lu} [[:alpha:]] [[:^digit:]]
  \A\z \b\B \x41 \x{10FFFF} \123 \a\f\t\n\r\v a{2,5}? a*? a{0,1000} [a\]b] a{,2} a{ () (|a)* (?i:a) (?-s:.) \- [[:word:]]`;
const GO_HAS_NOT = String.raw`(?=a) (?!a) (?<=a) (?<!a) (a)\1 a{1001} a** a*+ (a a) \y \Z [b-a] (?P=n) (?#c) *a \p{Foo} a++ (?>a)`;

describe('regular expressions of paths', () => {
  const words = (text: string): string[] => text.split(/\s+/);
  const problems = (path: string): number =>
    parsePolicy(
      JSON.stringify([
        {
          endpointSelector: {},
          egress: [{ toPorts: [{ ports: [{ port: '80', protocol: 'TCP' }], rules: { http: [{ path }] } }] }],
        },
      ]),
      { file: 'p.json' },
    ).errors.length;

  for (const text of words(GO_HAS))
    it(`are taken where Go takes them: ${text}`, () => assert.equal(problems(text), 0));
  for (const text of words(GO_HAS_NOT))
    it(`are refused where Go refuses them: ${text}`, () => assert.equal(problems(text), 1));
});
