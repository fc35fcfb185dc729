import { printableField } from './printable.ts';

/** How the text tables of Cilium's tools are laid out: the rules of Go's `text/tabwriter`, padded with blanks. */
export interface TabOptions {
  /** Least width of a column, padding included. */
  readonly minWidth: number;
  /** Blanks after the widest cell of a column; 3 in every table that we print. */
  readonly padding?: number;
}

/** Number of code points: `µ` and `└` count one. */
function runeCount(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

interface Line {
  /** Cells that a tab ended. */
  readonly cells: readonly string[];
  /** Text after the last tab: it belongs to no column. */
  readonly tail: string;
}

function splitLine(text: string): Line {
  const parts = text.split('\t');
  return { cells: parts.slice(0, -1), tail: parts.at(-1) ?? '' };
}

/**
 * Widths of one column. A column is a run of consecutive lines that all have the cell; a line without it ends the
 * run, and the next run is sized afresh.
 */
function columnWidths(lines: readonly Line[], column: number, options: Required<TabOptions>): number[] {
  const widths = Array<number>(lines.length).fill(0);
  let start = 0;
  while (start < lines.length) {
    let end = start;
    let width = options.minWidth;
    for (; end < lines.length; end++) {
      const cell = lines[end]?.cells[column];
      if (cell === undefined) break;
      width = Math.max(width, runeCount(cell) + options.padding);
    }
    widths.fill(width, start, end);
    start = Math.max(end, start + 1);
  }
  return widths;
}

/** Lays out lines whose cells end with tabs. A row that ends in a tab keeps its trailing blanks. */
export function layoutTabs(text: string, options: TabOptions): string {
  const full = { padding: 3, ...options };
  const lines = text.split('\n').map(splitLine);
  const columns = lines.reduce((most, line) => Math.max(most, line.cells.length), 0);
  const widths = Array.from({ length: columns }, (_, column) => columnWidths(lines, column, full));
  const padded = (line: Line, row: number): string =>
    line.cells.map((cell, c) => cell + ' '.repeat((widths[c]?.[row] ?? 0) - runeCount(cell))).join('') +
    line.tail;
  return lines.map(padded).join('\n');
}

/** One row: cells joined by tabs, what would end a cell or the row escaped; `end: true` ends the last one too, which pads it. */
export function row(cells: readonly (string | number)[], end = false): string {
  return `${cells.map((cell) => printableField(String(cell))).join('\t')}${end ? '\t' : ''}\n`;
}

/** The text without the blanks at the ends of its lines. */
export function trimLines(text: string): string {
  return text.replace(/[ \t]+$/gm, '');
}

/** Rows laid out; `trimmed` takes the blanks at the ends of lines away, which recorded outputs keep. */
export function tableText(text: string, minWidth: number, trimmed: boolean): string {
  const laidOut = layoutTabs(text, { minWidth });
  return trimmed ? trimLines(laidOut) : laidOut;
}

/** Rows of one object whose column `at` holds a list: the first element beside the object, the rest below it. */
export function listed(
  cells: readonly (string | number)[],
  at: number,
  list: readonly string[],
  end: boolean,
): string {
  const line = (value: string, first: boolean): string =>
    row(
      cells.map((cell, i) => (i === at ? value : first ? cell : '')),
      end,
    );
  const [head = '', ...rest] = list;
  return line(head, true) + rest.map((value) => line(value, false)).join('');
}
