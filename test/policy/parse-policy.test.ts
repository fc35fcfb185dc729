import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import {
  formatProblem,
  formatValidation,
  parsePolicy,
  readPolicy,
  rulesText,
  validatePolicies,
} from '../../src/policy/index.ts';
import type { ProblemCode } from '../../src/policy/problem.ts';

/** A wrong text, and the place, field and reason that the first error must name. */
interface BadText {
  readonly name: string;
  readonly text: string;
  readonly at: readonly [line: number, column: number];
  readonly field: string;
  readonly code: ProblemCode;
  readonly reason: RegExp;
  readonly hint?: RegExp;
}

/** A CiliumNetworkPolicy whose spec begins at line 6. */
const object = (spec: string): string =>
  `apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata:\n  name: p\nspec:\n${spec}`;

/** A rule list whose one rule has this as its ingress item, from line 4 on. */
const ingress = (item: string): string => `- endpointSelector: {}\n  ingress:\n  - toPorts:\n${item}`;
const port = (text: string): string => ingress(`    - ports:\n      - ${text}\n`);
const peer = (text: string): string => `- endpointSelector: {}\n  ingress:\n  - ${text}\n`;
const selector = (text: string): string => `- endpointSelector: ${text}\n  ingress: [{}]\n`;

const BAD: readonly BadText[] = [
  // Syntax and size.
  { name: 'nothing', text: '', at: [1, 1], field: '', code: 'MISSING', reason: /no policy/ },
  { name: 'comments only', text: '# nothing\n', at: [1, 1], field: '', code: 'MISSING', reason: /no policy/ },
  { name: 'a word', text: 'hello', at: [1, 1], field: '', code: 'TYPE', reason: /policy object or a rule/ },
  {
    name: 'a number in the list',
    text: '- 1',
    at: [1, 3],
    field: '[0]',
    code: 'TYPE',
    reason: /found a number/,
  },
  { name: 'an open bracket', text: '[{"a": 1}', at: [1, 10], field: '', code: 'SYNTAX', reason: /./ },
  { name: 'an open quote', text: 'kind: "x', at: [1, 9], field: '', code: 'SYNTAX', reason: /quote/ },
  {
    name: 'a tab as indentation',
    text: 'spec:\n\ta: 1',
    at: [2, 1],
    field: '',
    code: 'SYNTAX',
    reason: /[Tt]ab/,
  },
  {
    name: 'a key twice',
    text: '- endpointSelector: {}\n  ingress: [{}]\n  ingress: [{}]\n',
    at: [3, 3],
    field: '',
    code: 'SYNTAX',
    reason: /same key occurs twice/,
  },
  { name: 'an alias without anchor', text: '- *rule', at: [1, 3], field: '', code: 'SYNTAX', reason: /rule/ },
  {
    name: 'an alias of itself',
    text: '&a [*a]',
    at: [1, 5],
    field: '',
    code: 'LIMIT',
    reason: /without end/,
  },
  {
    name: 'deep nesting',
    text: '['.repeat(5000),
    at: [1, 34],
    field: '',
    code: 'LIMIT',
    reason: /more than 32 deep/,
  },
  { name: 'a list as key', text: '? [a]\n: b', at: [1, 3], field: '', code: 'SYNTAX', reason: /key/ },
  // Objects.
  {
    name: 'an object without kind',
    text: 'apiVersion: cilium.io/v2\nmetadata: {name: p}\nspec: {endpointSelector: {}, ingress: [{}]}',
    at: [1, 1],
    field: 'kind',
    code: 'MISSING',
    reason: /required/,
    hint: /CiliumNetworkPolicy/,
  },
  {
    name: 'a clusterwide policy',
    text: 'apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\n',
    at: [2, 7],
    field: 'kind',
    code: 'UNSUPPORTED',
    reason: /CiliumClusterwideNetworkPolicy is not supported by this version/,
  },
  {
    name: 'a NetworkPolicy',
    text: 'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n',
    at: [2, 7],
    field: 'kind',
    code: 'UNSUPPORTED',
    reason: /^NetworkPolicy is not supported/,
  },
  {
    name: 'another kind',
    text: 'kind: CiliumNetworkPolicies\n',
    at: [1, 7],
    field: 'kind',
    code: 'VALUE',
    reason: /not a known kind/,
    hint: /did you mean "CiliumNetworkPolicy"/,
  },
  {
    name: 'another version of the API',
    text: object('  {endpointSelector: {}, ingress: [{}]}').replace('io/v2', 'io/v3'),
    at: [1, 13],
    field: 'apiVersion',
    code: 'VALUE',
    reason: /"cilium.io\/v3" is not supported/,
  },
  {
    name: 'no name',
    text: 'apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {}\nspec: {endpointSelector: {}, ingress: [{}]}',
    at: [3, 11],
    field: 'metadata.name',
    code: 'MISSING',
    reason: /required/,
  },
  {
    name: 'no metadata',
    text: 'apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nspec: {endpointSelector: {}, ingress: [{}]}',
    at: [1, 1],
    field: 'metadata',
    code: 'MISSING',
    reason: /required/,
  },
  {
    name: 'a name in capitals',
    text: object('  {endpointSelector: {}, ingress: [{}]}').replace('name: p', 'name: Rule_1'),
    at: [4, 9],
    field: 'metadata.name',
    code: 'VALUE',
    reason: /"Rule_1" is not a name/,
  },
  {
    name: 'a misspelt field of metadata',
    text: object('  {endpointSelector: {}, ingress: [{}]}').replace('name: p', 'name: p\n  namspace: x'),
    at: [5, 3],
    field: 'metadata.namspace',
    code: 'UNKNOWN_FIELD',
    reason: /not a known field/,
    hint: /"namespace"/,
  },
  {
    name: 'no spec',
    text: 'apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p}\n',
    at: [1, 1],
    field: 'spec',
    code: 'MISSING',
    reason: /required/,
  },
  {
    name: 'empty specs',
    text: 'apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p}\nspecs: []\n',
    at: [4, 8],
    field: 'specs',
    code: 'VALUE',
    reason: /empty/,
  },
  { name: 'an empty spec', text: object(''), at: [5, 6], field: 'spec', code: 'TYPE', reason: /found empty/ },
  // Rules.
  {
    name: 'no endpointSelector',
    text: object('  ingress: [{}]\n'),
    at: [6, 3],
    field: 'spec.endpointSelector',
    code: 'MISSING',
    reason: /required/,
  },
  {
    name: 'no section',
    text: '- endpointSelector: {}\n',
    at: [1, 3],
    field: '[0]',
    code: 'MISSING',
    reason: /neither ingress nor egress/,
  },
  {
    name: 'a misspelt section',
    text: '- endpointSelector: {}\n  ingres: [{}]\n',
    at: [2, 3],
    field: '[0].ingres',
    code: 'UNKNOWN_FIELD',
    reason: /"ingres" is not a known field/,
    hint: /did you mean "ingress"/,
  },
  {
    name: 'a section that is no list',
    text: '- endpointSelector: {}\n  ingress: {}\n',
    at: [2, 12],
    field: '[0].ingress',
    code: 'TYPE',
    reason: /must be a list, found a map/,
  },
  {
    name: 'an empty section',
    text: '- endpointSelector: {}\n  ingress:\n',
    at: [2, 11],
    field: '[0].ingress',
    code: 'TYPE',
    reason: /found empty/,
    hint: /leave the field out/,
  },
  {
    name: 'an item that is text',
    text: '- endpointSelector: {}\n  egress: [all]\n',
    at: [2, 12],
    field: '[0].egress[0]',
    code: 'TYPE',
    reason: /must be a map, found text/,
  },
  {
    name: 'a from field on egress',
    text: '- endpointSelector: {}\n  egress:\n  - fromEndpoints: [{}]\n',
    at: [3, 5],
    field: '[0].egress[0].fromEndpoints',
    code: 'UNKNOWN_FIELD',
    reason: /not a known field/,
    hint: /toEndpoints/,
  },
  {
    name: 'peers that are empty',
    text: peer('fromEndpoints:'),
    at: [3, 19],
    field: '[0].ingress[0].fromEndpoints',
    code: 'TYPE',
    reason: /found empty/,
  },
  {
    name: 'two kinds of peers',
    text: peer('fromEndpoints: [{}]\n    fromEntities: [host]'),
    at: [4, 19],
    field: '[0].ingress[0].fromEntities',
    code: 'CONFLICT',
    reason: /cannot stand in one item/,
  },
  {
    name: 'an unknown entity',
    text: peer('fromEntities: [wrold]'),
    at: [3, 20],
    field: '[0].ingress[0].fromEntities[0]',
    code: 'VALUE',
    reason: /"wrold" is not a known entity/,
    hint: /"world"/,
  },
  {
    name: 'a description that is a list',
    text: '- endpointSelector: {}\n  ingress: [{}]\n  description: [a]\n',
    at: [3, 16],
    field: '[0].description',
    code: 'TYPE',
    reason: /must be text/,
  },
  {
    name: 'a label of an unknown source',
    text: '- endpointSelector: {}\n  ingress: [{}]\n  labels: ["k9s:a=b"]\n',
    at: [3, 12],
    field: '[0].labels[0]',
    code: 'VALUE',
    reason: /unknown label source "k9s"/,
  },
  {
    name: 'a label of the generated source',
    text: '- endpointSelector: {}\n  ingress: [{}]\n  labels: [{key: a, value: b, source: cilium-generated}]\n',
    at: [3, 12],
    field: '[0].labels[0]',
    code: 'VALUE',
    reason: /cilium-generated/,
  },
  {
    name: 'a label without key',
    text: '- endpointSelector: {}\n  ingress: [{}]\n  labels: [{value: b}]\n',
    at: [3, 12],
    field: '[0].labels[0].key',
    code: 'MISSING',
    reason: /required/,
  },
  // Selectors.
  {
    name: 'a selector that is text',
    text: selector('app=web'),
    at: [1, 21],
    field: '[0].endpointSelector',
    code: 'TYPE',
    reason: /must be a map/,
  },
  {
    name: 'a misspelt part of a selector',
    text: selector('{matchLabel: {app: web}}'),
    at: [1, 22],
    field: '[0].endpointSelector.matchLabel',
    code: 'UNKNOWN_FIELD',
    reason: /not a known field/,
    hint: /"matchLabels"/,
  },
  {
    name: 'a value that is a number',
    text: selector('{matchLabels: {version: 1}}'),
    at: [1, 45],
    field: '[0].endpointSelector.matchLabels.version',
    code: 'TYPE',
    reason: /must be text, found a number/,
    hint: /"1"/,
  },
  {
    name: 'a value that is a boolean',
    text: selector('{matchLabels: {on: true}}'),
    at: [1, 40],
    field: '[0].endpointSelector.matchLabels.on',
    code: 'TYPE',
    reason: /found true or false/,
    hint: /"true"/,
  },
  {
    name: 'a value that is empty',
    text: selector('{matchLabels: {on: }}'),
    at: [1, 40],
    field: '[0].endpointSelector.matchLabels.on',
    code: 'TYPE',
    reason: /found empty/,
    hint: /write ""/,
  },
  {
    name: 'a key that is none',
    text: selector('{matchLabels: {"a b": c}}'),
    at: [1, 36],
    field: '[0].endpointSelector.matchLabels.a b',
    code: 'VALUE',
    reason: /"a b" is not a label key/,
  },
  {
    name: 'a value that is none',
    text: selector('{matchLabels: {a: "b c"}}'),
    at: [1, 39],
    field: '[0].endpointSelector.matchLabels.a',
    code: 'VALUE',
    reason: /"b c" is not a label value/,
  },
  {
    name: 'an unknown source',
    text: selector('{matchLabels: {"k8:a": b}}'),
    at: [1, 36],
    field: '[0].endpointSelector.matchLabels.k8:a',
    code: 'VALUE',
    reason: /"k8" is not a known label source/,
    hint: /"k8s"/,
  },
  {
    name: 'a source of later versions',
    text: selector('{matchLabels: {"cidr:10.0.0.0/8": ""}}'),
    at: [1, 36],
    field: '[0].endpointSelector.matchLabels.cidr:10.0.0.0/8',
    code: 'VALUE',
    reason: /source cidr is not supported by this version/,
  },
  {
    name: 'an unknown reserved label',
    text: selector('{matchLabels: {"reserved:hots": ""}}'),
    at: [1, 36],
    field: '[0].endpointSelector.matchLabels.reserved:hots',
    code: 'VALUE',
    reason: /"hots" is not a reserved label/,
    hint: /"host"/,
  },
  {
    name: 'one key in two spellings',
    text: selector('{matchLabels: {a: b, "any:a": c}}'),
    at: [1, 42],
    field: '[0].endpointSelector.matchLabels.any:a',
    code: 'CONFLICT',
    reason: /any:a occurs twice/,
  },
  {
    name: 'an unknown operator',
    text: selector('{matchExpressions: [{key: a, operator: in, values: [b]}]}'),
    at: [1, 60],
    field: '[0].endpointSelector.matchExpressions[0].operator',
    code: 'VALUE',
    reason: /"in" is not an operator/,
    hint: /"In"/,
  },
  {
    name: 'an expression without operator',
    text: selector('{matchExpressions: [{key: a}]}'),
    at: [1, 41],
    field: '[0].endpointSelector.matchExpressions[0].operator',
    code: 'MISSING',
    reason: /required/,
  },
  {
    name: 'an expression without key',
    text: selector('{matchExpressions: [{operator: Exists}]}'),
    at: [1, 41],
    field: '[0].endpointSelector.matchExpressions[0].key',
    code: 'MISSING',
    reason: /required/,
  },
  {
    name: 'In without values',
    text: selector('{matchExpressions: [{key: a, operator: In, values: []}]}'),
    at: [1, 72],
    field: '[0].endpointSelector.matchExpressions[0].values',
    code: 'VALUE',
    reason: /at least one value/,
  },
  {
    name: 'Exists with values',
    text: selector('{matchExpressions: [{key: a, operator: Exists, values: [b]}]}'),
    at: [1, 76],
    field: '[0].endpointSelector.matchExpressions[0].values',
    code: 'VALUE',
    reason: /takes no values/,
  },
  // Ports.
  {
    name: 'no toPorts',
    text: peer('toPorts: []'),
    at: [3, 14],
    field: '[0].ingress[0].toPorts',
    code: 'VALUE',
    reason: /empty/,
  },
  {
    name: 'no ports',
    text: ingress('    - {}\n'),
    at: [4, 7],
    field: '[0].ingress[0].toPorts[0].ports',
    code: 'MISSING',
    reason: /required/,
  },
  {
    name: 'an empty list of ports',
    text: ingress('    - ports: []\n'),
    at: [4, 14],
    field: '[0].ingress[0].toPorts[0].ports',
    code: 'VALUE',
    reason: /empty/,
  },
  {
    name: 'a port that is a number',
    text: port('port: 80'),
    at: [5, 15],
    field: '[0].ingress[0].toPorts[0].ports[0].port',
    code: 'TYPE',
    reason: /must be text, found a number/,
    hint: /"80"/,
  },
  {
    name: 'a port beyond the last',
    text: port('port: "65536"'),
    at: [5, 15],
    field: '[0].ingress[0].toPorts[0].ports[0].port',
    code: 'VALUE',
    reason: /greater than 65535/,
  },
  {
    name: 'a negative port',
    text: port('port: "-1"'),
    at: [5, 15],
    field: '[0].ingress[0].toPorts[0].ports[0].port',
    code: 'VALUE',
    reason: /not a port number/,
  },
  {
    name: 'a range in one text',
    text: port('port: "80-90"'),
    at: [5, 15],
    field: '[0].ingress[0].toPorts[0].ports[0].port',
    code: 'VALUE',
    reason: /not a port number/,
    hint: /endPort/,
  },
  {
    name: 'a named port',
    text: port('port: http'),
    at: [5, 15],
    field: '[0].ingress[0].toPorts[0].ports[0].port',
    code: 'UNSUPPORTED',
    reason: /named ports .* not supported/,
  },
  {
    name: 'an empty port',
    text: port('port: ""'),
    at: [5, 15],
    field: '[0].ingress[0].toPorts[0].ports[0].port',
    code: 'VALUE',
    reason: /empty/,
  },
  {
    name: 'a port entry without port',
    text: port('protocol: TCP'),
    at: [5, 9],
    field: '[0].ingress[0].toPorts[0].ports[0].port',
    code: 'MISSING',
    reason: /required/,
  },
  {
    name: 'an unknown protocol',
    text: port('{port: "80", protocol: TPC}'),
    at: [5, 32],
    field: '[0].ingress[0].toPorts[0].ports[0].protocol',
    code: 'VALUE',
    reason: /"TPC" is not a known protocol/,
    hint: /TCP/,
  },
  {
    name: 'a protocol of later versions',
    text: port('{port: "8", protocol: ICMP}'),
    at: [5, 31],
    field: '[0].ingress[0].toPorts[0].ports[0].protocol',
    code: 'UNSUPPORTED',
    reason: /ICMP is not supported/,
  },
  {
    name: 'a reversed range',
    text: port('{port: "80", endPort: 79}'),
    at: [5, 31],
    field: '[0].ingress[0].toPorts[0].ports[0].endPort',
    code: 'VALUE',
    reason: /less than port 80/,
  },
  {
    name: 'a range end beyond the last port',
    text: port('{port: "80", endPort: 70000}'),
    at: [5, 31],
    field: '[0].ingress[0].toPorts[0].ports[0].endPort',
    code: 'VALUE',
    reason: /from 0 to 65535/,
  },
  {
    name: 'a range end that is text',
    text: port('{port: "80", endPort: "90"}'),
    at: [5, 31],
    field: '[0].ingress[0].toPorts[0].ports[0].endPort',
    code: 'TYPE',
    reason: /must be a number/,
  },
  {
    name: 'a range from every port',
    text: port('{port: "0", endPort: 90}'),
    at: [5, 30],
    field: '[0].ingress[0].toPorts[0].ports[0].endPort',
    code: 'CONFLICT',
    reason: /begins no range/,
  },
  {
    name: 'too many ports',
    text: ingress(
      `    - ports: [${Array.from({ length: 41 }, (_, i) => `{port: "${i + 1}"}`).join(', ')}]\n`,
    ),
    at: [4, 14],
    field: '[0].ingress[0].toPorts[0].ports',
    code: 'LIMIT',
    reason: /41 ports, at most 40/,
  },
];

