import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { labText } from '../../src/lab/describe.ts';
import { notEnforcedText } from '../../src/lab/requirements.ts';

describe('a lab on loopback addresses', () => {
  const lab = { name: 'x', folder: '/x', state: 'up', nodes: [], workloads: [] } as const;

  it('says that nothing is enforced, others do not', () => {
    assert.match(labText({ ...lab, isolation: 'loopback' }), /nothing is enforced\.\n$/);
    assert.doesNotMatch(labText({ ...lab, isolation: 'namespaces' }), /enforced/);
  });

  it('says when it is made what it lacks, and what comes of it', () => {
    assert.equal(
      notEnforcedText(['root (this is uid 7)']),
      'without root (this is uid 7): agents on loopback addresses, with no datapath; nothing is enforced',
    );
  });
});
