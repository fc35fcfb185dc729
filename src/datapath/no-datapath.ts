import { formatCidr } from '../base/ip.ts';
import type { MapState } from '../model/map-state.ts';
import { frontendKey, type ServiceFrontend } from '../model/service.ts';
import { UnknownEndpointError } from './errors.ts';
import type {
  Datapath,
  DatapathEndpoint,
  DatapathStartResult,
  HostPolicy,
  IpcacheEntry,
  KernelService,
  RuleConnections,
} from './types.ts';

/** Keeps what it is told, enforces nothing, and says so by its kind. */
class NoDatapath implements Datapath {
  readonly kind = 'none';
  readonly #endpoints = new Map<number, { endpoint: DatapathEndpoint; policy: MapState }>();
  readonly #ipcache = new Map<string, IpcacheEntry>();
  readonly #services = new Map<string, KernelService>();
  #host: HostPolicy | undefined;

  async start(): Promise<DatapathStartResult> {
    return { endpoints: [], adopted: false };
  }

  async stop(): Promise<void> {
    this.#endpoints.clear();
    this.#ipcache.clear();
  }

  destroy(): Promise<void> {
    return this.stop();
  }

  async attachEndpoint(endpoint: DatapathEndpoint): Promise<void> {
    this.#endpoints.set(endpoint.id, { endpoint, policy: new Map() });
  }

  async detachEndpoint(id: number): Promise<void> {
    this.#endpoints.delete(id);
  }

  #entry(id: number): { endpoint: DatapathEndpoint; policy: MapState } {
    const entry = this.#endpoints.get(id);
    if (entry === undefined) throw new UnknownEndpointError(id);
    return entry;
  }

  async applyPolicy(...[id, state, wanted]: Parameters<Datapath['applyPolicy']>): Promise<void> {
    const entry = this.#entry(id);
    const { identity = entry.endpoint.identity } = wanted;
    entry.endpoint = { ...entry.endpoint, identity };
    entry.policy = state;
  }

  async lockEndpoint(id: number): Promise<void> {
    this.#entry(id);
  }

  async readPolicy(id: number): Promise<MapState> {
    return this.#entry(id).policy;
  }

  async applyHostPolicy(...[state, wanted]: Parameters<Datapath['applyHostPolicy']>): Promise<void> {
    this.#host = { ...wanted, state };
  }

  async removeHostPolicy(): Promise<void> {
    this.#host = undefined;
  }

  async readHostPolicy(): Promise<HostPolicy | undefined> {
    return this.#host;
  }

  async upsertIpcache(entries: readonly IpcacheEntry[]): Promise<void> {
    for (const entry of entries) this.#ipcache.set(formatCidr(entry.prefix), entry);
  }

  async deleteIpcache(prefixes: Parameters<Datapath['deleteIpcache']>[0]): Promise<void> {
    for (const prefix of prefixes) this.#ipcache.delete(formatCidr(prefix));
  }

  async readIpcache(): Promise<readonly IpcacheEntry[]> {
    return [...this.#ipcache.values()];
  }

  async upsertService(service: KernelService): Promise<void> {
    this.#services.set(frontendKey(service.frontend), service);
  }

  async deleteService(frontend: ServiceFrontend): Promise<void> {
    this.#services.delete(frontendKey(frontend));
  }

  async retainServices(frontends: readonly ServiceFrontend[]): Promise<void> {
    const kept = new Set(frontends.map(frontendKey));
    for (const key of this.#services.keys()) if (!kept.has(key)) this.#services.delete(key);
  }

  async readServices(): Promise<readonly KernelService[]> {
    return [...this.#services.values()];
  }

  async readCounters(): Promise<readonly []> {
    return [];
  }

  async readRuleConnections(): Promise<ReadonlyMap<number, RuleConnections>> {
    return new Map();
  }

  async retainRuleConnections(): Promise<void> {
    // No flow is judged, so none is counted.
  }

  async readMapUsage(): Promise<readonly []> {
    return [];
  }

  onEvents(): void {
    // Nothing is seen, so there is nothing to tell.
  }

  async collectGarbage(): Promise<number> {
    return 0;
  }
}

/** A datapath for machines without root or BPF: nothing is enforced. */
export function createNoDatapath(): Datapath {
  return new NoDatapath();
}
