import { formatCidr, parseCidr } from '../base/ip.ts';
import type { Logger } from '../base/log.ts';
import type { Identity, NumericIdentity } from '../model/identity.ts';
import type { ClusterNode } from '../model/node.ts';
import type { IpIdentity, Store, StoreChange } from '../store/types.ts';
import type { Controllers } from './controllers.ts';
import type { Ipcache } from './ipcache.ts';
import type { NetworkSetup } from './network-setup.ts';
import type { PolicyManager } from './policy-manager.ts';

export interface ClusterSyncDeps {
  readonly store: Store;
  readonly ipcache: Ipcache;
  readonly policy: PolicyManager;
  readonly network: NetworkSetup;
  readonly controllers: Controllers;
  readonly log: Logger;
  /** The addresses that this node publishes, now. */
  readonly ownIps: () => readonly IpIdentity[];
}

const STORE_RETRY_MS = 1_000;
/** The store forgets nothing by itself; this finds what somebody else removed or a replaced file lost. */
const REPUBLISH_MS = 60_000;

/** Carries the cluster's shared state into this node (ipcache, selectors, routes), and this node's into the cluster. */
export class ClusterSync {
  readonly #deps: ClusterSyncDeps;
  readonly #self: () => ClusterNode;
  readonly #nodes = new Map<string, ClusterNode>();
  readonly #publishIps: { trigger(): Promise<void> };
  readonly #publishNode: { trigger(): Promise<void> };
  readonly #syncRoutes: { trigger(): Promise<void> };
  readonly #connect: { trigger(): Promise<void> };
  readonly #syncIpcache: { trigger(): Promise<void> };
  #endWatch: (() => void) | undefined;
  #storeSeen = false;
  #ownKnown = false;

  constructor(self: () => ClusterNode, deps: ClusterSyncDeps) {
    this.#self = self;
    this.#deps = deps;
    const { controllers, store, network, ipcache } = deps;
    const name = (): string => self().name;
    this.#connect = controllers.add({
      name: 'store-connect',
      run: () => this.#connectStore(),
      retryBaseMs: STORE_RETRY_MS,
    });
    this.#publishNode = controllers.add({
      name: 'propagating local node change to store',
      run: () => store.putNode(self()),
      intervalMs: REPUBLISH_MS,
    });
    this.#publishIps = controllers.add({
      name: 'sync-address-identity-mapping',
      run: () => store.replaceIps(name(), deps.ownIps()),
      intervalMs: REPUBLISH_MS,
    });
    this.#syncRoutes = controllers.add({
      name: 'sync-node-routes',
      run: () => network.syncNodes(this.others()),
      intervalMs: REPUBLISH_MS,
    });
    this.#syncIpcache = controllers.add({
      name: 'sync-ipcache',
      run: () => ipcache.sync(),
      intervalMs: REPUBLISH_MS,
    });
  }

  /** Begins to follow the store; returns at once when it is away and goes on trying. */
  async start(): Promise<void> {
    this.#deps.ipcache.setNode(this.#self());
    await this.#connect.trigger().catch(() => undefined);
  }

  /** This node's own endpoints are found again: their addresses are in the ipcache. */
  ownEndpointsKnown(): void {
    this.#ownKnown = true;
    this.#allowRemoval();
  }

  stop(): void {
    this.#endWatch?.();
    this.#endWatch = undefined;
  }

  /** Every known node, this one first. */
  nodes(): readonly ClusterNode[] {
    return [this.#self(), ...this.others()];
  }

  others(): readonly ClusterNode[] {
    const self = this.#self().name;
    return [...this.#nodes.values()].filter((node) => node.name !== self);
  }

  /** Settles when this node's addresses, as they are now, are in the store. */
  publishIps(): Promise<void> {
    return this.#publishIps.trigger();
  }

  publishNode(): Promise<void> {
    this.#deps.ipcache.setNode(this.#self());
    return this.#publishNode.trigger();
  }

  syncIpcache(): Promise<void> {
    return this.#syncIpcache.trigger();
  }

  /** What an earlier agent left in the ipcache goes only when everybody has told what they still want. */
  #allowRemoval(): void {
    if (this.#storeSeen && this.#ownKnown) this.#deps.ipcache.allowRemoval();
  }

  async #connectStore(): Promise<void> {
    const { store } = this.#deps;
    await store.start();
    if (this.#endWatch !== undefined) return;
    this.#endWatch = await store.watch((changes, initial) => {
      this.#apply(changes);
      if (initial) this.#storeSeen = true;
      this.#allowRemoval();
    });
  }

  #apply(changes: readonly StoreChange[]): void {
    const upserts: Identity[] = [];
    const deletes: NumericIdentity[] = [];
    let nodesChanged = false;
    for (const change of changes) {
      switch (change.kind) {
        case 'identity-upsert':
          upserts.push(change.identity);
          break;
        case 'identity-delete':
          deletes.push(change.id);
          break;
        default:
          nodesChanged = this.#applyPlace(change) || nodesChanged;
      }
    }
    // Before the addresses reach the datapath their identities must be in the policy maps of this node's endpoints.
    if (upserts.length > 0 || deletes.length > 0) this.#deps.policy.updateIdentities({ upserts, deletes });
    if (nodesChanged) void this.#syncRoutes.trigger();
  }

  /** @returns whether the nodes changed */
  #applyPlace(change: Exclude<StoreChange, { kind: 'identity-upsert' | 'identity-delete' }>): boolean {
    const { ipcache } = this.#deps;
    switch (change.kind) {
      case 'ip-upsert':
        ipcache.setRemote({ ...change.ip, cidr: formatCidr(parseCidr(change.ip.cidr)) });
        return false;
      case 'ip-delete':
        ipcache.removeRemote(formatCidr(parseCidr(change.cidr)), change.node);
        return false;
      case 'node-upsert':
        this.#nodes.set(change.node.name, change.node);
        if (change.node.name !== this.#self().name) ipcache.setNode(change.node);
        return true;
      case 'node-delete':
        this.#nodes.delete(change.name);
        if (change.name !== this.#self().name) ipcache.removeNode(change.name);
        return true;
    }
  }
}
