import { closeSync } from 'node:fs';
import { type Bpf, loadBpf } from '../../bpf/addon/index.ts';
import { SystemError } from '../base/errors.ts';
import { loadSockets } from '../base/sockets/index.ts';
import { MapName } from '../model/constants.gen.ts';
import type { ServiceFrontend } from '../model/service.ts';
import { collectConntrack, ticksOfJiffies } from './conntrack-table.ts';
import { readCounters } from './counters.ts';
import { EndpointTable } from './endpoint-table.ts';
import { showEpochs } from './epochs.ts';
import { EventRing } from './event-ring.ts';
import { syncHostAddresses } from './host-addresses.ts';
import { HostEndpoint } from './host-endpoint.ts';
import { IpcacheTable } from './ipcache-table.ts';
import { Links } from './links.ts';
import { readMapUsage } from './map-usage.ts';
import { forgetOlderEndpoints, hasOlderEndpoints } from './older-endpoints.ts';
import { ensurePinFolders, listPins, type PinFolders, removePins } from './pins.ts';
import { PolicyMaps } from './policy-maps.ts';
import { PolicyPool } from './policy-pool.ts';
import {
  type ConntrackLifetimes,
  DEFAULT_LIFETIMES,
  type LoadedPrograms,
  loadPrograms,
  readClocks,
  writeConfig,
} from './programs.ts';
import { countUncounted, readRuleStats, retainRuleStats } from './rule-stats.ts';
import { ServiceTable } from './service-table.ts';
import type {
  ConntrackDescriptors,
  Datapath,
  DatapathNode,
  DatapathStartResult,
  EventTaker,
  KernelService,
  MapUsage,
} from './types.ts';

export interface BpfDatapathOptions {
  /** Where maps and links are pinned: on a bpffs, one folder a node. */
  readonly bpfDir: string;
  /** Entries of each conntrack map, a power of two; default by the machine's memory. Pinned maps keep their size. */
  readonly conntrackEntries?: number | undefined;
  readonly lifetimes?: ConntrackLifetimes | undefined;
  /** Path of the node's network namespace; default: the one the process is in. */
  readonly netns?: string | undefined;
  readonly bpf?: Bpf | undefined;
}

/** What exists between start() and stop(). */
interface Running {
  readonly folders: PinFolders;
  readonly loaded: LoadedPrograms;
  readonly links: Links;
  readonly policies: PolicyPool;
  readonly endpoints: EndpointTable;
  readonly ipcache: IpcacheTable;
  readonly services: ServiceTable;
  readonly host: HostEndpoint;
}

function deviceIndex(name: string, netns: string | undefined): number | undefined {
  try {
    return loadSockets().interfaceIndex(name, netns);
  } catch (error) {
    if (error instanceof SystemError && error.code === 'SOCKET_ENODEV') return undefined;
    throw error;
  }
}

class BpfDatapath implements Datapath {
  readonly kind = 'bpf';
  readonly #options: BpfDatapathOptions;
  readonly #bpf: Bpf;
  readonly #errors = new Map<string, number>();
  #running: Running | undefined;
  #ring: EventRing | undefined;
  #taker: EventTaker | undefined;

  constructor(options: BpfDatapathOptions) {
    this.#options = options;
    this.#bpf = options.bpf ?? loadBpf();
  }

