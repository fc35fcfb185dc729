import type { Cidr, IpBytes } from '../base/ip.ts';
import type { MonitorEvent } from '../model/event.ts';
import type { NumericIdentity } from '../model/identity.ts';
import type { MapState } from '../model/map-state.ts';
import type { Service, ServiceFrontend } from '../model/service.ts';

/** 6 bytes in transmission order. */
export type MacBytes = Uint8Array;

/** What the datapath must know of an endpoint of this node. */
export interface DatapathEndpoint {
  /** 1..65535, local to the node. */
  readonly id: number;
  readonly identity: NumericIdentity;
  /** Host side of the veth pair. */
  readonly ifindex: number;
  readonly ifname: string;
  /** MAC of the container side. */
  readonly mac: MacBytes;
  /** MAC of the host side: what the container sees as its gateway. */
  readonly hostMac: MacBytes;
  readonly ipv4: IpBytes | undefined;
  readonly ipv6: IpBytes | undefined;
}

/** Which directions drop what no entry allows. */
export interface Enforcement {
  readonly ingress: boolean;
  readonly egress: boolean;
}

/** What is switched together with a policy. */
export interface PolicySwitch extends Enforcement {
  /** The endpoint's identity from then on; default: as before. */
  readonly identity?: NumericIdentity | undefined;
}

/** The node's own policy, with which it is switched. */
export interface HostSwitch extends Enforcement {
  /** Number of the node's own endpoint. */
  readonly id: number;
  /** What it refuses is told, and passes. */
  readonly audit: boolean;
}

export interface HostPolicy extends HostSwitch {
  readonly state: MapState;
}

export interface IpcacheEntry {
  readonly prefix: Cidr;
  readonly identity: NumericIdentity;
  /** Address of the node behind which the prefix lies; undefined for local and outside prefixes. */
  readonly tunnelEndpoint: IpBytes | undefined;
  /** No endpoint speaks with the prefix: not every policy map knows its identity yet. Default: they do. */
  readonly held?: boolean | undefined;
}

/** The node's own facts, load-time constants of the programs or map entries. */
export interface DatapathNode {
  /** Addresses of this node (identity host). */
  readonly addresses: readonly IpBytes[];
  /** Ranges from which endpoints of the whole cluster take addresses: an address inside that the ipcache lacks is identity 0. */
  readonly podCidrs: readonly Cidr[];
  /** Devices to other nodes, by name; the programs of node-to-node traffic are attached to each. */
  readonly devices: readonly string[];
  /** Address that endpoints use as their gateway. */
  readonly routerIpv4: IpBytes | undefined;
  readonly routerIpv6: IpBytes | undefined;
}

export interface DatapathStartResult {
  /** Endpoints that the pinned maps still hold and whose links still enforce. */
  readonly endpoints: readonly DatapathEndpoint[];
  /** Whether pinned maps of an earlier agent were taken over. */
  readonly adopted: boolean;
}

/** One counter of the metrics map. */
export interface DatapathCounter {
  /** 0 forwarded, 130.. drop reasons. */
  readonly reason: number;
  readonly direction: 'ingress' | 'egress' | 'service';
  readonly packets: bigint;
  readonly bytes: bigint;
}

/** New flows that a rule decided, by what it said of them; a denied one counts with every packet that tries to open it. */
export interface RuleConnections {
  readonly allowed: number;
  readonly denied: number;
  readonly redirected: number;
}

/** Stands for the rules for which there was no room to count, in the same table: no rule has this id. */
export const UNCOUNTED_RULES = 0;

/** Of a rule that decided nothing yet. */
export const NO_CONNECTIONS: RuleConnections = { allowed: 0, denied: 0, redirected: 0 };

export interface MapUsage {
  readonly name: string;
  readonly path: string;
  readonly entries: number;
  readonly maxEntries: number;
  /** Failed writes since the agent started. */
  readonly errors: number;
}

/** Descriptors of maps that tell of flows, for a process that inherits them. Whoever asked for them closes them. */
export interface ConntrackDescriptors {
  /** Read-only. */
  readonly ipv4: number;
  readonly ipv6: number;
  /** By which an entry of the conntrack maps can be told to be out of date; nothing but the proxy rests on it. */
  readonly epochs: number;
  /** Another text when they are other maps than before. */
  readonly id: string;
}

