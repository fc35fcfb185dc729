import { CellCodes } from '../../src/model/packed-rows.ts';
import { type MatrixStore, STALE_ROW_MS } from './matrix-store.ts';
import type { Order } from './order.ts';
import type { Theme } from './palette.ts';
import type { Pixels } from './pixels.ts';
import { NAME_LETTERS, type Viewport } from './viewport.ts';

/** All that a picture of the matrix shows. */
export interface Scene {
  readonly store: MatrixStore;
  readonly order: Order;
  readonly pixels: Pixels;
  readonly view: Viewport;
  readonly theme: Theme;
  /** Place of the cell that is chosen. */
  readonly at: { readonly row: number; readonly column: number };
  readonly focused: boolean;
}

const INKS = {
  light: {
    text: '#1b1f24',
    muted: '#57606a',
    line: '#ffffff',
    veil: 'rgba(255,255,255,0.6)',
    zone: '#1b1f24',
    mark: '#ffffff',
  },
  dark: {
    text: '#e6e9ed',
    muted: '#9aa4b0',
    line: '#11151a',
    veil: 'rgba(17,21,26,0.6)',
    zone: '#e6e9ed',
    mark: '#11151a',
  },
} as const;

const LINES_FROM = 6;
const MARKS_FROM = 10;

/** Draws the matrix on a canvas whose sides are `view` times the pixels a CSS pixel. */
export function drawScene(context: CanvasRenderingContext2D, scene: Scene): void {
  const { view } = scene;
  const scale = context.canvas.width / view.width;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  drawCells(context, scene, scale);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.save();
  context.beginPath();
  context.rect(view.gutter, view.gutter, view.width - view.gutter, view.height - view.gutter);
  context.clip();
  drawStaleRows(context, scene);
  if (view.cell >= LINES_FROM) drawLines(context, scene);
  if (view.cell >= MARKS_FROM) drawMarks(context, scene);
  drawZones(context, scene);
  drawChosen(context, scene);
  context.restore();
  if (view.gutter > 0) drawNames(context, scene);
}

function drawCells(context: CanvasRenderingContext2D, { pixels, view, store }: Scene, scale: number): void {
  const { size } = store;
  const side = view.cell * scale;
  if (side < 1) {
    context.putImageData(pixels.shrunk(Math.max(1, Math.floor(side * size))), 0, 0);
    return;
  }
  const gutter = view.gutter * scale;
  context.save();
  context.beginPath();
  context.rect(gutter, gutter, context.canvas.width - gutter, context.canvas.height - gutter);
  context.clip();
  context.imageSmoothingEnabled = false;
  const whole = side * size;
  context.drawImage(pixels.picture(), gutter - view.left * side, gutter - view.top * side, whole, whole);
  context.restore();
}

/** First and last place that are seen. */
function seen(start: number, length: number, cell: number, size: number): [number, number] {
  return [Math.floor(start), Math.min(size - 1, Math.floor(start + length / cell))];
}

function rows({ view, store }: Scene): [number, number] {
  return seen(view.top, view.height - view.gutter, view.cell, store.size);
}

function columns({ view, store }: Scene): [number, number] {
  return seen(view.left, view.width - view.gutter, view.cell, store.size);
}

function corner({ view }: Scene, row: number, column: number): [number, number] {
  return [view.gutter + (column - view.left) * view.cell, view.gutter + (row - view.top) * view.cell];
}

/** Rows that tell nothing of now lie behind a veil. */
function drawStaleRows(context: CanvasRenderingContext2D, scene: Scene): void {
  const { store, order, view, theme } = scene;
  const [first, last] = rows(scene);
  context.fillStyle = INKS[theme].veil;
  for (let row = first; row <= last; row++) {
    const ageMs = store.ageMs(order.nodes[row] ?? 0);
    if (ageMs === undefined || ageMs < STALE_ROW_MS) continue;
    const [x, y] = corner(scene, row, 0);
    context.fillRect(x, y, view.cell * store.size, view.cell);
  }
}

function drawLines(context: CanvasRenderingContext2D, scene: Scene): void {
  const { view, store, theme } = scene;
  const [firstRow, lastRow] = rows(scene);
  const [firstColumn, lastColumn] = columns(scene);
  const [right, bottom] = corner(scene, store.size, store.size);
  context.strokeStyle = INKS[theme].line;
  context.lineWidth = 1;
  context.beginPath();
  for (let row = firstRow; row <= lastRow + 1; row++) {
    const y = Math.round(corner(scene, row, 0)[1]) + 0.5;
    context.moveTo(view.gutter, y);
    context.lineTo(Math.min(right, view.width), y);
  }
  for (let column = firstColumn; column <= lastColumn + 1; column++) {
    const x = Math.round(corner(scene, 0, column)[0]) + 0.5;
    context.moveTo(x, view.gutter);
    context.lineTo(x, Math.min(bottom, view.height));
  }
  context.stroke();
}

