import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { emptyCell, type PackedCell } from '../../../src/health/mesh/cell-arena.ts';
import { matrixView } from '../../../src/health/mesh/matrix.ts';
import { NodeDirectory } from '../../../src/health/mesh/node-directory.ts';
import { decodePatches, PatchWriter } from '../../../src/health/mesh/row-codec.ts';
import { type RowPatch, RowStore } from '../../../src/health/mesh/row-store.ts';
import { Random } from '../../support/random.ts';

const NOW = { nowMs: 1000, wallMs: 1_000_000, fromSlot: undefined };
const OWN = 0;

function directoryOf(...names: string[]): NodeDirectory {
  const directory = new NodeDirectory();
  directory.update(names.map((name, i) => ({ name, addresses: [`10.0.0.${i}`] })));
  return directory;
}

function cell(peer: number, changed: number, states4: number, lost = 0): PackedCell {
  return { peer, changed, states4, states6: 0, rttNs: 1000, sent: 60, lost };
}

function patch(slot: number, part: Partial<RowPatch>, ...cells: PackedCell[]): RowPatch {
  const flat = cells.flatMap((c) => [c.peer, c.changed, c.states4, c.states6, c.rttNs, c.sent, c.lost]);
  return { slot, incarnation: 5, base: 0, version: 1, atMs: 500, cells: flat, notes: undefined, ...part };
}

function cellsOf(store: RowStore, slot: number): Record<number, PackedCell> {
  const row = store.row(slot);
  const cells: Record<number, PackedCell> = {};
  if (row === undefined) return cells;
  store.eachCell(row, (found) => {
    cells[found.peer] = { ...found };
  });
  return cells;
}