/** Parts of the language that are refused by name, and where they stand. */
const REFUSED: readonly [place: string, text: (field: string) => string, fields: readonly string[]][] = [
  [
    'a rule',
    (field) => `- endpointSelector: {}\n  ingress: [{}]\n  ${field}: []\n`,
    ['nodeSelector', 'ingressDeny', 'egressDeny', 'enableDefaultDeny', 'log'],
  ],
  [
    'an ingress item',
    (field) => `- endpointSelector: {}\n  ingress:\n  - ${field}: []\n`,
    ['fromCIDR', 'fromCIDRSet', 'fromGroups', 'fromNodes', 'fromRequires', 'icmps', 'authentication'],
  ],
  [
    'an egress item',
    (field) => `- endpointSelector: {}\n  egress:\n  - ${field}: []\n`,
    [
      'toCIDR',
      'toCIDRSet',
      'toFQDNs',
      'toGroups',
      'toNodes',
      'toRequires',
      'toServices',
      'icmps',
      'authentication',
    ],
  ],
  [
    'a port rule',
    (field) => ingress(`    - ports: [{port: "80"}]\n      ${field}: {}\n`),
    ['rules', 'listener', 'originatingTLS', 'terminatingTLS', 'serverNames'],
  ],
];

describe('parsePolicy', () => {
  for (const { name, text, at, field, code, reason, hint } of BAD) {
    it(`refuses ${name} at ${at.join(':')}`, () => {
      const { errors, rules } = parsePolicy(text, { file: 'bad.yaml' });
      const [first] = errors;
      assert.ok(first !== undefined, 'there is an error');
      const shown = formatProblem(first);
      assert.deepEqual([first.line, first.column, first.field, first.code], [...at, field, code], shown);
      assert.match(first.reason, reason);
      if (hint !== undefined) assert.match(first.hint ?? '', hint);
      assert.equal(first.file, 'bad.yaml');
      assert.deepEqual(rules, []);
    });
  }

  for (const [place, text, fields] of REFUSED) {
    for (const field of fields) {
      it(`refuses ${field} of ${place} by its name`, () => {
        const { errors } = parsePolicy(text(field), { file: 'bad.yaml' });
        const found = errors.find((error) => error.field.endsWith(`.${field}`));
        assert.equal(found?.code, 'UNSUPPORTED');
        assert.equal(found.reason, `${field} is not supported by this version`);
      });
    }
  }

  it('finds every error of a text, in the order of their places', () => {
    const text = `${port('{port: "99999", protocol: TPC}')}---\n- endpointSelector: {}\n  egress: [{toFQDNs: []}]\n  colour: red\n`;
    const { errors } = parsePolicy(text, { file: 'bad.yaml' });
    assert.deepEqual(
      errors.map(({ line, code }) => [line, code]),
      [
        [5, 'VALUE'],
        [5, 'VALUE'],
        [8, 'UNSUPPORTED'],
        [9, 'UNKNOWN_FIELD'],
      ],
    );
  });

  it('bounds what aliases multiply', () => {
    const levels = Array.from({ length: 9 }, (_, i) =>
      i === 0
        ? 'a0: &a0 [x,x,x,x,x,x,x,x,x]'
        : `a${i}: &a${i} [${Array(9)
            .fill(`*a${i - 1}`)
            .join(',')}]`,
    );
    const { errors } = parsePolicy(levels.join('\n'), { file: 'bomb.yaml' });
    assert.equal(errors[0]?.code, 'LIMIT');
    assert.match(errors[0].reason, /more than 200000 values/);
  });

  it('bounds the size of the text', () => {
    const { errors } = parsePolicy('x'.repeat(101), { file: 'big.yaml', limits: { maxBytes: 100 } });
    assert.equal(errors[0]?.code, 'LIMIT');
    assert.match(errors[0].reason, /101 bytes, at most 100/);
  });

  it('takes aliases where they are harmless', () => {
    const text = `- endpointSelector: &web {matchLabels: {app: web}}\n  ingress: [{fromEndpoints: [*web]}]\n`;
    assert.equal(readPolicy(text, { file: 'x' }).length, 1);
  });

  it('is not confused by keys of every object', () => {
    for (const key of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
      const { errors } = parsePolicy(`- endpointSelector: {}\n  ingress: [{}]\n  ${key}: 1\n`, { file: 'x' });
      assert.equal(errors[0]?.code, 'UNKNOWN_FIELD', key);
    }
  });

  it('throws all errors at once through readPolicy', () => {
    assert.throws(() => readPolicy(port('{port: "99999", protocol: TPC}'), { file: 'bad.yaml' }), {
      code: 'POLICY_INVALID',
      exitCode: 1,
      message: /bad\.yaml:5:16: .*and 1 more/,
    });
  });
});

