import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { loadBpf } from '../../bpf/addon/index.ts';
import { openPolicyMap, PolicyMaps, type PolicySide } from '../../src/datapath/policy-maps.ts';
import { loadPrograms } from '../../src/datapath/programs.ts';
import { bpfOrSkip } from '../support/privilege.ts';

const SLOTS = 12;

describe('the policy maps of the slots', { skip: bpfOrSkip() }, () => {
  it('are those that the programs look at, also where several want a map for one slot at once', async () => {
    const bpf = loadBpf();
    const loaded = loadPrograms({ bpf, conntrackEntries: 1024 });
    const { policy, policyStats } = loaded.maps;
    const maps = new PolicyMaps(bpf, policy, policyStats);
    try {
      const used = new Set(Array.from({ length: SLOTS }, (_, i) => i + 1));
      const wanted = [...used].flatMap((slot) => ([0, 1] as const).map((side) => [slot, side] as const));
      // Spare maps are made one after the other meanwhile, and each slot is asked for by two.
      maps.refill(used);
      const ensure = ([slot, side]: readonly [number, PolicySide]) => maps.ensure(slot, side);
      const given = await Promise.all([...wanted, ...wanted].map(ensure));
      maps.refill(used);
      await maps.settled(new Set());
      for (const [i, [slot, side]] of wanted.entries()) {
        const inForce = openPolicyMap(bpf, policy, slot, side);
        const ids = [inForce, maps.get(slot, side), given[i], given[i + wanted.length]].map(
          (map) => map?.info.id,
        );
        inForce?.close();
        assert.equal(new Set(ids).size, 1, `slot ${slot}, side ${side}: ${ids.join(' ')}`);
      }
    } finally {
      maps.close();
      loaded.close();
    }
  });
});
