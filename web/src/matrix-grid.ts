import { CellCodes } from '../../src/model/packed-rows.ts';
import { cellText } from './cell-text.ts';
import { byId, setText } from './dom.ts';
import { drawScene } from './heat-map.ts';
import type { MatrixStore } from './matrix-store.ts';
import { type Order, type OrderName, orderNodes } from './order.ts';
import type { Mode, Theme } from './palette.ts';
import { Pixels } from './pixels.ts';
import { cellAt, fitted, following, moved, roomFor, type Viewport, zoomed } from './viewport.ts';

export interface GridEvents {
  /** A pair was chosen to be looked at. */
  readonly open: (from: number, to: number) => void;
}

const PAGE_ROWS = 10;
/** A drag of less is a click, CSS pixels. */
const DRAG_LEAST = 4;

interface Place {
  readonly row: number;
  readonly column: number;
}

/**
 * The heat map as a grid that keys walk: one canvas to see, and one cell for those who listen, which is named anew with
 * each step. It draws at most once a frame.
 */
export class MatrixGrid {
  readonly #root = byId('grid', HTMLDivElement);
  readonly #canvas = byId('heat', HTMLCanvasElement);
  readonly #readout = byId('readout', HTMLParagraphElement);
  readonly #cells = [byId('cell-a', HTMLDivElement), byId('cell-b', HTMLDivElement)] as const;
  readonly #context: CanvasRenderingContext2D;
  readonly #events: GridEvents;
  #spoken = 0;
  #store: MatrixStore | undefined;
  #order: Order | undefined;
  #orderName: OrderName = 'worst';
  #mode: Mode = 'state';
  #theme: Theme;
  #pixels: Pixels | undefined;
  #view: Viewport = fitted(1, 1, 0);
  /** For names, CSS pixels. */
  #room = 0;
  #at: Place = { row: 0, column: 0 };
  #frame: number | undefined;
  #drag: { x: number; y: number; view: Viewport; moved: boolean } | undefined;
  /** Called after each picture, with the time that it took, ms. */
  onDraw: (tookMs: number) => void = () => undefined;