/** What is wrong is marked by shape as well: a cross, a dot. */
function drawMarks(context: CanvasRenderingContext2D, scene: Scene): void {
  const { store, order, view, theme } = scene;
  const [firstRow, lastRow] = rows(scene);
  const [firstColumn, lastColumn] = columns(scene);
  const arm = view.cell * 0.22;
  context.strokeStyle = INKS[theme].mark;
  context.fillStyle = INKS[theme].mark;
  context.lineWidth = Math.max(1.5, view.cell / 12);
  for (let row = firstRow; row <= lastRow; row++) {
    for (let column = firstColumn; column <= lastColumn; column++) {
      const { code } = store.cell(order.nodes[row] ?? 0, order.nodes[column] ?? 0);
      if (code !== CellCodes.unreachable && code !== CellCodes.degraded) continue;
      const [left, top] = corner(scene, row, column);
      const [x, y] = [left + view.cell / 2, top + view.cell / 2];
      context.beginPath();
      if (code === CellCodes.degraded) {
        context.arc(x, y, arm * 0.7, 0, 2 * Math.PI);
        context.fill();
        continue;
      }
      context.moveTo(x - arm, y - arm);
      context.lineTo(x + arm, y + arm);
      context.moveTo(x + arm, y - arm);
      context.lineTo(x - arm, y + arm);
      context.stroke();
    }
  }
}

function drawZones(context: CanvasRenderingContext2D, scene: Scene): void {
  const { order, store, theme } = scene;
  if (order.zones.length < 2) return;
  const [right, bottom] = corner(scene, store.size, store.size);
  const [left, top] = corner(scene, 0, 0);
  context.strokeStyle = INKS[theme].zone;
  context.lineWidth = 1.5;
  context.beginPath();
  for (const { start } of order.zones.slice(1)) {
    const [x, y] = corner(scene, start, start);
    context.moveTo(x, top);
    context.lineTo(x, bottom);
    context.moveTo(left, y);
    context.lineTo(right, y);
  }
  context.stroke();
}

function drawChosen(context: CanvasRenderingContext2D, scene: Scene): void {
  const { at, view, theme, focused } = scene;
  const [left, top] = corner(scene, at.row, at.column);
  const side = Math.max(view.cell, 8);
  const [x, y] = [left + view.cell / 2 - side / 2, top + view.cell / 2 - side / 2];
  const ink = INKS[theme];
  context.lineWidth = focused ? 4 : 3;
  context.strokeStyle = ink.line;
  context.strokeRect(x, y, side, side);
  context.lineWidth = focused ? 2 : 1.5;
  context.strokeStyle = ink.text;
  context.strokeRect(x, y, side, side);
}

function short(name: string): string {
  return name.length <= NAME_LETTERS ? name : `${name.slice(0, NAME_LETTERS - 1)}…`;
}

function drawNames(context: CanvasRenderingContext2D, scene: Scene): void {
  const { view, order, store, theme, at } = scene;
  const ink = INKS[theme];
  const [firstRow, lastRow] = rows(scene);
  const [firstColumn, lastColumn] = columns(scene);
  context.font = '11px system-ui, sans-serif';
  context.textBaseline = 'middle';
  context.textAlign = 'right';
  const inside = (from: number): boolean => from >= view.gutter - 1;
  for (let row = firstRow; row <= lastRow; row++) {
    const y = corner(scene, row, 0)[1];
    context.fillStyle = row === at.row ? ink.text : ink.muted;
    if (inside(y))
      context.fillText(short(store.name(order.nodes[row] ?? 0)), view.gutter - 6, y + view.cell / 2);
  }
  context.textAlign = 'left';
  for (let column = firstColumn; column <= lastColumn; column++) {
    const x = corner(scene, 0, column)[0];
    if (!inside(x)) continue;
    context.save();
    context.translate(x + view.cell / 2, view.gutter - 6);
    context.rotate(-Math.PI / 2);
    context.fillStyle = column === at.column ? ink.text : ink.muted;
    context.fillText(short(store.name(order.nodes[column] ?? 0)), 0, 0);
    context.restore();
  }
}
