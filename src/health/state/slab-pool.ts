/** A part of a larger piece of memory: its numbers from `word` on, its counts from `count` on. */
export interface Slab {
  readonly words: Float64Array;
  readonly word: number;
  readonly counts: Uint32Array;
  readonly count: number;
}

const FIRST_PIECE = 4;
const PIECE_MAX = 512;

/**
 * Memory of the same size for many, in few pieces: an ArrayBuffer of a kilobyte costs half as much again for its objects,
 * and each of them costs every collection of garbage.
 */
export class SlabPool {
  readonly #words: number;
  readonly #counts: number;
  readonly #free: Slab[] = [];
  #piece = FIRST_PIECE;

  /** @param words numbers of 64 bits, @param counts of 32 bits, of each slab */
  constructor(words: number, counts: number) {
    this.#words = words;
    this.#counts = counts;
  }

  /** All 0. */
  take(): Slab {
    if (this.#free.length === 0) this.#grow();
    const slab = this.#free.pop();
    if (slab === undefined) throw new RangeError('no slab in a new piece');
    slab.words.fill(0, slab.word, slab.word + this.#words);
    slab.counts.fill(0, slab.count, slab.count + this.#counts);
    return slab;
  }

  /** Nobody uses it any more. */
  give(slab: Slab): void {
    this.#free.push(slab);
  }

  #grow(): void {
    const words = new Float64Array(this.#piece * this.#words);
    const counts = new Uint32Array(this.#piece * this.#counts);
    for (let i = this.#piece - 1; i >= 0; i--)
      this.#free.push({ words, word: i * this.#words, counts, count: i * this.#counts });
    this.#piece = Math.min(PIECE_MAX, 2 * this.#piece);
  }
}