  constructor(theme: Theme, events: GridEvents) {
    const context = this.#canvas.getContext('2d');
    if (context === null) throw new Error('this browser has no canvas');
    this.#context = context;
    this.#theme = theme;
    this.#events = events;
    new ResizeObserver(() => this.#resized()).observe(this.#root);
    this.#root.addEventListener('keydown', (event) => this.#onKey(event));
    this.#root.addEventListener('focus', () => this.#draw());
    this.#root.addEventListener('blur', () => this.#draw());
    this.#canvas.addEventListener('pointerdown', (event) => this.#onDown(event));
    this.#canvas.addEventListener('pointermove', (event) => this.#onMove(event));
    this.#canvas.addEventListener('pointerup', (event) => this.#onUp(event));
    this.#canvas.addEventListener('pointerleave', () => this.#tell(this.#at));
  }

  /** Shows another matrix; the chosen pair stays chosen by its names. */
  show(store: MatrixStore): void {
    const [from, to] = this.chosenNames();
    this.#store = store;
    this.#room = roomFor(Math.max(...store.nodes.map(({ name }) => name.length)));
    this.#order = orderNodes(store, this.#orderName);
    this.#pixels = new Pixels(store, this.#order, this.#mode, this.#theme);
    this.#root.setAttribute('aria-rowcount', String(store.size));
    this.#root.setAttribute('aria-colcount', String(store.size));
    this.#resize();
    const nodes = [store.indexOf(from ?? store.self), store.indexOf(to ?? '')];
    this.#at = this.#placeOf(nodes[0] ?? 0, nodes[1] ?? this.#order.nodes[0] ?? 0);
    this.#name();
  }

  /** Cells have changed. @param cells their places; undefined: all */
  update(cells: readonly number[] | undefined): void {
    if (cells === undefined) this.#pixels?.paintAll();
    else this.#pixels?.paint(cells);
    this.#tell(this.#at);
    this.#draw();
  }

  /** Nobody is at it: the order may change. */
  get isIdle(): boolean {
    return document.activeElement !== this.#root && !this.#root.matches(':hover');
  }

  reorder(name: OrderName = this.#orderName): void {
    if (this.#store === undefined || this.#order === undefined) return;
    const from = this.#order.nodes[this.#at.row] ?? 0;
    const to = this.#order.nodes[this.#at.column] ?? 0;
    this.#orderName = name;
    this.#order = orderNodes(this.#store, name);
    this.#at = this.#placeOf(from, to);
    this.#restyle();
  }

  setMode(mode: Mode): void {
    this.#mode = mode;
    this.#restyle();
  }

  setTheme(theme: Theme): void {
    this.#theme = theme;
    this.#restyle();
  }

  #restyle(): void {
    if (this.#order !== undefined) this.#pixels?.show(this.#order, this.#mode, this.#theme);
    this.#name();
    this.#draw();
  }

  zoom(steps: number): void {
    const size = this.#store?.size ?? 0;
    this.#setView(
      steps === 0 ? fitted(this.#view.width, size, this.#room) : zoomed(this.#view, size, steps, this.#at),
    );
  }

  /** Goes to a pair. */
  choose(from: number, to: number): void {
    this.#goTo(this.#placeOf(from, to));
  }

  /** Names of the chosen pair. */
  chosenNames(): [string | undefined, string | undefined] {
    const { row, column } = this.#at;
    const name = (place: number): string | undefined =>
      this.#store?.nodes[this.#order?.nodes[place] ?? -1]?.name;
    return [name(row), name(column)];
  }

  #placeOf(from: number, to: number): Place {
    return { row: this.#order?.places[from] ?? 0, column: this.#order?.places[to] ?? 0 };
  }

  #setView(view: Viewport): void {
    this.#view = view;
    const scale = window.devicePixelRatio;
    const [width, height] = [Math.round(view.width * scale), Math.round(view.height * scale)];
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
    }
    this.#canvas.style.width = `${view.width}px`;
    this.#canvas.style.height = `${view.height}px`;
    this.#canvas.classList.toggle(
      'pan',
      view.cell > fitted(view.width, this.#store?.size ?? 1, this.#room).cell,
    );
    this.#draw();
  }

