import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DatapathLimit } from '../../src/model/constants.gen.ts';
import type { Identity } from '../../src/model/identity.ts';
import { PolicyResolver, Repository, readPolicy } from '../../src/policy/index.ts';
import { SelectorCache } from '../../src/policy/selector-cache.ts';

const label = (key: string, value: string) => ({ source: 'k8s', key, value });
const subject: Identity = { id: 256, labels: [label('app', 'web')] };
const peer = (i: number): Identity => ({ id: 300 + i, labels: [label('all', 'x'), label('n', String(i))] });
const peers = (count: number): Identity[] => Array.from({ length: count }, (_, i) => peer(i));

/** `ports` ports of the subject for every peer, said by so many rules. */
function resolverWith(ports: number, rules = 1): PolicyResolver {
  const list = Array.from({ length: ports }, (_, i) => ({ port: String(1 + 2 * i), protocol: 'TCP' }));
  const toPorts = Array.from({ length: Math.ceil(ports / 40) }, (_, i) => ({
    ports: list.slice(40 * i, 40 * (i + 1)),
  }));
  const rule = {
    endpointSelector: { matchLabels: { 'k8s:app': 'web' } },
    ingress: [{ fromEndpoints: [{ matchLabels: { 'k8s:all': 'x' } }], toPorts }],
  };
  const repository = Repository.empty();
  const labels = (i: number) => [{ source: 'unspec', key: 'name', value: String(i) }];
  const texts = Array.from({ length: rules }, (_, i) => ({ ...rule, labels: labels(i) }));
  repository.upsert(readPolicy(JSON.stringify(texts), { file: 'test' }));
  const resolver = new PolicyResolver({ clusterName: 'default', mode: 'default', allowLocalhost: 'policy' });
  resolver.setRules(repository.snapshot());
  return resolver;
}

/** Entries beside those of peers: all of egress is open. */
const OPEN = 1;

describe('a policy with more entries than the datapath holds', () => {
  it('is cut off above that number, so that it can be neither written nor exhaust the memory', () => {
    const resolver = resolverWith(1000);
    resolver.updateIdentities({ upserts: peers(20_000) });
    const { mapState, overflow } = resolver.resolve(subject);
    assert.equal(overflow, true);
    assert.ok(mapState.size > DatapathLimit.policyEntries && mapState.size < 100_000, `${mapState.size}`);
  });

  it('is whole again, and right, once it fits, whether peers go one by one or many come at once', () => {
    const resolver = resolverWith(40);
    const fitting = Math.floor((DatapathLimit.policyEntries - OPEN) / 40);
    resolver.updateIdentities({ upserts: peers(fitting) });
    assert.equal(resolver.resolve(subject).overflow, false);
    const [grown] = resolver.updateIdentities({ upserts: [peer(fitting)] });
    assert.equal(grown?.policy.overflow, true);
    assert.equal(resolver.updateIdentities({ upserts: peers(3000) })[0]?.policy.overflow, true);
    const deletes = peers(3000)
      .slice(fitting)
      .map(({ id }) => id);
    const [shrunk] = resolver.updateIdentities({ deletes });
    assert.equal(shrunk?.policy.overflow, false);
    const fresh = resolverWith(40);
    fresh.updateIdentities({ upserts: peers(fitting) });
    assert.deepEqual(shrunk?.policy.mapState, fresh.resolve(subject).mapState);
  });
});

describe('a policy that cannot be worked out', () => {
  it('lets nothing pass, holds up no other one, and is never taken for the old one', (t) => {
    const resolver = resolverWith(1);
    resolver.updateIdentities({ upserts: peers(1) });
    assert.equal(resolver.resolve(subject).mapState.size, 1 + OPEN);
    const broken = t.mock.method(SelectorCache.prototype, 'identitiesOf', () => {
      throw new RangeError('no room');
    });
    const [update] = resolver.setOptions({ mode: 'always', allowLocalhost: 'policy' });
    assert.match(String(update?.failure), /no room/);
    assert.deepEqual(update?.policy.enforcement, { ingress: true, egress: true });
    assert.equal(update.policy.mapState.size, 0);
    assert.throws(() => resolver.resolve(subject), /no room/);
    broken.mock.restore();
    assert.equal(resolver.resolve(subject).mapState.size, 1);
  });
});

describe('rules that say the same', () => {
  it('are compiled once: the selector is asked no more often than for one of them', (t) => {
    const asked = (rules: number): { calls: number; texts: string[]; ruleIds: number[] } => {
      const resolver = resolverWith(2, rules);
      resolver.updateIdentities({ upserts: peers(5) });
      const spy = t.mock.method(SelectorCache.prototype, 'identitiesOf');
      const { mapState, grants } = resolver.resolve(subject);
      spy.mock.restore();
      assert.equal(grants.filter(({ direction }) => direction === 'ingress').length, rules, 'all are shown');
      return {
        calls: spy.mock.callCount(),
        texts: [...mapState.keys()],
        ruleIds: [...mapState.values()].map(({ entry }) => entry.ruleId),
      };
    };
    assert.deepEqual(asked(20), asked(1));
  });
});
