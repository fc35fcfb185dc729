import { UsageError } from '../../src/base/errors.ts';
import { parseDuration } from '../../src/view/duration.ts';

const NS_PER_MS = 1_000_000n;

/**
 * A time as RFC 3339: given so, or as how long ago (`10m`).
 * @throws UsageError code SINCE
 */
export function parseSinceFlag(text: string, nowMs: number): string {
  const ago = parseDuration(text);
  if (ago !== undefined && ago >= 0n) return new Date(nowMs - Number(ago / NS_PER_MS)).toISOString();
  const at = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(at)) return new Date(at).toISOString();
  throw new UsageError(`${JSON.stringify(text)} is no time`, {
    code: 'SINCE',
    hint: 'how long ago, as 10m or 1h30m, or a time as 2026-01-31T12:00:00Z',
  });
}

/** What COLUMNS says, as for `ls` and `git`; else the width of the terminal, and 80 where there is none. */
export function terminalWidth(): number {
  const wanted = process.env.COLUMNS ?? '';
  if (/^[1-9]\d{0,4}$/.test(wanted)) return Number(wanted);
  return process.stdout.isTTY === true && process.stdout.columns > 0 ? process.stdout.columns : 80;
}

/** Whether colours are shown: on a terminal, unless the user's environment says no (https://no-color.org). */
export function showsColour(): boolean {
  const { NO_COLOR, TERM } = process.env;
  return process.stdout.isTTY === true && (NO_COLOR ?? '') === '' && TERM !== 'dumb';
}
