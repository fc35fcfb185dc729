import type { FaultPlace, HealthRow, MatrixView } from '../../model/health.ts';
import { type EdgeRow, EMPTY_ROW, edgeRow, indexOfTarget, type LossGraph, packCounts } from './loss-graph.ts';
import { isCellSource, NO_EDGES, RowReader, type StoredEdges } from './row-reader.ts';
import { SILENT, SLOW, SYMPTOMS, SymptomTable } from './symptoms.ts';

interface Kept {
  readonly row: Pick<HealthRow, 'incarnation' | 'version'>;
  readonly revision: number;
  readonly edges: StoredEdges;
  readonly graphs: Map<number, EdgeRow>;
}

/** An unreachable state stands for so many probes lost: the burst that found it, and the one before. */
const STATE_PROBES = 6;
const SHOWS = packCounts(STATE_PROBES, STATE_PROBES);
const SHOWS_NOT = packCounts(STATE_PROBES, 0);

/** Index of the pattern of plain loss. */
export const LOSS = -1;

/**
 * The rows of a matrix as graphs, one for each symptom and one for plain loss. Only rows that changed are read anew; when
 * the node list changes all are, for nodes are numbered by their place in it.
 */
export class EdgeStore {
  readonly #table = new SymptomTable();
  #names: readonly string[] = [];
  #kept: (Kept | undefined)[] = [];
  /** 1: the row is not used. */
  #aside: Uint8Array | undefined;
  /** By node: the row that it had when it could not be reached. */
  #before: (Kept['row'] | undefined)[] = [];

  /** Takes the rows of nodes that are `fresh`. Those of others count for nothing. */
  update(matrix: MatrixView, fresh: (node: string) => boolean): void {
    const names = matrix.nodes.map(({ name }) => name);
    if (names.length !== this.#names.length || names.some((name, i) => name !== this.#names[i])) {
      this.#names = names;
      this.#kept = [];
      this.#before = [];
    }
    const reader = new RowReader(matrix, names, this.#table);
    names.forEach((name, i) => {
      const row = fresh(name) ? matrix.row(name) : undefined;
      const kept = this.#kept[i];
      const revision = isCellSource(matrix) ? matrix.revision(name) : 0;
      if (row === undefined) this.#kept[i] = undefined;
      else if (kept === undefined || isChanged(kept, row, revision)) {
        const { incarnation, version } = row;
        const edges = reader.read(row, i);
        this.#kept[i] = { row: { incarnation, version }, revision, edges, graphs: new Map() };
      }
    });
    this.#setAside(names.indexOf(matrix.self));
  }

  edges(node: number): StoredEdges | undefined {
    return this.#kept[node]?.edges;
  }

  /** Whether paths of both families are probed: those that a node is seen by, those between two, or any at all. */
  hasBothFamilies(place: FaultPlace): boolean {
    let [any4, any6] = [0, 0];
    const index = (name: string): number => this.#names.indexOf(name);
    const take = (from: number, to?: number): void => {
      const { edges } = this.#kept[from] ?? { edges: NO_EDGES };
      const at = to === undefined ? 0 : indexOfTarget(edges, to);
      const end = to === undefined ? edges.targets.length : at + 1;
      for (let i = Math.max(at, 0); i < end; i++) {
        any4 |= edges.states4[i] as number;
        any6 |= edges.states6[i] as number;
      }
    };
    if (place.kind === 'observer') take(index(place.node));
    else if (place.kind === 'pair') {
      take(index(place.from), index(place.to));
      take(index(place.to), index(place.from));
    } else {
      const to = place.kind === 'node' ? index(place.node) : undefined;
      for (let from = 0; from < this.#names.length; from++) take(from, to);
    }
    return any4 !== 0 && any6 !== 0;
  }

  /** Symptoms that any edge has. */
  any(): number {
    return this.#kept.reduce((any, kept) => any | (kept?.edges.any ?? 0), 0);
  }

  /**
   * Sets aside the rows of nodes that cannot be reached from ours, not even by way of others: what they tell is of before, and
   * stays so when they come back, until they tell something new.
   */
  #setAside(self: number): void {
    const unreached = this.#unreached(self);
    this.#aside = undefined;
    this.#kept.forEach((kept, i) => {
      const before = this.#before[i];
      const isOld = kept !== undefined && before !== undefined && isSameRow(kept.row, before);
      this.#before[i] = unreached?.[i] === 1 || isOld ? kept?.row : undefined;
      if (this.#before[i] === undefined) return;
      this.#aside ??= new Uint8Array(this.#names.length);
      this.#aside[i] = 1;
    });
  }

  /** 1: a node that cannot be reached. One of which nobody knows anything is no such one. */
  #unreached(self: number): Uint8Array | undefined {
    if ((this.any() & SILENT) === 0) return undefined;
    const { length } = this.#names;
    const [seen, reached] = [new Uint8Array(length), new Uint8Array(length)];
    for (const kept of this.#kept) for (const target of kept?.edges.targets ?? []) seen[target] = 1;
    const next = this.#names.flatMap((_, i) => (i === self || seen[i] === 0 ? [i] : []));
    for (const node of next) reached[node] = 1;
    for (let from = next.pop(); from !== undefined; from = next.pop()) {
      const { targets, symptoms } = this.#kept[from]?.edges ?? NO_EDGES;
      for (let i = 0; i < targets.length; i++) {
        const to = targets[i] as number;
        if (reached[to] === 1 || ((symptoms[i] as number) & SILENT) !== 0) continue;
        reached[to] = 1;
        next.push(to);
      }
    }
    return reached.map((is) => 1 - is);
  }

  /** Whether a node's row is of before it could not be reached. */
  isAside(node: number): boolean {
    return this.#aside?.[node] === 1;
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
    if (nodes.length === 0) return false;
    const seen = new Uint8Array(nodes.length);
    for (const kept of this.#kept) {
      const { targets, states4, states6 } = kept?.edges ?? NO_EDGES;
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
      if (kept === undefined || this.isAside(i)) return EMPTY_ROW;
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

function isChanged(kept: Kept, row: HealthRow, revision: number): boolean {
  return !isSameRow(kept.row, row) || kept.revision !== revision;
}

function isSameRow(a: Kept['row'], b: Kept['row']): boolean {
  return a.incarnation === b.incarnation && a.version === b.version;
}

/** Of the edges that their states tell nothing of: what an outage lost is no loss besides. */
function lossRow({ targets, counts, symptoms }: StoredEdges): EdgeRow {
  return edgeRow(
    targets,
    counts.map((packed, i) => (((symptoms[i] ?? 0) & ~SLOW) === 0 ? packed : 0)),
  );
}

function symptomRow(edges: StoredEdges, symptom: number): EdgeRow {
  const { targets, symptoms, slowPace, states4, states6 } = edges;
  const counts = new Uint32Array(targets.length);
  const mask = kindsMask(symptom);
  const flag = 1 << symptom;
  for (let i = 0; i < counts.length; i++) {
    if (((symptoms[i] as number) & flag) !== 0) counts[i] = SHOWS;
    else if ((((states4[i] as number) | (states6[i] as number)) & mask) !== 0 && slowPace?.[i] !== 1)
      counts[i] = SHOWS_NOT;
  }
  return edgeRow(targets, counts);
}

/** The states of the kinds that tell of a symptom; of one without kinds, all. */
function kindsMask(symptom: number): number {
  const kinds = SYMPTOMS[symptom]?.kinds ?? [];
  return kinds.length === 0 ? -1 : kinds.reduce((mask, kind) => mask | (3 << (2 * kind)), 0);
}
