import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { mergeInventory } from '../../src/model/policy-inventory.ts';
import {
  inventoryObjects,
  PolicyResolver,
  parsePolicy,
  policyText,
  Repository,
  rulesText,
} from '../../src/policy/index.ts';
import { l7Texts } from '../../src/policy/l7-text.ts';

const VALUE = 's3cret-of-the-test';
const secret = (data: string, name = 'token'): string =>
  `apiVersion: v1\nkind: Secret\nmetadata: {name: ${name}, namespace: shop}\ntype: Opaque\n${data}\n`;
const SECRET = secret(`stringData: {any: ${VALUE}}`);
const POLICY = `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: p, namespace: shop}
spec:
  endpointSelector: {}
  ingress:
  - toPorts:
    - ports: [{port: "80", protocol: TCP}]
      rules: {http: [{headerMatches: [{name: X-Token, secret: {name: token}}]}]}
`;

const parse = (text: string) => parsePolicy(text, { file: 'p.yaml' });

describe('a Secret that rules name', () => {
  it('is of the namespace of the object', () => {
    const { rules } = parse(POLICY);
    assert.match(rulesText(rules.map(({ rule }) => rule)), /"namespace": "shop",\s*"name": "token"/);
  });

  it('is missed by a warning that names it, in a text without it', () => {
    assert.match(
      parse(POLICY)
        .warnings.map(({ reason }) => reason)
        .join(),
      /Secret shop\/token is not in this text/,
    );
    assert.deepEqual(parse(`${POLICY}---\n${SECRET}`).warnings, []);
  });

  it('reaches the proxy, also when it comes or changes later, and nothing else', () => {
    const { rules } = parse(POLICY);
    const repository = Repository.empty();
    repository.add(rules.map(({ rule }) => rule));
    const resolver = new PolicyResolver({
      mode: 'default',
      allowLocalhost: 'policy',
      clusterName: 'default',
    });
    const labels = [{ source: 'k8s', key: 'io.kubernetes.pod.namespace', value: 'shop' }];
    const subject = { id: 1000, labels };
    resolver.updateIdentities({ upserts: [subject] });
    resolver.setRules(repository.snapshot());
    resolver.resolve(subject, []);
    const told = (): string => JSON.stringify(resolver.l7Policy());
    assert.ok(!told().includes('secretValue'));
    for (const value of [VALUE, 'another']) {
      const text = secret(`data: {x: ${Buffer.from(value).toString('base64')}}`);
      resolver.setInventory(parse(text).inventory);
      assert.ok(told().includes(`"secretValue":"${value}"`), told());
    }
    const shown = [rulesText(rules.map(({ rule }) => rule))];
    for (const item of rules[0]?.rule.ingress ?? [])
      for (const { l7 } of item.ports ?? []) shown.push(...(l7 === undefined ? [] : l7Texts(l7)));
    assert.ok(shown.every((text) => !text.includes(VALUE)));
    assert.match(shown.join(), /Secret shop\/token/);
  });

  it('is written for the agent, and hidden where objects are shown', () => {
    const { inventory } = parse(SECRET);
    assert.ok(!JSON.stringify(inventoryObjects(inventory)).includes(Buffer.from(VALUE).toString('base64')));
    assert.deepEqual(parse(policyText([], inventory)).inventory, inventory);
  });

  it('replaces its former version', () => {
    const one = parse(SECRET).inventory;
    const other = parse(secret('stringData: {any: new}')).inventory;
    assert.deepEqual(
      mergeInventory(one, other).secrets?.map(({ value }) => value),
      ['new'],
    );
  });

  for (const [what, data, reason] of [
    ['no entry', 'data: {}', /0 entries/],
    ['two entries', 'stringData: {a: x, b: y}', /2 entries/],
    ['a line break', 'data: {a: eAo=}', /line break/],
  ] as const)
    it(`is remarked on when it has ${what}`, () => {
      const { errors, warnings } = parse(secret(data));
      assert.deepEqual(errors, []);
      assert.match(warnings[0]?.reason ?? '', reason);
    });

  it('is refused without a word of it when it is no base64', () => {
    const { errors } = parse(secret(`data: {a: "${VALUE}"}`));
    assert.match(errors[0]?.reason ?? '', /base64/);
    assert.ok(!JSON.stringify(errors).includes(VALUE));
  });
});