  /** Called between the callbacks of a frame and its picture: what a new size has cleared would be blank for that frame. */
  #resized(): void {
    this.#resize();
    this.drawNow();
  }

  #resize(): void {
    const side = Math.max(1, Math.floor(Math.min(this.#root.clientWidth, 0.8 * window.innerHeight + 200)));
    this.#setView(fitted(side, this.#store?.size ?? 1, this.#room));
  }

  #draw(): void {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = undefined;
      this.drawNow();
    });
  }

  /** Draws at once. */
  drawNow(): void {
    const [store, order, pixels] = [this.#store, this.#order, this.#pixels];
    if (store === undefined || order === undefined || pixels === undefined) return;
    const start = performance.now();
    const focused = document.activeElement === this.#root;
    const scene = { store, order, pixels, view: this.#view, theme: this.#theme, at: this.#at, focused };
    drawScene(this.#context, scene);
    this.onDraw(performance.now() - start);
  }

  #onKey(event: KeyboardEvent): void {
    if (event.altKey || event.metaKey) return;
    const act = this.#actOf(event.key, event.ctrlKey);
    if (act === undefined) return;
    event.preventDefault();
    act();
  }

  #actOf(key: string, ctrl: boolean): (() => void) | undefined {
    const last = (this.#store?.size ?? 1) - 1;
    const { row, column } = this.#at;
    const to = (nextRow: number, nextColumn: number) => () =>
      this.#goTo({ row: nextRow, column: nextColumn });
    const acts: Readonly<Record<string, () => void>> = {
      ArrowUp: to(row - 1, column),
      ArrowDown: to(row + 1, column),
      ArrowLeft: to(row, column - 1),
      ArrowRight: to(row, column + 1),
      PageUp: to(row - PAGE_ROWS, column),
      PageDown: to(row + PAGE_ROWS, column),
      Home: to(ctrl ? 0 : row, 0),
      End: to(ctrl ? last : row, last),
      Enter: () => this.#open(),
      ' ': () => this.#open(),
      f: () => this.#goToFault(1),
      F: () => this.#goToFault(-1),
      '+': () => this.zoom(1),
      '-': () => this.zoom(-1),
      '0': () => this.zoom(0),
    };
    return Object.hasOwn(acts, key) ? acts[key] : undefined;
  }

  #goTo({ row, column }: Place): void {
    const last = Math.max(0, (this.#store?.size ?? 1) - 1);
    this.#at = { row: Math.max(0, Math.min(last, row)), column: Math.max(0, Math.min(last, column)) };
    this.#setView(following(this.#view, this.#store?.size ?? 1, this.#at));
    this.#name();
  }

  /** The next cell, or the one before, with which something is wrong; round the whole matrix. */
  #goToFault(step: 1 | -1): void {
    const [store, order] = [this.#store, this.#order];
    if (store === undefined || order === undefined) return;
    const { size } = store;
    const cells = size * size;
    const start = this.#at.row * size + this.#at.column;
    for (let i = 1; i <= cells; i++) {
      const place = (start + step * i + cells) % cells;
      const [row, column] = [Math.floor(place / size), place % size];
      const { code } = store.cell(order.nodes[row] ?? 0, order.nodes[column] ?? 0);
      if (code >= CellCodes.degraded) {
        this.#goTo({ row, column });
        return;
      }
    }
  }

  #open(): void {
    const order = this.#order;
    if (order === undefined) return;
    this.#events.open(order.nodes[this.#at.row] ?? 0, order.nodes[this.#at.column] ?? 0);
  }

  /** Names the chosen cell: by turns in two elements, since a new text of the same one is not always read out. */
  #name(): void {
    this.#spoken = 1 - this.#spoken;
    const cell = this.#spoken === 0 ? this.#cells[0] : this.#cells[1];
    const text = this.#textOf(this.#at);
    cell.setAttribute('aria-label', text);
    cell.setAttribute('aria-colindex', String(this.#at.column + 1));
    cell.parentElement?.setAttribute('aria-rowindex', String(this.#at.row + 1));
    this.#root.setAttribute('aria-activedescendant', cell.id);
    setText(this.#readout, text);
  }

  #tell(place: Place): void {
    setText(this.#readout, this.#textOf(place));
  }

  #textOf({ row, column }: Place): string {
    const [store, order] = [this.#store, this.#order];
    if (store === undefined || order === undefined || store.size === 0) return 'no nodes';
    const [from, to] = [order.nodes[row] ?? 0, order.nodes[column] ?? 0];
    if (from === to) return `${store.name(from)}: itself`;
    return `${store.name(from)} to ${store.name(to)}: ${cellText(store, from, to)}`;
  }

  #placeAt(event: PointerEvent): Place | undefined {
    const { left, top } = this.#canvas.getBoundingClientRect();
    return cellAt(this.#view, this.#store?.size ?? 0, event.clientX - left, event.clientY - top);
  }

  #onDown(event: PointerEvent): void {
    this.#drag = { x: event.clientX, y: event.clientY, view: this.#view, moved: false };
    this.#canvas.setPointerCapture(event.pointerId);
  }

  #onMove(event: PointerEvent): void {
    const drag = this.#drag;
    if (drag === undefined) {
      const place = this.#placeAt(event);
      if (place !== undefined) this.#tell(place);
      return;
    }
    const [x, y] = [event.clientX - drag.x, event.clientY - drag.y];
    drag.moved ||= Math.hypot(x, y) >= DRAG_LEAST;
    const { cell } = drag.view;
    if (drag.moved) this.#setView(moved(drag.view, this.#store?.size ?? 1, -x / cell, -y / cell));
  }

  #onUp(event: PointerEvent): void {
    const drag = this.#drag;
    this.#drag = undefined;
    if (drag === undefined || drag.moved) return;
    const place = this.#placeAt(event);
    if (place === undefined) return;
    this.#goTo(place);
    this.#open();
  }
}
