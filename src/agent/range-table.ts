import { type Cidr, cidrContains, type IpBytes, ipFamily, maskIp } from '../base/ip.ts';

interface Held {
  readonly cidr: Cidr;
  readonly holder: string;
}

const bytesKey = (bytes: IpBytes): string => Buffer.from(bytes).toString('latin1');

/** Prefixes that do not overlap, each with who holds it. Looking up costs one step for each length that occurs. */
export class RangeTable {
  /** Family -> prefix length -> masked address -> range. */
  readonly #tables: Readonly<Record<4 | 6, Map<number, Map<string, Held>>>> = { 4: new Map(), 6: new Map() };

  add(cidr: Cidr, holder: string): void {
    const table = this.#tables[cidr.family];
    const ranges = table.get(cidr.length) ?? new Map<string, Held>();
    table.set(cidr.length, ranges);
    ranges.set(bytesKey(cidr.bytes), { cidr, holder });
  }

  /** Who holds the range that the address is in. */
  holderOf(address: IpBytes): string | undefined {
    for (const [length, ranges] of this.#tables[ipFamily(address)]) {
      const found = ranges.get(bytesKey(maskIp(address, length)));
      if (found !== undefined) return found.holder;
    }
    return undefined;
  }

  /** Who holds a range that shares an address with this one. */
  overlapping(cidr: Cidr): string | undefined {
    const around = this.holderOf(cidr.bytes);
    if (around !== undefined) return around;
    for (const [length, ranges] of this.#tables[cidr.family]) {
      if (length <= cidr.length) continue;
      for (const held of ranges.values()) if (cidrContains(cidr, held.cidr.bytes)) return held.holder;
    }
    return undefined;
  }
}