describe('a policy text', () => {
  const rule = '{"endpointSelector":{},"ingress":[{}]}';
  const cnp = JSON.stringify({
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNetworkPolicy',
    metadata: { name: 'p', namespace: 'web', uid: 'x', labels: { a: 'b' } },
    spec: JSON.parse(rule),
    status: { nodes: {} },
  });
  const forms: readonly [name: string, text: string, rules: number][] = [
    ['one rule', rule, 1],
    ['a list of rules', `[${rule},${rule}]`, 2],
    ['an empty list', '[]', 0],
    ['an object', cnp, 1],
    ['a list of objects and rules', `[${cnp},${rule}]`, 2],
    ['several documents', `${cnp}\n---\n${rule}\n---\n`, 2],
    ['a List', `{"apiVersion":"v1","kind":"List","items":[${cnp},${cnp}]}`, 2],
    ['an object with specs', cnp.replace('"spec":', '"specs":[').replace('},"status"', '}],"status"'), 1],
    ['JSON with tabs', `[\n\t{\n\t\t"endpointSelector": {},\n\t\t"ingress": [{}]\n\t}\n]\n`, 1],
  ];
  for (const [name, text, rules] of forms) {
    it(`may be ${name}`, () => {
      const parsed = parsePolicy(text, { file: 'x' });
      assert.deepEqual(parsed.errors, []);
      assert.equal(parsed.rules.length, rules);
    });
  }

  it('tells where each rule begins', () => {
    const parsed = parsePolicy(
      `- endpointSelector: {}\n  ingress: [{}]\n- endpointSelector: {}\n  egress: [{}]\n`,
      {
        file: 'x',
      },
    );
    assert.deepEqual(
      parsed.rules.map(({ line, column }) => [line, column]),
      [
        [1, 3],
        [3, 3],
      ],
    );
  });

  it('may have labels as text or in parts', () => {
    const text = `- endpointSelector: {}\n  ingress: [{}]\n  labels: ["k8s:a=b", c, {key: d, value: e, source: k8s}]\n`;
    const [read] = readPolicy(text, { file: 'x' });
    assert.deepEqual(read?.labels, [
      { source: 'k8s', key: 'a', value: 'b' },
      { source: 'unspec', key: 'c', value: '' },
      { source: 'k8s', key: 'd', value: 'e' },
    ]);
  });

  it('may write protocols in lower case', () => {
    const text = rulesText(readPolicy(port('{port: "080", endPort: 80, protocol: tcp}'), { file: 'x' }));
    const [read] = JSON.parse(text) as { ingress: { toPorts: { ports: unknown[] }[] }[] }[];
    assert.deepEqual(read?.ingress[0]?.toPorts[0]?.ports, [{ port: '80', protocol: 'TCP' }]);
  });
});

