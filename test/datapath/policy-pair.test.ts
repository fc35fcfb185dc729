import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { policyEntryLayout, policyKeyLayout } from '../../src/datapath/map-layouts.ts';
import { decodePolicyKey } from '../../src/datapath/policy-codec.ts';
import type { PolicyMaps, PolicySide } from '../../src/datapath/policy-maps.ts';
import { PolicyPair } from '../../src/datapath/policy-pair.ts';
import { type MapState, type MapStateVerdict, mapStateKeyText } from '../../src/model/map-state.ts';
import { diffMapState } from '../../src/policy/index.ts';
import { makeEntry } from '../../src/policy/map-state.ts';
import { testSeed } from '../support/policy-gen.ts';

/** A policy map in memory; a write fails when `failAfter` entries were written. */
class MemoryMap {
  readonly entries = new Map<string, { key: Buffer; value: Buffer }>();
  failAfter = Number.POSITIVE_INFINITY;
  writes = 0;

  #write(action: () => void): void {
    if (this.failAfter-- <= 0) throw new Error('E2BIG');
    this.writes++;
    action();
  }

  lookup(key: Buffer): Buffer | undefined {
    return this.entries.get(mapStateKeyText(decodePolicyKey(key)))?.value;
  }

  *batches(): Generator<{ keys: Buffer; values: Buffer; count: number }> {
    const all = [...this.entries.values()];
    const keys = Buffer.concat(all.map(({ key }) => key));
    yield { keys, values: Buffer.concat(all.map(({ value }) => value)), count: all.length };
  }

  updateBatch(keys: Buffer, values: Buffer, count: number): void {
    for (let i = 0; i < count; i++) {
      const key = keys.subarray(i * policyKeyLayout.bytes, (i + 1) * policyKeyLayout.bytes);
      const value = values.subarray(i * policyEntryLayout.bytes, (i + 1) * policyEntryLayout.bytes);
      this.#write(() => this.entries.set(mapStateKeyText(decodePolicyKey(key)), { key, value }));
    }
  }

  deleteBatch(keys: Buffer, count: number): void {
    for (let i = 0; i < count; i++) {
      const text = mapStateKeyText(decodePolicyKey(keys, i * policyKeyLayout.bytes));
      this.#write(() => this.entries.delete(text));
    }
  }
}

/** The two maps of a slot, as far as a pair asks for them. */
class MemoryMaps {
  readonly sides = [new MemoryMap(), new MemoryMap()] as const;

  get(_slot: number, side: PolicySide): MemoryMap {
    return this.sides[side];
  }

  async ensure(slot: number, side: PolicySide): Promise<MemoryMap> {
    return this.get(slot, side);
  }
}

const verdict = fc.constantFrom<MapStateVerdict>(
  { kind: 'allow' },
  { kind: 'deny' },
  { kind: 'redirect', proxyPort: 10_000 },
);
const state = fc
  .array(fc.tuple(fc.nat(3), fc.constantFrom(0, 80, 443), verdict), { maxLength: 8 })
  .map((items): MapState => {
    const out = new Map();
    for (const [identity, port, kind] of items) {
      const protocol = port === 0 ? 0 : 6;
      const key = {
        direction: 'ingress' as const,
        identity,
        protocol,
        port,
        portPrefixLength: port === 0 ? 0 : 16,
      };
      out.set(mapStateKeyText(key), { key, entry: makeEntry(kind, 1) });
    }
    return out;
  });
/**
 * A next policy, after how many written entries writing it fails (undefined: it does not), and when the map that was left
 * is brought up to date.
 */
const step = fc.tuple(
  state,
  fc.option(fc.nat(6), { nil: undefined }),
  fc.constantFrom('not', 'before', 'meanwhile'),
);

function makePair(): { readonly maps: MemoryMaps; readonly pair: PolicyPair } {
  const maps = new MemoryMaps();
  return { maps, pair: new PolicyPair(maps as unknown as PolicyMaps, 7, 0) };
}

const shown = (found: MapState): unknown => [...found].sort();

describe('the two policy maps of a slot', () => {
  it('never write to the one in force, and after a switch hold exactly what was wanted', async (t) => {
    const seed = testSeed();
    let failures = 0;
    let switches = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), async (steps) => {
        const { maps, pair } = makePair();
        let inForce: MapState = new Map();
        for (const [wanted, failAfter, catchUp] of steps) {
          if (catchUp === 'before') await pair.catchUp();
          const diff = diffMapState(inForce, wanted);
          const [active, other] = [maps.sides[pair.side], maps.sides[pair.otherSide]];
          const before = active.writes;
          other.failAfter = failAfter ?? Number.POSITIVE_INFINITY;
          const early = catchUp === 'meanwhile' ? pair.catchUp() : undefined;
          const prepared = pair.prepare(diff).catch(() => undefined);
          const late = catchUp === 'meanwhile' ? pair.catchUp() : undefined;
          const switched = await prepared;
          await Promise.all([early, late]);
          other.failAfter = Number.POSITIVE_INFINITY;
          assert.equal(active.writes, before, 'the map in force was written');
          assert.deepEqual(shown(pair.read()), shown(inForce));
          if (switched === undefined) {
            failures++;
            continue;
          }
          switched();
          switches++;
          inForce = wanted;
          assert.deepEqual(shown(pair.read()), shown(wanted));
          assert.equal(pair.entries, wanted.size);
        }
      }),
      { seed, numRuns: 100 },
    );
    t.diagnostic(`seed ${seed}: ${switches} switches, ${failures} failed writes`);
    assert.ok(failures > 20 && switches > 100);
  });

  it('leave to the next change nothing but itself, once the map that was left is up to date', async () => {
    const { maps, pair } = makePair();
    const ports = (...all: number[]): MapState =>
      new Map(
        all.map((port) => {
          const key = { direction: 'ingress' as const, identity: 1, protocol: 6, port, portPrefixLength: 16 };
          return [mapStateKeyText(key), { key, entry: makeEntry({ kind: 'allow' }, 1) }];
        }),
      );
    (await pair.prepare(diffMapState(ports(), ports(80, 81, 82))))();
    await pair.catchUp();
    const { writes } = maps.sides[pair.otherSide];
    (await pair.prepare(diffMapState(ports(80, 81, 82), ports(80, 81, 83))))();
    assert.equal(maps.sides[pair.side].writes - writes, 2, 'one deleted, one added');
    assert.deepEqual(shown(pair.read()), shown(ports(80, 81, 83)));
  });

  it('write to the one in force when its endpoint is locked, and count what it holds after a failure', async () => {
    const { maps, pair } = makePair();
    const wanted: MapState = new Map(
      [80, 443].map((port) => {
        const key = {
          direction: 'ingress' as const,
          identity: 1,
          protocol: 6,
          port,
          portPrefixLength: 16,
        };
        return [mapStateKeyText(key), { key, entry: makeEntry({ kind: 'allow' }, 1) }];
      }),
    );
    maps.sides[0].failAfter = 1;
    await assert.rejects(pair.writeInPlace(diffMapState(new Map(), wanted)), /E2BIG/);
    assert.equal(pair.entries, 1);
    maps.sides[0].failAfter = Number.POSITIVE_INFINITY;
    await pair.writeInPlace(diffMapState(pair.read(), wanted));
    assert.equal(pair.entries, 2);
    assert.equal(pair.side, 0);
  });
});
