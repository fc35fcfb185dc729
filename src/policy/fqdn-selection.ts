import { DnsPatternSet, dnsPatternText } from '../model/dns-pattern.ts';
import type { DnsPattern } from '../model/l7.ts';
import type { HolderListener } from './fqdn-lookups.ts';

/** The selectors of `toFQDNs` that an address has from now on, by their texts, sorted; none: it is no longer one of a name. */
export interface FqdnChange {
  readonly address: string;
  readonly selectors: readonly string[];
}

interface NameUse {
  selectors: readonly string[];
  /** How many endpoints hold the pair. */
  readonly holders: Map<string, number>;
}

/**
 * Which selectors each address has, over all endpoints of the node. Addresses inside the cluster have none: their
 * identity is that of the endpoint or node.
 */
export class FqdnSelection implements HolderListener {
  readonly #names = new Map<string, NameUse>();
  readonly #namesOf = new Map<string, Set<string>>();
  readonly #told = new Map<string, readonly string[]>();
  readonly #dirty = new Set<string>();
  readonly #isInCluster: (address: string) => boolean;
  #patterns = new DnsPatternSet<string>([]);

  constructor(isInCluster: (address: string) => boolean) {
    this.#isInCluster = isInCluster;
  }

  /** Sets the selectors in use. */
  select(patterns: Iterable<DnsPattern>): void {
    const byText = new Map<string, DnsPattern>();
    for (const pattern of patterns) byText.set(dnsPatternText(pattern), pattern);
    this.#patterns = new DnsPatternSet([...byText].map(([text, pattern]) => [pattern, text] as const));
    for (const [name, use] of this.#names) {
      const selectors = this.#patterns.match(name).sort();
      if (sameTexts(selectors, use.selectors)) continue;
      use.selectors = selectors;
      for (const address of use.holders.keys()) this.#dirty.add(address);
    }
  }

  hold(name: string, address: string): void {
    const use = this.#names.get(name) ?? { selectors: this.#patterns.match(name).sort(), holders: new Map() };
    this.#names.set(name, use);
    const holders = use.holders.get(address) ?? 0;
    use.holders.set(address, holders + 1);
    if (holders > 0) return;
    const names = this.#namesOf.get(address) ?? new Set<string>();
    this.#namesOf.set(address, names.add(name));
    this.#dirty.add(address);
  }

  release(name: string, address: string): void {
    const use = this.#names.get(name);
    const holders = use?.holders.get(address);
    if (use === undefined || holders === undefined) return;
    if (holders > 1) {
      use.holders.set(address, holders - 1);
      return;
    }
    use.holders.delete(address);
    if (use.holders.size === 0) this.#names.delete(name);
    const names = this.#namesOf.get(address);
    names?.delete(name);
    if (names?.size === 0) this.#namesOf.delete(address);
    this.#dirty.add(address);
  }

  /** Asks again which addresses are inside the cluster. */
  recheck(): void {
    for (const address of this.#namesOf.keys()) this.#dirty.add(address);
  }

  #selectorsOf(address: string): readonly string[] {
    const names = this.#namesOf.get(address);
    if (names === undefined || this.#isInCluster(address)) return [];
    const all = new Set<string>();
    for (const name of names) for (const text of this.#names.get(name)?.selectors ?? []) all.add(text);
    return [...all].sort();
  }

  /** What changed since the last call. */
  take(): FqdnChange[] {
    const changes: FqdnChange[] = [];
    for (const address of this.#dirty) {
      const selectors = this.#selectorsOf(address);
      if (sameTexts(selectors, this.#told.get(address) ?? [])) continue;
      changes.push({ address, selectors });
      if (selectors.length === 0) this.#told.delete(address);
      else this.#told.set(address, selectors);
    }
    this.#dirty.clear();
    return changes;
  }

  /** Every address that has a selector, as last taken. */
  addresses(): FqdnChange[] {
    return [...this.#told].map(([address, selectors]) => ({ address, selectors }));
  }
}

function sameTexts(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text, i) => text === b[i]);
}
