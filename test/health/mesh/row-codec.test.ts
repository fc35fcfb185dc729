import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { NodeDirectory } from '../../../src/health/mesh/node-directory.ts';
import { Outbox } from '../../../src/health/mesh/outbox.ts';
import { RowFormatError } from '../../../src/health/mesh/row-bytes.ts';
import { decodeHave, decodePatches, encodeHave, PatchWriter } from '../../../src/health/mesh/row-codec.ts';
import type { RowPatch } from '../../../src/health/mesh/row-store.ts';
import type { RowNote } from '../../../src/model/health.ts';
import { Random } from '../../support/random.ts';

const seed = Number(process.env.SEED ?? Date.now() % 1e9);

function directoryOf(...names: string[]): NodeDirectory {
  const directory = new NodeDirectory();
  directory.update(names.map((name) => ({ name, addresses: [] })));
  return directory;
}

const note: RowNote = {
  peer: 'b',
  kind: 1,
  family: 6,
  fault: 'policy-drop',
  lossPoint: { node: 'b', hook: 'to_pod', leg: 'request', reason: 'Policy denied' },
  sinceMs: 1_800_000_000_123,
};

function patch(part: Partial<RowPatch> = {}): RowPatch {
  const cells = [1, 7, 0xffff_ffff, 0, 0xffff_ffff, 65_535, 65_535];
  const incarnation = 1_800_000_000_000;
  return {
    slot: 0,
    incarnation,
    base: 3,
    version: 9,
    atMs: incarnation + 5,
    cells,
    notes: undefined,
    ...part,
  };
}

function encode(directory: NodeDirectory, ...patches: RowPatch[]): Buffer {
  const writer = new PatchWriter(directory, 1e6);
  for (const one of patches) writer.add(one);
  return writer.take(false);
}

describe('messages of rows', () => {
  const directory = directoryOf('a', 'b', 'c');

  it('say the same after the way, with the greatest numbers and with notes', () => {
    const patches = [patch(), patch({ slot: 2, cells: [], notes: { version: 9, notes: [note] } })];
    const { patches: read, more } = decodePatches(directory, encode(directory, ...patches));
    assert.deepEqual([read, more], [patches, false]);
    const have = [0, 2].map((slot) => ({
      id: directory.idOf(slot),
      incarnation: 2 ** 48 - 1,
      version: slot,
    }));
    const back = decodeHave(directory, encodeHave(have));
    assert.deepEqual([...back.keys()], [0, 2]);
    assert.deepEqual(back.get(2), { incarnation: 2 ** 48 - 1, version: 2 });
  });

  it('are understood by a node with another list, which leaves out what it does not know', () => {
    const other = directoryOf('x', 'c', 'a');
    const decoded = decodePatches(other, encode(directory, patch(), patch({ slot: 1 })));
    assert.deepEqual(
      decoded.patches.map(({ slot, cells }) => [slot, cells]),
      [[other.slotOf('a'), []]],
    );
    assert.deepEqual(decoded.strangePeers, [{ id: directory.idOf(1), slot: other.slotOf('a'), changed: 7 }]);
    assert.deepEqual(decoded.strangeRows, [
      { id: directory.idOf(1), incarnation: patch().incarnation, version: 9 },
    ]);
  });

  it('are refused when a cell is newer than its row, a version falls, or a note is none', () => {
    const bad = [
      patch({ cells: [1, 10, 0, 0, 0, 0, 0] }),
      patch({ base: 10 }),
      patch({ version: 0, base: 0, cells: [] }),
      patch({ cells: [1, 7, 0, 0, 0, 65_536, 0] }),
      patch({ notes: { version: 10, notes: [] } }),
      patch({ notes: { version: 9, notes: Array.from({ length: 17 }, () => note) } }),
      patch({ notes: { version: 9, notes: [{ ...note, kind: 99 }] } }),
      patch({ notes: { version: 9, notes: [{ ...note, peer: 'x'.repeat(257) }] } }),
    ];
    for (const one of bad) {
      assert.throws(() => decodePatches(directory, encode(directory, one)), { code: 'ROWS_MALFORMED' });
    }
    assert.throws(() => decodeHave(directory, encode(directory, patch())), { code: 'ROWS_MALFORMED' });
  });

  it('are refused, and nothing worse, when bytes are cut off, changed or made up', () => {
    const random = new Random(seed);
    const whole = encode(directory, patch(), patch({ slot: 1, notes: { version: 4, notes: [note] } }));
    const attempt = (bytes: Uint8Array): void => {
      try {
        decodePatches(directory, bytes);
        decodeHave(directory, bytes);
      } catch (error) {
        assert.ok(error instanceof RowFormatError, `SEED=${seed} ${String(error)}`);
      }
    };
    for (let length = 0; length < whole.length; length++) attempt(whole.subarray(0, length));
    for (let trial = 0; trial < 20_000; trial++) {
      const bytes = Buffer.from(whole);
      for (let n = random.below(4); n >= 0; n--) bytes[random.below(bytes.length)] = random.below(256);
      attempt(bytes);
      attempt(
        Buffer.concat([whole.subarray(0, 5), Buffer.from(random.list(0, 60, () => random.below(256)))]),
      );
    }
  });
});

