/**
 * Rows of the matrix as the dashboard takes them: columns of numbers that a browser reads as typed arrays, in little
 * endian. A message is, in this order:
 *
 * 1. the length of the JSON in bytes (u32), always a multiple of 4;
 * 2. `PackedHeader` as JSON in UTF-8, filled up with spaces;
 * 3. a block for each of its `rows`: if the row has `count`, the indices of so many peers (u32), else it has all nodes in
 *    their order; then columns `rttNs` (u32), `sent` (u16), `lost` (u16) and `code` (u8); zeros up to a multiple of 4.
 */
export interface PackedHeader {
  /** Changes with the node list, and with it what indices mean. */
  readonly nodesId: string;
  /** Realtime ms of the node that tells. */
  readonly atMs: number;
  readonly rows: readonly PackedRowHeader[];
  /** In messages that hold everything only. */
  readonly cluster?: PackedCluster;
}

export interface PackedCluster {
  readonly self: string;
  readonly nodes: readonly { readonly name: string; readonly zone?: string }[];
  /** Nodes of the cluster; more than `nodes` when only the worst of them are told. */
  readonly total: number;
}

export interface PackedRowHeader {
  /** Index of the node whose row it is. */
  readonly node: number;
  /** Since the row was taken, ms; absent: never. */
  readonly ageMs?: number;
  /** Cells that are told; absent: all. */
  readonly count?: number;
}

/** What is packed of a `HealthCell`. */
export interface CellNumbers {
  readonly states4: number;
  readonly states6: number;
  readonly rttNs: number;
  readonly sent: number;
  readonly lost: number;
}

/** The worst that is known of a pair, in one byte. `none`: not observed. `degraded`: in part, too. */
export const CellCodes = { none: 0, unknown: 1, reachable: 2, degraded: 3, unreachable: 4 } as const;
export type CellCode = keyof typeof CellCodes;

/** Columns of one row's cells; `peers` is undefined when all nodes are there. */
export interface PackedCells {
  readonly peers: Uint32Array | undefined;
  readonly rttNs: Uint32Array;
  readonly sent: Uint16Array;
  readonly lost: Uint16Array;
  readonly code: Uint8Array;
}

export interface PackedMessage {
  readonly header: PackedHeader;
  /** In the order of `header.rows`. */
  readonly rows: readonly PackedCells[];
}

const CELL_BYTES = 9;
const INDEX_BYTES = 4;
const LOW_BITS = 0x5555_5555;

function paddedTo4(bytes: number): number {
  return (bytes + 3) & ~3;
}

/** What a cell comes to: unreachable when nothing that was probed works, degraded when something does not. */
export function cellCode({ states4, states6 }: Pick<CellNumbers, 'states4' | 'states6'>): number {
  const [low4, high4, low6, high6] = [
    states4 & LOW_BITS,
    (states4 >>> 1) & LOW_BITS,
    states6 & LOW_BITS,
    (states6 >>> 1) & LOW_BITS,
  ];
  const reachable = (low4 & ~high4) | (low6 & ~high6);
  const degraded = (high4 & ~low4) | (high6 & ~low6);
  const unreachable = (low4 & high4) | (low6 & high6);
  if (unreachable !== 0) {
    return reachable === 0 && degraded === 0 ? CellCodes.unreachable : CellCodes.degraded;
  }
  if (degraded !== 0) return CellCodes.degraded;
  return reachable !== 0 ? CellCodes.reachable : CellCodes.unknown;
}

/** Columns for so many cells, all zero. */
export function newCells(count: number, sparse: boolean): PackedCells {
  return {
    peers: sparse ? new Uint32Array(count) : undefined,
    rttNs: new Uint32Array(count),
    sent: new Uint16Array(count),
    lost: new Uint16Array(count),
    code: new Uint8Array(count),
  };
}

/** Writes a cell at a place of the columns. */
export function writeCell(into: PackedCells, at: number, cell: CellNumbers): void {
  into.rttNs[at] = cell.rttNs;
  into.sent[at] = cell.sent;
  into.lost[at] = cell.lost;
  into.code[at] = cellCode(cell);
}

/** Copies one cell from columns to columns. */
export function copyCell(from: PackedCells, at: number, into: PackedCells, to: number): void {
  into.rttNs[to] = from.rttNs[at] ?? 0;
  into.sent[to] = from.sent[at] ?? 0;
  into.lost[to] = from.lost[at] ?? 0;
  into.code[to] = from.code[at] ?? 0;
}

function blockBytes({ peers, code }: PackedCells): number {
  return paddedTo4(code.length * (CELL_BYTES + (peers === undefined ? 0 : INDEX_BYTES)));
}

function columns({ peers, rttNs, sent, lost, code }: PackedCells): ArrayBufferView[] {
  return [...(peers === undefined ? [] : [peers]), rttNs, sent, lost, code];
}

/** Writes a message. @throws RangeError when rows and their headers differ in number */
export function encodeMessage({ header, rows }: PackedMessage): Uint8Array<ArrayBuffer> {
  if (header.rows.length !== rows.length) {
    throw new RangeError(`${header.rows.length} headers for ${rows.length} rows`);
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const start = 4 + paddedTo4(json.length);
  const bytes = new Uint8Array(rows.reduce((sum, row) => sum + blockBytes(row), start));
  new DataView(bytes.buffer).setUint32(0, start - 4, true);
  bytes.fill(0x20, 4, start);
  bytes.set(json, 4);
  let block = start;
  for (const row of rows) {
    let at = block;
    for (const { buffer, byteOffset, byteLength } of columns(row)) {
      bytes.set(new Uint8Array(buffer, byteOffset, byteLength), at);
      at += byteLength;
    }
    block += blockBytes(row);
  }
  return bytes;
}

/**
 * Reads a message; the columns are views of `buffer`.
 * @param nodes how many cells a whole row has, where the message does not tell the nodes
 * @throws RangeError when it is cut short
 */
export function decodeMessage(buffer: ArrayBuffer, nodes: number): PackedMessage {
  const length = new DataView(buffer).getUint32(0, true);
  const text = new TextDecoder().decode(new Uint8Array(buffer, 4, length));
  const header = JSON.parse(text) as PackedHeader;
  const whole = header.cluster?.nodes.length ?? nodes;
  let at = 4 + length;
  const rows = header.rows.map(({ count }) => {
    const row = cellsAt(buffer, at, count ?? whole, count !== undefined);
    at += blockBytes(row);
    return row;
  });
  return { header, rows };
}

function cellsAt(buffer: ArrayBuffer, start: number, count: number, sparse: boolean): PackedCells {
  const rtt = start + (sparse ? INDEX_BYTES * count : 0);
  return {
    peers: sparse ? new Uint32Array(buffer, start, count) : undefined,
    rttNs: new Uint32Array(buffer, rtt, count),
    sent: new Uint16Array(buffer, rtt + 4 * count, count),
    lost: new Uint16Array(buffer, rtt + 6 * count, count),
    code: new Uint8Array(buffer, rtt + 8 * count, count),
  };
}
