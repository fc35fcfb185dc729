import type { HealthRow, MatrixView } from '../../model/health.ts';
import { type EdgeRow, EMPTY_ROW, indexOfTarget, type LossGraph } from './loss-graph.ts';
import { SILENT, SLOW, SYMPTOMS, symptomsOf } from './symptoms.ts';

/** A cell as it is read from a matrix; `peer` is the index in its `nodes`. */
export interface IndexedCell {
  readonly peer: number;
  readonly states4: number;
  readonly states6: number;
  readonly sent: number;
  readonly lost: number;
}

/** A matrix that hands out its cells without an object for each. */
export interface CellSource extends MatrixView {
  eachCell(node: string, visit: (cell: IndexedCell) => void): void;
}

/** One row as edges, with what its states come to. */
export interface StoredEdges extends EdgeRow {
  readonly states4: Uint32Array;
  readonly states6: Uint32Array;
  /** Symptoms of each edge, of both families. */
  readonly symptoms: Uint32Array;
  /** Symptoms that any edge has. */
  readonly any: number;
  /** Edges that were probed little beside the others: they are old news. */
  readonly slowPace: Uint8Array | undefined;
}

interface Kept {
  readonly row: Pick<HealthRow, 'incarnation' | 'version'>;
  readonly edges: StoredEdges;
  readonly graphs: Map<number, EdgeRow>;
}

/** An unreachable state stands for so many probes lost: the burst that found it, and the one before. */
const STATE_PROBES = 6;
/** Edges with fewer probes than this part of the row's most are old news. */
const SLOW_PACE = 1 / 8;
/** A path that is degraded and loses less than this is slow. */
const SLOW_LOSS = 0.03;
const NOTHING = packEdges([]);

/** Index of the pattern of plain loss. */
export const LOSS = -1;

/**
 * The rows of a matrix as graphs, one for each symptom and one for plain loss. Only rows that changed are read anew; when
 * the node list changes all are, for nodes are numbered by their place in it.
 */
export class EdgeStore {
  #names: readonly string[] = [];
  #kept: (Kept | undefined)[] = [];
  /** 1: the row is not used. */
  #aside: Uint8Array | undefined;

  /** Takes the rows of nodes that are `fresh`. Those of others count for nothing. */
  update(matrix: MatrixView, fresh: (node: string) => boolean): void {
    const names = matrix.nodes.map(({ name }) => name);
    if (names.length !== this.#names.length || names.some((name, i) => name !== this.#names[i])) {
      this.#names = names;
      this.#kept = [];
    }
    const index = new Map<string, number>();
    const indexOf = (name: string): number | undefined => {
      if (index.size === 0) names.forEach((own, i) => void index.set(own, i));
      return index.get(name);
    };
    names.forEach((name, i) => {
      const row = fresh(name) ? matrix.row(name) : undefined;
      const kept = this.#kept[i];
      if (row === undefined) this.#kept[i] = undefined;
      else if (kept?.row.version !== row.version || kept.row.incarnation !== row.incarnation) {
        const { incarnation, version } = row;
        const edges = readEdges(matrix, row, i, indexOf);
        this.#kept[i] = { row: { incarnation, version }, edges, graphs: new Map() };
      }
    });
    this.#setAside(names.indexOf(matrix.self));
  }

  edges(node: number): StoredEdges | undefined {
    return this.#kept[node]?.edges;
  }

  /** Symptoms that any edge has. */
  any(): number {
    return this.#kept.reduce((any, kept) => any | (kept?.edges.any ?? 0), 0);
  }

  /**
   * Sets aside the rows of nodes that cannot be reached from ours, not even by way of others: what they tell is of before.
   * A node of which nobody knows anything is no such one.
   */
  #setAside(self: number): void {
    this.#aside = undefined;
    if ((this.any() & SILENT) === 0) return;
    const { length } = this.#names;
    const [seen, reached] = [new Uint8Array(length), new Uint8Array(length)];
    for (const kept of this.#kept) for (const target of kept?.edges.targets ?? []) seen[target] = 1;
    const next = this.#names.flatMap((_, i) => (i === self || seen[i] === 0 ? [i] : []));
    for (const node of next) reached[node] = 1;
    for (let from = next.pop(); from !== undefined; from = next.pop()) {
      const { targets, symptoms } = this.#kept[from]?.edges ?? NOTHING;
      for (let i = 0; i < targets.length; i++) {
        const to = targets[i] as number;
        if (reached[to] === 1 || ((symptoms[i] as number) & SILENT) !== 0) continue;
        reached[to] = 1;
        next.push(to);
      }
    }
    this.#aside = reached.map((is) => 1 - is);
  }

