import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { decodeEndpoint, type EndpointRecord } from '../../src/datapath/endpoint-codec.ts';
import { endpointLayout } from '../../src/datapath/map-layouts.ts';
import { openPolicyMap } from '../../src/datapath/policy-maps.ts';
import { readPolicyMap } from '../../src/datapath/policy-writer.ts';
import { DatapathLimit } from '../../src/model/constants.gen.ts';
import { EMPTY_MAP_STATE, type MapState } from '../../src/model/map-state.ts';
import { sameMapState } from '../../src/model/map-state-diff.ts';
import { allow, deny, stateOf } from '../support/datapath-lab.ts';
import { testSeed } from '../support/policy-gen.ts';
import { bpfOrSkip } from '../support/privilege.ts';
import { ProgramRig, testEndpoint } from '../support/program-rig.ts';
import { Random } from '../support/random.ts';

const ENFORCED = { ingress: true, egress: true };
const IDS = [1, 2, 3, 4, 5, 6];
const STEPS = Number(process.env.POLICY_CHANGES ?? 120);

describe('endpoints with the same policy', { skip: bpfOrSkip() }, () => {
  let rig: ProgramRig;
  before(async () => {
    rig = new ProgramRig();
    await rig.start([], ['10.0.0.0/8']);
  });
  afterEach(() => {
    for (const id of IDS) rig.endpoints.detach(id);
  });
  after(() => rig?.close());

  const attach = (id: number): Promise<void> =>
    rig.endpoints.attach(testEndpoint(id, { identity: 1000 + id }));
  const apply = (id: number, state: MapState): Promise<void> =>
    rig.endpoints.applyPolicy(id, state, ENFORCED);

  /** Endpoint id -> its record in the kernel. */
  function records(): ReadonlyMap<number, EndpointRecord> {
    const found = new Map<number, EndpointRecord>();
    for (const { values, count } of rig.loaded.maps.endpoints.batches())
      for (let i = 0; i < count; i++) {
        const record = decodeEndpoint(values, i * endpointLayout.bytes);
        if (record !== undefined) found.set(record.endpoint.id, record);
      }
    return found;
  }

  function indexOf(id: number): number {
    const record = records().get(id);
    assert.ok(record !== undefined && !record.locked, `endpoint ${id} is open`);
    return record.policies[record.inForce];
  }

  function inForce(record: EndpointRecord): MapState {
    const map = openPolicyMap(rig.bpf, rig.loaded.maps.policy, record.policies[record.inForce]);
    assert.ok(map, `endpoint ${record.endpoint.id} has a map`);
    try {
      return readPolicyMap(map);
    } finally {
      map.close();
    }
  }

  function assertEnforced(id: number, state: MapState): void {
    const record = records().get(id);
    assert.ok(record !== undefined && !record.locked, `endpoint ${id} is open`);
    assert.deepEqual([...inForce(record)].sort(), [...state].sort());
  }

  it('share one map, also those that join later, and go together to that of the next policy', async () => {
    const [first, second] = [
      stateOf([allow('ingress', 7)]),
      stateOf([allow('ingress', 7), deny('egress', 8)]),
    ];
    for (const id of [1, 2]) await attach(id);
    await Promise.all([1, 2].map((id) => apply(id, first)));
    await attach(3);
    await apply(3, first);
    const shared = indexOf(1);
    assert.deepEqual([indexOf(2), indexOf(3)], [shared, shared]);
    assert.equal(rig.policies.size, 1);
    await Promise.all([1, 2, 3].map((id) => apply(id, second)));
    for (const id of [1, 2, 3]) {
      assert.equal(indexOf(id), shared ^ 1, 'the other map of the pair');
      assertEnforced(id, second);
    }
  });

  it('part when one of them gets another policy: the others keep their map as it is', async () => {
    const shared = stateOf([allow('ingress', 7)]);
    const own = stateOf([allow('ingress', 7), allow('ingress', 9)]);
    for (const id of [1, 2]) await attach(id);
    for (const id of [1, 2]) await apply(id, shared);
    const index = indexOf(1);
    await apply(2, own);
    assert.equal(indexOf(1), index);
    assertEnforced(1, shared);
    assertEnforced(2, own);
    await apply(2, shared);
    assert.equal(indexOf(2), index, 'and meet again');
  });

  it('outlive one of them', async () => {
    const shared = stateOf([allow('ingress', 7)]);
    for (const id of [1, 2]) await attach(id);
    for (const id of [1, 2]) await apply(id, shared);
    rig.endpoints.detach(1);
    await attach(3);
    await apply(3, stateOf([allow('egress', 1)]));
    assertEnforced(2, shared);
  });

  it('are all locked when their next policy is too large, and no other endpoint of the former one is', async () => {
    const fits = stateOf([allow('ingress', 7)]);
    const many = Array.from({ length: DatapathLimit.policyEntries + 1 }, (_, i) => allow('ingress', 10 + i));
    const tooLarge = stateOf(many);
    for (const id of [1, 2, 3]) await attach(id);
    for (const id of [1, 2, 3]) await apply(id, fits);
    const outcomes = await Promise.allSettled([1, 2].map((id) => apply(id, tooLarge)));
    for (const [i, outcome] of outcomes.entries()) {
      assert.ok(outcome.status === 'rejected');
      assert.match(String(outcome.reason), new RegExp(`endpoint ${i + 1}: it is locked`));
    }
    assert.deepEqual(
      [1, 2, 3].map((id) => records().get(id)?.locked),
      [true, true, false],
    );
    assertEnforced(3, fits);
    await Promise.all([1, 2].map((id) => apply(id, fits)));
    for (const id of [1, 2, 3]) assertEnforced(id, fits);
  });

  it('never have a map in force but what was asked for, however they come, change, are closed and go', async (t) => {
    const seed = testSeed();
    t.diagnostic(`seed ${seed}`);
    const random = new Random(seed);
    const states = Array.from({ length: 5 }, (_, i) =>
      stateOf([
        allow('ingress', 0),
        ...Array.from({ length: 3 * i }, (_, j) => (j % 2 ? allow : deny)('egress', 50 + i + j)),
      ]),
    );
    /** Endpoint -> what may be in force, and the end of what is done to it. */
    const allowed = new Map<number, readonly MapState[]>();
    const last = new Map<number, Promise<unknown>>();
    const then = (id: number, action: () => Promise<unknown>): void => {
      last.set(id, (last.get(id) ?? Promise.resolve()).then(action));
    };
    const change = (id: number, state: MapState) => async () => {
      allowed.set(id, [...(allowed.get(id) ?? []), state]);
      await apply(id, state).catch((error: unknown) => {
        assert.match(String((error as { code?: string }).code), /ENDPOINT_LOCKED|DATAPATH_NO_ENDPOINT/);
      });
      allowed.set(id, [state, ...(records().get(id)?.locked === false ? [] : [EMPTY_MAP_STATE])]);
    };
    const look = (): void => {
      for (const [id, record] of records()) {
        if (record.locked) continue;
        const found = inForce(record);
        const ours = (allowed.get(id) ?? []).some((state) => sameMapState(state, found));
        assert.ok(ours, `endpoint ${id} is judged by ${[...found.keys()].join(' ')}`);
      }
    };
    for (const id of IDS) then(id, () => attach(id));
    for (let i = 0; i < STEPS; i++) {
      const id = random.pick(IDS);
      const what = random.below(100);
      if (what < 10) {
        then(id, async () => {
          rig.endpoints.detach(id);
          await attach(id);
        });
      } else if (what < 15) {
        then(id, async () => rig.endpoints.lock(id));
      } else {
        const state = random.pick(states);
        for (const one of what < 40 ? IDS : [id]) then(one, change(one, state));
      }
      if (random.oneIn(3)) await new Promise((resolve) => setImmediate(resolve));
      if (random.oneIn(10)) await Promise.all(last.values());
      look();
    }
    await Promise.all(last.values());
    look();
    const wanted = random.pick(states);
    await Promise.all(IDS.map((id) => apply(id, wanted)));
    for (const id of IDS) assertEnforced(id, wanted);
    assert.equal(rig.policies.size, 1);
  });
});
