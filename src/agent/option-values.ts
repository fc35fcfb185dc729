import type { OptionSpec } from '../base/config.ts';
import { UsageError } from '../base/errors.ts';
import { formatIp, parseIp } from '../base/ip.ts';
import { parseInteger } from '../base/option-parsers.ts';
import { makeLabel } from '../model/labels.ts';
import { formatDuration, parseDuration } from '../view/duration.ts';

/** Values of the agent's options that others do not have. */

/** One option, with the type of its value kept. */
export const option = <T>(spec: OptionSpec<T>): OptionSpec<T> => spec;

/** A Go duration such as `5s` or `1m30s`, as whole milliseconds. */
export function parseMilliseconds(text: string): number {
  const ns = parseDuration(text);
  if (ns !== undefined && ns > 0n) return Number(ns / 1_000_000n);
  throw new UsageError(`${JSON.stringify(text)} is not a duration such as 5s`, { code: 'OPTION_INVALID' });
}

/** The same, or none at all: `0s`. */
export function parseMillisecondsOrNone(text: string): number {
  return parseDuration(text) === 0n ? 0 : parseMilliseconds(text);
}

export function formatMilliseconds(ms: number): string {
  return formatDuration(BigInt(ms) * 1_000_000n);
}

/** A number of conntrack entries: of flows of one family. */
export function parseConntrackEntries(text: string): number {
  const entries = parseInteger(1024, 2 ** 24)(text);
  if (Math.log2(entries) % 1 === 0) return entries;
  throw new UsageError(`${text} is no power of two`, { code: 'OPTION_INVALID' });
}

/** A store's name; whether there is such a store is decided where it is made. */
export function parseStore(text: string): string {
  if (/^[a-z]+:.+/.test(text)) return text;
  throw new UsageError(`${JSON.stringify(text)} is not KIND:PLACE, such as local:/var/lib/ciliate/store.db`, {
    code: 'OPTION_INVALID',
  });
}

export function parseAnyAddress(text: string): string {
  return formatIp(parseIp(text));
}

export function parseNodeLabel(text: string): readonly [key: string, value: string] {
  const at = text.indexOf('=');
  const { key, value } =
    at < 0 ? makeLabel('node', text, '') : makeLabel('node', text.slice(0, at), text.slice(at + 1));
  return [key, value];
}
