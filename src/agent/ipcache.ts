import { formatCidr, parseCidr, parseIp } from '../base/ip.ts';
import type { Logger } from '../base/log.ts';
import type { Datapath, IpcacheEntry } from '../datapath/types.ts';
import { isLocalIdentity, type NumericIdentity, ReservedIdentity } from '../model/identity.ts';
import type { ClusterNode } from '../model/node.ts';
import type { IpIdentity } from '../store/types.ts';
import { AgentEventType, agentEvent, type EmitEvent } from './events.ts';

/** One line of the ipcache as the agent knows it. */
export interface IpcacheLine {
  readonly cidr: string;
  readonly identity: NumericIdentity;
  /** Address of the node behind which the prefix lies; undefined for this node's own. */
  readonly hostIp: string | undefined;
  readonly source: 'local' | 'kvstore' | 'node' | 'generated';
  /** `namespace/pod`, where known. */
  readonly owner: string | undefined;
}

export interface IpcacheDeps {
  readonly datapath: Pick<Datapath, 'upsertIpcache' | 'deleteIpcache' | 'readIpcache'>;
  readonly emit: EmitEvent;
  readonly log: Logger;
  /** The wanted entries differ from the written ones: `sync` should run soon. */
  readonly onDirty: () => void;
  /** Nodes have identities by their labels: their addresses wait for these, see `setNodeIdentity`. Default false. */
  readonly labelledNodes?: boolean;
  /** Whether every policy map knows the identity. */
  readonly mayName: (identity: NumericIdentity) => boolean;
}

/** What the datapath holds of one prefix. */
interface Written {
  readonly identity: NumericIdentity;
  readonly tunnel: string;
  readonly held: boolean;
  /** Undefined also where an earlier agent wrote it. */
  readonly owner: string | undefined;
}

/** Who wins when several sources tell of one prefix: what this node knows itself, then nodes, then the store, then rules. */
const RANK: Readonly<Record<IpcacheLine['source'], number>> = { local: 3, node: 2, kvstore: 1, generated: 0 };

/**
 * Which identity is behind which address: wanted entries by source, and what of them the datapath holds. `sync` writes
 * the difference, new entries before old ones go, so that an address never is without its identity in between.
 *
 * An identity that some policy map does not know yet is not named. Until it may be, an address that changes its labels
 * stays what it was, and one that came is held: nobody speaks with it, also not as the unknown or the world that it would
 * be otherwise.
 */
export class Ipcache {
  readonly #nodeName: string;
  readonly #deps: IpcacheDeps;
  /** cidr -> source and node -> line. */
  readonly #lines = new Map<string, Map<string, IpcacheLine>>();
  /** cidr -> what the datapath holds. */
  readonly #written = new Map<string, Written>();
  readonly #dirty = new Set<string>();
  /** Name of the node -> its addresses. */
  readonly #nodes = new Map<string, ReadonlySet<string>>();
  readonly #nodeIdentities = new Map<string, NumericIdentity>();
  #apiServers: ReadonlySet<string> = new Set();
  #complete = false;

  constructor(nodeName: string, deps: IpcacheDeps) {
    this.#nodeName = nodeName;
    this.#deps = deps;
  }

  /** Learns what an earlier agent left in the datapath. Nothing of it is removed before `allowRemoval`. */
  async adopt(): Promise<void> {
    for (const entry of await this.#deps.datapath.readIpcache()) {
      const cidr = formatCidr(entry.prefix);
      const { identity, held = false } = entry;
      const tunnel = entry.tunnelEndpoint?.join('.') ?? '';
      this.#written.set(cidr, { identity, tunnel, held, owner: undefined });
      this.#dirty.add(cidr);
    }
  }

  /** Every source has told its present state: entries that nobody wants may go from now on. */
  allowRemoval(): void {
    if (this.#complete) return;
    this.#complete = true;
    this.#deps.onDirty();
  }

  setLocal(cidr: string, identity: NumericIdentity, owner: string | undefined): void {
    this.#put(cidr, 'local', { cidr, identity, hostIp: undefined, source: 'local', owner });
  }

  removeLocal(cidr: string): void {
    this.#drop(cidr, 'local');
  }

  /** What the store says of an address. Its word on this node's own addresses does not count: the agent knows better. */
  setRemote(ip: IpIdentity): void {
    if (ip.node === this.#nodeName) return;
    const { cidr, identity, hostIp, owner } = ip;
    this.#put(cidr, `kvstore ${ip.node}`, { cidr, identity, hostIp, source: 'kvstore', owner });
  }

  removeRemote(cidr: string, node: string): void {
    this.#drop(cidr, `kvstore ${node}`);
  }

  /** What rules and names say of a prefix that lies in no pod range: it counts where nobody has an address of that name. */
  setPrefix(cidr: string, identity: NumericIdentity): void {
    this.#put(cidr, 'generated', {
      cidr,
      identity,
      hostIp: undefined,
      source: 'generated',
      owner: undefined,
    });
  }

