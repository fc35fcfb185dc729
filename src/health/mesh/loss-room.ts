/** Cells that go out at once for a loss, and on to others, in a second. */
const CELLS_A_SECOND = 4;

/**
 * Losses are told at once while they are rare: many nodes that each lose little to one of them know it together only. Where
 * they are common, each node sees them soon enough by itself, and rows bring the rest.
 */
export class LossRoom {
  #secondMs = Number.NEGATIVE_INFINITY;
  #left = 0;

  /** @returns whether there is room for so many cells more; then they are counted */
  takes(cells: number, nowMs: number): boolean {
    if (nowMs - this.#secondMs >= 1000) {
      this.#secondMs = nowMs;
      this.#left = CELLS_A_SECOND;
    }
    if (cells > this.#left) return false;
    this.#left -= cells;
    return true;
  }
}