/** A service as the kernel holds it: what it does, without names. Read back, it has its active backends only. */
export type KernelService = Omit<Service, 'name' | 'namespace' | 'onlyLocal'>;

/** Who is told what the programs saw. */
export interface EventTaker {
  /** A batch, one call a wake-up. Lost ones arrive as `lost` events. */
  take(events: readonly MonitorEvent[]): void;
  /** Asked for each batch: a flood of denied packets is not decoded for nobody. They are counted in any case. */
  wantsDrops(): boolean;
}

/**
 * The enforcing datapath of one node. `none` implements the same interface and enforces nothing, and says so.
 * Nothing passes an endpoint between `attachEndpoint` and its first `applyPolicy`.
 */
export interface Datapath {
  readonly kind: 'bpf' | 'none';
  /** Loads programs, takes over pinned maps and replaces programs on pinned links atomically. */
  start(node: DatapathNode): Promise<DatapathStartResult>;
  /** Releases descriptors; pinned maps and links go on enforcing. May be called twice. */
  stop(): Promise<void>;
  /** Removes every pinned map and link of this node. */
  destroy(): Promise<void>;
  attachEndpoint(endpoint: DatapathEndpoint): Promise<void>;
  detachEndpoint(id: number): Promise<void>;
  /**
   * Switches to a policy, with enforcement and identity, all at once, and then moves the endpoint's epoch: established
   * flows are judged anew. Endpoints with the same map state, the same object, share it: it is written once. It may never
   * change.
   */
  applyPolicy(id: number, state: MapState, wanted: PolicySwitch): Promise<void>;
  /**
   * Nothing passes the endpoint until an `applyPolicy` that begins after this call; one under way does not open it.
   * @throws UnknownEndpointError, BpfError
   */
  lockEndpoint(id: number): Promise<void>;
  /** The whole map state as the kernel holds it. */
  readPolicy(id: number): Promise<MapState>;
  /**
   * Switches to a policy of the node's own: from then on it is judged where the node is an end, on its devices to other
   * nodes and towards its endpoints. @throws BpfError; what was in force is then
   */
  applyHostPolicy(state: MapState, wanted: HostSwitch): Promise<void>;
  /** From then on nothing of the node's own is judged. */
  removeHostPolicy(): Promise<void>;
  /** What the kernel holds of it; undefined where nothing of the node's own is judged. */
  readHostPolicy(): Promise<HostPolicy | undefined>;
  upsertIpcache(entries: readonly IpcacheEntry[]): Promise<void>;
  deleteIpcache(prefixes: readonly Cidr[]): Promise<void>;
  readIpcache(): Promise<readonly IpcacheEntry[]>;
  /**
   * Makes a service be as given, by its frontend; flows that have a backend keep it while it is active or terminating.
   * @throws SystemError DATAPATH_FULL where there is no room for it: what was there of it is left as it was
   */
  upsertService(service: KernelService): Promise<void>;
  /** New packets to the frontend go where its address leads, flows that it had end. */
  deleteService(frontend: ServiceFrontend): Promise<void>;
  /**
   * Deletes every service but these, and every backend that none of them named to `upsertService`: called once after a
   * restart, when all are told.
   */
  retainServices(frontends: readonly ServiceFrontend[]): Promise<void>;
  /** Also after a restart: services outlive the agent. */
  readServices(): Promise<readonly KernelService[]>;
  readCounters(): Promise<readonly DatapathCounter[]>;
  /**
   * By rule id; a rule that decided nothing yet is missing. Counted in the kernel: a restart forgets nothing. Under
   * UNCOUNTED_RULES what rules decided for which the table had no room.
   */
  readRuleConnections(): Promise<ReadonlyMap<number, RuleConnections>>;
  /** Forgets what was counted for every rule but these. */
  retainRuleConnections(ids: ReadonlySet<number>): Promise<void>;
  readMapUsage(): Promise<readonly MapUsage[]>;
  /** At most one takes events. */
  onEvents(taker: EventTaker): void;
  /** Undefined where there are no such maps. */
  openConntrack?(): ConntrackDescriptors | undefined;
  /** Removes conntrack entries past their lifetime; returns how many went. */
  collectGarbage(): Promise<number>;
}
