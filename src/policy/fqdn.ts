import type { DnsPattern } from '../model/l7.ts';
import type { DnsObservation } from '../model/proxy-protocol.ts';
import { type FqdnCacheJson, parseFqdnCache } from './fqdn-json.ts';
import { EndpointLookups, type FqdnLookup, type LookupLimits } from './fqdn-lookups.ts';
import { type FqdnChange, FqdnSelection } from './fqdn-selection.ts';

/** Longest time that an answer may be believed: RFC 8767 §4. */
const MAX_TTL_SECONDS = 7 * 24 * 3600;

export interface FqdnOptions extends LookupLimits {
  /** Shorter TTLs are lengthened to it. */
  readonly minTtlSeconds: number;
  /** How long past its TTL an address is kept for a client that has yet to connect. */
  readonly graceSeconds: number;
}

export const FQDN_DEFAULTS: FqdnOptions = {
  minTtlSeconds: 0,
  graceSeconds: 10,
  addressesPerName: 1000,
  namesPerEndpoint: 10_000,
  addressesPerEndpoint: 20_000,
  retiredPerEndpoint: 10_000,
};

export interface FqdnDeps {
  /** Whether an address belongs to an endpoint, a node or a pod range: it never gets the identity of a name. */
  readonly isInCluster: (address: string) => boolean;
}

/**
 * Which addresses the names of `toFQDNs` have. Answers of DNS go in, changes of the set of selectors of each address
 * come out, with every call that can cause one. Pure: `nowMs` is the wall clock's time in milliseconds.
 */
export class FqdnCache {
  readonly #endpoints = new Map<number, EndpointLookups>();
  readonly #selection: FqdnSelection;
  readonly #options: FqdnOptions;

  constructor(deps: FqdnDeps, options: Partial<FqdnOptions> = {}) {
    this.#options = { ...FQDN_DEFAULTS, ...options };
    this.#selection = new FqdnSelection(deps.isInCluster);
  }

  #lookupsOf(endpoint: number): EndpointLookups {
    const known = this.#endpoints.get(endpoint);
    if (known !== undefined) return known;
    const lookups = new EndpointLookups(this.#options, this.#selection);
    this.#endpoints.set(endpoint, lookups);
    return lookups;
  }

  /** Sets the names and patterns that rules in force use. */
  setSelectors(patterns: Iterable<DnsPattern>): readonly FqdnChange[] {
    this.#selection.select(patterns);
    return this.#selection.take();
  }

  /**
   * Learns from an answer. Its addresses belong to the name that was asked for alone, as in Cilium: a server may say of
   * any other name that it leads there.
   */
  observe(observation: DnsObservation, nowMs: number): readonly FqdnChange[] {
    const {
      endpoint,
      names: [name],
      addresses,
    } = observation;
    const ttlSeconds = Math.min(Math.max(0, Math.trunc(observation.ttlSeconds)), MAX_TTL_SECONDS);
    const seconds = Math.max(ttlSeconds, this.#options.minTtlSeconds);
    const held = { lookupMs: nowMs, ttlSeconds, expiresMs: nowMs + seconds * 1000 };
    const lookups = this.#lookupsOf(endpoint);
    if (name !== undefined) for (const address of addresses) lookups.put(name, address, held);
    if (lookups.isEmpty) this.#endpoints.delete(endpoint);
    return this.#selection.take();
  }

  /** Whether `collect` would ask about connections: reading conntrack can be left out otherwise. */
  hasExpired(nowMs: number): boolean {
    for (const lookups of this.#endpoints.values()) {
      lookups.expire(nowMs);
      if (lookups.hasRetired()) return true;
    }
    return false;
  }

  /** Drops addresses whose TTL and grace are over and that no connection of their endpoint uses. */
  collect(
    nowMs: number,
    isConnected: (endpoint: number, address: string) => boolean,
  ): { readonly changes: readonly FqdnChange[]; readonly dropped: number } {
    const graceMs = this.#options.graceSeconds * 1000;
    let dropped = 0;
    for (const [endpoint, lookups] of this.#endpoints) {
      lookups.expire(nowMs);
      dropped += lookups.sweep(
        (address, { expiresMs, lookupMs }) =>
          Math.max(expiresMs, lookupMs) + graceMs > nowMs || isConnected(endpoint, address),
      );
      if (lookups.isEmpty) this.#endpoints.delete(endpoint);
    }
    return { changes: this.#selection.take(), dropped };
  }

  /** Forgets what an endpoint was told: it is gone. */
  removeEndpoint(endpoint: number): readonly FqdnChange[] {
    this.#endpoints.get(endpoint)?.forget(() => true);
    this.#endpoints.delete(endpoint);
    return this.#selection.take();
  }

  /** Forgets all endpoints but these, as after a restart. */
  retainEndpoints(endpoints: ReadonlySet<number>): readonly FqdnChange[] {
    for (const endpoint of [...this.#endpoints.keys()])
      if (!endpoints.has(endpoint)) {
        this.#endpoints.get(endpoint)?.forget(() => true);
        this.#endpoints.delete(endpoint);
      }
    return this.#selection.take();
  }

  /** Forgets names, at once and for running connections too; undefined: all of them. */
  clean(matches?: (name: string) => boolean): {
    readonly changes: readonly FqdnChange[];
    readonly dropped: number;
  } {
    let dropped = 0;
    for (const [endpoint, lookups] of this.#endpoints) {
      dropped += lookups.forget(matches ?? (() => true));
      if (lookups.isEmpty) this.#endpoints.delete(endpoint);
    }
    return { changes: this.#selection.take(), dropped };
  }

  /** Asks `isInCluster` again for every address. */
  recheck(): readonly FqdnChange[] {
    this.#selection.recheck();
    return this.#selection.take();
  }

  /** All addresses that have a selector now. */
  addresses(): readonly FqdnChange[] {
    return this.#selection.addresses();
  }

  /** Every pair, by endpoint. */
  *lookups(): Generator<FqdnLookup> {
    for (const [endpoint, lookups] of this.#endpoints)
      for (const { name, address, held, retired } of lookups.pairs())
        yield { endpoint, name, address, retired, ...held };
  }

  /** For a file. */
  toJSON(): FqdnCacheJson {
    const rows = [...this.lookups()].map(
      (row) =>
        [
          row.endpoint,
          row.name,
          row.address,
          row.lookupMs,
          row.ttlSeconds,
          row.expiresMs,
          row.retired ? 1 : 0,
        ] as const,
    );
    return { version: 1, lookups: rows };
  }

  /**
   * Takes back what `toJSON` gave. What has expired meanwhile is judged by the next `collect`.
   * @throws FqdnCacheError when the value is something else; nothing is taken then
   */
  restore(json: unknown): readonly FqdnChange[] {
    for (const row of parseFqdnCache(json)) {
      const lookups = this.#lookupsOf(row.endpoint);
      if (row.retired) lookups.putRetired(row.name, row.address, row);
      else lookups.put(row.name, row.address, row);
    }
    return this.#selection.take();
  }
}

export { FqdnCacheError, type FqdnCacheJson } from './fqdn-json.ts';
export type { FqdnLookup } from './fqdn-lookups.ts';
export type { FqdnChange } from './fqdn-selection.ts';
