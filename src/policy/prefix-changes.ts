import type { Cidr } from '../base/ip.ts';
import type { Identity } from '../model/identity.ts';

/** A prefix that the ipcache must name, unless an endpoint, a node or the cluster's own ranges have it. */
export interface PrefixIdentity {
  readonly prefix: Cidr;
  readonly identity: Identity;
}

/** What the ipcache must say of addresses of nodes that have labels. */
export interface NodeChanges {
  readonly upserts: readonly PrefixIdentity[];
  readonly deletes: readonly Cidr[];
}

export interface PrefixChanges {
  readonly upserts: readonly PrefixIdentity[];
  readonly deletes: readonly Cidr[];
  /** Of addresses of nodes; default none. */
  readonly nodes?: NodeChanges;
}