describe('the store of rows', () => {
  it('takes a row, and a patch only to the version whose base it has', () => {
    const store = new RowStore(directoryOf('a', 'b', 'c'));
    assert.equal(store.take(patch(1, { version: 4 }, cell(0, 2, 1), cell(2, 4, 1)), OWN, NOW).kind, 'taken');
    assert.equal(store.row(1)?.version, 4);
    const ahead = store.take(patch(1, { base: 7, version: 8 }, cell(2, 8, 3)), OWN, NOW);
    assert.deepEqual([ahead.kind, ahead.changed.slice(0, 3)], ['taken', [2, 8, 3]]);
    assert.deepEqual([store.row(1)?.version, store.row(1)?.heard], [4, 8]);
    assert.equal(cellsOf(store, 1)[2]?.states4, 3);
    // What lay between comes later, and does not undo what is newer.
    store.take(patch(1, { base: 4, version: 7 }, cell(0, 6, 2), cell(2, 5, 1)), OWN, NOW);
    assert.equal(store.row(1)?.version, 7);
    assert.deepEqual([cellsOf(store, 1)[0]?.states4, cellsOf(store, 1)[2]?.states4], [2, 3]);
    assert.equal(store.take(patch(1, { base: 4, version: 7 }, cell(0, 6, 2)), OWN, NOW).kind, 'old');
  });

  it('passes on notes that came ahead of the rest no sooner than the rest, or others could not read them', () => {
    const directory = directoryOf('a', 'b', 'c');
    const store = new RowStore(directory);
    const note = {
      peer: 'c',
      kind: 1,
      family: 4,
      fault: 'nic-drop',
      lossPoint: undefined,
      sinceMs: 1,
    } as const;
    store.take(patch(1, { version: 4 }, cell(2, 4, 1)), OWN, NOW);
    store.take(patch(1, { base: 7, version: 8, notes: { version: 8, notes: [note] } }), OWN, NOW);
    assert.deepEqual(store.row(1)?.notes, [note]);
    const told = (): readonly RowPatch[] => {
      const writer = new PatchWriter(directory, 1000);
      const lacking = store.patchFor(1, undefined);
      assert.ok(lacking !== undefined);
      writer.add(lacking);
      return decodePatches(directory, writer.take(false)).patches;
    };
    assert.deepEqual(
      told().map(({ version, notes }) => [version, notes]),
      [[4, undefined]],
    );
    store.take(patch(1, { base: 4, version: 8 }), OWN, NOW);
    assert.deepEqual(
      told().map(({ version, notes }) => [version, notes?.notes]),
      [[8, [note]]],
    );
  });

  it('forgets an older incarnation of a node for a newer one, and never the other way round', () => {
    const store = new RowStore(directoryOf('a', 'b', 'c'));
    store.take(patch(1, { version: 9 }, cell(0, 2, 1), cell(2, 4, 1)), OWN, NOW);
    store.take(patch(1, { incarnation: 6, version: 1 }, cell(2, 1, 3)), OWN, NOW);
    assert.deepEqual(Object.keys(cellsOf(store, 1)), ['2']);
    assert.equal(store.take(patch(1, { version: 10 }, cell(0, 10, 1)), OWN, NOW).kind, 'old');
    assert.equal(store.row(1)?.incarnation, 6);
  });

  it('refuses rows of nobody, of ourselves, and of a time to come', () => {
    const store = new RowStore(directoryOf('a', 'b'));
    assert.equal(store.take(patch(7, {}), OWN, NOW).kind, 'unknown-node');
    assert.equal(store.take(patch(OWN, {}), OWN, NOW).kind, 'ours');
    const tomorrow = NOW.wallMs + 25 * 3600 * 1000;
    assert.equal(store.take(patch(1, { incarnation: tomorrow }), OWN, NOW).kind, 'future');
    assert.equal(store.take(patch(1, { atMs: tomorrow }), OWN, NOW).kind, 'future');
    assert.equal(store.row(1), undefined);
  });

  it("prefers a node's own word to a relayed one of the same version", () => {
    const store = new RowStore(directoryOf('a', 'b', 'c'));
    store.take(patch(1, { version: 3 }, cell(2, 3, 3)), OWN, { ...NOW, fromSlot: 2 });
    store.take(patch(1, { version: 3 }, cell(2, 3, 1)), OWN, { ...NOW, fromSlot: 1 });
    assert.equal(cellsOf(store, 1)[2]?.states4, 1);
    store.take(patch(1, { version: 3 }, cell(2, 3, 3)), OWN, { ...NOW, fromSlot: 2 });
    assert.equal(cellsOf(store, 1)[2]?.states4, 1);
  });

  it('drops rows and cells of a node that left, and gives nothing of them to the one that takes its place', () => {
    const directory = directoryOf('a', 'b', 'c');
    const store = new RowStore(directory);
    store.take(patch(1, {}, cell(0, 1, 1), cell(2, 1, 1)), OWN, NOW);
    store.take(patch(2, {}, cell(0, 1, 1), cell(1, 1, 1)), OWN, NOW);
    directory.update(['a', 'c', 'd'].map((name) => ({ name, addresses: [] })));
    assert.equal(directory.slotOf('d'), 1);
    assert.equal(store.row(1), undefined);
    assert.deepEqual(Object.keys(cellsOf(store, 2)), ['0']);
  });

  it('ends with the same rows at every node, in whatever order, doubled and with losses patches come', () => {
    const seed = Number(process.env.SEED ?? Date.now() % 1e9);
    const random = new Random(seed);
    for (let trial = 0; trial < 100; trial++) {
      const names = Array.from({ length: 12 }, (_, i) => `n${i}`);
      const directory = directoryOf(...names);
      const [source, sink] = [new RowStore(directory), new RowStore(directory)];
      const row = source.begin(1, 5, 0);
      const sent: RowPatch[] = [];
      for (let step = 0; step < 60; step++) {
        row.version++;
        row.heard = row.version;
        for (let n = random.below(3); n >= 0; n--) {
          source.writeCell(row, cell(random.below(12), row.version, random.below(4), random.below(9)));
        }
        if (random.oneIn(2))
          sent.push(source.patchSince(row, Math.max(0, row.version - 1 - random.below(4))));
        if (random.oneIn(2) && sent.length > 0) sink.take(random.pick(sent), OWN, NOW);
        if (random.oneIn(5)) {
          const pulled = source.patchFor(1, sink.row(1));
          if (pulled !== undefined) sent.push(pulled);
        }
      }
      const last = source.patchFor(1, sink.row(1));
      if (last !== undefined) sink.take(last, OWN, NOW);
      for (const late of sent) sink.take(late, OWN, NOW);
      assert.deepEqual(cellsOf(sink, 1), cellsOf(source, 1), `SEED=${seed} trial ${trial}`);
      assert.equal(sink.row(1)?.version, row.version);
    }
  });

  it('keeps 1,000 rows of 1,000 cells in at most 60 MB and reads them all as a matrix', () => {
    const names = Array.from({ length: 1000 }, (_, i) => `n${String(i).padStart(4, '0')}`);
    const directory = directoryOf(...names);
    const store = new RowStore(directory);
    for (let slot = 0; slot < 1000; slot++) {
      const cells = names.map((_, peer) => cell(peer, 1, 1, slot === peer ? 7 : 0));
      store.take(patch(slot, {}, ...cells), undefined, NOW);
    }
    assert.ok(store.bytes <= 60e6, String(store.bytes));
    const matrix = matrixView({ directory, store, self: 'n0000', nowMs: () => 3000 });
    assert.equal(matrix.nodes.length, 1000);
    assert.deepEqual([matrix.row('n0777')?.cells.size, matrix.ageMs('n0777')], [1000, 2000]);
    assert.equal(matrix.row('n0777')?.cells.get('n0777')?.lost, 7);
    let lost = 0;
    for (const { name } of matrix.nodes) {
      matrix.eachCell(name, (found) => {
        lost += found.lost;
      });
    }
    assert.equal(lost, 7000);
    assert.equal(matrix.row('nobody'), undefined);
    assert.equal(matrix.ageMs('nobody'), undefined);
  });

  it('finds a cell again after its row has moved', () => {
    const store = new RowStore(directoryOf(...Array.from({ length: 300 }, (_, i) => `n${i}`)));
    const rows = [1, 2, 3].map((slot) => store.begin(slot, 1, 0));
    for (let peer = 299; peer >= 0; peer--) for (const row of rows) store.writeCell(row, cell(peer, 1, peer));
    for (const row of rows) {
      for (let peer = 0; peer < 300; peer++) {
        assert.equal(store.readCell(row, peer, emptyCell())?.states4, peer);
      }
    }
  });
});
