import { SystemError } from '../base/errors.ts';
import { type Cidr, formatCidr, type IpFamily, ipFamily, parseCidr, parseIp } from '../base/ip.ts';
import {
  type Identity,
  isLocalIdentity,
  LOCAL_IDENTITY_SCOPE,
  type NumericIdentity,
  RESERVED_IDENTITIES,
  ReservedIdentity,
} from '../model/identity.ts';
import { type Label, labelSet } from '../model/labels.ts';
import { PrefixSet } from './prefix-set.ts';

/** A prefix that the ipcache must name, unless an endpoint, a node or the cluster's own ranges have it. */
export interface PrefixIdentity {
  readonly prefix: Cidr;
  readonly identity: Identity;
}

export interface PrefixChanges {
  readonly upserts: readonly PrefixIdentity[];
  readonly deletes: readonly Cidr[];
}

/** What one local identity stands for. */
export interface LocalIdentityJson {
  readonly id: NumericIdentity;
  readonly family: IpFamily;
  /** The narrowest prefix in use around its addresses; undefined when there is none. */
  readonly prefix?: string;
  /** Texts of the FQDN selectors that its addresses match, ascending. */
  readonly fqdns: readonly string[];
}

/** The numbers of this node's prefixes and names in the form in which they are kept across restarts. */
export interface LocalIdentitiesJson {
  readonly version: 1;
  /** The number that is tried first for the next new one. */
  readonly next: NumericIdentity;
  readonly identities: readonly LocalIdentityJson[];
}

interface Entry {
  readonly key: string;
  readonly json: LocalIdentityJson;
  readonly identity: Identity;
  /** Prefixes and addresses that name it. */
  users: number;
}

type Meaning = Omit<LocalIdentityJson, 'id'>;

const WHOLE_FAMILY: Readonly<Record<IpFamily, { readonly label: Label; readonly id: NumericIdentity }>> = {
  4: { label: { source: 'reserved', key: 'world-ipv4', value: '' }, id: ReservedIdentity.worldIpv4 },
  6: { label: { source: 'reserved', key: 'world-ipv6', value: '' }, id: ReservedIdentity.worldIpv6 },
};

const keyOf = ({ family, prefix, fqdns }: Meaning): string => JSON.stringify([family, prefix ?? '', fqdns]);

function labelsOf({ family, prefix, fqdns }: Meaning): readonly Label[] {
  const labels = fqdns.map((key) => ({ source: 'fqdn', key, value: '' }));
  if (prefix !== undefined) labels.push({ source: 'cidr', key: prefix, value: '' });
  return labelSet([...labels, WHOLE_FAMILY[family].label]);
}

function wholeFamily(family: IpFamily): Entry {
  const { id } = WHOLE_FAMILY[family];
  const identity = RESERVED_IDENTITIES.find((reserved) => reserved.id === id) ?? { id, labels: [] };
  return { key: `reserved ${id}`, json: { id, family, fqdns: [] }, identity, users: 0 };
}

/**
 * Numbers of this node for prefixes that rules name and for addresses that names have (docs/adr/0009). A prefix's
 * identity stands for what of it lies in no narrower prefix in use; the whole of a family has its reserved identity.
 * A number is released in two steps: what nobody names any more keeps its number, and is known, until `forget`.
 */
export class LocalIdentities {
  readonly #entries = new Map<string, Entry>();
  readonly #byId = new Map<NumericIdentity, Entry>();
  #next = LOCAL_IDENTITY_SCOPE;
  /** Text of a prefix -> it, and how many rules use it. */
  readonly #prefixes = new Map<string, { readonly prefix: Cidr; users: number }>();
  readonly #set = new PrefixSet();
  /** Text of the host prefix -> it, and the selectors that it matches, ascending. */
  readonly #addresses = new Map<string, { readonly prefix: Cidr; readonly fqdns: readonly string[] }>();
  /** Text of a prefix or host prefix -> what the ipcache must say of it. */
  readonly #named = new Map<string, { readonly prefix: Cidr; readonly entry: Entry }>();
  readonly #changed = new Map<string, Cidr>();
  #fresh: Identity[] = [];

  /** @param saved numbers of the last run: they stay in force until they are found unused and forgotten */
  constructor(saved?: LocalIdentitiesJson) {
    for (const json of saved?.identities ?? []) this.#enter(keyOf(json), json);
    if (saved !== undefined) this.#next = saved.next;
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
    const bytes = parseIp(address);
    const prefix = { family: ipFamily(bytes), bytes, length: bytes.length * 8 };
    const text = formatCidr(prefix);
    if (selectors.size === 0) this.#addresses.delete(text);
    else this.#addresses.set(text, { prefix, fqdns: [...selectors].sort() });
    this.#settle(text, prefix);
  }

  /** Identities that came to be since the last call. */
  takeNew(): readonly Identity[] {
    const fresh = this.#fresh;
    this.#fresh = [];
    return fresh;
  }

