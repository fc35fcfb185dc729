import type { FaultKind, FaultPlace, RowNote } from '../../model/health.ts';
import { type Claim, type ClaimContext, claimOf, isRefuted } from './claims.ts';
import { type LossEdge, lossGraph } from './loss-graph.ts';
import { peel } from './peel.ts';

/** Faults that no state shows, so that notes alone tell of them. */
const NOTE_PROBES = 6;
const NOTE_PEEL = { floor: 2e-5, ceiling: 2e-5 };

/** What notes tell that no claim has told: their places are found as those of any symptom. */
export function noteClaims(claims: readonly Claim[], context: ClaimContext): Claim[] {
  const byFault = new Map<FaultKind, Map<string, RowNote & { readonly from: string }>>();
  context.names.forEach((from, i) => {
    for (const note of context.notes(i)) {
      // What a node notes on itself says why others do not reach it, not that they do not.
      if (note.peer === from || claims.some((claim) => tells(claim, from, note))) continue;
      const edges = byFault.get(note.fault) ?? new Map();
      byFault.set(note.fault, edges.set(`${from} ${note.peer}`, { ...note, from }));
    }
  });
  return [...byFault].flatMap(([fault, notes]) => placesOf(fault, [...notes.values()], context));
}

function tells({ fault, place }: Claim, from: string, { peer, fault: noted }: RowNote): boolean {
  const isTold =
    fault === noted || fault === 'node-down' || fault === 'stack-hung' || isRefuted(noted, fault);
  return isTold && isIn(place, from, peer);
}

function isIn(place: FaultPlace, from: string, to: string): boolean {
  switch (place.kind) {
    case 'node':
      return place.node === from || place.node === to;
    case 'observer':
      return place.node === from;
    case 'pair':
      return place.from === from && place.to === to;
    default:
      return true;
  }
}

function placesOf(
  fault: FaultKind,
  notes: readonly (RowNote & { readonly from: string })[],
  context: ClaimContext,
): Claim[] {
  const index = new Map(context.names.map((name, i) => [name, i]));
  const noted = new Set(notes.map(({ from, peer }) => `${index.get(from)} ${index.get(peer)}`));
  const edges: LossEdge[] = [];
  context.names.forEach((_, from) => {
    const targets = context.store.edges(from)?.targets ?? new Uint16Array(0);
    for (const to of targets) {
      edges.push({ from, to, sent: NOTE_PROBES, lost: noted.has(`${from} ${to}`) ? NOTE_PROBES : 0 });
    }
  });
  const found = peel(lossGraph(context.names.length, edges), NOTE_PEEL);
  return found.map((finding) => {
    const kinds = new Set(notes.map(({ kind }) => kind));
    const families = new Set(notes.map(({ family }) => family));
    return { ...claimOf(finding, 0, context), fault, kinds, families };
  });
}
