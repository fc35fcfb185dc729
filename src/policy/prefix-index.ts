import type { Cidr } from '../base/ip.ts';

/** The family and the bits of a prefix, one character each: a prefix lies within another if its text begins with that. */
function bitsText({ family, bytes, length }: Cidr): string {
  let bits = '';
  for (const byte of bytes) bits += byte.toString(2).padStart(8, '0');
  return `${family}${bits.slice(0, length)}`;
}

/** Values by prefix. What lies within a prefix, and what lies around it, is found without a look at the others. */
export class PrefixIndex<T> {
  readonly #values = new Map<string, Set<T>>();
  /** The texts of the prefixes, ascending: those within a prefix stand together. */
  #sorted: string[] = [];
  /** What came since `#sorted` was. */
  #added: string[] = [];
  /** Length of a text -> how many prefixes have it. */
  readonly #lengths = new Map<number, number>();

  add(prefix: Cidr, value: T): void {
    const text = bitsText(prefix);
    const values = this.#values.get(text);
    if (values !== undefined) {
      values.add(value);
      return;
    }
    this.#values.set(text, new Set([value]));
    this.#added.push(text);
    this.#lengths.set(text.length, (this.#lengths.get(text.length) ?? 0) + 1);
  }

  delete(prefix: Cidr, value: T): void {
    const text = bitsText(prefix);
    const values = this.#values.get(text);
    if (values?.delete(value) !== true || values.size > 0) return;
    // Its text stays among the sorted ones until they are sorted again, and stands for nothing.
    this.#values.delete(text);
    const left = (this.#lengths.get(text.length) ?? 0) - 1;
    if (left > 0) this.#lengths.set(text.length, left);
    else this.#lengths.delete(text.length);
  }

  /** Values of the prefix and of all that lie within it. */
  *within(prefix: Cidr): Generator<T> {
    const text = bitsText(prefix);
    const sorted = this.#texts();
    for (let i = firstNotBelow(sorted, text); sorted[i]?.startsWith(text) === true; i++)
      yield* this.#values.get(sorted[i] ?? '') ?? [];
  }

  /** Values of the prefix and of all that it lies within. */
  *around(prefix: Cidr): Generator<T> {
    const text = bitsText(prefix);
    for (const length of this.#lengths.keys())
      if (length <= text.length) yield* this.#values.get(text.slice(0, length)) ?? [];
  }

  #texts(): readonly string[] {
    // A text that went and came again is there twice.
    if (this.#added.length > 0) {
      this.#sorted = [...new Set([...this.#sorted, ...this.#added])]
        .filter((text) => this.#values.has(text))
        .sort();
      this.#added = [];
    }
    return this.#sorted;
  }
}

function firstNotBelow(sorted: readonly string[], text: string): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? '') < text) low = middle + 1;
    else high = middle;
  }
  return low;
}