describe('the outbox', () => {
  const cell = (peer: number, changed: number): number[] => [peer, changed, 1, 0, 5, 60, 0];

  it('joins patches that follow each other, and claims no base across a gap', () => {
    const outbox = new Outbox();
    for (const [base, version] of [
      [3, 4],
      [4, 5],
    ] as const) {
      outbox.add(patch({ base, version }), cell(version, version));
    }
    const [joined] = outbox.take();
    assert.deepEqual([joined?.base, joined?.version, joined?.cells.length], [3, 5, 14]);
    outbox.add(patch({ base: 3, version: 4 }), cell(1, 4));
    outbox.add(patch({ base: 8, version: 9 }), cell(1, 9));
    outbox.add(patch({ base: 5, version: 6 }), cell(1, 6));
    const [apart] = outbox.take();
    assert.deepEqual([apart?.base, apart?.version, apart?.cells], [8, 9, cell(1, 9)]);
    assert.deepEqual(outbox.take(), []);
  });

  it('claims no versions of a patch of which only a part goes on', () => {
    const outbox = new Outbox();
    const cells = [...cell(1, 4), ...cell(2, 4)];
    outbox.add(patch({ base: 3, version: 4, cells }), cell(1, 4));
    const [part] = outbox.take();
    assert.deepEqual([part?.base, part?.version, part?.cells], [4, 4, cell(1, 4)]);
    outbox.add(patch({ base: 3, version: 4, cells }), cell(1, 4));
    outbox.add(patch({ base: 3, version: 4, cells }), cells);
    assert.deepEqual(outbox.take(), [patch({ base: 3, version: 4, cells })]);
  });

  it('carries the newest notes, whichever patch they came with', () => {
    const notes = (version: number): RowPatch['notes'] => ({
      version,
      notes: [{ ...note, sinceMs: version }],
    });
    const outbox = new Outbox();
    outbox.add(patch({ base: 3, version: 4, notes: notes(4) }), cell(1, 4));
    outbox.add(patch({ base: 4, version: 5 }), cell(1, 5));
    assert.deepEqual(outbox.take()[0]?.notes, notes(4));
    outbox.add(patch({ base: 5, version: 6, notes: notes(6) }), cell(1, 6));
    outbox.add(patch({ base: 4, version: 5, notes: notes(5) }), cell(1, 5));
    const [joined] = outbox.take();
    assert.deepEqual([joined?.base, joined?.version, joined?.notes], [4, 6, notes(6)]);
  });

  it('keeps the newest incarnation, and nothing of nodes that left', () => {
    const without = (...gone: readonly number[]): unknown => {
      const outbox = new Outbox();
      outbox.add(patch({ incarnation: 5 }), cell(1, 4));
      outbox.add(patch({ incarnation: 6, base: 0, version: 1 }), cell(2, 1));
      outbox.add(patch({ incarnation: 5 }), cell(1, 4));
      outbox.add(patch({ slot: 2 }), [...cell(1, 4), ...cell(2, 4)]);
      outbox.forget(new Set(gone));
      return outbox.take().map(({ slot, cells }) => [slot, cells]);
    };
    assert.deepEqual(without(), [
      [0, cell(2, 1)],
      [2, [...cell(1, 4), ...cell(2, 4)]],
    ]);
    assert.deepEqual(without(1), [
      [0, cell(2, 1)],
      [2, cell(2, 4)],
    ]);
    assert.deepEqual(without(1, 2), [[0, []]]);
  });
});
