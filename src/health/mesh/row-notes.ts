import { FAULT_KINDS, type LossPoint, PROBE_KINDS, ROW_NOTES_MAX, type RowNote } from '../../model/health.ts';
import { RowFormatError } from './row-bytes.ts';

/** Notes of a row as text between nodes. */
export const NOTES_BYTES_MAX = 16 * 1024;
const WORD_MAX = 256;

export function notesText(notes: readonly RowNote[]): string {
  return JSON.stringify(notes);
}

/** @throws RowFormatError when it is anything else than notes */
export function parseNotes(text: string): readonly RowNote[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new RowFormatError('notes of another node are no JSON', cause);
  }
  if (!Array.isArray(parsed) || parsed.length > ROW_NOTES_MAX) {
    throw new RowFormatError(`notes of another node are no list of ${ROW_NOTES_MAX} at most`);
  }
  return parsed.map(noteOf);
}

function noteOf(value: unknown): RowNote {
  const { peer, kind, family, fault, lossPoint, sinceMs } = fields(value);
  const known = FAULT_KINDS.find((name) => name === fault);
  if (known === undefined || typeof kind !== 'number' || PROBE_KINDS[kind] === undefined) {
    throw new RowFormatError('a note of another node has no fault or no kind of path that is known');
  }
  if ((family !== 4 && family !== 6) || typeof sinceMs !== 'number') {
    throw new RowFormatError('a note of another node has no family or no time');
  }
  return { peer: word(peer), kind, family, fault: known, lossPoint: lossPointOf(lossPoint), sinceMs };
}

function lossPointOf(value: unknown): LossPoint | undefined {
  if (value === undefined) return undefined;
  const { node, hook, leg, reason } = fields(value);
  if (leg !== 'request' && leg !== 'answer') throw new RowFormatError('a loss of another node has no leg');
  return { node: word(node), hook: word(hook), leg, reason: reason === undefined ? undefined : word(reason) };
}

function fields(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) throw new RowFormatError('a note of another node is none');
  return { ...value };
}

function word(value: unknown): string {
  if (typeof value === 'string' && value.length <= WORD_MAX) return value;
  throw new RowFormatError(`a word of another node's note is no text of ${WORD_MAX} characters at most`);
}
