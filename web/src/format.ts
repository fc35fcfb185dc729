/** `0.8 us`, `123 us`, `1.20 ms`, `2.5 s`; a dash for none. @param ns nanoseconds */
export function latencyText(ns: number | undefined): string {
  if (ns === undefined || ns === 0) return '-';
  if (ns < 1e4) return `${(ns / 1e3).toFixed(1)} µs`;
  if (ns < 1e6) return `${(ns / 1e3).toFixed(0)} µs`;
  if (ns < 1e8) return `${(ns / 1e6).toFixed(2)} ms`;
  if (ns < 1e9) return `${(ns / 1e6).toFixed(0)} ms`;
  return `${(ns / 1e9).toFixed(1)} s`;
}

/** `0 %`, `0.4 %`, `12 %`; never `0 %` when something was lost. */
export function lossText(sent: number, lost: number): string {
  if (sent === 0) return '-';
  const percent = (100 * lost) / sent;
  if (percent > 0 && percent < 0.1) return '< 0.1 %';
  return `${percent < 10 && percent > 0 ? percent.toFixed(1) : percent.toFixed(0)} %`;
}

/** `12 s`, `5 min`, `3 h`, `2 d`. */
export function spanText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 100) return `${seconds} s`;
  if (seconds < 100 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** Time of day as the reader's machine writes it. @param ms realtime */
export function timeText(ms: number): string {
  return new Date(ms).toLocaleTimeString(undefined, { hour12: false });
}

/** `1 node`, `3 nodes`. */
export function countText(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString('en')} ${count === 1 ? one : many}`;
}
