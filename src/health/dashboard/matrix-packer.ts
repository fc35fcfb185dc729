import { createHash } from 'node:crypto';
import type { HealthRow } from '../../model/health.ts';
import {
  CellCodes,
  cellCode,
  copyCell,
  encodeMessage,
  newCells,
  type PackedCells,
  type PackedRowHeader,
  writeCell,
} from '../../model/packed-rows.ts';
import type { Clock } from '../clock.ts';
import type { PackedMatrix } from '../mesh/index.ts';

export interface MatrixPackerDeps {
  readonly matrix: () => PackedMatrix;
  readonly clock: Clock;
  /** Nodes that are told at most; of a larger cluster the worst. Default 1,024. */
  readonly nodesMax?: number | undefined;
}

/** What has changed: some rows, or the nodes themselves, so that all must be taken anew. */
export type MatrixNews =
  | { readonly kind: 'rows'; readonly message: Uint8Array<ArrayBuffer> }
  | { readonly kind: 'nodes' };

const NODES_MAX = 1024;
/** Of a cluster of which not all is told: how often the worst are looked for anew. */
const CHOOSE_MS = 30_000;
/** Cells whose numbers moved by a smaller share are not told. */
const RTT_SHARE = 0.05;
const SENT_SHARE = 0.2;
/** Rows a message: one is made up in a few ms, and a slow browser gets them one after the other. */
const ROWS_MAX = 64;

interface Shown {
  readonly id: string;
  readonly names: readonly string[];
  readonly zones: readonly (string | undefined)[];
  /** Places of the nodes of the list among those shown; -1: not shown. */
  readonly places: Int32Array;
  readonly total: number;
  readonly listId: string;
  readonly chosenMs: number;
}

interface ToldRow {
  readonly incarnation: number;
  readonly version: number;
  readonly cells: PackedCells;
}

/** The rows of the cluster as messages for browsers: all of them, or what changed since the last call. */
export class MatrixPacker {
  readonly #deps: MatrixPackerDeps;
  #shown: Shown | undefined;
  #told: (ToldRow | undefined)[] = [];
  #next = 0;
  #list: PackedMatrix['nodes'] | undefined;
  #listId = '';

  constructor(deps: MatrixPackerDeps) {
    this.#deps = deps;
  }

  /** Everything. Browsers that follow the changes stay right with it. */
  snapshot(): Uint8Array<ArrayBuffer> {
    const view = this.#deps.matrix();
    const shown = this.#choose(view);
    const headers: PackedRowHeader[] = [];
    const rows: PackedCells[] = [];
    // Later ones must not: who took everything before a row was there would never hear of it.
    const first = this.#told.length === 0;
    for (const [node, name] of shown.names.entries()) {
      const row = view.row(name);
      if (row === undefined) continue;
      const cells = this.#cellsOf(view, row, node, shown);
      if (first) this.#told[node] = { incarnation: row.incarnation, version: row.version, cells };
      rows.push(compact(cells, headers, { node, ...age(view, name) }));
    }
    const nodes = shown.names.map((name, i) => {
      const zone = shown.zones[i];
      return zone === undefined ? { name } : { name, zone };
    });
    const cluster = { self: view.self, nodes, total: shown.total };
    const header = { nodesId: shown.id, atMs: this.#deps.clock.wallMs(), rows: headers, cluster };
    return encodeMessage({ header, rows });
  }

  /** Cells of a row as they were told last, when it has not changed since. */
  #cellsOf(view: PackedMatrix, row: HealthRow, node: number, shown: Shown): PackedCells {
    const told = this.#told[node];
    return told !== undefined && isSame(told, row) ? told.cells : packRow(view, row.node, shown);
  }

  /** What changed since the last call; undefined: nothing. At most some rows: what is left comes with the next call. */
  news(): MatrixNews | undefined {
    const view = this.#deps.matrix();
    const before = this.#shown;
    const shown = this.#choose(view);
    if (before !== undefined && before.id !== shown.id) return { kind: 'nodes' };
    const headers: PackedRowHeader[] = [];
    const rows: PackedCells[] = [];
    for (let i = 0; i < shown.names.length && rows.length < ROWS_MAX; i++) {
      const node = this.#next;
      this.#next = (node + 1) % shown.names.length;
      this.#addNews(view, shown, node, headers, rows);
    }
    if (rows.length === 0) return undefined;
    const header = { nodesId: shown.id, atMs: this.#deps.clock.wallMs(), rows: headers };
    return { kind: 'rows', message: encodeMessage({ header, rows }) };
  }

  #addNews(
    view: PackedMatrix,
    shown: Shown,
    node: number,
    headers: PackedRowHeader[],
    rows: PackedCells[],
  ): void {
    const name = shown.names[node] ?? '';
    const row = view.row(name);
    const told = this.#told[node];
    if (row === undefined || (told !== undefined && isSame(told, row))) return;
    const cells = packRow(view, name, shown);
    const { incarnation, version } = row;
    if (told === undefined) {
      this.#told[node] = { incarnation, version, cells };
      rows.push(compact(cells, headers, { node, ...age(view, name) }));
      return;
    }
    const changed = changedCells(told.cells, cells);
    for (const peer of changed) copyCell(cells, peer, told.cells, peer);
    this.#told[node] = { incarnation, version, cells: told.cells };
    rows.push(sparse(told.cells, changed));
    headers.push({ node, ...age(view, name), count: changed.length });
  }