  async start(node: DatapathNode): Promise<DatapathStartResult> {
    const folders = ensurePinFolders(this.#bpf, this.#options.bpfDir);
    const adopted = listPins(folders.maps).includes(MapName.endpoints) || hasOlderEndpoints(folders.maps);
    const { netns } = this.#options;
    const devices = node.devices.map((name) => loadSockets().interfaceIndex(name, netns));
    const loaded = loadPrograms({
      bpf: this.#bpf,
      mapsFolder: folders.maps,
      conntrackEntries: this.#options.conntrackEntries,
    });
    const links = new Links(this.#bpf, folders.links, loaded.programs, netns);
    const { maps } = loaded;
    const policies = new PolicyPool(new PolicyMaps(this.#bpf, maps.policy, maps.policyStats));
    const endpoints = new EndpointTable(maps, links, policies);
    const ipcache = new IpcacheTable(loaded.maps.ipcache, loaded.maps);
    const services = new ServiceTable(maps);
    const host = new HostEndpoint(maps, links, policies, devices);
    this.#running = { folders, loaded, links, policies, endpoints, ipcache, services, host };
    try {
      await writeConfig(loaded, this.#options.lifetimes ?? DEFAULT_LIFETIMES);
      showEpochs(loaded.maps);
      countUncounted(loaded.maps.ruleStats);
      syncHostAddresses(loaded.maps, node.addresses);
      ipcache.start(node.podCidrs);
      services.adopt();
      const attached = links.adopt();
      forgetOlderEndpoints(folders.maps);
      const kept = endpoints.adopt(attached, (name) => deviceIndex(name, netns));
      for (const ifindex of devices) links.attach(ifindex, 'from_netdev');
      for (const ifindex of attached.from_netdev) {
        if (!devices.includes(ifindex)) links.detach(ifindex, 'from_netdev');
      }
      host.adopt(attached);
      policies.refill();
      this.#openRing();
      return { endpoints: kept, adopted };
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  #started(): Running {
    if (this.#running === undefined) {
      throw new SystemError('the datapath was used before start() or after stop()', {
        code: 'DATAPATH_STOPPED',
      });
    }
    return this.#running;
  }

  #openRing(): void {
    if (this.#taker === undefined || this.#running === undefined || this.#ring !== undefined) return;
    this.#ring = new EventRing(this.#bpf, this.#running.loaded.maps, this.#taker);
  }

  stop(): Promise<void> {
    this.#ring?.close();
    this.#ring = undefined;
    this.#running?.policies.close();
    this.#running?.loaded.close();
    this.#running = undefined;
    return Promise.resolve();
  }

  async destroy(): Promise<void> {
    await this.stop();
    removePins(this.#options.bpfDir);
  }

  /** Counts a failed write of a map, and lets the failure through. */
  async #counted<T>(map: string, action: () => T | Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      this.#errors.set(map, (this.#errors.get(map) ?? 0) + 1);
      throw error;
    }
  }

  attachEndpoint(endpoint: Parameters<Datapath['attachEndpoint']>[0]): Promise<void> {
    return this.#counted(MapName.endpoints, () => this.#started().endpoints.attach(endpoint));
  }

  detachEndpoint(id: number): Promise<void> {
    return this.#counted(MapName.endpoints, () => this.#started().endpoints.detach(id));
  }

  applyPolicy(...args: Parameters<Datapath['applyPolicy']>): Promise<void> {
    return this.#counted(MapName.policy, () => this.#started().endpoints.applyPolicy(...args));
  }

  lockEndpoint(id: number): Promise<void> {
    return this.#counted(MapName.endpoints, () => this.#started().endpoints.lock(id));
  }

  async readPolicy(id: number): ReturnType<Datapath['readPolicy']> {
    return this.#started().endpoints.readPolicy(id);
  }

  applyHostPolicy(...args: Parameters<Datapath['applyHostPolicy']>): Promise<void> {
    return this.#counted(MapName.policy, () => this.#started().host.apply(...args));
  }

  removeHostPolicy(): Promise<void> {
    return this.#counted(MapName.endpoints, () => this.#started().host.remove());
  }

  async readHostPolicy(): ReturnType<Datapath['readHostPolicy']> {
    return this.#started().host.read();
  }

  upsertIpcache(entries: Parameters<Datapath['upsertIpcache']>[0]): Promise<void> {
    return this.#counted(MapName.ipcache, () => this.#started().ipcache.upsert(entries));
  }

  deleteIpcache(prefixes: Parameters<Datapath['deleteIpcache']>[0]): Promise<void> {
    return this.#counted(MapName.ipcache, () => this.#started().ipcache.delete(prefixes));
  }

  async readIpcache(): ReturnType<Datapath['readIpcache']> {
    return this.#started().ipcache.read();
  }

  upsertService(service: KernelService): Promise<void> {
    return this.#counted(MapName.services, () => this.#started().services.upsert(service));
  }

  deleteService(frontend: ServiceFrontend): Promise<void> {
    return this.#counted(MapName.services, () => this.#started().services.delete(frontend));
  }

  retainServices(frontends: readonly ServiceFrontend[]): Promise<void> {
    return this.#counted(MapName.services, () => this.#started().services.retain(frontends));
  }

  async readServices(): Promise<readonly KernelService[]> {
    return this.#started().services.read();
  }

  async readCounters(): ReturnType<Datapath['readCounters']> {
    return readCounters(this.#started().loaded.maps);
  }

  async readRuleConnections(): ReturnType<Datapath['readRuleConnections']> {
    return readRuleStats(this.#started().loaded.maps.ruleStats);
  }

  async retainRuleConnections(ids: ReadonlySet<number>): Promise<void> {
    if (this.#running !== undefined) await retainRuleStats(this.#running.loaded.maps.ruleStats, ids);
  }

  async readMapUsage(): Promise<readonly MapUsage[]> {
    const { loaded, endpoints, policies, folders } = this.#started();
    return readMapUsage({
      maps: loaded.maps,
      folder: folders.maps,
      endpoints,
      policies,
      errors: this.#errors,
    });
  }

  onEvents(taker: EventTaker): void {
    this.#taker = taker;
    this.#ring?.close();
    this.#ring = undefined;
    this.#openRing();
  }

  openConntrack(): ConntrackDescriptors | undefined {
    if (this.#running === undefined) return undefined;
    const { ct4, ct6, shownEpochs } = this.#running.loaded.maps;
    const opened: number[] = [];
    try {
      opened.push(ct4.readOnlyDescriptor(), ct6.readOnlyDescriptor(), shownEpochs.descriptor());
      const [ipv4 = -1, ipv6 = -1, epochs = -1] = opened;
      return { ipv4, ipv6, epochs, id: [ct4, ct6, shownEpochs].map(({ info }) => info.id).join('/') };
    } catch (error) {
      for (const fd of opened) closeSync(fd);
      throw error;
    }
  }

  async collectGarbage(): Promise<number> {
    const { loaded, links } = this.#started();
    links.sweep();
    const now = (): number => ticksOfJiffies(readClocks(loaded).jiffies);
    return (await collectConntrack(loaded.maps.ct4, now)) + (await collectConntrack(loaded.maps.ct6, now));
  }
}

/**
 * The enforcing datapath of one node.
 * @throws SystemError ADDON_MISSING when the BPF addon was not built
 */
export function createBpfDatapath(options: BpfDatapathOptions): Datapath {
  return new BpfDatapath(options);
}
