import { CellCodes } from '../../src/model/packed-rows.ts';
import type { MatrixStore } from './matrix-store.ts';

export const ORDERS = ['worst', 'zone', 'name'] as const;
export type OrderName = (typeof ORDERS)[number];

/** Nodes in the order in which they are shown, and where the zones begin. */
export interface Order {
  /** Node by place. */
  readonly nodes: Uint32Array;
  /** Place by node. */
  readonly places: Uint32Array;
  readonly zones: readonly { readonly name: string; readonly start: number; readonly end: number }[];
}

const WEIGHTS: Readonly<Record<number, number>> = { [CellCodes.unreachable]: 100, [CellCodes.degraded]: 10 };

/** How much is wrong with a cell; 0: nothing. */
export function severity(code: number, sent: number, lost: number): number {
  return (WEIGHTS[code] ?? 0) + (sent === 0 ? 0 : lost / sent);
}

/** What is wrong from and to each node. */
export function nodeScores(store: MatrixStore): Float64Array {
  const { size, code, sent, lost } = store;
  const scores = new Float64Array(size);
  for (let from = 0, at = 0; from < size; from++) {
    for (let to = 0; to < size; to++, at++) {
      const wrong = severity(code[at] ?? 0, sent[at] ?? 0, lost[at] ?? 0);
      if (wrong === 0) continue;
      scores[from] = (scores[from] ?? 0) + wrong;
      scores[to] = (scores[to] ?? 0) + wrong;
    }
  }
  return scores;
}

const collator = new Intl.Collator('en', { numeric: true });

/** Puts the nodes in order: those with the most that is wrong first, or by zone, or by name. */
export function orderNodes(store: MatrixStore, name: OrderName): Order {
  const scores = nodeScores(store);
  const byName = (a: number, b: number): number => collator.compare(store.name(a), store.name(b));
  const byWorst = (a: number, b: number): number => {
    const difference = Math.round(scores[b] ?? 0) - Math.round(scores[a] ?? 0);
    return difference === 0 ? byName(a, b) : difference;
  };
  const zoneOf = (node: number): string => store.nodes[node]?.zone ?? '';
  const byZone = (a: number, b: number): number => collator.compare(zoneOf(a), zoneOf(b)) || byWorst(a, b);
  const compare = { worst: byWorst, zone: byZone, name: byName }[name];
  const nodes = Uint32Array.from(store.nodes.keys()).sort(compare);
  const places = new Uint32Array(store.size);
  nodes.forEach((node, place) => {
    places[node] = place;
  });
  return { nodes, places, zones: name === 'zone' ? zonesOf(nodes, zoneOf) : [] };
}

function zonesOf(nodes: Uint32Array, zoneOf: (node: number) => string): Order['zones'] {
  const zones: { name: string; start: number; end: number }[] = [];
  nodes.forEach((node, place) => {
    const last = zones.at(-1);
    const name = zoneOf(node);
    if (last?.name === name) last.end = place + 1;
    else zones.push({ name, start: place, end: place + 1 });
  });
  return zones;
}
