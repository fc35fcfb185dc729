import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { parseAllDocuments, stringify } from 'yaml';
import { CompiledFixture, naiveVerdict } from '../support/fixture-judges.ts';
import { type FixtureFlow, type PolicyFixture, readFixture } from '../support/policy-fixture.ts';

const FOLDER = new URL('../fixtures/policy/fields/', import.meta.url);

interface Fixture {
  readonly file: string;
  readonly text: string;
  readonly fixture: PolicyFixture;
  readonly compiled: CompiledFixture;
}

const FIXTURES: readonly Fixture[] = readdirSync(FOLDER).map((file) => {
  const text = readFileSync(new URL(file, FOLDER), 'utf8');
  const fixture = readFixture(text, file);
  return { file, text, fixture, compiled: new CompiledFixture(fixture) };
});

interface Field {
  /** `key`, or `key=value` where each value has to be there. */
  readonly name: string;
  /** Whether the flows that show it have requests, which the proxy judges. */
  readonly request?: boolean;
  /** Why taking it away changes no verdict; undefined: it does. */
  readonly idle?: string;
}

const each = (key: string, values: readonly string[]): Field[] =>
  values.map((value) => ({ name: `${key}=${value}` }));
const asked = (names: readonly string[]): Field[] => names.map((name) => ({ name, request: true }));

/** The language as of 2018. */
const FIELDS_2018: readonly Field[] = [
  ...each('apiVersion', ['cilium.io/v2']),
  ...each('kind', ['CiliumNetworkPolicy', 'NetworkPolicy']),
  { name: 'endpointSelector' },
  { name: 'matchLabels' },
  { name: 'matchExpressions' },
  ...each('operator', ['In', 'NotIn', 'Exists', 'DoesNotExist']),
  { name: 'ingress' },
  { name: 'egress' },
  { name: 'labels', idle: 'rules are named by them' },
  { name: 'description', idle: 'for who reads it' },
  { name: 'specs' },
  { name: 'fromEndpoints' },
  { name: 'fromRequires' },
  { name: 'fromCIDR' },
  { name: 'fromCIDRSet' },
  { name: 'cidr' },
  { name: 'except' },
  { name: 'fromEntities' },
  { name: 'toEndpoints' },
  { name: 'toRequires' },
  { name: 'toCIDR' },
  { name: 'toCIDRSet' },
  { name: 'toEntities' },
  { name: 'toServices' },
  { name: 'k8sService' },
  { name: 'serviceName' },
  { name: 'namespace' },
  { name: 'k8sServiceSelector' },
  { name: 'toFQDNs' },
  { name: 'matchName' },
  { name: 'toPorts' },
  { name: 'ports' },
  { name: 'port' },
  ...each('protocol', ['TCP', 'UDP']),
  { name: 'protocol=ANY', idle: 'it is meant where none is named' },
  { name: 'rules', request: true },
  ...asked(['http', 'path', 'method', 'host', 'headers']),
  ...asked(['kafka', 'role=produce', 'role=consume', 'apiKey', 'apiVersion', 'clientID', 'topic']),
  { name: 'podSelector' },
  { name: 'namespaceSelector' },
  { name: 'policyTypes' },
  { name: 'ipBlock' },
];

/** What came until 1.19, but for what docs/policy.md leaves out. */
const FIELDS_1_19: readonly Field[] = [
  ...each('kind', ['CiliumClusterwideNetworkPolicy', 'CiliumCIDRGroup']),
  { name: 'enableDefaultDeny' },
  { name: 'ingressDeny' },
  { name: 'egressDeny' },
  { name: 'fromNodes' },
  { name: 'toNodes' },
  { name: 'icmps' },
  { name: 'fields' },
  ...each('family', ['IPv6']),
  { name: 'type' },
  { name: 'endPort' },
  ...each('port', ['0', 'web']),
  ...each('protocol', ['SCTP', 'ICMP']),
  ...asked(['dns', 'matchPattern', 'matchName', 'headerMatches', 'name', 'value', 'secret']),
  ...asked(['LOG', 'ADD', 'DELETE', 'REPLACE'].map((action) => `mismatch=${action}`)),
  ...asked([
    'l7proto=memcache',
    'l7proto=r2d2',
    'l7proto=cassandra',
    'query_action',
    'query_table',

    'l7',
    'command',
    'keyPrefix',
    'keyExact',
    'keyRegex',
    'cmd',
    'file',
  ]),
  { name: 'authentication', idle: 'only `disabled` is taken, which asks for nothing' },
  ...asked(['serverNames']),
  { name: 'matchPattern' },
  { name: 'cidrGroupRef' },
  { name: 'cidrGroupSelector' },
  { name: 'externalCIDRs' },
  { name: 'log', idle: 'for records of what happened' },
  { name: 'nodeSelector' },
];

