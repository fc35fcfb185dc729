import type { Identity, NumericIdentity } from '../model/identity.ts';
import type { DnsPattern, L7Policy } from '../model/l7.ts';
import type { MapStateDiff } from '../model/map-state.ts';
import type { NamedPort } from '../model/named-port.ts';
import type { PolicyInventory } from '../model/policy-inventory.ts';
import type { LocalIdentitiesJson } from './local-identities.ts';
import type { PolicyNode } from './node-identities.ts';
import type { PrefixChanges, PrefixIdentity } from './prefix-changes.ts';
import type { PolicySnapshot } from './repository.ts';
import type { ResolvedPolicy, ResolveOptions } from './resolve.ts';
import type { IdentityChanges, SelectorUse } from './selector-cache.ts';

/** The policy of a subject changed. */
export interface PolicyUpdate {
  readonly subject: NumericIdentity;
  /** Named ports of the endpoints that it is for; those of other endpoints of the subject have updates of their own. */
  readonly namedPorts: readonly NamedPort[];
  readonly policy: ResolvedPolicy;
  /** Why the policy could not be worked out: `policy` lets nothing pass then, and `resolve` tries again. */
  readonly failure?: unknown;
  /** From the policy that the subject had before. */
  readonly diff: MapStateDiff;
  /** What the proxy must know of the subject is another thing now, see `PolicyEngine.l7Policy`. */
  readonly l7Changed: boolean;
}

/** A selector of `toFQDNs` in use. `text` names it in `setFqdnAddresses` and in labels: the name or the pattern. */
export interface FqdnSelector {
  readonly text: string;
  readonly pattern: DnsPattern;
}

/**
 * The policies of the subjects of one node. Each method that changes something tells which policies of followed
 * subjects changed; nothing of it is in force before the caller wrote it. With a change, in this order:
 * 1. keep `localIdentities()` on disk if `takePrefixChanges` has anything;
 * 2. send `l7Policy()` to the proxy if any `l7Changed`;
 * 3. write the map states of all updates, so that every map knows the new identities;
 * 4. write the prefix changes to the ipcache: upserts, then deletes;
 * 5. `release(releasable())`, and write those updates.
 */
export interface PolicyEngine {
  /** The revision whose rules the policies follow; 0 before the first `setRules`. */
  readonly revision: number;
  /** The subject's policy; the same object as long as it does not change. The subject is followed from now on. */
  resolve(subject: Identity, namedPorts?: readonly NamedPort[]): ResolvedPolicy;
  /** Stops following a subject: no endpoint has it any more. */
  forget(subject: NumericIdentity): void;
  setRules(snapshot: PolicySnapshot): readonly PolicyUpdate[];
  setOptions(options: Partial<ResolveOptions>): readonly PolicyUpdate[];
  updateIdentities(changes: IdentityChanges): readonly PolicyUpdate[];
  /** CIDR groups and services that rules name, all of them. */
  setInventory(inventory: PolicyInventory): readonly PolicyUpdate[];
  /** Addresses of the cluster's API server, as configured and by the inventory. Text form. */
  apiServers(): readonly string[];
  /** The nodes of the cluster, all of them. */
  setNodes(nodes: readonly PolicyNode[]): readonly PolicyUpdate[];
  /** The named ports of all endpoints of the cluster: what egress rules mean by a name. */
  setNamedPorts(ports: readonly NamedPort[]): readonly PolicyUpdate[];
  /** What is known of addresses: text of the address -> texts of the FQDN selectors that it matches; an empty set forgets it. */
  setFqdnAddresses(changes: ReadonlyMap<string, ReadonlySet<string>>): readonly PolicyUpdate[];
  /** Ascending by text. */
  fqdnSelectors(): readonly FqdnSelector[];
  /** The selectors of peers in use. */
  selectors(): readonly SelectorUse[];
  /** Every prefix and address that the ipcache must name now; addresses of nodes with labels last. */
  prefixes(): readonly PrefixIdentity[];
  /** What changed of `prefixes()` since the last call. */
  takePrefixChanges(): PrefixChanges;
  /** Local identities that `prefixes()` no longer names; policies still hold them. */
  releasable(): readonly NumericIdentity[];
  /** The ipcache no longer names these: policies lose them. Those that are in use again stay. */
  release(ids: readonly NumericIdentity[]): readonly PolicyUpdate[];
  /** The numbers of prefixes, names and nodes, to be kept before they are used. */
  localIdentities(): LocalIdentitiesJson;
  /** What the proxy must know of the followed subjects. */
  l7Policy(): L7Policy;
}