  prefixes(): readonly PrefixIdentity[] {
    return [...this.#named.values()].map(({ prefix, entry }) => ({ prefix, identity: entry.identity }));
  }

  /** What changed of `prefixes()` since the last call. */
  takeChanges(): PrefixChanges {
    const upserts: PrefixIdentity[] = [];
    const deletes: Cidr[] = [];
    for (const [text, prefix] of this.#changed) {
      const named = this.#named.get(text);
      if (named === undefined) deletes.push(prefix);
      else upserts.push({ prefix, identity: named.entry.identity });
    }
    this.#changed.clear();
    return { upserts, deletes };
  }

  /** The numbers that `prefixes()` does not name, ascending. */
  releasable(): readonly NumericIdentity[] {
    const unused = [...this.#byId.values()].filter(({ users }) => users === 0);
    return unused.map(({ identity }) => identity.id).sort((a, b) => a - b);
  }

  /** Gives numbers up, but for those in use. @returns those that are gone */
  forget(ids: readonly NumericIdentity[]): readonly NumericIdentity[] {
    const gone: NumericIdentity[] = [];
    for (const id of ids) {
      const entry = this.#byId.get(id);
      if (entry === undefined || entry.users > 0) continue;
      this.#byId.delete(id);
      this.#entries.delete(entry.key);
      gone.push(id);
    }
    return gone;
  }

  toJSON(): LocalIdentitiesJson {
    return { version: 1, next: this.#next, identities: [...this.#byId.values()].map(({ json }) => json) };
  }

  #prefixChanged(text: string, prefix: Cidr): void {
    this.#settle(text, prefix);
    if (this.#addresses.size === 0) return;
    const around = new PrefixSet([prefix]);
    for (const [host, { prefix: address }] of this.#addresses) {
      if (around.covers(address)) this.#settle(host, address);
    }
  }

  /** Brings what the ipcache must say of one prefix up to date. */
  #settle(text: string, prefix: Cidr): void {
    const before = this.#named.get(text);
    const wanted = this.#wanted(text, prefix);
    if (before?.entry === wanted) return;
    this.#changed.set(text, prefix);
    if (before !== undefined) before.entry.users--;
    if (wanted === undefined) {
      this.#named.delete(text);
      return;
    }
    wanted.users++;
    this.#named.set(text, { prefix, entry: wanted });
  }

  #wanted(text: string, prefix: Cidr): Entry | undefined {
    const { family, length } = prefix;
    const fqdns = this.#addresses.get(text)?.fqdns ?? [];
    if (fqdns.length === 0 && !this.#prefixes.has(text)) return undefined;
    if (length === 0) return this.#whole[family];
    const narrowest = this.#set.narrowest(prefix);
    const around = narrowest === undefined || narrowest.length === 0 ? undefined : formatCidr(narrowest);
    return this.#entryOf({ family, ...(around !== undefined && { prefix: around }), fqdns });
  }

  readonly #whole: Readonly<Record<IpFamily, Entry>> = { 4: wholeFamily(4), 6: wholeFamily(6) };

  #entryOf(meaning: Meaning): Entry {
    const key = keyOf(meaning);
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    return this.#enter(key, { id: this.#allocate(), ...meaning });
  }

  #enter(key: string, json: LocalIdentityJson): Entry {
    const entry = { key, json, identity: { id: json.id, labels: labelsOf(json) }, users: 0 };
    this.#entries.set(key, entry);
    this.#byId.set(json.id, entry);
    this.#fresh.push(entry.identity);
    return entry;
  }

  /** @throws SystemError LOCAL_IDENTITIES_EXHAUSTED */
  #allocate(): NumericIdentity {
    for (let tried = 0; tried < LOCAL_IDENTITY_SCOPE; tried++) {
      const id = this.#next;
      // In turn: a number that was just given up stays unused as long as possible.
      this.#next = isLocalIdentity(id + 1) ? id + 1 : LOCAL_IDENTITY_SCOPE;
      if (!this.#byId.has(id)) return id;
    }
    throw new SystemError('all numbers for prefixes and names of this node are in use', {
      code: 'LOCAL_IDENTITIES_EXHAUSTED',
      hint: 'let rules name fewer prefixes and names',
    });
  }
}

function checkEntry(value: unknown): LocalIdentityJson {
  const { id, family, prefix, fqdns } = (value ?? {}) as Record<string, unknown>;
  if (typeof id !== 'number' || !Number.isInteger(id) || !isLocalIdentity(id))
    throw new TypeError(`the saved local identities have the number ${String(id)}`);
  if (family !== 4 && family !== 6) throw new TypeError(`the saved local identity ${id} has no family`);
  if (!Array.isArray(fqdns) || fqdns.some((text) => typeof text !== 'string'))
    throw new TypeError(`the saved local identity ${id} has no list of names`);
  if (prefix === undefined) return { id, family, fqdns: fqdns as string[] };
  if (typeof prefix !== 'string' || parseCidr(prefix).family !== family)
    throw new TypeError(`the saved local identity ${id} has a wrong prefix`);
  return { id, family, prefix, fqdns: fqdns as string[] };
}

/**
 * Checks what `LocalIdentities.toJSON` gave in an earlier run.
 * @throws TypeError or UsageError when it is not such a value
 */
export function checkLocalIdentities(value: unknown): LocalIdentitiesJson {
  const { version, next, identities } = (value ?? {}) as Record<string, unknown>;
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
  return { version, next, identities: entries };
}
