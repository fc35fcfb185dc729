import type { FaultKind, HealthCell, HealthRow, RowNote } from '../../model/health.ts';
import { UPPER_BITS } from './symptoms.ts';

/** Faults that come to light while all paths answer well. */
const UNSEEN: ReadonlySet<FaultKind> = new Set(['mtu-black-hole']);

/**
 * What a node notes of others and of itself now: a note on a peer all of whose paths do well by the same row, or of which it
 * knows nothing, is of an outage that is over.
 */
export function standingNotes({ node, notes, cells }: HealthRow): readonly RowNote[] {
  return notes.filter(({ peer, fault }) => peer === node || UNSEEN.has(fault) || isAiling(cells.get(peer)));
}

function isAiling(cell: HealthCell | undefined): boolean {
  return cell !== undefined && ((cell.states[4] | cell.states[6]) & UPPER_BITS) !== 0;
}