  removePrefix(cidr: string): void {
    this.#drop(cidr, 'generated');
  }

  /** The identities that the datapath's ipcache names. */
  writtenIdentities(): ReadonlySet<NumericIdentity> {
    return new Set([...this.#written.values()].map(({ identity }) => identity));
  }

  /** The identities that the datapath's ipcache names, or is to name. */
  identities(): ReadonlySet<NumericIdentity> {
    return new Set([...this.writtenIdentities(), ...this.list().map(({ identity }) => identity)]);
  }

  /** Whether entries wait until their identity may be named. */
  get waits(): boolean {
    return [...this.#dirty].some((cidr) => {
      const line = this.get(cidr);
      return line !== undefined && this.#differs(line);
    });
  }

  /** Whether an endpoint or a node has this address. */
  isTaken(cidr: string): boolean {
    const line = this.get(cidr);
    return line !== undefined && line.source !== 'generated';
  }

  /** A node's own addresses: identity host for this one, for others remote-node, or that of their labels. */
  setNode(node: ClusterNode): void {
    const wanted = new Set(hostPrefixes(node));
    for (const cidr of this.#nodes.get(node.name) ?? [])
      if (!wanted.has(cidr)) this.#drop(cidr, `node ${node.name}`);
    this.#nodes.set(node.name, wanted);
    for (const cidr of wanted) this.#putNode(cidr, node.name);
  }

  removeNode(name: string): void {
    for (const cidr of this.#nodes.get(name) ?? []) this.#drop(cidr, `node ${name}`);
    this.#nodes.delete(name);
  }

  /** Which identity another node has at an address by its labels; the policy maps know it. */
  setNodeIdentity(cidr: string, identity: NumericIdentity): void {
    this.#nodeIdentities.set(cidr, identity);
    for (const [name, cidrs] of this.#nodes) if (cidrs.has(cidr)) this.#putNode(cidr, name);
  }

  removeNodeIdentity(cidr: string): void {
    this.#nodeIdentities.delete(cidr);
  }

  /** Addresses of the cluster's API server: nodes that have one are `kube-apiserver`. Text form. */
  setApiServers(addresses: readonly string[]): void {
    this.#apiServers = new Set(addresses.map((address) => formatCidr(parseCidr(address))));
    for (const [name, cidrs] of this.#nodes) for (const cidr of cidrs) this.#putNode(cidr, name);
  }

  /** The line that counts for a prefix. */
  get(cidr: string): IpcacheLine | undefined {
    const candidates = [...(this.#lines.get(cidr)?.values() ?? [])];
    return candidates.reduce<IpcacheLine | undefined>(
      (best, line) => (best === undefined || RANK[line.source] >= RANK[best.source] ? line : best),
      undefined,
    );
  }

  list(): readonly IpcacheLine[] {
    return [...this.#lines.keys()].map((cidr) => this.get(cidr)).filter((line) => line !== undefined);
  }

  /** Brings the datapath to the wanted entries; what failed, or may not be written yet, stays to be done. */
  async sync(): Promise<void> {
    const todo = [...this.#dirty];
    const lines = todo
      .map((cidr) => this.get(cidr))
      .filter((line) => line !== undefined)
      .filter((line) => this.#differs(line));
    const named = lines.filter((line) => this.#mayWrite(line));
    const held = lines.filter((line) => !this.#mayWrite(line) && this.#isToBeHeld(line));
    await this.#upsert(named, false);
    await this.#upsert(held, true);
    const gone = todo.filter((cidr) => this.get(cidr) === undefined && this.#written.has(cidr));
    if (this.#complete) await this.#delete(gone);
    for (const cidr of todo) if (this.#isSettled(cidr)) this.#dirty.delete(cidr);
  }

  #isSettled(cidr: string): boolean {
    const line = this.get(cidr);
    return line === undefined ? !this.#written.has(cidr) : !this.#differs(line);
  }

  #differs(line: IpcacheLine): boolean {
    const written = this.#written.get(line.cidr);
    return written?.identity !== line.identity || written.tunnel !== tunnelText(line) || written.held;
  }

  #mayWrite(line: IpcacheLine): boolean {
    const written = this.#written.get(line.cidr);
    const isNamed = written?.identity === line.identity && !written.held;
    return isNamed || this.#deps.mayName(line.identity);
  }

  /** Whether somebody else has the address now. Of the addresses of this node's endpoints the datapath asks the endpoints themselves. */
  #isToBeHeld(line: IpcacheLine): boolean {
    const written = this.#written.get(line.cidr);
    if (line.source === 'local' || written === undefined) return line.source !== 'local';
    if (written.held) return written.identity !== line.identity || written.tunnel !== tunnelText(line);
    const isOutside = isLocalIdentity(written.identity) || isWorld(written.identity);
    const isOther = written.owner !== undefined && written.owner !== line.owner;
    return isOutside || isOther || written.tunnel !== tunnelText(line);
  }

  async #upsert(lines: readonly IpcacheLine[], held: boolean): Promise<void> {
    if (lines.length === 0) return;
    await this.#deps.datapath.upsertIpcache(lines.map((line) => toEntry(line, held)));
    for (const line of lines) {
      const old = this.#written.get(line.cidr);
      const { identity, owner } = line;
      this.#written.set(line.cidr, { identity, tunnel: tunnelText(line), held, owner });
      if (held) continue;
      this.#deps.emit(
        agentEvent(AgentEventType.ipcacheUpserted, {
          cidr: line.cidr,
          id: line.identity,
          ...(old !== undefined && { 'old-id': old.identity }),
          ...(line.hostIp !== undefined && { 'host-ip': line.hostIp }),
        }),
      );
    }
  }

  async #delete(cidrs: readonly string[]): Promise<void> {
    if (cidrs.length === 0) return;
    await this.#deps.datapath.deleteIpcache(cidrs.map(parseCidr));
    for (const cidr of cidrs) {
      const old = this.#written.get(cidr);
      this.#written.delete(cidr);
      this.#deps.emit(agentEvent(AgentEventType.ipcacheDeleted, { cidr, id: old?.identity ?? 0 }));
    }
  }

  #put(cidr: string, key: string, line: IpcacheLine): void {
    const sources = this.#lines.get(cidr) ?? new Map<string, IpcacheLine>();
    sources.delete(key);
    sources.set(key, line);
    this.#lines.set(cidr, sources);
    this.#touch(cidr);
  }

  #putNode(cidr: string, owner: string): void {
    const identity = this.#identityOfNode(cidr, owner);
    const key = `node ${owner}`;
    if (identity === undefined || this.#lines.get(cidr)?.get(key)?.identity === identity) return;
    this.#put(cidr, key, { cidr, identity, hostIp: undefined, source: 'node', owner });
  }

  #identityOfNode(cidr: string, name: string): NumericIdentity | undefined {
    if (name === this.#nodeName) return ReservedIdentity.host;
    if (this.#deps.labelledNodes === true) return this.#nodeIdentities.get(cidr);
    return this.#apiServers.has(cidr) ? ReservedIdentity.kubeApiserver : ReservedIdentity.remoteNode;
  }

  #drop(cidr: string, key: string): void {
    const sources = this.#lines.get(cidr);
    if (sources?.delete(key) !== true) return;
    if (sources.size === 0) this.#lines.delete(cidr);
    this.#touch(cidr);
  }

  #touch(cidr: string): void {
    this.#dirty.add(cidr);
    this.#deps.onDirty();
  }
}

function isWorld(identity: NumericIdentity): boolean {
  const { world, worldIpv4, worldIpv6 } = ReservedIdentity;
  return identity === world || identity === worldIpv4 || identity === worldIpv6;
}

function hostPrefixes(node: ClusterNode): string[] {
  return [node.ipv4, node.ipv6].filter((ip) => ip !== undefined).map((ip) => formatCidr(parseCidr(ip)));
}

function tunnelText(line: IpcacheLine): string {
  return line.hostIp === undefined ? '' : parseIp(line.hostIp).join('.');
}

function toEntry(line: IpcacheLine, held: boolean): IpcacheEntry {
  return {
    ...(held && { held }),
    prefix: parseCidr(line.cidr),
    identity: line.identity,
    tunnelEndpoint: line.hostIp === undefined ? undefined : parseIp(line.hostIp),
  };
}
