/** Indices from 0 on, at most `size`. One that is given back is taken again as late as may be, at the same cost for any number. */
export class IndexPool {
  /** Ring of those that were given back. */
  readonly #free: Uint32Array;
  #head = 0;
  #count = 0;
  #used = 0;

  constructor(size: number) {
    this.#free = new Uint32Array(size);
  }

  /** @param limit none from here on is taken for the first time. @returns undefined when all below it are taken */
  take(limit = this.#free.length): number | undefined {
    if (this.#count === 0) return this.#used < Math.min(limit, this.#free.length) ? this.#used++ : undefined;
    const index = this.#free[this.#head];
    this.#head = (this.#head + 1) % this.#free.length;
    this.#count--;
    return index;
  }

  /** Of one that was taken, once. */
  give(index: number): void {
    this.#free[(this.#head + this.#count) % this.#free.length] = index;
    this.#count++;
  }
}
