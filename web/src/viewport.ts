/** Which part of the matrix is seen, and how large. Lengths are CSS pixels. */
export interface Viewport {
  /** Side of the canvas. */
  readonly width: number;
  readonly height: number;
  /** Room for names on the left and above; 0 where cells are too small for text. */
  readonly gutter: number;
  /** The gutter when there is one. */
  readonly room: number;
  /** Side of a cell; below 1 when all of a large matrix is seen. */
  readonly cell: number;
  /** Place of the first row and column, with fractions. */
  readonly left: number;
  readonly top: number;
}

const CELL_MOST = 44;
const CELL_OF_TEXT = 12;
/** Width of a letter, and room beside the names. */
const LETTER = 7;
const MARGIN = 14;
/** Letters of a name that are shown. */
export const NAME_LETTERS = 13;
const ZOOM_STEP = 1.6;

/** Side of a cell when all of them are to be seen. */
function fitCell(side: number, size: number, room: number): number {
  const cell = side / Math.max(1, size);
  const withText = (side - room) / Math.max(1, size);
  return Math.min(CELL_MOST, withText >= CELL_OF_TEXT ? withText : cell);
}

/** Room for names. @param letters of the longest */
export function roomFor(letters: number): number {
  return MARGIN + LETTER * Math.min(NAME_LETTERS, letters);
}

/** All of a matrix. @param side room there is, @param room for names, CSS pixels */
export function fitted(side: number, size: number, room: number): Viewport {
  const cell = fitCell(side, size, room);
  const gutter = cell >= CELL_OF_TEXT ? room : 0;
  const used = gutter + cell * size;
  return { width: side, height: Math.min(side, used), gutter, room, cell, left: 0, top: 0 };
}

function clamp(value: number, most: number): number {
  return Math.max(0, Math.min(value, Math.max(0, most)));
}

/** Cells that are seen side by side. */
export function span({ width, gutter, cell }: Viewport): number {
  return (width - gutter) / cell;
}

function placed(view: Viewport, size: number, left: number, top: number): Viewport {
  const seen = size - span(view);
  const seenDown = size - (view.height - view.gutter) / view.cell;
  return { ...view, left: clamp(left, seen), top: clamp(top, seenDown) };
}

/** Moved by so many cells. */
export function moved(view: Viewport, size: number, columns: number, rows: number): Viewport {
  return placed(view, size, view.left + columns, view.top + rows);
}

/** One step larger or smaller, with a cell kept in the middle. */
export function zoomed(
  view: Viewport,
  size: number,
  steps: number,
  at: { row: number; column: number },
): Viewport {
  const fit = fitted(view.width, size, view.room);
  const cell = Math.max(fit.cell, Math.min(CELL_MOST, view.cell * ZOOM_STEP ** steps));
  if (cell <= fit.cell) return fit;
  const gutter = cell >= CELL_OF_TEXT ? view.room : 0;
  const next = { ...view, cell, gutter, height: view.width };
  const half = span(next) / 2;
  return placed(next, size, at.column + 0.5 - half, at.row + 0.5 - half);
}

/** Moved so far that a cell is seen. */
export function following(view: Viewport, size: number, at: { row: number; column: number }): Viewport {
  const across = span(view);
  const down = (view.height - view.gutter) / view.cell;
  const left = Math.min(at.column, Math.max(view.left, at.column + 1 - across));
  const top = Math.min(at.row, Math.max(view.top, at.row + 1 - down));
  return left === view.left && top === view.top ? view : placed(view, size, left, top);
}

/** The cell at a point of the canvas; undefined: there is none. */
export function cellAt(
  view: Viewport,
  size: number,
  x: number,
  y: number,
): { readonly row: number; readonly column: number } | undefined {
  const column = Math.floor(view.left + (x - view.gutter) / view.cell);
  const row = Math.floor(view.top + (y - view.gutter) / view.cell);
  const outside =
    x < view.gutter || y < view.gutter || column >= size || row >= size || column < 0 || row < 0;
  return outside ? undefined : { row, column };
}
