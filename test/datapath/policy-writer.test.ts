import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { BpfMap } from '../../bpf/addon/index.ts';
import { policyEntryLayout, policyKeyLayout } from '../../src/datapath/map-layouts.ts';
import { decodePolicyEntry, decodePolicyKey } from '../../src/datapath/policy-codec.ts';
import { countPolicy, writePolicyDiff } from '../../src/datapath/policy-writer.ts';
import { type MapState, type MapStateVerdict, mapStateKeyText } from '../../src/model/map-state.ts';
import type { Grant } from '../../src/policy/compile-rule.ts';
import { diffMapState, evaluateMapState } from '../../src/policy/index.ts';
import { ALL_L4, l4Matches } from '../../src/policy/l4.ts';
import { type MapStateItem, pruneShadowed } from '../../src/policy/map-state.ts';
import { EVERY_PEER } from '../../src/policy/peer-selector.ts';
import { addGrant } from '../../src/policy/resolve.ts';
import { testSeed } from '../support/policy-gen.ts';

const PEERS = [0, 1000, 2000] as const;
const ENFORCED = { ingress: true, egress: true };
const QUERIES = PEERS.flatMap((identity) =>
  [6, 17].flatMap((protocol) =>
    [79, 80, 81, 443].map((port) => ({ direction: 'ingress' as const, identity, protocol, port })),
  ),
);

/** A policy map in memory that calls back after every single entry that is written or deleted. */
class WatchedMap {
  readonly state = new Map<string, MapStateItem>();
  readonly #onChange: (state: MapState) => void;

  constructor(initial: MapState, onChange: (state: MapState) => void) {
    for (const [text, item] of initial) this.state.set(text, item);
    this.#onChange = onChange;
  }

  lookup(key: Uint8Array): Buffer | undefined {
    const item = this.state.get(mapStateKeyText(decodePolicyKey(key)));
    if (item === undefined) return undefined;
    const bits = item.key.protocol === 0 ? 0 : 8 + item.key.portPrefixLength;
    const flags = { allow: 0, deny: 1, redirect: 2 }[item.entry.verdict.kind];
    return policyEntryLayout.encode({ l4Bits: bits, flags });
  }

  updateBatch(keys: Uint8Array, values: Uint8Array, count: number): number {
    for (let i = 0; i < count; i++) {
      const key = decodePolicyKey(keys, i * policyKeyLayout.bytes);
      const entry = decodePolicyEntry(values, i * policyEntryLayout.bytes);
      this.state.set(mapStateKeyText(key), { key, entry });
      this.#onChange(this.state);
    }
    return count;
  }

  deleteBatch(keys: Uint8Array, count: number): number {
    for (let i = 0; i < count; i++) {
      this.state.delete(mapStateKeyText(decodePolicyKey(keys, i * policyKeyLayout.bytes)));
      this.#onChange(this.state);
    }
    return count;
  }
}

const verdictArbitrary = fc.constantFrom<MapStateVerdict>(
  { kind: 'allow' },
  { kind: 'allow' },
  { kind: 'deny' },
  { kind: 'redirect', proxyPort: 10_000 },
);
const l4Arbitrary = fc.constantFrom(
  [ALL_L4],
  ...(
    [
      [80, undefined],
      [79, 81],
      [1, 1023],
      [0, undefined],
    ] as const
  ).flatMap(([port, endPort]) =>
    (['TCP', 'ANY'] as const).map((protocol) => l4Matches([{ ports: [{ port, endPort, protocol }] }])),
  ),
);
const stateOf = (verdicts: typeof verdictArbitrary): fc.Arbitrary<MapState> =>
  fc
    .array(fc.tuple(verdicts, l4Arbitrary, fc.constantFrom(...PEERS)), { maxLength: 7 })
    .map((items): MapState => {
      const state = new Map<string, MapStateItem>();
      for (const [verdict, l4, peer] of items) {
        const grant: Grant = {
          direction: 'ingress',
          peer: EVERY_PEER,
          l4,
          verdict,
          ruleId: 7,
          derivedFrom: [],
        };
        addGrant(state, grant, peer);
      }
      pruneShadowed(state);
      return state;
    });

const allows = stateOf(fc.constant<MapStateVerdict>({ kind: 'allow' }));
const anything = stateOf(verdictArbitrary);
const pairArbitrary = fc.oneof(fc.tuple(allows, allows), fc.tuple(anything, anything));

function verdicts(state: MapState): string[] {
  return QUERIES.map((query) => evaluateMapState(state, ENFORCED, query).kind);
}

/** A packet that goes through a proxy is less free than one that just passes. */
function openness(verdict: string | undefined): number {
  return ['deny', 'redirect', 'allow'].indexOf(verdict ?? 'deny');
}

describe('writing the difference of two policies', () => {
  it('is at no moment more open for any packet than the old policy or the new one', async (t) => {
    const seed = testSeed();
    let moments = 0;
    let judged = 0;
    await fc.assert(
      fc.asyncProperty(pairArbitrary, async ([old, next]) => {
        const [before, after] = [verdicts(old), verdicts(next)];
        let held = false;
        const map = new WatchedMap(old, (state) => {
          moments++;
          // Nothing is judged while the endpoint is held.
          if (held) return;
          judged++;
          for (const [i, now] of verdicts(state).entries()) {
            const fits = openness(now) <= Math.max(openness(before[i]), openness(after[i]));
            assert.ok(fits, `${JSON.stringify(QUERIES[i])}: ${before[i]} -> ${now} -> ${after[i]}`);
          }
        });
        const count = await writePolicyDiff(
          map as unknown as BpfMap,
          diffMapState(old, next),
          countPolicy(old),
          () => Promise.resolve(),
          () => {
            held = true;
          },
        );
        assert.deepEqual(new Set(map.state.keys()), new Set(next.keys()));
        assert.deepEqual(count, countPolicy(next));
      }),
      { seed, numRuns: 1500 },
    );
    t.diagnostic(`seed ${seed}: ${moments} moments`);
    assert.ok(moments > 5000);
    assert.ok(judged > 2000, 'many of them were judged');
  });
});
