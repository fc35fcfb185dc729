import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BPF_MMAPABLE, type BpfMap, BpfMapType, loadBpf } from '../../../bpf/addon/index.ts';
import { compareLpmKeys } from '../../../bpf/addon/lpm-order.ts';
import { rootOrSkip } from '../../support/privilege.ts';
import { codeOf, entriesOf, entriesOfAsync, u32 } from './support.ts';

const NO_PREALLOC = 1;
const skip = rootOrSkip();

interface Case {
  readonly name: keyof typeof BpfMapType;
  readonly flags?: number;
  /** Entries always exist and cannot be deleted. */
  readonly fixed?: boolean;
}

const CASES: readonly Case[] = [
  { name: 'hash' },
  { name: 'array', fixed: true },
  { name: 'perCpuHash' },
  { name: 'perCpuArray', fixed: true },
  { name: 'lruHash' },
  { name: 'lruPerCpuHash' },
  { name: 'lpmTrie', flags: NO_PREALLOC },
];

const ENTRIES = 500;

function keyOf(kind: Case, i: number): Buffer {
  return kind.name === 'lpmTrie' ? Buffer.concat([u32(32), Buffer.from([10, 0, i >> 8, i & 255])]) : u32(i);
}

describe('maps', { skip }, () => {
  for (const kind of CASES) {
    it(`${kind.name}: single entries and batches, here or on a thread, agree in both directions`, async () => {
      const bpf = loadBpf();
      const keySize = kind.name === 'lpmTrie' ? 8 : 4;
      // An LRU map spreads its entries over the CPUs and evicts before it is full.
      const maxEntries = kind.name.startsWith('lru') ? ENTRIES * 16 : ENTRIES;
      const map = bpf.createMap({
        type: BpfMapType[kind.name],
        name: `t_${kind.name}`,
        keySize,
        valueSize: 4,
        maxEntries,
        flags: kind.flags ?? 0,
      });
      const perCpu = kind.name.toLowerCase().includes('percpu');
      assert.equal(map.valueStride, perCpu ? 8 * bpf.possibleCpus() : 4);
      const keys = Buffer.concat(Array.from({ length: ENTRIES }, (_, i) => keyOf(kind, i)));
      const value = (i: number): Buffer => Buffer.concat([u32(i + 1), Buffer.alloc(map.valueStride - 4)]);
      const values = Buffer.concat(Array.from({ length: ENTRIES }, (_, i) => value(i)));
      assert.equal(map.updateBatch(keys, values, ENTRIES), ENTRIES);
      assert.deepEqual(map.lookup(keyOf(kind, 7)), value(7));
      for (const size of [undefined, 7]) {
        const walked = entriesOf(map, size);
        assert.deepEqual(await entriesOfAsync(map, size), walked);
        const present = [...walked.values()].filter((hex) => !/^0*$/.test(hex));
        assert.equal(present.length, ENTRIES);
        for (let i = 0; i < ENTRIES; i++)
          assert.equal(walked.get(keyOf(kind, i).toString('hex')), value(i).toString('hex'));
      }
      if (kind.fixed) assert.throws(() => map.delete(keyOf(kind, 7)), { code: 'BPF_EINVAL' });
      else {
        assert.equal(map.delete(keyOf(kind, 7)), true);
        assert.equal(map.delete(keyOf(kind, 7)), false);
        assert.equal(map.lookup(keyOf(kind, 7)), undefined);
        assert.equal(map.deleteBatch(keys, ENTRIES), ENTRIES - 1, 'the missing key is passed over');
        assert.equal(map.nextKey(undefined), undefined);
      }
      map.close();
    });
  }

  it('writes only what the mode allows', () => {
    const map = loadBpf().createMap({ type: 1, name: 'modes', keySize: 4, valueSize: 4, maxEntries: 2 });
    assert.equal(
      codeOf(() => map.update(u32(1), u32(1), 'replace')),
      'BPF_ENOENT',
    );
    map.update(u32(1), u32(1), 'create');
    assert.equal(
      codeOf(() => map.update(u32(1), u32(2), 'create')),
      'BPF_EEXIST',
    );
    map.update(u32(1), u32(3), 'replace');
    assert.deepEqual(map.lookup(u32(1)), u32(3));
    map.freeze();
    assert.equal(
      codeOf(() => map.update(u32(1), u32(1))),
      'BPF_EPERM',
    );
    map.close();
  });

  it('says how many entries of a batch were written when the map is full', () => {
    const map = loadBpf().createMap({ type: 1, name: 'full', keySize: 4, valueSize: 4, maxEntries: 3 });
    assert.throws(() => map.updateBatch(u32(1, 2, 3, 4, 5), u32(1, 2, 3, 4, 5), 5), {
      code: 'BPF_E2BIG',
      done: 3,
    });
    map.close();
  });

  it('refuses buffers of a wrong size instead of reading beyond them', () => {
    const map = loadBpf().createMap({ type: 1, name: 'sizes', keySize: 4, valueSize: 8, maxEntries: 3 });
    const four = u32(1);
    const eight = u32(1, 2);
    const wrong: readonly (() => unknown)[] = [
      () => map.lookup(eight),
      () => map.update(four, four),
      () => map.update(eight, eight),
      () => map.delete(Buffer.alloc(0)),
      () => map.nextKey(eight),
      () => map.updateBatch(four, eight, 2),
      () => map.deleteBatch(four, 2),
      () => map.updateBatch(four, eight, -1),
      () => [...map.batches(0)],
    ];
    for (const [i, action] of wrong.entries()) assert.equal(codeOf(action), 'BPF_ARGUMENT', `case ${i}`);
    map.close();
  });

  it('throws BPF_CLOSED after close, which may come twice', () => {
    const map = loadBpf().createMap({ type: 1, name: 'closed', keySize: 4, valueSize: 4, maxEntries: 3 });
    const other = loadBpf().createMap({
      type: 12,
      name: 'outer',
      keySize: 4,
      valueSize: 4,
      maxEntries: 1,
      inner: map,
    });
    map.update(u32(1), u32(1));
    const walk = map.batches();
    map.close();
    map.close();
    assert.equal(
      codeOf(() => map.lookup(u32(1))),
      'BPF_CLOSED',
    );
    assert.equal(
      codeOf(() => other.updateInner(u32(0), map)),
      'BPF_CLOSED',
    );
    assert.equal(
      codeOf(() => walk.next()),
      'BPF_CLOSED',
    );
    other.close();
  });

  it('stores an inner map while the event loop goes on and the handles are closed', async () => {
    const bpf = loadBpf();
    const inner = bpf.createMap({ type: 1, name: 'inner', keySize: 4, valueSize: 4, maxEntries: 3 });
    const outer = bpf.createMap({
      type: BpfMapType.arrayOfMaps,
      name: 'outer',
      keySize: 4,
      valueSize: 4,
      maxEntries: 2,
      inner,
    });
    const again = bpf.mapById(outer.info.id);
    const { id } = inner.info;
    const stored = outer.updateInnerAsync(u32(1), inner);
    inner.close();
    outer.close();
    await stored;
    assert.equal(again?.lookup(u32(1))?.readUInt32LE(0), id);
    again?.close();
    await assert.rejects(outer.updateInnerAsync(u32(0), inner), { code: 'BPF_CLOSED' });
  });

  it('says why an inner map was not stored', async () => {
    const bpf = loadBpf();
    const shape = { type: 1, name: 'inner', keySize: 4, valueSize: 4, maxEntries: 3 };
    const inner = bpf.createMap(shape);
    const other = bpf.createMap({ ...shape, keySize: 8 });
    const outer = bpf.createMap({
      type: BpfMapType.arrayOfMaps,
      name: 'outer',
      keySize: 4,
      valueSize: 4,
      maxEntries: 1,
      inner,
    });
    await assert.rejects(outer.updateInnerAsync(u32(0), other), { code: 'BPF_EINVAL' });
    await assert.rejects(outer.updateInnerAsync(u32(1), inner), { code: 'BPF_E2BIG' });
    await assert.rejects(inner.updateInnerAsync(Buffer.alloc(3), outer), { code: 'BPF_ARGUMENT' });
    for (const map of [inner, other, outer]) map.close();
  });

  it('finds a map by its id and forgets it when nobody holds it', () => {
    const bpf = loadBpf();
    const map = bpf.createMap({ type: 1, name: 'by_id', keySize: 4, valueSize: 4, maxEntries: 3 });
    assert.ok(bpf.listIds('map').includes(map.info.id));
    const again = bpf.mapById(map.info.id);
    assert.equal(again?.info.name, 'by_id');
    again?.close();
    assert.equal(bpf.mapById(0x7ffffff0), undefined);
    map.close();
  });
});

