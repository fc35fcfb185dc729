import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { BpfError, type BpfMap } from '../../bpf/addon/index.ts';
import { policyEntryLayout, policyKeyLayout } from '../../src/datapath/map-layouts.ts';
import { decodePolicyKey } from '../../src/datapath/policy-codec.ts';
import { type PolicyMap, PolicyPool } from '../../src/datapath/policy-pool.ts';
import { readPolicyMap } from '../../src/datapath/policy-writer.ts';
import { DatapathLimit } from '../../src/model/constants.gen.ts';
import { type MapState, type MapStateVerdict, mapStateKeyText } from '../../src/model/map-state.ts';
import { makeEntry } from '../../src/policy/map-state.ts';
import { allow, stateOf } from '../support/datapath-lab.ts';
import { testSeed } from '../support/policy-gen.ts';
import { eventually } from '../support/process.ts';

/** A policy map in memory; a write fails when `failAfter` entries were written. */
class MemoryMap {
  readonly entries = new Map<string, { key: Buffer; value: Buffer }>();
  failAfter = Number.POSITIVE_INFINITY;
  writes = 0;
  /** Called before an entry is written. */
  onWrite: () => void = () => undefined;

  #write(action: () => void): void {
    this.onWrite();
    if (this.failAfter-- <= 0)
      throw new BpfError('no room', { code: 'BPF_ERROR', operation: 'update', errno: 7 });
    this.writes++;
    action();
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

/** The maps of a kernel, as far as a pool asks for them. */
class MemoryMaps {
  readonly all = new Map<number, MemoryMap>();
  readonly onMap: (index: number, map: MemoryMap) => void;

  constructor(onMap: (index: number, map: MemoryMap) => void = () => undefined) {
    this.onMap = onMap;
  }

  has(index: number): boolean {
    return this.all.has(index);
  }

  at(index: number): MemoryMap {
    const known = this.all.get(index);
    if (known !== undefined) return known;
    const made = new MemoryMap();
    this.onMap(index, made);
    this.all.set(index, made);
    return made;
  }

  get(index: number): BpfMap {
    return this.at(index) as unknown as BpfMap;
  }

  async ensure(index: number): Promise<BpfMap> {
    await new Promise((resolve) => setImmediate(resolve));
    return this.get(index);
  }

  close(): void {
    this.all.clear();
  }

  writes(): number {
    return [...this.all.values()].reduce((sum, { writes }) => sum + writes, 0);
  }

