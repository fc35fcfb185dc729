import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Identity } from '../../src/model/identity.ts';
import { parseLabel, parseLabels } from '../../src/model/labels.ts';
import { mapStateKeyText } from '../../src/model/map-state.ts';
import { PolicyResolver, peerSelectorApiText, Repository, readPolicy } from '../../src/policy/index.ts';

const identity = (id: number, ...labels: readonly string[]): Identity => ({
  id,
  labels: parseLabels(labels),
});
const web = identity(1000, 'k8s:app=web');
const db = identity(1001, 'k8s:app=db');
const client = identity(1002, 'k8s:app=client');
const RULE = `- endpointSelector: {matchLabels: {app: web}}
  ingress: [{fromEndpoints: [{matchLabels: {app: client}}], toPorts: [{ports: [{port: "80", protocol: TCP}]}]}]
  labels: [one]
`;

function setUp(): { resolver: PolicyResolver; repository: Repository } {
  const resolver = new PolicyResolver({ mode: 'default', allowLocalhost: 'policy', clusterName: 'default' });
  const repository = Repository.empty();
  repository.add(readPolicy(RULE, { file: 'x' }));
  resolver.setRules(repository.snapshot());
  return { resolver, repository };
}

const keys = (of: { mapState: ReadonlyMap<string, unknown> }): string[] => [...of.mapState.keys()].sort();

describe('PolicyResolver', () => {
  it('tells only of subjects that a change of rules touches', () => {
    const { resolver, repository } = setUp();
    resolver.resolve(web);
    resolver.resolve(db);
    repository.delete([parseLabel('one')]);
    const updates = resolver.setRules(repository.snapshot());
    assert.deepEqual(
      updates.map(({ subject }) => subject),
      [1000],
    );
    assert.equal(resolver.revision, 3);
    assert.deepEqual(keys(resolver.resolve(web)), ['egress/0/0/0/0', 'ingress/0/0/0/0']);
  });

  it('tells of a new identity only the subjects whose selectors pick it', () => {
    const { resolver } = setUp();
    resolver.resolve(web);
    resolver.resolve(db);
    assert.deepEqual(resolver.updateIdentities({ upserts: [db] }), []);
    const [update, ...others] = resolver.updateIdentities({ upserts: [client] });
    assert.deepEqual(others, []);
    assert.equal(update?.subject, 1000);
    assert.deepEqual(
      update.diff.upserts.map(({ key }) => mapStateKeyText(key)),
      ['ingress/1002/6/80/16'],
    );
    assert.deepEqual(update.diff.deletes, []);
    assert.equal(resolver.resolve(web), update.policy);
    assert.deepEqual(resolver.updateIdentities({ upserts: [client] }), []);
  });

  it('takes the entries of an identity away when it goes or changes its labels', () => {
    const { resolver } = setUp();
    resolver.updateIdentities({ upserts: [client] });
    resolver.resolve(web);
    const [relabelled] = resolver.updateIdentities({ upserts: [identity(1002, 'k8s:app=other')] });
    assert.deepEqual(relabelled?.diff.deletes.map(mapStateKeyText), ['ingress/1002/6/80/16']);
    resolver.updateIdentities({ upserts: [client] });
    const [gone] = resolver.updateIdentities({ deletes: [1002] });
    assert.deepEqual(gone?.diff.deletes.map(mapStateKeyText), ['ingress/1002/6/80/16']);
    assert.deepEqual(resolver.updateIdentities({ deletes: [1002, 4711] }), []);
  });

  it('gives one map state to endpoints whose named ports make no difference, and another to one whose do', () => {
    const { resolver, repository } = setUp();
    const port = (number: number) => [{ name: 'http', protocol: 6, port: number }];
    resolver.updateIdentities({ upserts: [client] });
    const plain = resolver.resolve(web).mapState;
    assert.equal(resolver.resolve(web, port(8080)).mapState, plain);
    repository.add(readPolicy(RULE.replace('"80"', 'http').replace('[one]', '[two]'), { file: 'y' }));
    resolver.setRules(repository.snapshot());
    const states = [port(8080), port(9090), []].map((ports) => resolver.resolve(web, ports).mapState);
    assert.equal(new Set(states).size, 3);
    assert.equal(states[2], plain, 'the name means nothing to it');
    repository.delete([parseLabel('two')]);
    resolver.setRules(repository.snapshot());
    const again = [port(8080), port(9090), []].map((ports) => resolver.resolve(web, ports).mapState);
    assert.deepEqual(again, [plain, plain, plain]);
    assert.equal(new Set(again).size, 1);
  });

  it('gives the map state of before where a change of rules leaves every entry as it was', () => {
    const { resolver, repository } = setUp();
    resolver.updateIdentities({ upserts: [client] });
    const { mapState } = resolver.resolve(web);
    repository.add(readPolicy(RULE.replace('[one]', '[two]'), { file: 'y' }));
    const [update] = resolver.setRules(repository.snapshot());
    assert.equal(update?.policy.mapState, mapState);
    assert.equal(resolver.resolve(web).mapState, mapState);
  });

  it('leaves an earlier policy as it was', () => {
    const { resolver } = setUp();
    const before = resolver.resolve(web);
    resolver.updateIdentities({ upserts: [client] });
    assert.ok(!before.mapState.has('ingress/1002/6/80/16'));
  });

  it('tells nothing of a subject that was forgotten', () => {
    const { resolver } = setUp();
    resolver.resolve(web);
    resolver.forget(web.id);
    assert.deepEqual(resolver.updateIdentities({ upserts: [client] }), []);
    assert.ok(resolver.resolve(web).mapState.has('ingress/1002/6/80/16'));
  });

  it('resolves anew a subject whose number stands for other labels', () => {
    const { resolver } = setUp();
    assert.equal(resolver.resolve(web).enforcement.ingress, true);
    assert.equal(resolver.resolve(identity(1000, 'k8s:app=other')).enforcement.ingress, false);
  });

  it('lists the selectors in use with their identities', () => {
    const { resolver, repository } = setUp();
    resolver.updateIdentities({ upserts: [client, web] });
    const texts = (): string[] => resolver.selectors().map(({ peer }) => peerSelectorApiText(peer));
    const own = resolver.selectors().find(({ peer }) => peer.kind === 'labels');
    assert.deepEqual([own?.identities, own?.users], [[1002], 1]);
    assert.ok(texts().some((text) => text.includes('any.app: client')));
    repository.delete([]);
    resolver.setRules(repository.snapshot());
    assert.ok(!texts().some((text) => text.includes('any.app: client')));
  });

  it('follows a change of mode', () => {
    const { resolver } = setUp();
    resolver.resolve(db);
    const [update] = resolver.setOptions({ mode: 'always', allowLocalhost: 'policy' });
    assert.deepEqual(update?.policy.enforcement, { ingress: true, egress: true });
    assert.equal(update.diff.deletes.length, 2);
  });
});