function prefix(text: string): Buffer {
  const [address = '', bits = '32'] = text.split('/');
  return Buffer.concat([u32(Number(bits)), Buffer.from(address.split('.').map(Number))]);
}

describe('the walk of a trie', { skip }, () => {
  const trie = (): BpfMap =>
    loadBpf().createMap({
      type: BpfMapType.lpmTrie,
      name: 'trie',
      keySize: 8,
      valueSize: 4,
      maxEntries: 4096,
      flags: NO_PREALLOC,
    });

  it('goes in the order that compareLpmKeys knows', () => {
    const map = trie();
    const texts = [
      '0.0.0.0/0',
      '10.0.0.0/8',
      '10.0.0.0/9',
      '10.128.0.0/9',
      '10.0.0.1/32',
      '10.0.0.0/31',
      '192.168.0.0/16',
      '128.0.0.0/1',
    ];
    for (const text of texts) map.update(prefix(text), u32(1));
    const walked: Buffer[] = [];
    for (let key = map.nextKey(undefined); key; key = map.nextKey(key)) walked.push(key);
    assert.equal(walked.length, texts.length);
    assert.deepEqual([...walked].sort(compareLpmKeys), walked);
    map.close();
  });

  it('gives each entry that stays exactly once while others vanish under it', () => {
    const map = trie();
    const key = (i: number): Buffer => prefix(`10.${i >> 8}.${i & 255}.0/24`);
    for (let i = 0; i < 1000; i++) map.update(key(i), u32(i));
    const seen = new Map<string, number>();
    let deleted = 0;
    for (const { keys, count } of map.batches(10)) {
      for (let i = 0; i < count; i++) {
        const text = keys.toString('hex', 8 * i, 8 * i + 8);
        seen.set(text, (seen.get(text) ?? 0) + 1);
      }
      // The key that the kernel stands on goes; without care it starts over.
      if (deleted++ < 20) map.delete(Buffer.from(keys.subarray(8 * (count - 1), 8 * count)));
    }
    assert.equal(seen.size, 1000);
    assert.ok([...seen.values()].every((times) => times === 1));
    map.close();
  });
});

