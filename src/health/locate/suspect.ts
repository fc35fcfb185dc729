import { indexOfTarget, type LossGraph } from './loss-graph.ts';

/** A set of edges that one fault would touch. */
export type Suspect =
  | { readonly kind: 'node'; readonly node: number }
  /** Only what others see of it: its own row is old, or says that all is well. */
  | { readonly kind: 'observed'; readonly node: number }
  /** Only what it observes itself: nobody else sees it. */
  | { readonly kind: 'observer'; readonly node: number }
  | { readonly kind: 'pair'; readonly from: number; readonly to: number }
  /** All from, to and within a zone. */
  | { readonly kind: 'zone'; readonly zone: number }
  /** All between a zone and the others. */
  | { readonly kind: 'zone-cut'; readonly zone: number }
  /** All between two zones, seen from both sides; `from` equals `to`: within one. */
  | { readonly kind: 'zones'; readonly from: number; readonly to: number }
  /** What the nodes of one zone see of those of another. */
  | { readonly kind: 'zone-way'; readonly from: number; readonly to: number }
  | { readonly kind: 'all' };

/** Zone of each node; undefined where zones are not known. */
export type Zones = Uint16Array | undefined;

/** Whether the edge is of the suspect. */
export function isOf(suspect: Suspect, from: number, to: number, zones: Zones): boolean {
  switch (suspect.kind) {
    case 'node':
      return from === suspect.node || to === suspect.node;
    case 'observed':
      return to === suspect.node;
    case 'observer':
      return from === suspect.node;
    case 'pair':
      return from === suspect.from && to === suspect.to;
    case 'all':
      return true;
    default:
      return isOfZones(suspect, zones?.[from] ?? 0, zones?.[to] ?? 0);
  }
}

type ZoneSuspect = Extract<Suspect, { readonly kind: 'zone' | 'zone-cut' | 'zones' | 'zone-way' }>;

function isOfZones(suspect: ZoneSuspect, from: number, to: number): boolean {
  switch (suspect.kind) {
    case 'zone':
      return from === suspect.zone || to === suspect.zone;
    case 'zone-cut':
      return (from === suspect.zone) !== (to === suspect.zone);
    case 'zone-way':
      return from === suspect.from && to === suspect.to;
    case 'zones':
      return (from === suspect.from && to === suspect.to) || (from === suspect.to && to === suspect.from);
  }
}

/** Observer, and place of the edge in its row. */
export type EdgeVisit = (from: number, index: number, to: number) => void;

/** Visits the edges of a suspect. */
export function visitEdges(graph: LossGraph, suspect: Suspect, zones: Zones, visit: EdgeVisit): void {
  switch (suspect.kind) {
    case 'node':
      visitRow(graph, suspect.node, visit);
      visitColumn(graph, suspect.node, visit);
      return;
    case 'observed':
      visitColumn(graph, suspect.node, visit);
      return;
    case 'observer':
      visitRow(graph, suspect.node, visit);
      return;
    case 'pair':
      visitOne(graph, suspect.from, suspect.to, visit);
      return;
    default:
      for (let from = 0; from < graph.nodes; from++) {
        visitRow(graph, from, (_, index, to) => {
          if (isOf(suspect, from, to, zones)) visit(from, index, to);
        });
      }
  }
}

function visitRow({ rows }: LossGraph, from: number, visit: EdgeVisit): void {
  const targets = rows[from]?.targets;
  if (targets === undefined) return;
  for (let i = 0; i < targets.length; i++) visit(from, i, targets[i] as number);
}

function visitColumn(graph: LossGraph, to: number, visit: EdgeVisit): void {
  for (let from = 0; from < graph.nodes; from++) visitOne(graph, from, to, visit);
}

function visitOne({ rows }: LossGraph, from: number, to: number, visit: EdgeVisit): void {
  const row = rows[from];
  const index = row === undefined ? -1 : indexOfTarget(row, to);
  if (index >= 0) visit(from, index, to);
}
