import { type Child, svg } from './dom.ts';
import { latencyText, timeText } from './format.ts';

/** What a chart shows: points of the same spacing, the oldest first. */
export interface ChartSeries {
  readonly stepMs: number;
  /** Realtime of the last point. */
  readonly endMs: number;
  readonly p50Ns: readonly (number | null)[];
  readonly p99Ns: readonly (number | null)[];
  /** 0..1 */
  readonly loss: readonly (number | null)[];
}

const WIDTH = 720;
const HEIGHT = 220;
const LEFT = 64;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 36;
/** Height of the band of loss below the times. */
const LOSS_BAND = 34;
const PLOT_BOTTOM = HEIGHT - BOTTOM - LOSS_BAND;

function numbers(values: readonly (number | null)[]): number[] {
  return values.filter((value) => value !== null);
}

/** The decades that hold all values, at least one. */
function decades(values: readonly number[]): [number, number] {
  const least = Math.floor(Math.log10(Math.max(1e3, Math.min(...values))));
  const most = Math.ceil(Math.log10(Math.max(...values, 1e4)));
  return [least, Math.max(most, least + 1)];
}

/** One line; it breaks where a value is missing, and a value that stands alone is a short dash. */
function lineOf(
  values: readonly (number | null)[],
  x: (i: number) => number,
  y: (ns: number) => number,
): string {
  let path = '';
  values.forEach((value, i) => {
    if (value === null) return;
    const before = values[i - 1] ?? null;
    path += `${before === null ? 'M' : 'L'}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    if (before === null && (values[i + 1] ?? null) === null) path += 'h2';
  });
  return path;
}

function summary(name: string, { p50Ns, loss }: ChartSeries): string {
  const times = numbers(p50Ns);
  const losses = numbers(loss);
  if (times.length === 0) return `${name}: no answers in this span`;
  const worst = Math.max(0, ...losses);
  const range = `median round trip from ${latencyText(Math.min(...times))} to ${latencyText(Math.max(...times))}`;
  return `${name}: ${range}, loss up to ${(100 * worst).toFixed(1)} %`;
}

/** Draws round trips on a logarithmic scale with the loss below them. */
export function chart(name: string, series: ChartSeries): SVGSVGElement {
  const { p50Ns, p99Ns, loss, stepMs, endMs } = series;
  const count = Math.max(2, p50Ns.length);
  const x = (i: number): number => LEFT + (i / (count - 1)) * (WIDTH - LEFT - RIGHT);
  const [least, most] = decades([...numbers(p50Ns), ...numbers(p99Ns)]);
  const y = (ns: number): number =>
    PLOT_BOTTOM - ((Math.log10(Math.max(1, ns)) - least) / (most - least)) * (PLOT_BOTTOM - TOP);
  const lossBottom = HEIGHT - BOTTOM;
  const bar = (WIDTH - LEFT - RIGHT) / count;
  const bars = loss.map((share, i) => {
    if (share === null || share === 0) return undefined;
    const height = Math.max(2, share * (LOSS_BAND - 8));
    return svg('rect', {
      class: 'loss',
      x: x(i) - bar / 2,
      y: lossBottom - height,
      width: Math.max(1, bar),
      height,
    });
  });
  const children: Child[] = [
    ...scaleLines(least, most, y),
    svg('text', { x: LEFT - 6, y: lossBottom - 6, 'text-anchor': 'end' }, 'loss'),
    svg('line', { class: 'grid-line', x1: LEFT, x2: WIDTH - RIGHT, y1: lossBottom, y2: lossBottom }),
    svg('path', { class: 'p99', d: lineOf(p99Ns, x, y) }),
    svg('path', { class: 'p50', d: lineOf(p50Ns, x, y) }),
    ...bars,
    ...timeMarks(endMs, stepMs, count, x),
  ];
  const label = summary(name, series);
  return svg(
    'svg',
    { class: 'chart', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': label },
    ...children,
  );
}

function scaleLines(least: number, most: number, y: (ns: number) => number): SVGElement[] {
  return Array.from({ length: most - least + 1 }, (_, i) => 10 ** (least + i)).flatMap((ns) => [
    svg('line', { class: 'grid-line', x1: LEFT, x2: WIDTH - RIGHT, y1: y(ns), y2: y(ns) }),
    svg('text', { x: LEFT - 6, y: y(ns) + 4, 'text-anchor': 'end' }, decadeText(ns)),
  ]);
}

function decadeText(ns: number): string {
  if (ns < 1e6) return `${ns / 1e3} µs`;
  return ns < 1e9 ? `${ns / 1e6} ms` : `${ns / 1e9} s`;
}

function timeMarks(endMs: number, stepMs: number, count: number, x: (i: number) => number): SVGElement[] {
  return [0, Math.floor((count - 1) / 2), count - 1].map((i, at) => {
    const anchor = ['start', 'middle', 'end'][at] ?? 'middle';
    const text = timeText(endMs - (count - 1 - i) * stepMs);
    return svg('text', { x: x(i), y: HEIGHT - 14, 'text-anchor': anchor }, text);
  });
}