describe('the walk of a hash map', { skip }, () => {
  it('gives each entry that stays exactly once while others vanish under it', () => {
    const map = loadBpf().createMap({ type: 1, name: 'churn', keySize: 4, valueSize: 4, maxEntries: 2000 });
    for (let i = 0; i < 1000; i++) map.update(u32(i), u32(i));
    const seen: number[] = [];
    for (const { keys, count } of map.batches(16)) {
      for (let i = 0; i < count; i++) seen.push(keys.readUInt32LE(4 * i));
      map.delete(keys.subarray(4 * (count - 1), 4 * count));
    }
    assert.deepEqual(
      seen.sort((a, b) => a - b),
      Array.from({ length: 1000 }, (_, i) => i),
    );
    map.close();
  });

  it('grows a batch that is smaller than one bucket', () => {
    const map = loadBpf().createMap({ type: 1, name: 'bucket', keySize: 4, valueSize: 4, maxEntries: 4096 });
    const numbers = Array.from({ length: 4096 }, (_, i) => i);
    map.updateBatch(u32(...numbers), u32(...numbers), numbers.length);
    assert.equal(entriesOf(map, 1).size, 4096);
    map.close();
  });
});

describe('the shared values of an array', { skip }, () => {
  it('shows them in the kernel’s own memory, as they are at each read', () => {
    const create = (flags: number, type: number = BpfMapType.array) =>
      loadBpf().createMap({ type, name: 'shown', keySize: 4, valueSize: 4, maxEntries: 1000, flags });
    const map = create(BPF_MMAPABLE);
    const values = map.sharedValues();
    for (const index of [0, 1, 999]) {
      assert.equal(values.u32(index), 0);
      map.update(u32(index), u32(0xfffffff0 + (index % 16)));
      assert.equal(values.u32(index), 0xfffffff0 + (index % 16));
    }
    assert.equal(values.u32(2), 0);
    for (const index of [1000, 1023, -1, 0.5])
      assert.throws(() => values.u32(index), { code: 'BPF_ARGUMENT' });
    const other = loadBpf().mapFromDescriptor(map.descriptor());
    map.close();
    other.update(u32(2), u32(7));
    assert.equal(values.u32(2), 7, 'the memory outlives the handle');
    assert.throws(() => create(0).sharedValues(), { code: 'BPF_EINVAL' });
    assert.throws(() => create(0, BpfMapType.hash).sharedValues(), { code: 'BPF_ARGUMENT' });
  });
});