  read(index: number): readonly string[] {
    return [...readPolicyMap(this.get(index)).keys()].sort();
  }
}

const ports = (...all: number[]): MapState => stateOf(all.map((port) => allow('ingress', 1, 6, port)));
const shown = (state: MapState): unknown => [...state].sort();
const QUICK = { graceMs: 0, tidyMs: 1 };

/** Nothing is under way: what is written stays as it is for some turns of the event loop. */
async function atRest(maps: MemoryMaps): Promise<void> {
  let [seen, since] = [-1, 0];
  await eventually('writes to end', () => {
    since = seen === maps.writes() ? since + 1 : 0;
    seen = maps.writes();
    return since >= 3 || undefined;
  });
}

describe('the pool of policy maps', () => {
  it('gives one map to all with the same state, also while it is being written, and writes it once', async () => {
    const maps = new MemoryMaps();
    const pool = new PolicyPool(maps);
    const state = ports(80, 443);
    const given = await Promise.all([pool.acquire(state), pool.acquire(state)]);
    const late = await pool.acquire(state);
    assert.equal(new Set([...given, late].map(({ index }) => index)).size, 1);
    assert.equal(maps.writes(), 2);
    assert.equal(pool.size, 1);
    pool.close();
  });

  it('gives maps of their own to states that differ', async () => {
    const maps = new MemoryMaps();
    const pool = new PolicyPool(maps);
    const [a, b] = [await pool.acquire(ports(80)), await pool.acquire(ports(81))];
    assert.notEqual(a.index, b.index);
    assert.notEqual(a.index ^ 1, b.index, 'the other one of the pair is for the next change');
    pool.close();
  });

  it('writes a change to the other map of the pair, and leaves the one in force alone while anybody has it', async () => {
    const maps = new MemoryMaps();
    const pool = new PolicyPool(maps, QUICK);
    const first = ports(80);
    const [a, b] = [await pool.acquire(first), await pool.acquire(first)];
    const next = await pool.acquire(ports(80, 81), a);
    pool.release(a);
    assert.equal(next.index, b.index ^ 1);
    const third = await pool.acquire(ports(82), next);
    pool.release(next);
    assert.notEqual(third.index, b.index, 'one stayed behind');
    await atRest(maps);
    assert.deepEqual(shown(pool.read(b)), shown(first));
    assert.deepEqual(shown(pool.read(third)), shown(ports(82)));
    pool.close();
  });

  it('leaves to the next change nothing but itself, once the map that was left is tidied', async () => {
    const maps = new MemoryMaps();
    const pool = new PolicyPool(maps, QUICK);
    const a = await pool.acquire(ports(80, 81, 82));
    const b = await pool.acquire(ports(80, 81, 83), a);
    pool.release(a);
    await eventually('the other map', () => maps.read(a.index).join() === maps.read(b.index).join());
    const writes = maps.writes();
    const c = await pool.acquire(ports(80, 81, 84), b);
    assert.equal(c.index, a.index);
    assert.equal(maps.writes() - writes, 2, 'one deleted, one added');
    pool.close();
  });

  it('empties both maps of a policy that nobody has any more', async () => {
    const maps = new MemoryMaps();
    const pool = new PolicyPool(maps, QUICK);
    const a = await pool.acquire(ports(80, 81));
    await eventually('the other map', () => maps.read(a.index ^ 1).length === 2);
    pool.release(a);
    await eventually('both', () => [a.index, a.index ^ 1].every((index) => maps.read(index).length === 0));
    assert.equal(pool.size, 0);
    pool.close();
  });

  it('takes a state that is another object with the same entries for what an earlier agent left in force', async () => {
    const maps = new MemoryMaps();
    await new PolicyPool(maps).acquire(ports(80));
    const writes = maps.writes();
    const pool = new PolicyPool(maps);
    const adopted = pool.adopt(0);
    assert.deepEqual(shown(pool.read(adopted)), shown(ports(80)));
    const same = await pool.acquire(ports(80), adopted);
    assert.equal(same.index, 0);
    assert.equal(maps.writes(), writes);
    pool.close();
  });

  it('fails for everybody who waits for a map that cannot be written, and writes it whole the next time', async () => {
    const maps = new MemoryMaps((index, map) => {
      if (index === 1) map.failAfter = 1;
    });
    const pool = new PolicyPool(maps);
    const a = await pool.acquire(ports(80));
    const wanted = ports(90, 91);
    const both = await Promise.allSettled([pool.acquire(wanted, a), pool.acquire(wanted, a)]);
    assert.deepEqual(
      both.map(({ status }) => status),
      ['rejected', 'rejected'],
    );
    assert.deepEqual(shown(pool.read(a)), shown(ports(80)));
    maps.at(1).failAfter = Number.POSITIVE_INFINITY;
    const b = await pool.acquire(wanted, a);
    assert.deepEqual(maps.read(b.index), [...wanted.keys()].sort());
    pool.close();
  });

  it('refuses more entries than a map holds before it writes any', async () => {
    const maps = new MemoryMaps();
    const pool = new PolicyPool(maps);
    const many = ports(...Array.from({ length: DatapathLimit.policyEntries + 1 }, (_, i) => i + 1));
    await assert.rejects(pool.acquire(many), { code: 'POLICY_TOO_LARGE' });
    assert.equal(maps.writes(), 0);
    pool.close();
  });

  it('does not write a map until the programs that began before it was left have ended', async () => {
    const maps = new MemoryMaps();
    const pool = new PolicyPool(maps, { graceMs: 40 });
    const a = await pool.acquire(ports(80));
    const b = await pool.acquire(ports(81), a);
    const left = performance.now();
    pool.release(a);
    await pool.acquire(ports(82), b);
    assert.ok(performance.now() - left >= 40);
    pool.close();
  });
});

const verdict = fc.constantFrom<MapStateVerdict>(
  { kind: 'allow' },
  { kind: 'deny' },
  { kind: 'redirect', proxyPort: 10_000 },
);
const anyState = fc.array(fc.tuple(fc.nat(3), fc.constantFrom(0, 80, 443), verdict), { maxLength: 8 }).map(
  (items): MapState =>
    stateOf(
      items.map(([identity, port, kind]) => ({
        key: allow('ingress', identity, port === 0 ? 0 : 6, port).key,
        entry: makeEntry(kind, 1),
      })),
    ),
);
const ENDPOINTS = 5;
/** Who gets which of the states, or leaves; after how many written entries that fails; whether all else ends first. */
const step = fc.record({
  endpoint: fc.nat(ENDPOINTS - 1),
  state: fc.option(fc.nat(3), { nil: undefined, freq: 6 }),
  failAfter: fc.option(fc.nat(6), { nil: Number.POSITIVE_INFINITY, freq: 4 }),
  rest: fc.boolean(),
});

/** Endpoints that are judged by maps of a pool, which must not change while they are. */
class Judged {
  readonly inForce = new Map<number, PolicyMap>();
  readonly wanted = new Map<number, MapState>();
  readonly maps = new MemoryMaps((index, map) => {
    map.onWrite = () => {
      for (const { index: judging } of this.inForce.values())
        assert.notEqual(judging, index, `map ${index} is written while it is in force`);
    };
  });
  readonly pool = new PolicyPool(this.maps, QUICK);
  failures = 0;

