import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DatapathLimit } from '../../src/model/constants.gen.ts';
import type { Identity } from '../../src/model/identity.ts';
import { PolicyResolver, Repository, readPolicy } from '../../src/policy/index.ts';

const label = (key: string, value: string) => ({ source: 'k8s', key, value });
const subject: Identity = { id: 256, labels: [label('app', 'web')] };
const peer = (i: number): Identity => ({ id: 300 + i, labels: [label('all', 'x'), label('n', String(i))] });
const peers = (count: number): Identity[] => Array.from({ length: count }, (_, i) => peer(i));

/** `ports` ports of the subject for every peer. */
function resolverWith(ports: number): PolicyResolver {
  const list = Array.from({ length: ports }, (_, i) => ({ port: String(1 + 2 * i), protocol: 'TCP' }));
  const toPorts = Array.from({ length: Math.ceil(ports / 40) }, (_, i) => ({
    ports: list.slice(40 * i, 40 * (i + 1)),
  }));
  const rule = {
    endpointSelector: { matchLabels: { 'k8s:app': 'web' } },
    ingress: [{ fromEndpoints: [{ matchLabels: { 'k8s:all': 'x' } }], toPorts }],
  };
  const repository = Repository.empty();
  repository.upsert(readPolicy(JSON.stringify([rule]), { file: 'test' }));
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
