import type { HealthMatrix } from '../api/schema.ts';
import type { PathState } from '../model/health.ts';
import {
  type GridCell,
  type GridNode,
  HealthGrid,
  probedPairs,
  ROW_OLD_MS,
  STATES,
  workingPairs,
} from './health-grid.ts';
import { blamedNodes, type MatrixMetric, median, worstFirst } from './health-rank.ts';
import { counted, firstOf, shortMs, shortPercent, shortSpan, wrapped } from './health-words.ts';
import { FULL_WIDTH } from './narrow.ts';
import { printableField } from './printable.ts';

export interface MatrixOptions {
  readonly metric: MatrixMetric;
  /** Columns of the terminal. */
  readonly width: number;
  /** Colours of a terminal. */
  readonly colour: boolean;
}

const NAME_MAX = 20;
const NAME_LEAST = 6;
/** On a terminal narrower than this the grid has no columns OUT and IN: cells say more. */
const COUNTS_WIDTH = 60;
const NAMES_SHOWN = 5;
const SIGNS: Readonly<Record<PathState, string>> = {
  reachable: '.',
  degraded: 'd',
  unreachable: 'X',
  unknown: '?',
};
/** What a column of each metric takes, its gap included. */
const COLUMN: Readonly<Record<MatrixMetric, number>> = { rtt: 5, loss: 4, state: 1 };
const LEGENDS: Readonly<Record<MatrixMetric, string>> = {
  rtt: 'Median round trip in ms from the node of the line to that of the column. X unreachable, ? unknown, blank: not probed.',
  loss: 'Percent of probes lost in the last minute, from the node of the line to that of the column. Blank: not probed.',
  state: '. reachable   d degraded   X unreachable   ? unknown   blank: not probed',
};

const COUNTS = 'OUT: peers it reaches, of those it probes. IN: probing nodes that reach it.';

/** Colours from good to bad: background and foreground. */
const HEAT = [
  '48;5;22;38;5;15',
  '48;5;58;38;5;15',
  '48;5;94;38;5;15',
  '48;5;130;38;5;15',
  '48;5;160;38;5;15',
];
const GREY = '38;5;245';
const STATE_HEAT: Readonly<Record<PathState, string>> = {
  reachable: HEAT[0] ?? '',
  degraded: HEAT[2] ?? '',
  unreachable: HEAT[4] ?? '',
  unknown: GREY,
};

function heatOf(value: number, steps: readonly number[]): string {
  const step = steps.findIndex((most) => value <= most);
  return HEAT[step < 0 ? HEAT.length - 1 : step] ?? '';
}

/** Text and colour of one cell. */
type Painter = (cell: GridCell) => { readonly text: string; readonly colour: string };

function painter(grid: HealthGrid, metric: MatrixMetric): Painter {
  const byState = (cell: GridCell) => ({ text: SIGNS[cell.state], colour: STATE_HEAT[cell.state] });
  if (metric === 'state') return byState;
  if (metric === 'loss') {
    return (cell) =>
      cell.lossShare === undefined
        ? byState({ ...cell, state: 'unknown' })
        : { text: shortPercent(cell.lossShare), colour: heatOf(cell.lossShare, [0, 0.005, 0.02, 0.08]) };
  }
  const usual = median([...grid.entries()].flatMap(([, , { rttNs }]) => rttNs ?? []));
  return (cell) =>
    cell.rttNs === undefined
      ? byState(cell.state === 'unreachable' ? cell : { ...cell, state: 'unknown' })
      : {
          text: shortMs(cell.rttNs),
          colour: heatOf(
            cell.rttNs,
            [1.5, 3, 6, 12].map((times) => times * usual),
          ),
        };
}

function shortName(name: string, most: number): string {
  const shown = [...printableField(name)];
  return shown.length <= most ? shown.join('') : `${shown.slice(0, most - 1).join('')}…`;
}

/** What all layouts of a matrix begin with: how many pairs are in which state, and whose row is missing. */
export function matrixHead(grid: HealthGrid, width = FULL_WIDTH): string {
  const parts = STATES.toReversed()
    .filter((state) => grid.counts[state] > 0)
    .map((state) => `${grid.counts[state]} ${state}`);
  const pairs = counted(probedPairs(grid.counts), 'pair');
  const head = `${counted(grid.nodes.length, 'node')}, ${pairs} probed${parts.length > 0 ? `: ${parts.join(', ')}` : ''}`;
  const late = grid.nodes.filter(({ ageMs }) => ageMs === undefined || ageMs > ROW_OLD_MS);
  const names = late.map(({ name, ageMs }) => {
    return `${printableField(name)} (${ageMs === undefined ? 'never heard' : `heard ${shortSpan(ageMs)} ago`})`;
  });
  const missing = `No row, or an old one, of ${firstOf(names, NAMES_SHOWN)}`;
  return wrapped(head, width) + (names.length === 0 ? '' : wrapped(missing, width));
}

