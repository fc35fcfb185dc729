import type { MatrixStore } from './matrix-store.ts';
import type { Order } from './order.ts';
import { type Mode, shadeOf, shadePixels, type Theme } from './palette.ts';

/**
 * The matrix as a picture of one pixel a cell, kept beside the store: a change of a few cells paints those pixels only.
 * Shown smaller than that, each pixel on the screen is the worst of the cells below it, so that no fault gets lost.
 */
export class Pixels {
  readonly #canvas: OffscreenCanvas;
  readonly #context: OffscreenCanvasRenderingContext2D;
  readonly #image: ImageData;
  readonly #pixels: Uint32Array;
  /** In the order shown. */
  readonly #shades: Uint8Array;
  readonly #store: MatrixStore;
  #colours: Uint32Array;
  #order: Order;
  #mode: Mode;
  #dirty: { first: number; last: number } | undefined;

  constructor(store: MatrixStore, order: Order, mode: Mode, theme: Theme) {
    const size = Math.max(1, store.size);
    this.#store = store;
    this.#order = order;
    this.#mode = mode;
    this.#colours = shadePixels(theme, mode);
    this.#canvas = new OffscreenCanvas(size, size);
    const context = this.#canvas.getContext('2d');
    if (context === null) throw new Error('this browser has no canvas');
    this.#context = context;
    this.#image = new ImageData(size, size);
    this.#pixels = new Uint32Array(this.#image.data.buffer);
    this.#shades = new Uint8Array(size * size);
    this.paintAll();
  }

  get shades(): Uint8Array {
    return this.#shades;
  }

  /** How cells look from now on. */
  show(order: Order, mode: Mode, theme: Theme): void {
    this.#order = order;
    this.#mode = mode;
    this.#colours = shadePixels(theme, mode);
    this.paintAll();
  }

  paintAll(): void {
    const { size } = this.#store;
    for (let place = 0; place < size; place++) this.#paintRow(place);
    this.#markDirty(0, size - 1);
  }

  #paintRow(place: number): void {
    const { size, code, rttNs, sent, lost } = this.#store;
    const { nodes } = this.#order;
    const base = (nodes[place] ?? 0) * size;
    for (let column = 0, at = place * size; column < size; column++, at++) {
      const cell = base + (nodes[column] ?? 0);
      const shade = shadeOf(this.#mode, code[cell] ?? 0, rttNs[cell] ?? 0, sent[cell] ?? 0, lost[cell] ?? 0);
      this.#shades[at] = shade;
      this.#pixels[at] = this.#colours[shade] ?? 0;
    }
  }

  /** Paints cells anew. @param cells their places in the store */
  paint(cells: readonly number[]): void {
    const { size, code, rttNs, sent, lost } = this.#store;
    const { places } = this.#order;
    for (const cell of cells) {
      const row = places[Math.floor(cell / size)] ?? 0;
      const at = row * size + (places[cell % size] ?? 0);
      const shade = shadeOf(this.#mode, code[cell] ?? 0, rttNs[cell] ?? 0, sent[cell] ?? 0, lost[cell] ?? 0);
      if (this.#shades[at] === shade) continue;
      this.#shades[at] = shade;
      this.#pixels[at] = this.#colours[shade] ?? 0;
      this.#markDirty(row, row);
    }
  }

  #markDirty(first: number, last: number): void {
    const before = this.#dirty;
    this.#dirty = {
      first: Math.min(first, before?.first ?? first),
      last: Math.max(last, before?.last ?? last),
    };
  }

  /** The picture, one pixel a cell. */
  picture(): OffscreenCanvas {
    if (this.#dirty !== undefined) {
      const { first, last } = this.#dirty;
      this.#context.putImageData(this.#image, 0, 0, 0, first, this.#store.size, last - first + 1);
      this.#dirty = undefined;
    }
    return this.#canvas;
  }

  /** The whole picture in fewer pixels than it has cells: the worst of those that fall on one. */
  shrunk(side: number): ImageData {
    const { size } = this.#store;
    const worst = new Uint8Array(side * side);
    const targets = Uint32Array.from({ length: size }, (_, i) => Math.floor((i * side) / size));
    for (let row = 0, at = 0; row < size; row++) {
      const base = (targets[row] ?? 0) * side;
      for (let column = 0; column < size; column++, at++) {
        const to = base + (targets[column] ?? 0);
        const shade = this.#shades[at] ?? 0;
        if (shade > (worst[to] ?? 0)) worst[to] = shade;
      }
    }
    const image = new ImageData(side, side);
    const pixels = new Uint32Array(image.data.buffer);
    for (let at = 0; at < worst.length; at++) pixels[at] = this.#colours[worst[at] ?? 0] ?? 0;
    return image;
  }
}