describe('namespaces of an object', () => {
  const read = (spec: string): { rule: string; warnings: number } => {
    const parsed = parsePolicy(object(spec), { file: 'x', namespace: 'web' });
    assert.deepEqual(parsed.errors, []);
    return { rule: rulesText(parsed.rules.map(({ rule }) => rule)), warnings: parsed.warnings.length };
  };
  const matchLabels = (text: string, which: 'subject' | 'peer'): Record<string, string> => {
    const [rule] = JSON.parse(text) as {
      endpointSelector: { matchLabels?: Record<string, string> };
      ingress: { fromEndpoints: { matchLabels?: Record<string, string> }[] }[];
    }[];
    const found = which === 'subject' ? rule?.endpointSelector : rule?.ingress[0]?.fromEndpoints[0];
    return found?.matchLabels ?? {};
  };
  const NS = 'k8s:io.kubernetes.pod.namespace';

  it('hold the subject', () => {
    const { rule } = read(
      '  endpointSelector: {matchLabels: {app: a}}\n  ingress: [{fromEndpoints: [{}]}]\n',
    );
    assert.deepEqual(matchLabels(rule, 'subject'), { 'any:app': 'a', [NS]: 'web' });
    assert.deepEqual(matchLabels(rule, 'peer'), { [NS]: 'web' });
  });

  it('replace another namespace of the subject, with a warning', () => {
    const { rule, warnings } = read(
      '  endpointSelector: {matchLabels: {io.kubernetes.pod.namespace: other}}\n  ingress: [{fromEndpoints: [{}]}]\n',
    );
    assert.deepEqual(matchLabels(rule, 'subject'), { [NS]: 'web' });
    assert.equal(warnings, 1);
  });

  it('leave a subject in reserved:init alone', () => {
    const { rule } = read(
      '  endpointSelector: {matchLabels: {"reserved:init": ""}}\n  ingress: [{fromEndpoints: [{}]}]\n',
    );
    assert.deepEqual(matchLabels(rule, 'subject'), { 'reserved:init': '' });
  });

  const peers: readonly [selector: string, added: boolean][] = [
    ['{matchLabels: {app: b}}', true],
    ['{matchLabels: {"container:app": b}}', true],
    ['{matchLabels: {"k8s:io.kubernetes.pod.namespace": other}}', false],
    ['{matchLabels: {io.kubernetes.pod.namespace: other}}', false],
    ['{matchLabels: {"k8s:io.cilium.k8s.namespace.labels.team": red}}', false],
    ['{matchLabels: {"reserved:host": ""}}', false],
    ['{matchExpressions: [{key: io.kubernetes.pod.namespace, operator: Exists}]}', false],
    ['{matchExpressions: [{key: app, operator: Exists}]}', true],
  ];
  for (const [text, added] of peers) {
    it(`${added ? 'hold' : 'leave alone'} the peer ${text}`, () => {
      const { rule } = read(`  endpointSelector: {}\n  ingress: [{fromEndpoints: [${text}]}]\n`);
      assert.equal(matchLabels(rule, 'peer')[NS] === 'web', added);
    });
  }
});