  /** How many nodes observe a node. */
  observersOf(node: number): number {
    return this.#kept.reduce((count, kept) => {
      return count + (kept !== undefined && indexOfTarget(kept.edges, node) >= 0 ? 1 : 0);
    }, 0);
  }

  /** Whether of each node but ourselves anybody knows anything. A node alone sees itself. */
  everybodySeen(matrix: MatrixView): boolean {
    const { nodes, self } = matrix;
    if (nodes.length === 1) {
      const states = matrix.row(self)?.cells.get(self)?.states;
      return states !== undefined && (states[4] | states[6]) !== 0;
    }
    const seen = new Uint8Array(nodes.length);
    for (const kept of this.#kept) {
      const { targets, states4, states6 } = kept?.edges ?? NOTHING;
      targets.forEach((target, i) => {
        if (((states4[i] ?? 0) | (states6[i] ?? 0)) !== 0) seen[target] = 1;
      });
    }
    return nodes.every(({ name }, i) => seen[i] === 1 || name === self);
  }

  /** @param symptom index in `SYMPTOMS`, or `LOSS` */
  graph(symptom: number): LossGraph {
    const rows = this.#names.map((_, i) => {
      const kept = this.#kept[i];
      if (kept === undefined || this.#aside?.[i] === 1) return EMPTY_ROW;
      if (symptom === LOSS && kept.edges.any === 0) return kept.edges;
      const known = kept.graphs.get(symptom);
      if (known !== undefined) return known;
      const graph = symptom === LOSS ? lossRow(kept.edges) : symptomRow(kept.edges, symptom);
      kept.graphs.set(symptom, graph);
      return graph;
    });
    return { nodes: this.#names.length, rows };
  }
}

/** Of the edges that their states tell nothing of: what an outage lost is no loss besides. */
function lossRow(edges: StoredEdges): EdgeRow {
  const { targets, symptoms } = edges;
  const keep = (counts: Uint16Array): Uint16Array =>
    counts.map((count, i) => (((symptoms[i] ?? 0) & ~SLOW) === 0 ? count : 0));
  return { targets, sent: keep(edges.sent), lost: keep(edges.lost) };
}

function symptomRow(edges: StoredEdges, symptom: number): EdgeRow {
  const { targets, symptoms, slowPace, states4, states6 } = edges;
  const length = targets.length;
  const [sent, lost] = [new Uint16Array(length), new Uint16Array(length)];
  const mask = kindsMask(symptom);
  const flag = 1 << symptom;
  for (let i = 0; i < length; i++) {
    const shows = ((symptoms[i] as number) & flag) !== 0;
    const known = (((states4[i] as number) | (states6[i] as number)) & mask) !== 0;
    if (shows || (known && slowPace?.[i] !== 1)) sent[i] = STATE_PROBES;
    if (shows) lost[i] = STATE_PROBES;
  }
  return { targets, sent, lost };
}

/** The states of the kinds that tell of a symptom; of one without kinds, all. */
function kindsMask(symptom: number): number {
  const kinds = SYMPTOMS[symptom]?.kinds ?? [];
  return kinds.length === 0 ? -1 : kinds.reduce((mask, kind) => mask | (3 << (2 * kind)), 0);
}

type IndexOf = (name: string) => number | undefined;

function readEdges(matrix: MatrixView, row: HealthRow, self: number, indexOf: IndexOf): StoredEdges {
  const cells: IndexedCell[] = [];
  const take = ({ peer, states4, states6, sent, lost }: IndexedCell): void => {
    if (peer === self || (sent === 0 && states4 === 0 && states6 === 0)) return;
    cells.push({ peer, states4, states6, sent, lost: Math.min(lost, sent) });
  };
  if (isCellSource(matrix)) matrix.eachCell(row.node, take);
  else
    for (const { peer: name, states, sent, lost } of row.cells.values()) {
      const peer = indexOf(name);
      if (peer !== undefined) take({ peer, states4: states[4], states6: states[6], sent, lost });
    }
  if (cells.some(({ peer }, i) => i > 0 && peer < (cells[i - 1]?.peer ?? 0)))
    cells.sort((a, b) => a.peer - b.peer);
  return packEdges(cells);
}

function isCellSource(matrix: MatrixView): matrix is CellSource {
  return 'eachCell' in matrix;
}

/** @param cells by peer, ascending */
export function packEdges(cells: readonly IndexedCell[]): StoredEdges {
  const { length } = cells;
  const [targets, sent, lost] = [new Uint16Array(length), new Uint16Array(length), new Uint16Array(length)];
  const [states4, states6, symptoms] = [
    new Uint32Array(length),
    new Uint32Array(length),
    new Uint32Array(length),
  ];
  let [any, most] = [0, 0];
  cells.forEach((cell, i) => {
    targets[i] = cell.peer;
    sent[i] = cell.sent;
    lost[i] = cell.lost;
    states4[i] = cell.states4;
    states6[i] = cell.states6;
    const shown = cellSymptoms(cell);
    symptoms[i] = shown;
    any |= shown;
    if (cell.sent > most) most = cell.sent;
  });
  const isSlow = (count: number): boolean => count < most * SLOW_PACE;
  const slowPace = sent.some(isSlow) ? Uint8Array.from(sent, (count) => (isSlow(count) ? 1 : 0)) : undefined;
  return { targets, sent, lost, states4, states6, symptoms, any, slowPace };
}

function cellSymptoms({ states4, states6, sent, lost }: IndexedCell): number {
  const shown = symptomsOf(states4) | symptomsOf(states6);
  return (shown & SLOW) !== 0 && lost > SLOW_LOSS * sent ? shown & ~SLOW : shown;
}