/** Names take a quarter of the line at most. */
function nameMax(width: number): number {
  return Math.min(NAME_MAX, Math.max(NAME_LEAST, Math.floor(width / 4)));
}

interface Layout {
  readonly shown: readonly GridNode[];
  readonly numberWidth: number;
  readonly nameWidth: number;
  /** 0: the column is left out. */
  readonly outWidth: number;
  readonly inWidth: number;
}

function outText({ out }: GridNode): string {
  return `${workingPairs(out)}/${probedPairs(out)}`;
}

function inText({ in: from }: GridNode): string {
  return `${workingPairs(from)}/${probedPairs(from)}`;
}

function layoutOf(nodes: readonly GridNode[], { metric, width }: MatrixOptions): Layout {
  const widest = (texts: readonly string[], least: number): number =>
    texts.reduce((most, text) => Math.max(most, [...text].length), least);
  const numberWidth = String(nodes.length).length;
  const nameWidth = widest(
    nodes.map(({ name }) => shortName(name, nameMax(width))),
    4,
  );
  const counts = width >= COUNTS_WIDTH;
  const outWidth = counts ? widest(nodes.map(outText), 3) : 0;
  const inWidth = counts ? widest(nodes.map(inText), 2) : 0;
  const left = width - (numberWidth + 1 + nameWidth + 1 + (counts ? outWidth + 1 + inWidth + 1 : 0));
  const room = Math.max(1, Math.floor(left / COLUMN[metric]));
  return { shown: nodes.slice(0, room), numberWidth, nameWidth, outWidth, inWidth };
}

/** Numbers of the columns: upright where a column is one character wide. */
function columnHeads({ shown }: Layout, width: number): string[] {
  const numbers = shown.map((_, i) => String(i + 1));
  if (width > 1) return [numbers.map((number) => number.padStart(width)).join('')];
  const height = String(shown.length).length;
  return Array.from({ length: height }, (_, line) =>
    numbers.map((number) => number.padStart(height)[line] ?? ' ').join(''),
  );
}

function gridLines(grid: HealthGrid, layout: Layout, options: MatrixOptions): string[] {
  const { metric, colour } = options;
  const { shown, numberWidth, nameWidth, outWidth, inWidth } = layout;
  const column = COLUMN[metric];
  const paint = painter(grid, metric);
  const lead = (number: string, name: string, out: string, into: string): string =>
    `${number.padStart(numberWidth)} ${name.padEnd(nameWidth)} ${outWidth === 0 ? '' : `${out.padStart(outWidth)} ${into.padStart(inWidth)} `}`;
  const cellText = (from: GridNode, to: GridNode): string => {
    if (from === to) return '\\'.padStart(column);
    const cell = grid.cell(from.index, to.index);
    if (cell === undefined) return ' '.repeat(column);
    const { text, colour: code } = paint(cell);
    const padded = text.padStart(column > 1 ? column - 1 : 1);
    return `${column > 1 ? ' ' : ''}${colour ? `\x1b[${code}m${padded}\x1b[0m` : padded}`;
  };
  const heads = columnHeads(layout, column);
  return [
    ...heads.map(
      (head, i) => (i === heads.length - 1 ? lead('', 'FROM', 'OUT', 'IN') : lead('', '', '', '')) + head,
    ),
    ...shown.map((from, i) => {
      const name = shortName(from.name, nameMax(options.width));
      const cells = shown.map((to) => cellText(from, to)).join('');
      return lead(String(i + 1), name, outText(from), inText(from)) + cells;
    }),
  ];
}

/** What is said of the nodes that have no line. */
function foldedLine(grid: HealthGrid, hidden: readonly GridNode[], width: number): string {
  if (hidden.length === 0) return '';
  const blamed = blamedNodes(grid);
  const faulty = hidden.filter(({ index }) => blamed.has(index)).length;
  const faults = faulty === 0 ? 'none with a fault of its own' : `${faulty} with faults of their own`;
  return wrapped(`... and ${hidden.length} more, ${faults}. One and its peers: --node NAME`, width);
}

/**
 * `health matrix`: the worst nodes as a grid, as many as the width holds, the others folded into one line. Lines end
 * within the width.
 */
export function matrixText(matrix: HealthMatrix, options: MatrixOptions): string {
  const grid = new HealthGrid(matrix);
  const nodes = worstFirst(grid, options.metric);
  const layout = layoutOf(nodes, options);
  const lines = gridLines(grid, layout, options).map((line) => `${line.trimEnd()}\n`);
  const legend = wrapped(LEGENDS[options.metric], options.width);
  const meaning = layout.outWidth === 0 ? '' : wrapped(COUNTS, options.width);
  return `${matrixHead(grid, options.width)}${legend}${meaning}\n${lines.join('')}${foldedLine(grid, nodes.slice(layout.shown.length), options.width)}`;
}
