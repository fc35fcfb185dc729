import { tableText } from './tabwriter.ts';

/**
 * Layouts are made for terminals of this width and wider. There lines are never broken, so that one record stays one line for
 * whoever reads them with a program.
 */
export const FULL_WIDTH = 80;

/** Deeper than the line that goes on. */
const HANG = 4;
const BETWEEN_CELLS = '  ';

function lengthOf(text: string): number {
  return [...text].length;
}

/** A word that no line has room for, without its middle: names differ at their beginnings, addresses at their ends. */
function shortened(word: string, most: number): string {
  const characters = [...word];
  if (characters.length <= most) return word;
  const tail = Math.floor((most - 1) / 2);
  return `${characters.slice(0, most - 1 - tail).join('')}…${tail === 0 ? '' : characters.slice(-tail).join('')}`;
}

/**
 * One line in lines of a width, broken between cells, and within one that has no line to itself; what goes on is indented.
 * @param line cells with tabs between them; an empty one is shown as `-`, so that each keeps its place in the order
 */
function narrowLine(line: string, width: number): string {
  // A label is part of it: what goes on stands below what it labels.
  const lead = /^ *(?:[^\s:]+: {2,})?/.exec(line)?.[0] ?? '';
  const indent = ' '.repeat(Math.min(lead.length + HANG, Math.floor(width / 2)));
  const room = Math.max(2, width - indent.length);
  const done: string[] = [];
  let current = lead;
  let isFresh = true;
  const put = (text: string, gap: string): void => {
    const joined = isFresh ? current + text : current + gap + text;
    if (lengthOf(joined) <= width) current = joined;
    else {
      if (!isFresh) done.push(current);
      current = indent + text;
    }
    isFresh = false;
  };
  const cells = line.slice(lead.length).split('\t');
  while (cells.length > 1 && cells.at(-1) === '') cells.pop();
  for (const cell of cells) {
    const text = cell.trim() === '' && cells.length > 1 ? '-' : cell.trim();
    let gap = BETWEEN_CELLS;
    // Words, and what stands between them.
    const parts = lengthOf(text) <= room ? [text] : text.split(/( +)/);
    for (const [i, part] of parts.entries()) {
      if (i % 2 === 1) gap = part;
      else put(shortened(part, room), gap);
    }
  }
  return [...done, current].join('\n');
}

/** Whether every line of a layout has room. */
export function hasRoom(text: string, width = FULL_WIDTH): boolean {
  return width >= FULL_WIDTH || text.split('\n').every((line) => lengthOf(line) <= width);
}

/** Lines, of cells or of words, that a narrow terminal has room for; as they are when it is not narrow. */
export function narrowText(text: string, width = FULL_WIDTH): string {
  if (width >= FULL_WIDTH) return text;
  return text
    .split('\n')
    .map((line) => (lengthOf(line) <= width && !line.includes('\t') ? line : narrowLine(line, width)))
    .join('\n');
}

/** Rows of cells laid out as a table; as they are when a terminal is narrow and has no room for it: for `narrowText`. */
export function tableOrRows(rows: string, width = FULL_WIDTH): string {
  const table = tableText(rows, 2, true);
  return hasRoom(table, width) ? table : rows;
}

/** A table; where a terminal is narrow and has no room for it, each row in as many lines as it takes. */
export function tableWithin(rows: string, width?: number): string {
  return narrowText(tableOrRows(rows, width), width);
}