describe('rulesText', () => {
  it('writes rule1 of the Star Wars example as `policy get` shows it', () => {
    const file = new URL('../../deploy/examples/star-wars/sw_l3_l4_policy.yaml', import.meta.url);
    const golden = new URL('../fixtures/policy/rule1.json', import.meta.url);
    const rules = readPolicy(readFileSync(file, 'utf8'), { file: 'sw_l3_l4_policy.yaml' });
    assert.equal(`${rulesText(rules)}\n`, readFileSync(golden, 'utf8'));
  });

  it('gives back byte for byte a rule that `policy get` showed', () => {
    const golden = readFileSync(new URL('../fixtures/policy/istio-sidecar.json', import.meta.url), 'utf8');
    assert.equal(`${rulesText(readPolicy(golden, { file: 'istio-sidecar.json' }))}\n`, golden);
  });

  it('keeps the keys of an egress rule in the known order, and empty lists', () => {
    const text = `- description: d
  labels: [a]
  egress: [{toEntities: [all], toPorts: [{ports: [{protocol: UDP, port: "53"}]}]}, {toEndpoints: []}]
  ingress: []
  endpointSelector: {matchLabels: {"reserved:init": ""}}
`;
    assert.deepEqual(
      rulesText(readPolicy(text, { file: 'x' })).replace(/\s+/g, ''),
      [
        '[{"endpointSelector":{"matchLabels":{"reserved:init":""}},"ingress":[],',
        '"egress":[{"toPorts":[{"ports":[{"port":"53","protocol":"UDP"}]}],"toEntities":["all"]},{"toEndpoints":[]}],',
        '"labels":[{"key":"a","value":"","source":"unspec"}],"description":"d"}]',
      ].join(''),
    );
  });

  it('is an empty list without rules', () => assert.equal(rulesText([]), '[]'));
});

describe('validatePolicies', () => {
  it('reports each file, and what is wrong where', () => {
    const report = validatePolicies([
      { file: 'good.yaml', text: '- endpointSelector: {}\n  ingress: [{}]\n  egress: []\n' },
      { file: 'bad.yaml', text: '- endpointSelector: {}\n  ingres: [{}]\n' },
    ]);
    assert.equal(report.valid, false);
    assert.equal(
      formatValidation(report),
      [
        'good.yaml:3:11: warning: [0].egress: an empty list leaves egress alone (write [{}] to deny all of it)',
        'good.yaml: valid, 1 rule',
        'bad.yaml:2:3: [0].ingres: "ingres" is not a known field (did you mean "ingress"?)',
        'bad.yaml: invalid, 1 error',
      ].join('\n'),
    );
  });
});
