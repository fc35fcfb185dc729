import type { Identity, NumericIdentity } from '../model/identity.ts';
import type { Label } from '../model/labels.ts';
import type { NamedPort } from '../model/named-port.ts';
import type { ClusterNode } from '../model/node.ts';

/** Which identity an endpoint's address has, and behind which node it lies. */
export interface IpIdentity {
  /** Address or prefix in text form, `10.0.0.1/32`. */
  readonly cidr: string;
  readonly identity: NumericIdentity;
  /** Name of the node that published it. */
  readonly node: string;
  /** Address of that node, in text form. */
  readonly hostIp: string;
  /** `namespace/pod` where known. */
  readonly owner?: string | undefined;
  /** Ports that the endpoint gave names. */
  readonly namedPorts?: readonly NamedPort[] | undefined;
}

export type StoreChange =
  | { readonly kind: 'node-upsert'; readonly node: ClusterNode }
  | { readonly kind: 'node-delete'; readonly name: string }
  | { readonly kind: 'identity-upsert'; readonly identity: Identity }
  | { readonly kind: 'identity-delete'; readonly id: NumericIdentity }
  | { readonly kind: 'ip-upsert'; readonly ip: IpIdentity }
  | { readonly kind: 'ip-delete'; readonly cidr: string; readonly node: string };

/** State of the connection, for `status`. */
export interface StoreStatus {
  readonly state: 'Ok' | 'Warning' | 'Failure' | 'Disabled';
  readonly message: string;
}

/** Where a store says what it noticed by itself: a file set aside, a backend that went away or came back. */
export interface StoreLog {
  info(message: string): void;
  warn(message: string): void;
}

/**
 * State that the nodes of a cluster share. A backend that is away stops nothing that already runs: reads answer from
 * the last view, writes reject with STORE_UNAVAILABLE and may be tried again.
 */
export interface Store {
  readonly kind: 'local' | 'etcd' | 'kubernetes';
  start(): Promise<void>;
  /** Releases everything. May be called twice. */
  stop(): Promise<void>;
  status(): StoreStatus;
  /** The identity of a label set (sorted by source and key), allocated if it is new; the same for every caller. */
  allocateIdentity(labels: readonly Label[]): Promise<Identity>;
  getIdentity(id: NumericIdentity): Promise<Identity | undefined>;
  listIdentities(): Promise<readonly Identity[]>;
  putNode(node: ClusterNode): Promise<void>;
  deleteNode(name: string): Promise<void>;
  listNodes(): Promise<readonly ClusterNode[]>;
  putIps(ips: readonly IpIdentity[]): Promise<void>;
  deleteIps(cidrs: readonly string[], node: string): Promise<void>;
  /** Makes `ips` the whole set that `node` publishes: what a restarted agent calls. Unchanged ones are not told anew. */
  replaceIps(node: string, ips: readonly IpIdentity[]): Promise<void>;
  listIps(): Promise<readonly IpIdentity[]>;
  /**
   * Calls back with the whole present state first (`initial` true) and with each batch of changes after it.
   * Changes are never missed; one may be told twice.
   * @returns a function that ends the watch
   */
  watch(listener: (changes: readonly StoreChange[], initial: boolean) => void): Promise<() => void>;
}
