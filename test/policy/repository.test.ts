import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseLabel } from '../../src/model/labels.ts';
import { Repository, type Rule, readPolicy, rulesText } from '../../src/policy/index.ts';

const object = (name: string, namespace: string, peer = '{}'): Rule[] => [
  ...readPolicy(
    `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: ${name}, namespace: ${namespace}}
spec: {endpointSelector: {}, ingress: [{fromEndpoints: [${peer}]}]}
`,
    { file: 'test' },
  ),
];
const bare = (label: string): Rule[] => [
  ...readPolicy(`- endpointSelector: {}\n  ingress: [{}]\n  labels: ["${label}"]\n`, { file: 'test' }),
];
const name = (value: string): ReturnType<typeof parseLabel> =>
  parseLabel(`k8s:io.cilium.k8s.policy.name=${value}`);

describe('Repository', () => {
  it('begins at revision 1 without rules', () => {
    const repository = Repository.empty();
    assert.equal(repository.revision, 1);
    assert.deepEqual(repository.snapshot(), { revision: 1, rules: [] });
  });

  it('moves the revision by one a change, however many rules', () => {
    const repository = Repository.empty();
    const change = repository.add([...bare('a'), ...bare('b')]);
    assert.equal(change.revision, 2);
    assert.deepEqual(
      change.added.map(({ id }) => id),
      [1, 2],
    );
    assert.equal(repository.delete([]).revision, 3);
    assert.equal(repository.snapshot().rules.length, 0);
  });

  it('does not move it when there is nothing to do', () => {
    const repository = Repository.empty();
    repository.add(bare('a'));
    assert.equal(repository.add([]).revision, 2);
    assert.deepEqual(repository.delete([parseLabel('nobody')]), { revision: 2, added: [], removed: [] });
  });

  it('never gives a rule’s number again', () => {
    const repository = Repository.empty();
    repository.add(bare('a'));
    repository.delete([]);
    assert.deepEqual(
      repository.add(bare('a')).added.map(({ id }) => id),
      [2],
    );
  });

  it('leaves a snapshot as it was', () => {
    const repository = Repository.empty();
    repository.add(bare('a'));
    const before = repository.snapshot();
    repository.delete([]);
    assert.equal(before.rules.length, 1);
    assert.equal(before.revision, 2);
  });

  it('finds and deletes rules that have all of the labels, of any source where none is named', () => {
    const repository = Repository.empty();
    repository.add([...object('p', 'one'), ...object('p', 'two'), ...bare('k8s:a=b')]);
    const inOne = [name('p'), parseLabel('io.cilium.k8s.policy.namespace=one', 'any')];
    assert.equal(repository.get(inOne).length, 1);
    assert.equal(repository.get([name('p')]).length, 2);
    assert.equal(repository.get([parseLabel('a=b')]).length, 0);
    assert.equal(repository.get([parseLabel('a=b', 'any')]).length, 1);
    assert.equal(repository.delete(inOne).removed.length, 1);
    assert.equal(repository.snapshot().rules.length, 2);
  });

  it('replaces as one change', () => {
    const repository = Repository.empty();
    repository.add(object('p', 'one'));
    const change = repository.replace([name('p')], [...object('p', 'one'), ...object('p', 'one')]);
    assert.deepEqual([change.revision, change.added.length, change.removed.length], [3, 2, 1]);
  });

  it('lets an object replace its own former version and no other of that name', () => {
    const repository = Repository.empty();
    repository.upsert([...object('p', 'one'), ...object('p', 'two')]);
    const change = repository.upsert(object('p', 'one', '{matchLabels: {app: a}}'));
    assert.deepEqual([change.added.length, change.removed.length], [1, 1]);
    assert.equal(repository.snapshot().rules.length, 2);
  });

  it('lets an object replace all rules of its former version, whatever labels of their own they had', () => {
    const repository = Repository.empty();
    const rule = (label: string): string => `{endpointSelector: {}, ingress: [{}], labels: [${label}]}`;
    const policy = (...labels: readonly string[]): readonly Rule[] =>
      readPolicy(
        `{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: p}, specs: [${labels.map(rule).join(', ')}]}`,
        { file: 'test' },
      );
    repository.upsert([...policy('a', 'b'), ...bare('a')]);
    const change = repository.upsert(policy('c'));
    assert.deepEqual([change.added.length, change.removed.length], [1, 2]);
    assert.equal(repository.snapshot().rules.length, 2);
  });

  it('keeps objects of one name and different kinds apart', () => {
    const repository = Repository.empty();
    repository.upsert(object('p', 'one'));
    const network = `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, namespace: one}, spec: {podSelector: {}}}`;
    assert.equal(repository.upsert(readPolicy(network, { file: 'test' })).removed.length, 0);
    assert.equal(repository.upsert(readPolicy(network, { file: 'test' })).removed.length, 1);
  });

  it('reads what the first version saved', () => {
    const rule = { endpointSelector: { matchLabels: { 'any:app': 'a' } }, ingress: [{}] };
    const saved = { version: 1, revision: 7, nextRuleId: 4, rules: [{ id: 3, rule }] };
    const repository = Repository.fromJSON(saved);
    assert.equal(repository.revision, 7);
    assert.deepEqual(
      repository.snapshot().rules.map(({ id }) => id),
      [3],
    );
    assert.equal(repository.toJSON().version, 2);
  });

  it('says in words what it says as a value, also after a change and of a fork that goes on by itself', () => {
    const repository = Repository.empty();
    const text = (of: Repository): unknown => JSON.parse(`{${of.savedFields()}}`);
    const value = (of: Repository): unknown => JSON.parse(JSON.stringify(of));
    assert.deepEqual(text(repository), value(repository));
    repository.add([...bare('a'), ...bare('b')]);
    assert.deepEqual(text(repository), value(repository));
    const fork = repository.fork();
    repository.remove(new Set([1]));
    assert.deepEqual(text(repository), value(repository));
    assert.equal(fork.revision, 2);
    assert.deepEqual(
      fork.snapshot().rules.map(({ id }) => id),
      [1, 2],
    );
  });

  it('is restored with revision, rules and numbers', () => {
    const repository = Repository.empty();
    repository.add(bare('a'));
    repository.upsert(object('p', 'one', '{matchExpressions: [{key: app, operator: NotIn, values: [x]}]}'));
    repository.delete([parseLabel('a')]);
    const restored = Repository.fromJSON(JSON.parse(JSON.stringify(repository)));
    assert.deepEqual(restored.snapshot(), repository.snapshot());
    const text = (of: Repository): string => rulesText(of.snapshot().rules.map(({ rule }) => rule));
    assert.equal(text(restored), text(repository));
    assert.deepEqual(
      restored.add(bare('b')).added.map(({ id }) => id),
      [3],
    );
  });

  it('is restored empty at its revision', () => {
    const repository = Repository.empty();
    repository.add(bare('a'));
    repository.delete([]);
    assert.equal(Repository.fromJSON(JSON.parse(JSON.stringify(repository))).revision, 3);
  });

  const broken: readonly [what: string, value: unknown][] = [
    ['nothing', null],
    ['text', 'rules'],
    ['another version', { version: 3, revision: 1, nextRuleId: 1, rules: [] }],
    ['no revision', { version: 1, nextRuleId: 1, rules: [] }],
    ['a revision of zero', { version: 1, revision: 0, nextRuleId: 1, rules: [] }],
    ['rules that are no list', { version: 1, revision: 1, nextRuleId: 1, rules: {} }],
    ['a rule without number', { version: 1, revision: 1, nextRuleId: 2, rules: [{ rule: {} }] }],
    [
      'a number twice',
      {
        version: 1,
        revision: 1,
        nextRuleId: 9,
        rules: [
          { id: 1, rule: {} },
          { id: 1, rule: {} },
        ],
      },
    ],
  ];
  for (const [what, value] of broken) {
    it(`refuses to be restored from ${what}`, () =>
      assert.throws(() => Repository.fromJSON(value), TypeError));
  }

  it('refuses to be restored from a rule that is not valid', () => {
    const value = { version: 1, revision: 1, nextRuleId: 2, rules: [{ id: 1, rule: { ingress: [{}] } }] };
    assert.throws(() => Repository.fromJSON(value), { code: 'POLICY_INVALID' });
  });
});
