import { type Cidr, formatCidr, type IpFamily, parseCidr } from '../base/ip.ts';
import {
  type Identity,
  isLocalIdentity,
  LOCAL_IDENTITY_SCOPE,
  type NumericIdentity,
  RESERVED_IDENTITIES,
  ReservedIdentity,
} from '../model/identity.ts';
import { type Label, labelSet } from '../model/labels.ts';
import { IdentityNumbers, type NumberedEntry } from './identity-numbers.ts';
import { NamedPrefixes } from './named-prefixes.ts';
import { checkNodeIdentities, type NodeIdentitiesJson } from './node-identities.ts';
import type { PrefixChanges, PrefixIdentity } from './prefix-changes.ts';
import { hostPrefix, PrefixSet } from './prefix-set.ts';

/** What one local identity stands for. */
export interface LocalIdentityJson {
  readonly id: NumericIdentity;
  readonly family: IpFamily;
  /** The narrowest prefix in use around its addresses; undefined when there is none. */
  readonly prefix?: string;
  /** Texts of the FQDN selectors that its addresses match, ascending. */
  readonly fqdns: readonly string[];
  /** The API server of the cluster has its addresses. */
  readonly apiServer?: true;
}

/** The numbers of this node's prefixes and names in the form in which they are kept across restarts. */
export interface LocalIdentitiesJson {
  readonly version: 1;
  /** The number that is tried first for the next new one. */
  readonly next: NumericIdentity;
  readonly identities: readonly LocalIdentityJson[];
  /** Of other nodes; absent where none ever had labels. */
  readonly nodes?: NodeIdentitiesJson;
}

type Meaning = Omit<LocalIdentityJson, 'id'>;
type Entry = NumberedEntry<Meaning>;

const WHOLE_FAMILY: Readonly<Record<IpFamily, { readonly label: Label; readonly id: NumericIdentity }>> = {
  4: { label: { source: 'reserved', key: 'world-ipv4', value: '' }, id: ReservedIdentity.worldIpv4 },
  6: { label: { source: 'reserved', key: 'world-ipv6', value: '' }, id: ReservedIdentity.worldIpv6 },
};

const keyOf = ({ family, prefix, fqdns, apiServer }: Meaning): string =>
  JSON.stringify([family, prefix ?? '', fqdns, apiServer ?? false]);

function labelsOf({ family, prefix, fqdns, apiServer }: Meaning): readonly Label[] {
  const labels = fqdns.map((key) => ({ source: 'fqdn', key, value: '' }));
  if (prefix !== undefined) labels.push({ source: 'cidr', key: prefix, value: '' });
  if (apiServer) labels.push({ source: 'reserved', key: 'kube-apiserver', value: '' });
  return labelSet([...labels, WHOLE_FAMILY[family].label]);
}

function wholeFamily(family: IpFamily): Entry {
  const { id } = WHOLE_FAMILY[family];
  const identity = RESERVED_IDENTITIES.find((reserved) => reserved.id === id) ?? { id, labels: [] };
  return { key: `reserved ${id}`, meaning: { family, fqdns: [] }, identity, users: 0 };
}

/**
 * Numbers of this node for prefixes that rules name and for addresses that names have (docs/adr/0009). A prefix's
 * identity stands for what of it lies in no narrower prefix in use; the whole of a family has its reserved identity.
 * A number is released in two steps: what nobody names any more keeps its number, and is known, until `forget`.
 */
export class LocalIdentities {
  readonly #numbers: IdentityNumbers<Meaning>;
  /** Text of a prefix -> it, and how many rules use it. */
  readonly #prefixes = new Map<string, { readonly prefix: Cidr; users: number }>();
  readonly #set = new PrefixSet();
  /** Text of the host prefix -> it, and the selectors that it matches, ascending. */
  readonly #addresses = new Map<string, { readonly prefix: Cidr; readonly fqdns: readonly string[] }>();
  /** Text of the host prefix -> it, of the addresses that the API server of the cluster has. */
  #apiServers: ReadonlyMap<string, Cidr> = new Map();
  /** What the ipcache must say of prefixes and host prefixes. */
  readonly #named = new NamedPrefixes<Meaning>();

