import { SystemError } from '../base/errors.ts';
import { type Cidr, parseCidr } from '../base/ip.ts';
import type { Logger } from '../base/log.ts';
import { type Identity, isAllocatedIdentity, type NumericIdentity } from '../model/identity.ts';
import type { Label } from '../model/labels.ts';
import type { NamedPort } from '../model/named-port.ts';
import type { ClusterNode } from '../model/node.ts';
import type { PolicyNode } from '../policy/index.ts';
import type { IpIdentity, Store, StoreChange } from '../store/types.ts';
import type { Controllers } from './controllers.ts';
import type { Ipcache } from './ipcache.ts';
import type { NetworkSetup } from './network-setup.ts';
import { PeerRecords } from './peer-records.ts';
import type { PolicyManager } from './policy-manager.ts';
import type { ServicePod } from './services/object-services.ts';

export interface ClusterSyncDeps {
  readonly store: Store;
  readonly ipcache: Ipcache;
  readonly policy: PolicyManager;
  readonly network: NetworkSetup;
  readonly controllers: Controllers;
  readonly log: Logger;
  /** The addresses that this node publishes, now. */
  readonly ownIps: () => readonly IpIdentity[];
  /** The named ports of other nodes' endpoints are others now. */
  /** Endpoints of other nodes changed, or all are known now. */
  readonly onEndpoints: () => void;
  readonly onNamedPorts: (ports: readonly NamedPort[]) => void;
  /** Ranges of all nodes' endpoints, as configured. */
  readonly clusterCidrs: readonly Cidr[];
  /** Nodes as rules see them. */
  readonly policyNodes: (nodes: readonly ClusterNode[]) => readonly PolicyNode[];
}

const STORE_RETRY_MS = 1_000;
/** The store forgets nothing by itself; this finds what somebody else removed or a replaced file lost. */
const REPUBLISH_MS = 60_000;
/** How many refused records a message names. */
const REFUSALS_SHOWN = 5;

/** Carries the cluster's shared state into this node (ipcache, selectors, routes), and this node's into the cluster. */
export class ClusterSync {
  readonly #deps: ClusterSyncDeps;
  readonly #self: () => ClusterNode;
  readonly #peers: PeerRecords;
  readonly #publishIps: { trigger(): Promise<void> };
  readonly #publishNode: { trigger(): Promise<void> };
  readonly #syncRoutes: { trigger(): Promise<void> };
  readonly #connect: { trigger(): Promise<void> };
  readonly #syncIpcache: { trigger(): Promise<void> };
  readonly #checkPeers: { trigger(): Promise<void> };
  /** Labels of the identities that are believed. */
  readonly #labels = new Map<NumericIdentity, readonly Label[]>();
  #refusals = '';
  #endWatch: (() => void) | undefined;
  #storeSeen = false;
  #ownKnown = false;

  constructor(self: () => ClusterNode, deps: ClusterSyncDeps) {
    this.#self = self;
    this.#deps = deps;
    const { controllers, store, network, ipcache, clusterCidrs } = deps;
    this.#peers = new PeerRecords({ self, clusterCidrs }, ipcache);
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
      run: async () => {
        await ipcache.sync();
        this.#deps.policy.ipcacheWritten();
      },
      intervalMs: REPUBLISH_MS,
    });
    this.#checkPeers = controllers.add({
      name: 'check-peer-records',
      run: () => this.#reportRefusals(),
      retryBaseMs: REPUBLISH_MS,
    });
  }

  /** Begins to follow the store; returns at once when it is away and goes on trying. */
  async start(): Promise<void> {
    this.#deps.ipcache.setNode(this.#self());
    void this.#tellNodes();
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
    return this.#peers.nodes();
  }

  /** Whether all endpoints of the cluster are known, this node's own included. */
  get endpointsKnown(): boolean {
    return this.#storeSeen && this.#ownKnown;
  }

  /** The addresses of other nodes' endpoints, with their labels and named ports. */
  *otherEndpoints(): Iterable<ServicePod> {
    for (const { cidr, identity, namedPorts = [] } of this.#peers.ips()) {
      const labels = this.#labels.get(identity);
      if (labels !== undefined)
        yield { labels, addresses: [parseCidr(cidr).bytes], namedPorts, isOwn: false };
    }
  }

  /** The node, this one included, whose own address this is, or another node in whose range it lies. */
  holderOf(ip: string): string | undefined {
    return this.#peers.holderOf(ip);
  }

  /** Settles when this node's addresses, as they are now, are in the store. */
  publishIps(): Promise<void> {
    return this.#publishIps.trigger();
  }

  publishNode(): Promise<void> {
    this.#deps.ipcache.setNode(this.#self());
    void this.#tellNodes();
    return this.#publishNode.trigger();
  }

  syncIpcache(): Promise<void> {
    return this.#syncIpcache.trigger();
  }

  /** What an earlier agent left in the ipcache goes only when everybody has told what they still want. */
  #allowRemoval(): void {
    if (!this.endpointsKnown) return;
    this.#deps.ipcache.allowRemoval();
    this.#deps.onEndpoints();
  }

  async #connectStore(): Promise<void> {
    const { store } = this.#deps;
    await store.start();
    if (this.#endWatch !== undefined) return;
    this.#endWatch = await store.watch((changes, initial) => {
      const done = this.#apply(changes);
      // What an earlier agent wrote of the nodes stays until they have their identities.
      void done.then(() => {
        if (initial) this.#storeSeen = true;
        this.#allowRemoval();
      });
    });
  }

  #tellNodes(): Promise<void> {
    return this.#deps.policy.setNodes(this.#deps.policyNodes(this.nodes()));
  }

  /** Settles when the nodes that it is about have their identities. */
  #apply(changes: readonly StoreChange[]): Promise<void> {
    const upserts: Identity[] = [];
    const deletes: NumericIdentity[] = [];
    const places: Exclude<StoreChange, { kind: 'identity-upsert' | 'identity-delete' }>[] = [];
    for (const change of changes) {
      if (change.kind === 'identity-upsert') upserts.push(change.identity);
      else if (change.kind === 'identity-delete') deletes.push(change.id);
      else places.push(change);
    }
    // Their addresses, which may be told before them, wait in the ipcache until every policy map knows the identities.
    if (upserts.length > 0 || deletes.length > 0) {
      const credible = this.#peers.credible(upserts);
      for (const id of deletes) this.#labels.delete(id);
      for (const { id, labels } of credible) this.#labels.set(id, labels);
      this.#deps.policy.updateIdentities({
        upserts: credible,
        deletes: deletes.filter(isAllocatedIdentity),
      });
    }
    const moved = this.#peers.apply(places);
    if (moved) void this.#syncRoutes.trigger();
    const ports = this.#peers.takeNamedPorts();
    if (ports !== undefined) this.#deps.onNamedPorts(ports);
    this.#watchRefusals();
    return moved ? this.#tellNodes() : Promise.resolve();
  }

  #watchRefusals(): void {
    const refusals = this.#peers.refusals().join('\n');
    if (refusals === this.#refusals) return;
    this.#refusals = refusals;
    void this.#checkPeers.trigger();
  }

  /** A failing controller is what `status` shows until the records are mended. */
  async #reportRefusals(): Promise<void> {
    const refusals = this.#peers.refusals();
    if (refusals.length === 0) return;
    const more = refusals.length > REFUSALS_SHOWN ? '; ...' : '';
    throw new SystemError(
      `${refusals.length} records of the store are not believed: ${refusals.slice(0, REFUSALS_SHOWN).join('; ')}${more}`,
      { code: 'PEER_RECORD_REFUSED' },
    );
  }
}
