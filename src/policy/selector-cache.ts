import {
  type Identity,
  type NumericIdentity,
  RESERVED_IDENTITIES,
  ReservedIdentity,
} from '../model/identity.ts';
import { type KnownIdentity, knownIdentity, matchesPeer, type PeerSelector } from './peer-selector.ts';
import { PrefixIndex } from './prefix-index.ts';
import { SelectorIndex } from './selector-index.ts';

export interface IdentityChanges {
  readonly upserts?: readonly Identity[];
  readonly deletes?: readonly NumericIdentity[];
}

/** What a change of identities did to one selector. */
export interface SelectorDelta {
  readonly added: readonly NumericIdentity[];
  readonly removed: readonly NumericIdentity[];
}

/** One selector in use, as the API lists it. */
export interface SelectorUse {
  readonly peer: PeerSelector;
  /** Ascending. */
  readonly identities: readonly NumericIdentity[];
  /** How often it is held. */
  readonly users: number;
}

interface Entry {
  readonly peer: PeerSelector;
  readonly identities: Set<NumericIdentity>;
  users: number;
}

interface MutableDelta {
  readonly added: NumericIdentity[];
  readonly removed: NumericIdentity[];
}

const labelIndexKey = (key: string, value: string): string => `${key}=${value}`;

/**
 * Which identities each selector in use picks, kept up to date as identities come and go. The reserved identities
 * are always there; identity 0 never is.
 */
export class SelectorCache {
  readonly #clusterName: string;
  readonly #identities = new Map<NumericIdentity, KnownIdentity>();
  /** Those that stand for addresses outside: the only ones that prefixes pick. */
  readonly #byPrefix = new PrefixIndex<NumericIdentity>();
  /** `key=value` of a label -> identities that have it, whatever its source. */
  readonly #byLabel = new Map<string, Set<NumericIdentity>>();
  readonly #selectors = new Map<string, Entry>();
  readonly #index = new SelectorIndex();

  constructor(options: { readonly clusterName: string }) {
    this.#clusterName = options.clusterName;
    for (const identity of RESERVED_IDENTITIES) {
      if (identity.id !== ReservedIdentity.unknown) this.#enter(identity);
    }
  }

  identity(id: NumericIdentity): Identity | undefined {
    return this.#identities.get(id);
  }

  get size(): number {
    return this.#identities.size;
  }

  /** Takes a selector into use, or holds it once more. */
  acquire(peer: PeerSelector): void {
    if (peer.kind === 'every') return;
    const held = this.#selectors.get(peer.text);
    if (held !== undefined) {
      held.users++;
      return;
    }
    const identities = new Set<NumericIdentity>();
    for (const id of this.#candidates(peer)) {
      const identity = this.#identities.get(id);
      if (identity !== undefined && matchesPeer(peer, identity, this.#clusterName)) identities.add(id);
    }
    this.#selectors.set(peer.text, { peer, identities, users: 1 });
    this.#index.add(peer);
  }

  /** Gives up one hold; the last one forgets the selector. */
  release(peer: PeerSelector): void {
    const held = this.#selectors.get(peer.text);
    if (held === undefined) return;
    held.users--;
    if (held.users > 0) return;
    this.#selectors.delete(peer.text);
    this.#index.delete(held.peer);
  }

  /** The identities that a selector in use picks; empty for one that is not in use. */
  identitiesOf(peer: PeerSelector): ReadonlySet<NumericIdentity> {
    return this.#selectors.get(peer.text)?.identities ?? new Set();
  }

  selectors(): readonly SelectorUse[] {
    return [...this.#selectors.values()].map(({ peer, identities, users }) => ({
      peer,
      users,
      identities: [...identities].sort((a, b) => a - b),
    }));
  }

  /**
   * Takes over identities that came, changed their labels or went.
   * @returns by selector text, what that added and removed; only selectors that changed
   */
  update(changes: IdentityChanges): ReadonlyMap<string, SelectorDelta> {
    const deltas = new Map<string, MutableDelta>();
    for (const id of changes.deletes ?? []) this.#remove(id, deltas);
    for (const identity of changes.upserts ?? []) this.#upsert(identity, deltas);
    return deltas;
  }

  /** Only selectors that may pick the identity, or could before, are looked at. */
  #upsert(identity: Identity, deltas: Map<string, MutableDelta>): void {
    if (identity.id === ReservedIdentity.unknown) return;
    const before = this.#leave(identity.id);
    const known = this.#enter(identity);
    for (const peer of new Set([...before, ...this.#index.candidates(known)]))
      this.#note(deltas, peer, identity.id, matchesPeer(peer, known, this.#clusterName));
  }

  #remove(id: NumericIdentity, deltas: Map<string, MutableDelta>): void {
    for (const peer of this.#leave(id)) this.#note(deltas, peer, id, false);
  }

  #note(
    deltas: Map<string, MutableDelta>,
    { text }: PeerSelector,
    id: NumericIdentity,
    matches: boolean,
  ): void {
    const entry = this.#selectors.get(text);
    if (entry === undefined || entry.identities.has(id) === matches) return;
    const delta = deltas.get(text) ?? { added: [], removed: [] };
    deltas.set(text, delta);
    if (matches) {
      entry.identities.add(id);
      delta.added.push(id);
    } else {
      entry.identities.delete(id);
      delta.removed.push(id);
    }
  }

  /** The fewest identities among which the selector's can be: those with its rarest label. */
  #candidates(peer: PeerSelector): Iterable<NumericIdentity> {
    const all = this.#identities;
    if (peer.kind === 'fqdn') return this.#byLabel.get(labelIndexKey(peer.name, '')) ?? [];
    if (peer.kind === 'cidr') return peer.prefixes.flatMap((prefix) => [...this.#byPrefix.within(prefix)]);
    if (peer.kind !== 'labels' || peer.selector.matchLabels.length === 0) return all.keys();
    let rarest: ReadonlySet<NumericIdentity> | undefined;
    for (const part of peer.selector.matchLabels) {
      const having = this.#byLabel.get(labelIndexKey(part.key, part.value)) ?? new Set();
      if (rarest === undefined || having.size < rarest.size) rarest = having;
    }
    return rarest ?? all.keys();
  }

  #enter(identity: Identity): KnownIdentity {
    const known = knownIdentity(identity);
    this.#identities.set(identity.id, known);
    if (known.prefix !== undefined) this.#byPrefix.add(known.prefix, identity.id);
    for (const { key, value } of known.labels) {
      const text = labelIndexKey(key, value);
      const having = this.#byLabel.get(text) ?? new Set();
      having.add(identity.id);
      this.#byLabel.set(text, having);
    }
    return known;
  }

  /** @returns the selectors that could have picked it */
  #leave(id: NumericIdentity): ReadonlySet<PeerSelector> {
    const known = this.#identities.get(id);
    if (known === undefined) return new Set();
    for (const { key, value } of known.labels) {
      const text = labelIndexKey(key, value);
      const having = this.#byLabel.get(text);
      having?.delete(id);
      if (having?.size === 0) this.#byLabel.delete(text);
    }
    this.#identities.delete(id);
    if (known.prefix !== undefined) this.#byPrefix.delete(known.prefix, id);
    return this.#index.candidates(known);
  }
}
