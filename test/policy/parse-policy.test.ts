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
import { BAD_LANGUAGE } from './bad-language.ts';
import { BAD, object, port } from './bad-texts.ts';

describe('peers that may be nobody', () => {
  const warnings = (entity: string): readonly string[] =>
    parsePolicy(`- endpointSelector: {}\n  ingress: [{fromEntities: [${entity}]}]\n`, {
      file: 'x',
    }).warnings.map(({ field, reason }) => `${field} ${reason}`);

  it('are told where nothing here gives anybody their identity, and only there', () => {
    for (const entity of ['unmanaged', 'ingress'])
      assert.match(warnings(entity).join(), /ingress\[0\]\.fromEntities\[0\] .*matches nobody/);
    for (const entity of ['kube-apiserver', 'remote-node', 'host']) assert.deepEqual(warnings(entity), []);
  });

  it('are not warned of in rules of nodes, whose queries no dns rule lets through', () => {
    const rule = (egress: string): readonly string[] =>
      parsePolicy(`- nodeSelector: {}\n  egress: [${egress}]\n`, { file: 'x' }).warnings.map(
        ({ reason }) => reason,
      );
    assert.deepEqual(rule('{toEntities: [world]}'), []);
    const dns = '{toPorts: [{ports: [{port: "53", protocol: UDP}], rules: {dns: [{matchPattern: "*"}]}}]}';
    assert.match(rule(dns).join(), /not judged by name/);
  });
});

describe('rules of two kinds in one entry', () => {
  it('are told with the errors inside of both', () => {
    const rules = '{http: [{path: "(a"}], kafka: [{topic: "x y"}]}';
    const { errors } = parsePolicy(
      `- endpointSelector: {}\n  ingress: [{toPorts: [{ports: [{port: "80", protocol: TCP}], rules: ${rules}}]}]\n`,
      { file: 'x' },
    );
    assert.deepEqual(errors.map(({ field }) => field?.split('.rules.')[1]).toSorted(), [
      ...['http[0].path', 'kafka', 'kafka[0].topic'],
    ]);
  });
});

describe('names of servers', () => {
  it('are warned of at ports where nobody asks for them', () => {
    const ports =
      '{port: "443"}, {port: "443", protocol: TCP}, {port: "443", protocol: UDP}, {port: "1", protocol: SCTP}';
    const { warnings, errors } = parsePolicy(
      `- endpointSelector: {}\n  egress: [{toPorts: [{ports: [${ports}], serverNames: [a.b]}]}]\n`,
      { file: 'x' },
    );
    assert.deepEqual(errors, []);
    assert.deepEqual(
      warnings.map(({ field, reason }) => `${field} ${reason}`),
      [2, 3].map(
        (place) =>
          `[0].egress[0].toPorts[0].ports[${place}] names of servers are read in TLS over TCP: this port lets nothing pass`,
      ),
    );
  });
});

describe('rules about labels of nodes', () => {
  const text = '- endpointSelector: {}\n  ingress: [{fromNodes: [{matchLabels: {zone: a}}]}]\n';

  it('are refused where nodes have no identities by their labels, and a warning where nobody knows', () => {
    const found = [true, false, undefined].map((nodeLabels) => {
      const { errors, warnings, rules } = parsePolicy(text, { file: 'x', nodeLabels });
      return [errors.length, warnings.length, rules.length];
    });
    assert.deepEqual(found, [
      [0, 0, 1],
      [1, 0, 0],
      [0, 1, 1],
    ]);
    const [error] = parsePolicy(text, { file: 'x', nodeLabels: false }).errors;
    assert.match(error?.hint ?? '', /--enable-node-selector-labels/);
  });
});

describe('parsePolicy', () => {
  for (const { name, text, at, field, code, reason, hint } of [...BAD, ...BAD_LANGUAGE]) {
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

  it('finds every error of a text, in the order of their places', () => {
    const text = `${port('{port: "99999", protocol: TPC}')}---\n- endpointSelector: {}\n  egress: [{toGroups: []}]\n  colour: red\n`;
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
      message: /bad\.yaml:5:16: [^;]*; bad\.yaml:5:\d+: [^;]*TPC/,
    });
  });

  it('names three of many errors, and their number', () => {
    const text = JSON.stringify([1, 2, 3, 4, 5]);
    assert.throws(() => readPolicy(text, { file: 'x' }), {
      message: /\[0\].*; .*\[1\].*; .*\[2\].*, and 2 more$/,
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
    ['a List', `{"apiVersion":"v1","kind":"List","items":[${cnp},${cnp.replace('"p"', '"q"')}]}`, 2],
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
    const text = rulesText(readPolicy(port('{port: "80", endPort: 80, protocol: tcp}'), { file: 'x' }));
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
