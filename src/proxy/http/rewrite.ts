import { tokens } from './message-head.ts';
import type { RequestHead } from './request-head.ts';

/** A change of a request's fields, asked for by a rule. */
export interface HeaderEdit {
  readonly action: 'ADD' | 'DELETE' | 'REPLACE';
  /** Lower case for comparing, and as the rule has it for writing. */
  readonly lower: string;
  readonly name: string;
  readonly value: string;
}

/**
 * Writes a request head anew: with the target as it is understood, without an upgrade to HTTP/2 or an expectation, and with the fields
 * changed as rules want it. What does not change keeps its bytes and order.
 */
export function rewriteHead(head: RequestHead, edits: readonly HeaderEdit[]): Buffer {
  const lines = [`${head.method} ${head.understood.path} HTTP/1.${head.minor}`];
  const gone = new Set(edits.filter(({ action }) => action !== 'ADD').map(({ lower }) => lower));
  gone.add('expect');
  for (let place = 0; place < head.count; place++) {
    const name = head.bytes.toString('latin1', head.nameStart(place), head.nameEnd(place));
    if (gone.has(name.toLowerCase())) continue;
    const value = head.stripsH2c ? withoutH2c(name, head.value(place)) : head.value(place);
    if (value !== undefined) lines.push(`${name}: ${value}`);
  }
  for (const { name, value } of written(edits)) lines.push(`${name}: ${value}`);
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}

/** The fields that are written in the end: a later change takes back what earlier ones wrote, unless it adds. */
function written(edits: readonly HeaderEdit[]): readonly HeaderEdit[] {
  return edits.filter(
    ({ action, lower }, i) =>
      action !== 'DELETE' &&
      !edits.slice(i + 1).some((later) => later.lower === lower && later.action !== 'ADD'),
  );
}

/** @returns undefined when nothing of the field is left */
function withoutH2c(name: string, value: string): string | undefined {
  const lower = name.toLowerCase();
  if (lower === 'upgrade' || lower === 'http2-settings') return undefined;
  if (lower !== 'connection') return value;
  const rest = tokens(value).filter((token) => token !== 'upgrade' && token !== 'http2-settings');
  return rest.length === 0 ? undefined : rest.join(', ');
}
