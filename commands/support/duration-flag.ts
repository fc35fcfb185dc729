import * as Flags from '@oclif/core/flags';
import { UsageError } from '../../src/base/errors.ts';
import { parseDuration } from '../../src/view/duration.ts';
import { checked } from './checked.ts';

export interface DurationRange {
  readonly leastMs: number;
  /** Default: what a timer of Node.js takes; a longer one would be over at once. */
  readonly mostMs?: number;
  /** Unit of a bare number; undefined: a unit must be written. */
  readonly bareUnit: 's' | 'ms' | undefined;
}

const TIMER_MOST_MS = 2 ** 31 - 1;

/** `5s`, `1m30s` as milliseconds. @throws UsageError code DURATION */
export function parseDurationMs(
  text: string,
  { leastMs, mostMs = TIMER_MOST_MS, bareUnit }: DurationRange,
): number {
  const ns = parseDuration(bareUnit !== undefined && /^\d+$/.test(text) ? `${text}${bareUnit}` : text);
  const ms = ns === undefined ? undefined : Number(ns) / 1e6;
  if (ms !== undefined && ms >= leastMs && ms <= mostMs) return ms;
  const what =
    ms !== undefined && ms > mostMs
      ? ` of at most ${mostMs}ms`
      : leastMs > 0
        ? ` of at least ${leastMs}ms`
        : '';
  throw new UsageError(`${JSON.stringify(text)} is not a duration${what}, such as 500ms or 1m30s`, {
    code: 'DURATION',
  });
}

/**
 * A flag that takes a duration; its value is in milliseconds. Give it no default, which help would show as a bare number:
 * write it into the description.
 */
export const durationFlagFrom = (range: DurationRange) =>
  Flags.custom<number>({ parse: checked((text) => parseDurationMs(text, range)) });

/** A bare number is seconds. */
export const durationFlag = durationFlagFrom({ leastMs: 0, bareUnit: 's' });
