import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { loadBpf } from '../../bpf/addon/index.ts';
import { openPolicyMap, PolicyMaps } from '../../src/datapath/policy-maps.ts';
import { loadPrograms } from '../../src/datapath/programs.ts';
import { bpfOrSkip } from '../support/privilege.ts';

const MAPS = 24;

describe('the policy maps of the kernel', { skip: bpfOrSkip() }, () => {
  it('are those that the programs look at, also where several want a map at one index at once', async () => {
    const bpf = loadBpf();
    const loaded = loadPrograms({ bpf, conntrackEntries: 1024 });
    const { policy, policyStats } = loaded.maps;
    const maps = new PolicyMaps(bpf, policy, policyStats);
    try {
      const wanted = Array.from({ length: MAPS }, (_, i) => 2 + i);
      const given = await Promise.all([...wanted, ...wanted].map((index) => maps.ensure(index)));
      for (const [i, index] of wanted.entries()) {
        const inForce = openPolicyMap(bpf, policy, index);
        const all = [inForce, maps.get(index), given[i], given[i + wanted.length]];
        const ids = all.map((map) => map?.info.id);
        inForce?.close();
        assert.equal(new Set(ids).size, 1, `index ${index}: ${ids.join(' ')}`);
        assert.ok(maps.has(index));
      }
      assert.equal(maps.has(0), false);
    } finally {
      maps.close();
      loaded.close();
    }
  });
});
