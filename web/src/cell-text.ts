import { CellCodes } from '../../src/model/packed-rows.ts';
import { latencyText, lossText, spanText } from './format.ts';
import { CODE_WORDS, type MatrixStore, STALE_ROW_MS } from './matrix-store.ts';

/** What is known of a pair in words. */
export function cellText(store: MatrixStore, from: number, to: number): string {
  const { code, rttNs, sent, lost } = store.cell(from, to);
  if (code === CellCodes.none) return CODE_WORDS[CellCodes.none];
  const parts: string[] = [CODE_WORDS[code] ?? ''];
  // Of a peer that has died there still is one, of before.
  if (rttNs > 0 && code !== CellCodes.unreachable) parts.push(`round trip ${latencyText(rttNs)}`);
  if (sent > 0) parts.push(`${lost} of ${sent} probes lost (${lossText(sent, lost)})`);
  const ageMs = store.ageMs(from);
  if (ageMs !== undefined && ageMs > STALE_ROW_MS) parts.push(`as of ${spanText(ageMs)} ago`);
  return parts.join(', ');
}
