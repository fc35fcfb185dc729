import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { CompiledFixture, naivePacket } from '../support/fixture-judges.ts';
import { readFixture } from '../support/policy-fixture.ts';

const FOLDER = new URL('../fixtures/policy/fields/', import.meta.url);

const FIXTURES = readdirSync(FOLDER).map((file) => ({
  file,
  text: readFileSync(new URL(file, FOLDER), 'utf8'),
}));

/** Every field of the language, as of 2018 and as added until 1.19. */
const FIELDS = [
  ...[
    'endpointSelector',
    'nodeSelector',
    'matchLabels',
    'matchExpressions',
    'labels',
    'description',
    'specs',
  ],
  ...['ingress', 'egress', 'ingressDeny', 'egressDeny', 'enableDefaultDeny', 'log', 'authentication'],
  ...['fromEndpoints', 'fromRequires', 'fromCIDR', 'fromCIDRSet', 'fromEntities', 'fromNodes'],
  ...['toEndpoints', 'toRequires', 'toCIDR', 'toCIDRSet', 'toEntities', 'toNodes', 'toServices', 'toFQDNs'],
  ...['k8sService', 'k8sServiceSelector', 'matchName', 'matchPattern', 'cidrGroupRef', 'cidrGroupSelector'],
  ...['except', 'toPorts', 'port', 'endPort', 'protocol', 'icmps', 'family', 'type', 'serverNames'],
  ...['http', 'path', 'method', 'host', 'headers', 'headerMatches', 'mismatch', 'dns'],
  ...['kafka', 'role', 'apiKey', 'apiVersion', 'clientID', 'topic'],
  ...['podSelector', 'policyTypes', 'namespaceSelector', 'ipBlock', 'externalCIDRs'],
];

describe('the fixtures of the policy language', () => {
  it('have every field', () => {
    const all = FIXTURES.map(({ text }) => text.replaceAll(/^#.*$/gm, '')).join('\n');
    const missing = FIELDS.filter((field) => !new RegExp(`\\b${field}:`).test(all));
    assert.deepEqual(missing, []);
  });

  for (const { file, text } of FIXTURES) {
    const fixture = readFixture(text, file);

    it(`${file} lists a flow that passes and one that does not`, () => {
      const verdicts = new Set(fixture.flows.map(({ verdict }) => verdict));
      assert.ok(verdicts.has('deny') && verdicts.size > 1, [...verdicts].join());
    });

    it(`${file} is enforced as its comments say`, () => {
      const compiled = new CompiledFixture(fixture);
      for (const flow of fixture.flows)
        assert.equal(compiled.verdict(flow), flow.verdict, `line ${flow.line}: ${flow.text}`);
    });

    it(`${file} reads, rule by rule, as it is enforced`, () => {
      const compiled = new CompiledFixture(fixture);
      for (const flow of fixture.flows)
        assert.equal(
          compiled.packet(flow),
          naivePacket(fixture, compiled, flow),
          `line ${flow.line}: ${flow.text}`,
        );
    });
  }
});