/** Entities, by `entity=` of the flows' subjects. */
const ENTITIES = [
  ...['all', 'world', 'world-ipv4', 'world-ipv6', 'cluster', 'host', 'remote-node', 'init', 'health'],
  ...['unmanaged', 'kube-apiserver', 'ingress', 'none'],
];

const documentsOf = (text: string): unknown[] => parseAllDocuments(text).map((document) => document.toJS());

/** Whether a tree has the field somewhere. */
function hasField(tree: unknown, name: string): boolean {
  const [key, value] = name.split('=');
  if (typeof tree !== 'object' || tree === null) return false;
  return Object.entries(tree).some(
    ([own, inner]) =>
      (own === key && (value === undefined || String(inner) === value)) || hasField(inner, name),
  );
}

/** The tree without the field; a value of a list goes, and what it was in stays. */
function withoutField(tree: unknown, name: string): unknown {
  const [key, value] = name.split('=');
  if (Array.isArray(tree)) return tree.map((item) => withoutField(item, name));
  if (typeof tree !== 'object' || tree === null) return tree;
  const kept = Object.entries(tree).filter(
    ([own, inner]) => own !== key || (value !== undefined && String(inner) !== value),
  );
  return Object.fromEntries(kept.map(([own, inner]) => [own, withoutField(inner, name)]));
}

const commentsOf = (text: string): string[] =>
  text.split('\n').map((line) => (line.startsWith('# ') ? line : '#'));

/** Whether a flow's verdict changes, or the policy can no longer be read, when the field is taken away. */
function decides({ text, file }: Fixture, name: string): boolean {
  const rest = documentsOf(text).map((document) => stringify(withoutField(document, name)));
  const changed = `${commentsOf(text).join('\n')}\n${rest.join('---\n')}`;
  try {
    const fixture = readFixture(changed, file);
    const compiled = new CompiledFixture(fixture);
    return fixture.flows.some(
      (flow) =>
        compiled.verdict(flow) !== flow.verdict ||
        (flow.change !== undefined && compiled.request(flow).replace('as it is', '') !== flow.change),
    );
  } catch {
    // What cannot be left out decides too.
    return true;
  }
}

function verdictsOf(flows: readonly FixtureFlow[]): ReadonlySet<string> {
  return new Set(flows.map(({ verdict }) => verdict));
}

/** What is missing of a field. */
function lacking({ name, request = false, idle }: Field): string[] {
  const having = FIXTURES.filter(({ text }) => documentsOf(text).some((tree) => hasField(tree, name)));
  const flows = having.flatMap(({ fixture, compiled }) =>
    fixture.flows.filter((flow) => !request || compiled.packet(flow) === 'redirect'),
  );
  const verdicts = verdictsOf(flows);
  return [
    ...(having.length === 0 ? ['no fixture has it'] : []),
    ...(verdicts.has('allow') ? [] : ['no allowed flow']),
    ...(verdicts.has('deny') ? [] : ['no denied flow']),
    ...(idle !== undefined || having.some((fixture) => decides(fixture, name)) ? [] : ['it decides nothing']),
  ];
}

describe('the fixtures of the policy language', () => {
  for (const field of [...FIELDS_2018, ...FIELDS_1_19]) {
    const what = field.request ? 'request' : 'flow';
    it(`show ${field.name} by an allowed and a denied ${what}, and what it decides`, () => {
      assert.deepEqual(lacking(field), []);
    });
  }

  for (const entity of ENTITIES) {
    it(`show the entity ${entity} by an allowed and a denied flow`, () => {
      const flows = FIXTURES.flatMap(({ fixture }) => fixture.flows).filter(({ subject }) =>
        subject.labels.some(({ key, value }) => key === 'entity' && value === entity),
      );
      assert.deepEqual([...verdictsOf(flows)].sort(), ['allow', 'deny']);
    });
  }

  it('are found out when a field decides nothing, or has no denied flow', () => {
    assert.deepEqual(lacking({ name: 'description' }), ['it decides nothing']);
    assert.deepEqual(lacking({ name: 'neverHeardOf' }), [
      'no fixture has it',
      'no allowed flow',
      'no denied flow',
      'it decides nothing',
    ]);
  });

  for (const { file, fixture, compiled } of FIXTURES) {
    it(`${file} lists a flow that passes and one that does not`, () => {
      const verdicts = verdictsOf(fixture.flows);
      assert.ok(verdicts.has('deny') && verdicts.size > 1, [...verdicts].join());
    });

    it(`${file} is enforced as its comments say`, () => {
      for (const flow of fixture.flows) {
        const place = `line ${flow.line}: ${flow.text}`;
        assert.equal(compiled.verdict(flow), flow.verdict, place);
        if (flow.change === undefined) continue;
        assert.equal(compiled.request(flow).replace('as it is', ''), flow.change, place);
      }
    });

    it(`${file} reads, rule by rule, as it is enforced`, () => {
      for (const flow of fixture.flows)
        assert.equal(naiveVerdict(fixture, compiled, flow), flow.verdict, `line ${flow.line}: ${flow.text}`);
    });
  }
});
