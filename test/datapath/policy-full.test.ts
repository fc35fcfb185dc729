import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { DatapathLimit } from '../../src/model/constants.gen.ts';
import { allow, DatapathLab, type Pod, stateOf } from '../support/datapath-lab.ts';
import { bpfOrSkip } from '../support/privilege.ts';

const OPEN = { ingress: false, egress: false };
const ENFORCED = { ingress: true, egress: true };

/** Everybody may reach and be reached, beside `more` entries for identities that nobody has. */
function state(more: number) {
  const rest = Array.from({ length: more }, (_, i) => allow('ingress', 1000 + i));
  return stateOf([allow('ingress', 0), allow('egress', 0), ...rest]);
}

describe('a policy map that is full', { skip: bpfOrSkip() }, () => {
  const lab = new DatapathLab('f');
  let a: Pod;
  let b: Pod;
  before(async () => {
    await lab.start();
    a = await lab.pod(10, 300);
    b = await lab.pod(11, 301);
    for (const { endpoint } of [a, b]) await lab.datapath.attachEndpoint(endpoint);
    await lab.datapath.applyPolicy(10, stateOf([]), OPEN);
    await lab.datapath.applyPolicy(11, state(0), ENFORCED);
  });
  after(() => lab.cleanUp());

  it('locks its endpoint, and opens it again when the policy fits', async () => {
    assert.equal(await lab.ping(a.namespace, b.ipv4), true);
    const tooMany = state(DatapathLimit.policyEntries);
    await assert.rejects(lab.datapath.applyPolicy(11, tooMany, ENFORCED), {
      code: 'POLICY_WRITE',
      message: /endpoint 11.*locked/,
    });
    assert.equal(await lab.ping(a.namespace, b.ipv4), false);
    await lab.datapath.applyPolicy(11, state(1), ENFORCED);
    assert.equal(await lab.ping(a.namespace, b.ipv4), true);
  });
});