  /** Worked out once for each array: of thousands of nodes it takes more time than all else of a change. */
  #idOfList(list: PackedMatrix['nodes']): string {
    if (list !== this.#list) {
      this.#list = list;
      this.#listId = idOf(list.map(({ name, zone }) => `${name}\n${zone ?? ''}`));
    }
    return this.#listId;
  }

  #choose(view: PackedMatrix): Shown {
    const nowMs = this.#deps.clock.nowMs();
    const max = this.#deps.nodesMax ?? NODES_MAX;
    const listId = this.#idOfList(view.nodes);
    const before = this.#shown;
    const inTime = view.nodes.length <= max || nowMs - (before?.chosenMs ?? 0) < CHOOSE_MS;
    if (before !== undefined && before.listId === listId && inTime) return before;
    const nodes = view.nodes.length <= max ? view.nodes : worstNodes(view, max);
    const names = nodes.map(({ name }) => name);
    const id = idOf([listId, ...names]);
    const shown: Shown = {
      id,
      names,
      zones: nodes.map(({ zone }) => zone),
      places: placesOf(view, names),
      total: view.nodes.length,
      listId,
      chosenMs: nowMs,
    };
    if (id !== before?.id) {
      this.#told = [];
      this.#next = 0;
    }
    this.#shown = shown;
    return shown;
  }
}

function isSame(told: ToldRow, row: HealthRow): boolean {
  return told.incarnation === row.incarnation && told.version === row.version;
}

function age(view: PackedMatrix, name: string): { readonly ageMs?: number } {
  const ageMs = view.ageMs(name);
  return ageMs === undefined ? {} : { ageMs: Math.round(ageMs) };
}

function idOf(parts: readonly string[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex').slice(0, 16);
}

function placesOf(view: PackedMatrix, names: readonly string[]): Int32Array {
  const indices = new Map(names.map((name, i) => [name, i]));
  return Int32Array.from(view.nodes, ({ name }) => indices.get(name) ?? -1);
}

function packRow(view: PackedMatrix, node: string, { names, places }: Shown): PackedCells {
  const cells = newCells(names.length, false);
  view.eachCell(node, (cell) => {
    const place = places[cell.peer] ?? -1;
    if (place >= 0) writeCell(cells, place, cell);
  });
  return cells;
}

/** A row with many empty cells is told by those that are not. */
function compact(cells: PackedCells, headers: PackedRowHeader[], header: PackedRowHeader): PackedCells {
  const used: number[] = [];
  cells.code.forEach((code, peer) => {
    if (code !== CellCodes.none) used.push(peer);
  });
  if (used.length > cells.code.length / 2) {
    headers.push(header);
    return cells;
  }
  headers.push({ ...header, count: used.length });
  return sparse(cells, used);
}

function sparse(cells: PackedCells, peers: readonly number[]): PackedCells {
  const some = newCells(peers.length, true);
  for (const [at, peer] of peers.entries()) {
    if (some.peers !== undefined) some.peers[at] = peer;
    copyCell(cells, peer, some, at);
  }
  return some;
}

function changedCells(before: PackedCells, now: PackedCells): number[] {
  const changed: number[] = [];
  for (let peer = 0; peer < now.code.length; peer++) {
    const differs = now.code[peer] !== before.code[peer] || now.lost[peer] !== before.lost[peer];
    const moved =
      hasMoved(before.rttNs[peer], now.rttNs[peer], RTT_SHARE) ||
      hasMoved(before.sent[peer], now.sent[peer], SENT_SHARE);
    if (differs || moved) changed.push(peer);
  }
  return changed;
}

function hasMoved(before = 0, now = 0, share: number): boolean {
  return Math.abs(now - before) > share * before;
}

/** The nodes with the most that is wrong from or to them, ours in any case, by name. */
function worstNodes(view: PackedMatrix, max: number): PackedMatrix['nodes'] {
  const faults = new Map<string, number>();
  const add = (name: string, count: number): void => void faults.set(name, (faults.get(name) ?? 0) + count);
  add(view.self, Number.MAX_SAFE_INTEGER);
  for (const { name } of view.nodes) {
    view.eachCell(name, (cell) => {
      const wrong = Math.max(0, cellCode(cell) - CellCodes.reachable);
      if (wrong === 0) return;
      add(name, wrong);
      add(view.nodes[cell.peer]?.name ?? '', wrong);
    });
  }
  const ranked = [...view.nodes].sort((a, b) => (faults.get(b.name) ?? 0) - (faults.get(a.name) ?? 0));
  return ranked.slice(0, max).sort((a, b) => (a.name < b.name ? -1 : 1));
}
