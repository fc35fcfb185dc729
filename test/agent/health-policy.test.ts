import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { healthRules } from '../../src/agent/health-policy.ts';
import { ReservedIdentity } from '../../src/model/identity.ts';
import { labelSet, makeLabel } from '../../src/model/labels.ts';
import { evaluateMapState, PolicyResolver, Repository, readPolicy } from '../../src/policy/index.ts';

const HEALTH = { id: ReservedIdentity.health, labels: labelSet([makeLabel('reserved', 'health', '')]) };
const TCP = 6;
const ICMP = 1;
const ICMP_ECHO = 8;
const DENY_ALL = { endpointSelector: {}, ingress: [{}], egress: [{}] };
const ALLOW_ALL = {
  endpointSelector: {},
  ingress: [{ fromEntities: ['all'] }],
  egress: [{ toEntities: ['all'] }],
};

/** What the health endpoint does with a packet of such a peer, under the user's rules beside the generated ones. */
function verdicts(user: readonly object[], mode: 'default' | 'always' = 'default') {
  const repository = Repository.empty();
  repository.add(readPolicy(JSON.stringify(user), { file: 'test' }));
  const resolver = new PolicyResolver({ mode, allowLocalhost: 'policy', clusterName: 'default' });
  const { revision, rules } = repository.snapshot();
  resolver.setRules({ revision, rules: [...healthRules(4240), ...rules] });
  const { mapState, enforcement } = resolver.resolve(HEALTH);
  return (direction: 'ingress' | 'egress', identity: number, port: number, protocol = TCP): string =>
    evaluateMapState(mapState, enforcement, { direction, identity, protocol, port }).kind;
}

describe('the generated policy of health endpoints', () => {
  const { health, host, remoteNode, world } = ReservedIdentity;

  for (const [text, user, mode] of [
    ['without any rule', [], 'default'],
    ['under a default deny of the user', [DENY_ALL], 'default'],
    ['under a rule that allows all', [ALLOW_ALL], 'default'],
    ['where everything is enforced', [], 'always'],
  ] as const) {
    it(`lets probes pass and the canary not, ${text}`, () => {
      const verdict = verdicts(user, mode);
      for (const peer of [health, host, remoteNode]) {
        for (const port of [4240, 4241]) {
          assert.equal(verdict('ingress', peer, port), 'allow', `from ${peer} to ${port}`);
          assert.equal(verdict('egress', peer, port), 'allow', `to ${peer}, ${port}`);
        }
        assert.equal(verdict('ingress', peer, ICMP_ECHO, ICMP), 'allow');
        assert.equal(verdict('ingress', peer, 4242), 'deny', `the canary, from ${peer}`);
        assert.equal(verdict('egress', peer, 4242), 'allow', 'the canary is denied where it arrives');
      }
      assert.equal(verdict('ingress', world, 4242), 'deny');
    });
  }

  it('turns no default deny on, and opens nothing else under one', () => {
    assert.equal(verdicts([])('ingress', world, 80), 'allow');
    assert.equal(verdicts([DENY_ALL])('ingress', world, 80), 'deny');
    assert.equal(verdicts([DENY_ALL])('ingress', world, 4241), 'deny');
    assert.equal(verdicts([DENY_ALL])('egress', world, 80), 'deny');
  });
});
