import { type Cidr, formatCidr, type IpFamily, ipFamily, maskIp, parseIp } from '../base/ip.ts';

/** Masked bytes as a string: cheaper to compare than the text of an address. */
function bitsOf(bytes: Uint8Array, length: number): string {
  return String.fromCharCode(...maskIp(bytes, length));
}

/** Prefixes by length: whether and by what an address or a narrower prefix is covered takes one look-up a length in use. */
export class PrefixSet {
  readonly #byLength: Readonly<Record<IpFamily, Map<number, Set<string>>>> = { 4: new Map(), 6: new Map() };
  #size = 0;

  constructor(prefixes: Iterable<Cidr> = []) {
    for (const prefix of prefixes) this.add(prefix);
  }

  get size(): number {
    return this.#size;
  }

  add({ family, bytes, length }: Cidr): void {
    const set = this.#byLength[family].get(length) ?? new Set();
    this.#byLength[family].set(length, set);
    const before = set.size;
    set.add(bitsOf(bytes, length));
    this.#size += set.size - before;
  }

  delete({ family, bytes, length }: Cidr): void {
    const set = this.#byLength[family].get(length);
    if (set?.delete(bitsOf(bytes, length)) !== true) return;
    this.#size--;
    if (set.size === 0) this.#byLength[family].delete(length);
  }

  /** The narrowest member that holds all of `prefix`, which may be a member itself. */
  narrowest({ family, bytes, length }: Cidr): Cidr | undefined {
    let found: number | undefined;
    for (const [candidate, set] of this.#byLength[family]) {
      if (candidate > length || (found !== undefined && candidate < found)) continue;
      if (set.has(bitsOf(bytes, candidate))) found = candidate;
    }
    return found === undefined ? undefined : { family, bytes: maskIp(bytes, found), length: found };
  }

  /** Whether a member holds all of `prefix`. */
  covers({ family, bytes, length }: Cidr): boolean {
    for (const [candidate, set] of this.#byLength[family]) {
      if (candidate <= length && set.has(bitsOf(bytes, candidate))) return true;
    }
    return false;
  }
}

/** Ascending by text, each prefix once. */
export function distinctPrefixes(prefixes: Iterable<Cidr>): readonly Cidr[] {
  const byText = new Map<string, Cidr>();
  for (const prefix of prefixes) byText.set(formatCidr(prefix), prefix);
  return [...byText].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, prefix]) => prefix);
}

/** An address as the prefix that holds nothing else. @throws UsageError IP_INVALID */
export function hostPrefix(address: string): Cidr {
  const bytes = parseIp(address);
  return { family: ipFamily(bytes), bytes, length: bytes.length * 8 };
}
