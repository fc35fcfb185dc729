import { CellCodes, type PackedCells, type PackedMessage } from '../../src/model/packed-rows.ts';

export interface ClusterNode {
  readonly name: string;
  readonly zone: string | undefined;
}

/** One cell as it stands. */
export interface CellView {
  readonly code: number;
  readonly rttNs: number;
  readonly sent: number;
  readonly lost: number;
}

export const CODE_WORDS = ['not observed', 'unknown', 'reachable', 'degraded', 'unreachable'] as const;

/** A row that was not renewed for so long tells nothing of now. */
export const STALE_ROW_MS = 60_000;

/** The matrix in columns, row after row, in the order of the nodes; a cell's place is `from * size + to`. */
export class MatrixStore {
  readonly self: string;
  readonly nodes: readonly ClusterNode[];
  /** Nodes of the cluster, with those that are not told. */
  readonly total: number;
  readonly nodesId: string;
  readonly size: number;
  readonly rttNs: Uint32Array;
  readonly sent: Uint16Array;
  readonly lost: Uint16Array;
  readonly code: Uint8Array;
  /** By our own clock, ms; NaN: no row was told. */
  readonly takenMs: Float64Array;
  readonly #indices: ReadonlyMap<string, number>;
  readonly #now: () => number;

  /** @throws Error when the message does not tell the nodes */
  constructor(message: PackedMessage, now: () => number) {
    const { cluster, nodesId } = message.header;
    if (cluster === undefined) throw new Error('a matrix without its nodes');
    this.self = cluster.self;
    this.nodes = cluster.nodes.map(({ name, zone }) => ({ name, zone }));
    this.total = cluster.total;
    this.nodesId = nodesId;
    this.size = this.nodes.length;
    const cells = this.size * this.size;
    this.rttNs = new Uint32Array(cells);
    this.sent = new Uint16Array(cells);
    this.lost = new Uint16Array(cells);
    this.code = new Uint8Array(cells);
    this.takenMs = new Float64Array(this.size).fill(Number.NaN);
    this.#indices = new Map(this.nodes.map(({ name }, i) => [name, i]));
    this.#now = now;
    this.apply(message);
  }

  /** Takes rows. @returns places of the cells that were told; undefined: nearly all */
  apply({ header, rows }: PackedMessage): number[] | undefined {
    const places: number[] = [];
    let whole = 0;
    for (const [i, { node, ageMs }] of header.rows.entries()) {
      const cells = rows[i];
      if (cells === undefined || node >= this.size) continue;
      this.takenMs[node] = this.#now() - (ageMs ?? Number.NaN);
      if (cells.peers === undefined) {
        this.#applyWhole(node, cells);
        whole++;
      } else {
        this.#applySome(node, cells, cells.peers, places);
      }
    }
    return whole === 0 ? places : undefined;
  }

  #applyWhole(node: number, { rttNs, sent, lost, code }: PackedCells): void {
    const at = node * this.size;
    this.rttNs.set(rttNs, at);
    this.sent.set(sent, at);
    this.lost.set(lost, at);
    this.code.set(code, at);
  }

  #applySome(node: number, cells: PackedCells, peers: Uint32Array, places: number[]): void {
    for (let i = 0; i < peers.length; i++) {
      const peer = peers[i] ?? this.size;
      if (peer >= this.size) continue;
      const at = node * this.size + peer;
      this.rttNs[at] = cells.rttNs[i] ?? 0;
      this.sent[at] = cells.sent[i] ?? 0;
      this.lost[at] = cells.lost[i] ?? 0;
      this.code[at] = cells.code[i] ?? 0;
      places.push(at);
    }
  }

  indexOf(name: string): number | undefined {
    return this.#indices.get(name);
  }

  name(index: number): string {
    return this.nodes[index]?.name ?? '';
  }

  cell(from: number, to: number): CellView {
    const at = from * this.size + to;
    return {
      code: this.code[at] ?? 0,
      rttNs: this.rttNs[at] ?? 0,
      sent: this.sent[at] ?? 0,
      lost: this.lost[at] ?? 0,
    };
  }

  /** Since the node's row was made, ms; undefined: it has none. */
  ageMs(node: number): number | undefined {
    const taken = this.takenMs[node] ?? Number.NaN;
    return Number.isNaN(taken) ? undefined : this.#now() - taken;
  }

  /** How many cells there are of each code. */
  counts(): number[] {
    const counts = CODE_WORDS.map(() => 0);
    for (const code of this.code) counts[code] = (counts[code] ?? 0) + 1;
    counts[CellCodes.none] = (counts[CellCodes.none] ?? 0) - this.size;
    return counts;
  }
}