  /** @param saved numbers of the last run: they stay in force until they are found unused and forgotten */
  constructor(saved?: LocalIdentitiesJson) {
    const options = { first: LOCAL_IDENTITY_SCOPE, keyOf, labelsOf };
    this.#numbers = new IdentityNumbers(
      options,
      saved && {
        next: saved.next,
        entries: saved.identities.map(({ id, ...meaning }) => ({ id, meaning })),
      },
    );
  }

  /** Takes a prefix into use, or holds it once more. */
  acquire(prefix: Cidr): void {
    const text = formatCidr(prefix);
    const held = this.#prefixes.get(text);
    if (held !== undefined) {
      held.users++;
      return;
    }
    this.#prefixes.set(text, { prefix, users: 1 });
    this.#set.add(prefix);
    this.#prefixChanged(text, prefix);
  }

  /** Gives up one hold. */
  release(prefix: Cidr): void {
    const text = formatCidr(prefix);
    const held = this.#prefixes.get(text);
    if (held === undefined || --held.users > 0) return;
    this.#prefixes.delete(text);
    this.#set.delete(prefix);
    this.#prefixChanged(text, prefix);
  }

  /**
   * Says which FQDN selectors an address matches; none forgets it.
   * @throws UsageError IP_INVALID
   */
  setAddress(address: string, selectors: ReadonlySet<string>): void {
    const prefix = hostPrefix(address);
    const text = formatCidr(prefix);
    if (selectors.size === 0) this.#addresses.delete(text);
    else this.#addresses.set(text, { prefix, fqdns: [...selectors].sort() });
    this.#settle(text, prefix);
  }

  /**
   * Says which addresses the API server of the cluster has, all of them.
   * @throws UsageError IP_INVALID
   */
  setApiServers(addresses: readonly string[]): void {
    const before = this.#apiServers;
    this.#apiServers = new Map(addresses.map(hostPrefix).map((prefix) => [formatCidr(prefix), prefix]));
    for (const [text, prefix] of new Map([...before, ...this.#apiServers])) this.#settle(text, prefix);
  }

  /** Identities that came to be since the last call. */
  takeNew(): readonly Identity[] {
    return this.#numbers.takeNew();
  }

  prefixes(): readonly PrefixIdentity[] {
    return this.#named.all();
  }

  /** What changed of `prefixes()` since the last call. */
  takeChanges(): PrefixChanges {
    return this.#named.takeChanges();
  }

  /** The numbers that `prefixes()` does not name, ascending. */
  releasable(): readonly NumericIdentity[] {
    return this.#numbers.releasable();
  }

  /** Gives numbers up, but for those in use. @returns those that are gone */
  forget(ids: readonly NumericIdentity[]): readonly NumericIdentity[] {
    return this.#numbers.forget(ids);
  }

  toJSON(): LocalIdentitiesJson {
    const { next, entries } = this.#numbers.saved();
    return { version: 1, next, identities: entries.map(({ id, meaning }) => ({ id, ...meaning })) };
  }

  #prefixChanged(text: string, prefix: Cidr): void {
    this.#settle(text, prefix);
    if (this.#addresses.size + this.#apiServers.size === 0) return;
    const around = new PrefixSet([prefix]);
    for (const [host, { prefix: address }] of this.#addresses)
      if (around.covers(address)) this.#settle(host, address);
    for (const [host, address] of this.#apiServers) if (around.covers(address)) this.#settle(host, address);
  }

  /** Brings what the ipcache must say of one prefix up to date. */
  #settle(text: string, prefix: Cidr): void {
    this.#named.set(text, prefix, this.#wanted(text, prefix));
  }

  #wanted(text: string, prefix: Cidr): Entry | undefined {
    const { family, length } = prefix;
    const fqdns = this.#addresses.get(text)?.fqdns ?? [];
    const apiServer = this.#apiServers.has(text);
    if (fqdns.length === 0 && !apiServer && !this.#prefixes.has(text)) return undefined;
    if (length === 0) return this.#whole[family];
    const narrowest = this.#set.narrowest(prefix);
    const around = narrowest === undefined || narrowest.length === 0 ? undefined : formatCidr(narrowest);
    return this.#numbers.of({
      family,
      ...(around !== undefined && { prefix: around }),
      fqdns,
      ...(apiServer && { apiServer }),
    });
  }

  readonly #whole: Readonly<Record<IpFamily, Entry>> = { 4: wholeFamily(4), 6: wholeFamily(6) };
}

function checkEntry(value: unknown): LocalIdentityJson {
  const { id, family, prefix, fqdns, apiServer } = (value ?? {}) as Record<string, unknown>;
  if (typeof id !== 'number' || !Number.isInteger(id) || !isLocalIdentity(id))
    throw new TypeError(`the saved local identities have the number ${String(id)}`);
  if (family !== 4 && family !== 6) throw new TypeError(`the saved local identity ${id} has no family`);
  if (!Array.isArray(fqdns) || fqdns.some((text) => typeof text !== 'string'))
    throw new TypeError(`the saved local identity ${id} has no list of names`);
  if (apiServer !== undefined && apiServer !== true)
    throw new TypeError(`the saved local identity ${id} is of an API server, or not: ${String(apiServer)}`);
  const rest = { fqdns: fqdns as string[], ...(apiServer !== undefined && { apiServer: true as const }) };
  if (prefix === undefined) return { id, family, ...rest };
  if (typeof prefix !== 'string' || parseCidr(prefix).family !== family)
    throw new TypeError(`the saved local identity ${id} has a wrong prefix`);
  return { id, family, prefix, ...rest };
}

/**
 * Checks what `LocalIdentities.toJSON` gave in an earlier run.
 * @throws TypeError or UsageError when it is not such a value
 */
export function checkLocalIdentities(value: unknown): LocalIdentitiesJson {
  const { version, next, identities, nodes } = (value ?? {}) as Record<string, unknown>;
  if (version !== 1) throw new TypeError(`the saved local identities have version ${String(version)}, not 1`);
  if (typeof next !== 'number' || !Number.isInteger(next) || !isLocalIdentity(next))
    throw new TypeError('the saved local identities have no next number');
  if (!Array.isArray(identities)) throw new TypeError('the saved local identities have no list');
  const entries = identities.map(checkEntry);
  if (
    new Set(entries.map(({ id }) => id)).size !== entries.length ||
    new Set(entries.map(keyOf)).size !== entries.length
  )
    throw new TypeError('the saved local identities give a number or a meaning twice');
  return {
    version,
    next,
    identities: entries,
    ...(nodes !== undefined && { nodes: checkNodeIdentities(nodes) }),
  };
}