  async apply(endpoint: number, state: MapState): Promise<void> {
    const before = this.inForce.get(endpoint);
    try {
      const next = await this.pool.acquire(state, before);
      if (this.inForce.get(endpoint) !== before) return this.pool.release(next);
      this.inForce.set(endpoint, next);
      this.wanted.set(endpoint, state);
      if (before !== undefined) this.pool.release(before);
    } catch (error) {
      if (!(error instanceof BpfError)) throw error;
      this.failures++;
    }
  }

  leave(endpoint: number): void {
    const map = this.inForce.get(endpoint);
    this.inForce.delete(endpoint);
    this.wanted.delete(endpoint);
    if (map !== undefined) this.pool.release(map);
  }

  check(): void {
    for (const [endpoint, map] of this.inForce) {
      const state = this.wanted.get(endpoint) ?? new Map();
      assert.deepEqual(shown(readPolicyMap(this.maps.get(map.index))), shown(state));
      assert.deepEqual(shown(this.pool.read(map)), shown(state));
    }
  }

  checkAtRest(): void {
    this.check();
    const distinct = new Set([...this.inForce.values()].map(({ index }) => index));
    assert.equal(this.pool.size, distinct.size);
  }
}

describe('endpoints that come, change and go', () => {
  it('are at every moment judged by exactly the state that was given them last, whatever fails', async (t) => {
    const seed = testSeed();
    let [failures, applied] = [0, 0];
    const cases = fc.tuple(
      fc.array(anyState, { minLength: 4, maxLength: 4 }),
      fc.array(step, { minLength: 5 }),
    );
    await fc.assert(
      fc.asyncProperty(cases, async ([states, steps]) => {
        const judged = new Judged();
        let running: Promise<void>[] = [];
        for (const { endpoint, state, failAfter, rest } of steps) {
          for (const map of judged.maps.all.values()) map.failAfter = failAfter;
          if (state === undefined) judged.leave(endpoint);
          else running.push(judged.apply(endpoint, states[state] ?? new Map()));
          if (rest) {
            await Promise.all(running);
            running = [];
          }
          judged.check();
        }
        await Promise.all(running);
        judged.checkAtRest();
        await new Promise((resolve) => setTimeout(resolve, 3));
        judged.checkAtRest();
        failures += judged.failures;
        applied += judged.inForce.size;
        judged.pool.close();
      }),
      { seed, numRuns: 150 },
    );
    t.diagnostic(`seed ${seed}: ${failures} failures, ${applied} judged at the end`);
    assert.ok(failures > 20 && applied > 100);
  });
});
