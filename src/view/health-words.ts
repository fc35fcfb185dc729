/** Words and figures that the layouts of the health commands share. */

/** Milliseconds in four characters: `.034`, `1.23`, `15.3`, `153`, `1500`. */
export function shortMs(ns: number): string {
  const ms = ns / 1e6;
  if (ms < 0.9995) return ms.toFixed(3).slice(1);
  if (ms < 9.995) return ms.toFixed(2);
  return ms < 99.95 ? ms.toFixed(1) : ms.toFixed(0);
}

/** A percentage in three characters: `0`, `<.1`, `.4`, `37`, `100`. Loss is never rounded to none, nor to all. */
export function shortPercent(share: number): string {
  if (share <= 0) return '0';
  if (share >= 1) return '100';
  const percent = share * 100;
  if (percent < 0.1) return '<.1';
  return percent < 0.95 ? percent.toFixed(1).slice(1) : String(Math.min(99, Math.round(percent)));
}

/** Of a confidence, 0..1: `87 % sure`; never quite sure. */
export function sureText(confidence: number): string {
  return `${confidence >= 0.995 ? '> 99' : Math.round(confidence * 100)} % sure`;
}

/** Of a round trip: `31µs`, `1.24ms`, `2.5s`: three digits. */
export function timeText(ns: number): string {
  if (ns < 1000) return `${Math.round(ns)}ns`;
  if (ns < 999_500) return `${digits(ns / 1e3)}µs`;
  return ns < 999_500_000 ? `${digits(ns / 1e6)}ms` : `${digits(ns / 1e9)}s`;
}

function digits(value: number): string {
  return value < 9.995
    ? trimmed(value.toFixed(2))
    : value < 99.95
      ? trimmed(value.toFixed(1))
      : value.toFixed(0);
}

function trimmed(text: string): string {
  return text.replace(/\.?0+$/, '');
}

/** `4s`, `3m`, `2h`, `5d`: how long ago, for a glance. */
export function shortSpan(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)}m`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)}h` : `${Math.round(seconds / 86_400)}d`;
}

/** `2026-11-29 11:03:16 (4m ago)`, UTC. @param nowMs realtime; an event in the future has no age */
export function sinceText(time: string, nowMs: number): string {
  const ms = Date.parse(time);
  if (Number.isNaN(ms)) return 'an unknown time';
  const at = `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
  return ms > nowMs + 999 ? at : `${at} (${shortSpan(nowMs - ms)} ago)`;
}

/** `1 node`, `2 nodes`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** The first few of many: `a, b and 3 more`. */
export function firstOf(names: readonly string[], most: number): string {
  const more = names.length - most;
  return more > 0 ? `${names.slice(0, most).join(', ')} and ${more} more` : names.join(', ');
}

/** Words, or phrases with wider gaps between them, in lines of a width, each with its newline; a longer one stands alone. */
export function wrapped(text: string, width: number): string {
  const phrases = text.split(/ {2,}/);
  const [parts, gap] = phrases.length > 1 ? [phrases, '   '] : [text.split(' '), ' '];
  const lines: string[] = [];
  for (const part of parts) {
    const last = lines.at(-1);
    if (last !== undefined && [...last, ...gap, ...part].length <= width)
      lines[lines.length - 1] = `${last}${gap}${part}`;
    else lines.push(part);
  }
  return lines.map((line) => `${line}\n`).join('');
}
