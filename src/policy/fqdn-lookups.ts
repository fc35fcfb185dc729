/** One address that a name had, as one endpoint was told. Times are of the wall clock: they outlive a restart. */
export interface HeldAddress {
  readonly lookupMs: number;
  /** As told, before any minimum. */
  readonly ttlSeconds: number;
  readonly expiresMs: number;
}

/** One pair of the cache. */
export interface FqdnLookup extends HeldAddress {
  readonly endpoint: number;
  readonly name: string;
  readonly address: string;
  /** Past its TTL, kept for a connection. */
  readonly retired: boolean;
}

/** What hears of pairs of name and address that begin and cease to count; each endpoint holds for itself. */
export interface HolderListener {
  hold(name: string, address: string): void;
  release(name: string, address: string): void;
}

export interface LookupLimits {
  /** Addresses a name may have; the one looked up longest ago goes first. */
  readonly addressesPerName: number;
  readonly namesPerEndpoint: number;
  /** Of all names together: whoever answers for one domain can make up names, each with many addresses. */
  readonly addressesPerEndpoint: number;
  /** Addresses past their TTL that are kept for the sake of connections. */
  readonly retiredPerEndpoint: number;
}

type Addresses = Map<string, HeldAddress>;

function oldest<K, V>(map: ReadonlyMap<K, V>): readonly [K, V] | undefined {
  const { value, done } = map.entries().next();
  return done === true ? undefined : value;
}

/** What a limit pushes out has no more time than what has expired. */
function endedBy(held: HeldAddress, nowMs: number): HeldAddress {
  return { ...held, expiresMs: Math.min(held.expiresMs, nowMs) };
}

/** Sets a key and makes it the last in the map's order. */
function putLast<K, V>(map: Map<K, V>, key: K, value: V): void {
  map.delete(key);
  map.set(key, value);
}

/**
 * What one endpoint was told about names. A pair of name and address is *current* until its TTL passes or a limit
 * pushes it out; then it is *retired*, and goes when no connection uses it any more. Both count for policy.
 */
export class EndpointLookups {
  /** Both orders are those of the last lookup, oldest first. */
  readonly #current = new Map<string, Addresses>();
  readonly #retired = new Map<string, Addresses>();
  #currentCount = 0;
  #retiredCount = 0;
  readonly #limits: LookupLimits;
  readonly #listener: HolderListener;

  constructor(limits: LookupLimits, listener: HolderListener) {
    this.#limits = limits;
    this.#listener = listener;
  }

  get isEmpty(): boolean {
    return this.#current.size === 0 && this.#retired.size === 0;
  }

  /** Current pairs first, oldest lookup first; `retired` ones live for a connection. */
  *pairs(): Generator<{ name: string; address: string; held: HeldAddress; retired: boolean }> {
    for (const [map, retired] of [[this.#current, false] as const, [this.#retired, true] as const])
      for (const [name, addresses] of map)
        for (const [address, held] of addresses) yield { name, address, held, retired };
  }

  put(name: string, address: string, held: HeldAddress): void {
    const addresses = this.#current.get(name) ?? new Map<string, HeldAddress>();
    const known = addresses.has(address);
    if (!known) this.#currentCount++;
    if (!known && !this.#unretire(name, address)) this.#listener.hold(name, address);
    // Who was told an earlier answer with a longer TTL may still rely on it.
    const expiresMs = Math.max(held.expiresMs, addresses.get(address)?.expiresMs ?? 0);
    putLast(addresses, address, { ...held, expiresMs });
    putLast(this.#current, name, addresses);
    if (addresses.size > this.#limits.addressesPerName) this.#retireOldest(name, addresses, held.lookupMs);
    if (this.#current.size > this.#limits.namesPerEndpoint) this.#retireOldestName(held.lookupMs);
    if (this.#currentCount > this.#limits.addressesPerEndpoint) this.#retireOldestOfAll(held.lookupMs);
  }

  /** Puts back what was retired before a restart. */
  putRetired(name: string, address: string, held: HeldAddress): void {
    if (this.#current.get(name)?.has(address) === true || this.#retired.get(name)?.has(address) === true)
      return;
    this.#listener.hold(name, address);
    this.#keepRetired(name, address, held);
  }

  #retireOldest(name: string, addresses: Addresses, nowMs: number): void {
    const first = oldest(addresses);
    if (first !== undefined) this.#retire(name, addresses, first[0], endedBy(first[1], nowMs));
  }

  #retireOldestOfAll(nowMs: number): void {
    const [name, addresses] = oldest(this.#current) ?? ['', new Map<string, HeldAddress>()];
    this.#retireOldest(name, addresses, nowMs);
  }

  #retireOldestName(nowMs: number): void {
    const [name, addresses] = oldest(this.#current) ?? ['', new Map<string, HeldAddress>()];
    for (const [address, held] of addresses) this.#retire(name, addresses, address, endedBy(held, nowMs));
  }

  #retire(name: string, addresses: Addresses, address: string, held: HeldAddress): void {
    addresses.delete(address);
    this.#currentCount--;
    if (addresses.size === 0) this.#current.delete(name);
    this.#keepRetired(name, address, held);
  }

  #keepRetired(name: string, address: string, held: HeldAddress): void {
    const kept = this.#retired.get(name) ?? new Map<string, HeldAddress>();
    kept.set(address, held);
    this.#retired.set(name, kept);
    this.#retiredCount++;
    if (this.#retiredCount <= this.#limits.retiredPerEndpoint) return;
    const [first, others] = oldest(this.#retired) ?? [name, kept];
    this.#drop(first, oldest(others)?.[0] ?? address);
  }

  /** @returns whether the pair was retired; it keeps its hold */
  #unretire(name: string, address: string): boolean {
    const kept = this.#retired.get(name);
    if (kept?.delete(address) !== true) return false;
    this.#retiredCount--;
    if (kept.size === 0) this.#retired.delete(name);
    return true;
  }

  #drop(name: string, address: string): void {
    if (this.#unretire(name, address)) this.#listener.release(name, address);
  }

  /** Retires what has expired. */
  expire(nowMs: number): void {
    for (const [name, addresses] of this.#current)
      for (const [address, held] of addresses)
        if (held.expiresMs <= nowMs) this.#retire(name, addresses, address, held);
  }

  /** Whether `sweep` has anything to ask about. */
  hasRetired(): boolean {
    return this.#retiredCount > 0;
  }

  /** Drops what is retired and not to be kept. @returns how many pairs went */
  sweep(isKept: (address: string, held: HeldAddress) => boolean): number {
    const before = this.#retiredCount;
    for (const [name, addresses] of this.#retired)
      for (const [address, held] of addresses) if (!isKept(address, held)) this.#drop(name, address);
    return before - this.#retiredCount;
  }

  /** Forgets the names that `matches`, connections or not. @returns how many pairs went */
  forget(matches: (name: string) => boolean): number {
    let count = 0;
    for (const map of [this.#current, this.#retired]) {
      for (const [name, addresses] of map) {
        if (!matches(name)) continue;
        map.delete(name);
        count += addresses.size;
        if (map === this.#retired) this.#retiredCount -= addresses.size;
        else this.#currentCount -= addresses.size;
        for (const address of addresses.keys()) this.#listener.release(name, address);
      }
    }
    return count;
  }
}
