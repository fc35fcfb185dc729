const NS = 1n;
const US = 1000n * NS;
const MS = 1000n * US;
const SECOND = 1000n * MS;
const MINUTE = 60n * SECOND;
const HOUR = 60n * MINUTE;

/** `whole.fraction` of `value / unit` without trailing zeros. */
function decimal(value: bigint, unit: bigint): string {
  const digits = unit.toString().length - 1;
  const fraction = (value % unit).toString().padStart(digits, '0').replace(/0+$/, '');
  return fraction === '' || digits === 0 ? `${value / unit}` : `${value / unit}.${fraction}`;
}

/** A duration as Go prints it: `0s`, `315.254µs`, `1.25ms`, `1m5.9s`, `2h3m0s`. */
export function formatDuration(durationNs: bigint | number): string {
  const signed = BigInt(durationNs);
  if (signed === 0n) return '0s';
  const sign = signed < 0n ? '-' : '';
  const ns = signed < 0n ? -signed : signed;
  if (ns < US) return `${sign}${ns}ns`;
  if (ns < MS) return `${sign}${decimal(ns, US)}µs`;
  if (ns < SECOND) return `${sign}${decimal(ns, MS)}ms`;
  const seconds = `${decimal(ns % MINUTE, SECOND)}s`;
  if (ns < MINUTE) return sign + seconds;
  const minutes = `${(ns % HOUR) / MINUTE}m`;
  return ns < HOUR ? sign + minutes + seconds : `${sign}${ns / HOUR}h${minutes}${seconds}`;
}

const UNITS: Readonly<Record<string, bigint>> = {
  ns: NS,
  us: US,
  µs: US,
  μs: US,
  ms: MS,
  s: SECOND,
  m: MINUTE,
  h: HOUR,
};

/** Nanoseconds of a Go duration (`1m0s`, `1.5h`); undefined when the text is not one. */
export function parseDuration(text: string): bigint | undefined {
  const match = /^([+-]?)((?:\d+(?:\.\d*)?(?:ns|us|µs|μs|ms|s|m|h))+)$/.exec(text);
  if (text === '0') return 0n;
  if (match?.[2] === undefined) return undefined;
  let total = 0n;
  for (const part of match[2].matchAll(/(\d+)(?:\.(\d*))?([a-zµμ]+)/g)) {
    const unit = UNITS[part[3] ?? ''] ?? NS;
    const fraction = part[2] ?? '';
    total += BigInt(part[1] ?? '0') * unit;
    if (fraction !== '') total += (BigInt(fraction) * unit) / 10n ** BigInt(fraction.length);
  }
  return match[1] === '-' ? -total : total;
}

/** Milliseconds since the epoch of an RFC 3339 time; undefined for none, the zero time, or text that is no time. */
export function parseTime(text: string | null | undefined): number | undefined {
  if (text === null || text === undefined || text.startsWith('0001-01-01')) return undefined;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? undefined : ms;
}

/** `29m41s ago`, rounded to seconds; `never` for the zero time. Both times are realtime. */
export function formatAge(then: string | null | undefined, nowMs: number): string {
  const ms = parseTime(then);
  if (ms === undefined) return 'never';
  return `${formatDuration(BigInt(Math.round((nowMs - ms) / 1000)) * SECOND)} ago`;
}
