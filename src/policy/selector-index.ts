import type { Label } from '../model/labels.ts';
import type { KnownIdentity, PeerSelector } from './peer-selector.ts';
import { PrefixIndex } from './prefix-index.ts';

const labelText = (key: string, value: string): string => `${key}=${value}`;

/** The labels that a selector asks for, by which it can be found. */
function wantedLabels(peer: PeerSelector): readonly string[] {
  if (peer.kind !== 'labels' && peer.kind !== 'nodes') return [];
  return peer.selector.matchLabels.map(({ key, value }) => labelText(key, value));
}

/** Selectors by what they ask for, so that an identity meets only those which may pick it. */
export class SelectorIndex {
  /** Selectors by one of the labels that they ask for, whatever its source. */
  readonly #byLabel = new Map<string, Set<PeerSelector>>();
  readonly #byPrefix = new PrefixIndex<PeerSelector>();
  /** By the text of the name or pattern. */
  readonly #byName = new Map<string, PeerSelector>();
  /** Those that may pick anybody. */
  readonly #others = new Set<PeerSelector>();

  /** @param peer is the object to delete it by */
  add(peer: PeerSelector): void {
    if (peer.kind === 'fqdn') this.#byName.set(peer.name, peer);
    else if (peer.kind === 'cidr') for (const prefix of peer.prefixes) this.#byPrefix.add(prefix, peer);
    else this.#bucket(peer).add(peer);
  }

  delete(peer: PeerSelector): void {
    if (peer.kind === 'fqdn') this.#byName.delete(peer.name);
    else if (peer.kind === 'cidr') for (const prefix of peer.prefixes) this.#byPrefix.delete(prefix, peer);
    this.#others.delete(peer);
    for (const text of wantedLabels(peer)) {
      const bucket = this.#byLabel.get(text);
      if (bucket?.delete(peer) === true && bucket.size === 0) this.#byLabel.delete(text);
    }
  }

  /** The selectors that may pick an identity; the others do not. */
  candidates({ labels, prefix }: KnownIdentity): ReadonlySet<PeerSelector> {
    const found = new Set(this.#others);
    for (const label of labels) this.#addByLabel(found, label);
    if (prefix !== undefined) for (const peer of this.#byPrefix.around(prefix)) found.add(peer);
    return found;
  }

  #addByLabel(found: Set<PeerSelector>, { source, key, value }: Label): void {
    for (const peer of this.#byLabel.get(labelText(key, value)) ?? []) found.add(peer);
    const named = source === 'fqdn' ? this.#byName.get(key) : undefined;
    if (named !== undefined) found.add(named);
  }

  /** The label that the fewest others go by: the namespace is nearly everybody's. */
  #bucket(peer: PeerSelector): Set<PeerSelector> {
    let fewest: { readonly text: string; readonly bucket: Set<PeerSelector> } | undefined;
    for (const text of wantedLabels(peer)) {
      const bucket = this.#byLabel.get(text) ?? new Set();
      if (fewest === undefined || bucket.size < fewest.bucket.size) fewest = { text, bucket };
    }
    if (fewest === undefined) return this.#others;
    this.#byLabel.set(fewest.text, fewest.bucket);
    return fewest.bucket;
  }
}
