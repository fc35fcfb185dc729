import type { NodeDirectory } from './node-directory.ts';
import { NODES_MAX } from './node-directory.ts';
import { ByteReader, ByteWriter, RowFormatError } from './row-bytes.ts';
import { NOTES_BYTES_MAX, notesText, parseNotes } from './row-notes.ts';
import { CELL_WIDTH, type RowPatch } from './row-store.ts';

/**
 * Messages between nodes (see docs/health.md). Five bytes at the front: `C`, `R`, format, kind, flags; then entries to the
 * end. A node is named by 48 bits of the SHA-256 of its name, so that lists that differ a little do no harm.
 */
const MAGIC = [0x43, 0x52, 1] as const;
const Kinds = { have: 1, patches: 2 } as const;
/** There is more than had room. */
const FLAG_MORE = 1;
const CELL_COUNT_MAX = 0xffff;

/** The version of a node's row that somebody has. */
export interface RowVersion {
  readonly incarnation: number;
  readonly version: number;
}

export interface DecodedPatches {
  readonly patches: readonly RowPatch[];
  readonly more: boolean;
  /** Rows of nodes that are not in our list. */
  readonly strangeRows: readonly (RowVersion & { readonly id: number })[];
  /** Cells of peers that are not in our list: in whose row, and when they changed. */
  readonly strangePeers: readonly { readonly id: number; readonly slot: number; readonly changed: number }[];
}

function begin(kind: number): ByteWriter {
  const writer = new ByteWriter();
  for (const byte of [...MAGIC, kind, 0]) writer.byte(byte);
  return writer;
}

/** @returns the flags. @throws RowFormatError */
function expectKind(reader: ByteReader, kind: number): number {
  const front = [reader.byte(), reader.byte(), reader.byte(), reader.byte()];
  const wanted = [...MAGIC, kind];
  if (front.some((byte, i) => byte !== wanted[i])) {
    throw new RowFormatError(
      `a message of another node begins with ${front.join(' ')}, not ${wanted.join(' ')}`,
    );
  }
  return reader.byte();
}

/** Which rows we have. */
export function encodeHave(have: Iterable<RowVersion & { readonly id: number }>): Buffer {
  const writer = begin(Kinds.have);
  for (const { id, incarnation, version } of have) {
    writer.u48(id);
    writer.u48(incarnation);
    writer.varint(version);
  }
  return writer.take();
}

/** By slot; nodes that are not in our list are left out. @throws RowFormatError */
export function decodeHave(directory: NodeDirectory, bytes: Uint8Array): ReadonlyMap<number, RowVersion> {
  const reader = new ByteReader(bytes);
  expectKind(reader, Kinds.have);
  const have = new Map<number, RowVersion>();
  for (let count = 0; !reader.atEnd; count++) {
    if (count > NODES_MAX) throw new RowFormatError(`another node has more than ${NODES_MAX} rows`);
    const slot = directory.slotOfId(reader.u48());
    const version = { incarnation: reader.u48(), version: reader.varint() };
    if (slot !== undefined) have.set(slot, version);
  }
  return have;
}

/** Writes patches, as many as have room. */
export class PatchWriter {
  readonly #directory: NodeDirectory;
  readonly #writer = begin(Kinds.patches);
  readonly #bytesMax: number;

  constructor(directory: NodeDirectory, bytesMax: number) {
    this.#directory = directory;
    this.#bytesMax = bytesMax;
  }

  /** No further patch has room. */
  get isFull(): boolean {
    return this.#writer.length >= this.#bytesMax;
  }

  add({ slot, incarnation, base, version, atMs, cells, notes }: RowPatch): void {
    const writer = this.#writer;
    writer.u48(this.#directory.idOf(slot));
    writer.u48(incarnation);
    writer.varint(base);
    writer.varint(version);
    writer.u48(atMs);
    writer.varint(notes?.version ?? 0);
    if (notes !== undefined) writer.text(notesText(notes.notes));
    writer.varint(cells.length / CELL_WIDTH);
    for (let i = 0; i < cells.length; i += CELL_WIDTH) {
      writer.u48(this.#directory.idOf(cells[i] as number));
      for (let k = 1; k < CELL_WIDTH; k++) writer.varint(cells[i + k] as number);
    }
  }

  /** @param more there are patches that had no room */
  take(more: boolean): Buffer {
    const bytes = this.#writer.take();
    bytes[MAGIC.length + 1] = more ? FLAG_MORE : 0;
    return bytes;
  }
}

/** @throws RowFormatError */
export function decodePatches(directory: NodeDirectory, bytes: Uint8Array): DecodedPatches {
  const reader = new ByteReader(bytes);
  const more = (expectKind(reader, Kinds.patches) & FLAG_MORE) !== 0;
  const found = { patches: [], strangeRows: [], strangePeers: [] };
  while (!reader.atEnd) readPatch(directory, reader, found);
  return { ...found, more };
}

interface Found {
  readonly patches: RowPatch[];
  readonly strangeRows: (RowVersion & { readonly id: number })[];
  readonly strangePeers: { readonly id: number; readonly slot: number; readonly changed: number }[];
}

function readPatch(directory: NodeDirectory, reader: ByteReader, found: Found): void {
  const id = reader.u48();
  const slot = directory.slotOfId(id);
  const incarnation = reader.u48();
  const base = reader.varint();
  const version = reader.varint();
  if (version === 0 || base > version) {
    throw new RowFormatError(`a row of another node goes from version ${base} to ${version}`);
  }
  const atMs = reader.u48();
  const notesVersion = reader.varint(version);
  const notes =
    notesVersion === 0
      ? undefined
      : { version: notesVersion, notes: parseNotes(reader.text(NOTES_BYTES_MAX)) };
  const cells = readCells(directory, reader, version, (peer, changed) => {
    if (slot !== undefined) found.strangePeers.push({ id: peer, slot, changed });
  });
  if (slot === undefined) found.strangeRows.push({ id, incarnation, version });
  else found.patches.push({ slot, incarnation, base, version, atMs, cells, notes });
}

function readCells(
  directory: NodeDirectory,
  reader: ByteReader,
  version: number,
  onStranger: (id: number, changed: number) => void,
): number[] {
  const cells: number[] = [];
  for (let left = reader.varint(CELL_COUNT_MAX); left > 0; left--) {
    const id = reader.u48();
    const changed = reader.varint(version);
    const [states4, states6, rttNs] = [reader.varint(), reader.varint(), reader.varint()];
    const [sent, lost] = [reader.varint(0xffff), reader.varint(0xffff)];
    const peer = directory.slotOfId(id);
    if (peer === undefined) onStranger(id, changed);
    else cells.push(peer, changed, states4, states6, rttNs, sent, lost);
  }
  return cells;
}
