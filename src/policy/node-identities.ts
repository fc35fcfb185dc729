import { type Cidr, formatCidr } from '../base/ip.ts';
import {
  type Identity,
  isNodeIdentity,
  NODE_IDENTITY_SCOPE,
  type NumericIdentity,
  ReservedIdentity,
} from '../model/identity.ts';
import { formatLabels, type Label, labelSet, labelSetText, parseLabels } from '../model/labels.ts';
import { IdentityNumbers, type NumberedEntry } from './identity-numbers.ts';
import { NamedPrefixes } from './named-prefixes.ts';
import type { NodeChanges, PrefixIdentity } from './prefix-changes.ts';
import { hostPrefix } from './prefix-set.ts';

/** A node of the cluster as rules see it. */
export interface PolicyNode {
  readonly isOwn: boolean;
  /** Text form. */
  readonly addresses: readonly string[];
  /** Labels of the node that its identity has beside those of every node; none where labels of nodes do not count. */
  readonly labels: readonly Label[];
}

/** The numbers of other nodes in the form in which they are kept across restarts. */
export interface NodeIdentitiesJson {
  /** The number that is tried first for the next new one. */
  readonly next: NumericIdentity;
  readonly identities: readonly { readonly id: NumericIdentity; readonly labels: readonly string[] }[];
}

type Entry = NumberedEntry<readonly string[]>;

const reserved = (key: string): Label => ({ source: 'reserved', key, value: '' });

/**
 * Identities of nodes. This one is `reserved:host` (1) with its labels; another one without labels is `remote-node` (6), or
 * `kube-apiserver` (7) at an address of the API server, which is not told here. Nodes with the same labels share a
 * number of this node, from 2^25 on, with the label `reserved:remote-node`; it comes and goes like those of prefixes.
 */
export class NodeIdentities {
  readonly #numbers: IdentityNumbers<readonly string[]>;
  #nodes: readonly PolicyNode[] = [];
  #apiServers: ReadonlySet<string> = new Set();
  #host: readonly Label[] = [reserved('host')];
  #hostChanged = false;
  /** Of host prefixes. */
  readonly #named = new NamedPrefixes<readonly string[]>();

  /** @param saved numbers of the last run: they stay in force until they are found unused and forgotten */
  constructor(saved?: NodeIdentitiesJson) {
    const options = {
      first: NODE_IDENTITY_SCOPE,
      keyOf: (texts: readonly string[]) => JSON.stringify(texts),
      labelsOf: (texts: readonly string[]) => parseLabels(texts),
    };
    const entries = saved?.identities.map(({ id, labels }) => ({ id, meaning: labels }));
    this.#numbers = new IdentityNumbers(options, saved && entries && { next: saved.next, entries });
  }

  /** Says which nodes there are, all of them. @throws UsageError IP_INVALID */
  setNodes(nodes: readonly PolicyNode[]): void {
    this.#nodes = nodes;
    this.#settle();
  }

  /** Says which addresses the API server of the cluster has, all of them. @throws UsageError IP_INVALID */
  setApiServers(addresses: readonly string[]): void {
    this.#apiServers = new Set(addresses.map((address) => formatCidr(hostPrefix(address))));
    this.#settle();
  }

  /** Identities that came to be, or have other labels, since the last call. */
  takeNew(): readonly Identity[] {
    const fresh = this.#numbers.takeNew();
    if (!this.#hostChanged) return fresh;
    this.#hostChanged = false;
    return [...fresh, { id: ReservedIdentity.host, labels: this.#host }];
  }

  prefixes(): readonly PrefixIdentity[] {
    return this.#named.all();
  }

  /** What changed of `prefixes()` since the last call. */
  takeChanges(): NodeChanges {
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

  toJSON(): NodeIdentitiesJson {
    const { next, entries } = this.#numbers.saved();
    return { next, identities: entries.map(({ id, meaning }) => ({ id, labels: meaning })) };
  }

  #settle(): void {
    this.#settleHost();
    const named = new Map<string, { prefix: Cidr; entry: Entry }>();
    for (const { isOwn, addresses, labels } of this.#nodes) {
      if (isOwn || labels.length === 0) continue;
      for (const address of addresses) {
        const prefix = hostPrefix(address);
        const text = formatCidr(prefix);
        named.set(text, { prefix, entry: this.#entryOf(text, labels) });
      }
    }
    this.#named.keepOnly(new Set(named.keys()));
    for (const [text, { prefix, entry }] of named) this.#named.set(text, prefix, entry);
  }

  /** It is one identity, whichever address of the node is meant: the labels of all of them are its. */
  #settleHost(): void {
    const own = this.#nodes.filter(({ isOwn }) => isOwn);
    const isApiServer = own.some(({ addresses }) =>
      addresses.some((address) => this.#apiServers.has(formatCidr(hostPrefix(address)))),
    );
    const labels = labelSet([
      ...own.flatMap((node) => node.labels),
      reserved('host'),
      ...(isApiServer ? [reserved('kube-apiserver')] : []),
    ]);
    if (labelSetText(labels) === labelSetText(this.#host)) return;
    this.#host = labels;
    this.#hostChanged = true;
  }

  #entryOf(text: string, labels: readonly Label[]): Entry {
    const all = [...labels, reserved('remote-node')];
    if (this.#apiServers.has(text)) all.push(reserved('kube-apiserver'));
    return this.#numbers.of(formatLabels(labelSet(all)));
  }
}

/**
 * Checks what `NodeIdentities.toJSON` gave in an earlier run.
 * @throws TypeError or LabelError when it is not such a value
 */
export function checkNodeIdentities(value: unknown): NodeIdentitiesJson {
  const { next, identities } = (value ?? {}) as Record<string, unknown>;
  if (typeof next !== 'number' || !Number.isInteger(next) || !isNodeIdentity(next))
    throw new TypeError('the saved identities of nodes have no next number');
  if (!Array.isArray(identities)) throw new TypeError('the saved identities of nodes have no list');
  const entries = identities.map((entry: unknown) => {
    const { id, labels } = (entry ?? {}) as Record<string, unknown>;
    if (typeof id !== 'number' || !Number.isInteger(id) || !isNodeIdentity(id))
      throw new TypeError(`the saved identities of nodes have the number ${String(id)}`);
    if (!Array.isArray(labels) || labels.some((label) => typeof label !== 'string'))
      throw new TypeError(`the saved identity ${id} of nodes has no labels`);
    return { id, labels: formatLabels(parseLabels(labels as string[])) };
  });
  const distinct = (keys: readonly unknown[]): boolean => new Set(keys).size === entries.length;
  if (!distinct(entries.map(({ id }) => id)) || !distinct(entries.map(({ labels }) => labels.join())))
    throw new TypeError('the saved identities of nodes give a number or a meaning twice');
  return { next, identities: entries };
}
