import { type Cidr, formatCidr } from '../../src/base/ip.ts';
import { EndpointLockedError } from '../../src/datapath/errors.ts';
import {
  type Datapath,
  type DatapathEndpoint,
  type DatapathStartResult,
  type Enforcement,
  type HostPolicy,
  type HostSwitch,
  type IpcacheEntry,
  type KernelService,
  type MapUsage,
  type PolicySwitch,
  type RuleConnections,
  UNCOUNTED_RULES,
} from '../../src/datapath/types.ts';
import { EMPTY_MAP_STATE, type MapState } from '../../src/model/map-state.ts';
import { diffMapState } from '../../src/model/map-state-diff.ts';
import { frontendKey, type ServiceFrontend } from '../../src/model/service.ts';

/** One endpoint as the kernel would hold it. */
export interface FakeKernelEndpoint {
  endpoint: DatapathEndpoint;
  policy: MapState;
  enforcement: Enforcement | undefined;
  /** Nothing passes: no policy yet, or closed since. */
  locked: boolean;
}

/** What outlives an agent: pinned maps and links. Give the same one to the next `FakeDatapath`. */
export class FakeKernel {
  readonly endpoints = new Map<number, FakeKernelEndpoint>();
  readonly ipcache = new Map<string, IpcacheEntry>();
  readonly services = new Map<string, KernelService>();
  host: HostPolicy | undefined;
  readonly ruleConnections = new Map<number, RuleConnections>();
  /** Every call that changed something, in order: `attach 7`, `policy 7 +2 -0 ingress`. */
  readonly calls: string[] = [];
  /** Called before each write of a policy, for a test that fails or delays those of one endpoint. */
  beforePolicy: (id: number) => Promise<void> | void = () => undefined;
  /** Called when a policy is in force, before whoever wrote it knows. */
  afterPolicy: (id: number) => void = () => undefined;
}

/** A datapath in memory, that can be told to fail. */
export class FakeDatapath implements Datapath {
  readonly kind = 'bpf';
  readonly kernel: FakeKernel;
  /** Call name -> error that its next calls reject with; removed by the test. */
  readonly failures = new Map<keyof Datapath, Error>();
  /** How often endpoints were locked. */
  readonly #locks = new Map<number, number>();

  constructor(kernel: FakeKernel = new FakeKernel()) {
    this.kernel = kernel;
  }

  async start(): Promise<DatapathStartResult> {
    const endpoints = [...this.kernel.endpoints.values()].map(({ endpoint }) => endpoint);
    return { endpoints, adopted: endpoints.length > 0 };
  }

  async stop(): Promise<void> {
    this.#fail('stop');
  }

  async destroy(): Promise<void> {
    this.kernel.endpoints.clear();
    this.kernel.ipcache.clear();
  }

  async attachEndpoint(endpoint: DatapathEndpoint): Promise<void> {
    this.#fail('attachEndpoint');
    this.kernel.endpoints.set(endpoint.id, {
      endpoint,
      policy: new Map(),
      enforcement: undefined,
      locked: true,
    });
    this.kernel.calls.push(`attach ${endpoint.id}`);
  }

  async detachEndpoint(id: number): Promise<void> {
    this.#fail('detachEndpoint');
    this.kernel.endpoints.delete(id);
    this.kernel.calls.push(`detach ${id}`);
  }

  async applyPolicy(id: number, state: MapState, { identity, ...enforcement }: PolicySwitch): Promise<void> {
    this.#fail('applyPolicy');
    const locks = this.#locks.get(id);
    await this.kernel.beforePolicy(id);
    const held = this.#endpoint(id);
    if (this.#locks.get(id) !== locks) throw new EndpointLockedError(id);
    held.locked = false;
    const diff = diffMapState(held.policy, state);
    held.policy = state;
    held.enforcement = enforcement;
    if (identity !== undefined && identity !== held.endpoint.identity) {
      held.endpoint = { ...held.endpoint, identity };
      this.kernel.calls.push(`identity ${id} ${identity}`);
    }
    const directions = (['ingress', 'egress'] as const)
      .filter((direction) => enforcement[direction])
      .join('+');
    this.kernel.calls.push(
      `policy ${id} +${diff.upserts.length} -${diff.deletes.length} ${directions || 'open'}`,
    );
    this.kernel.afterPolicy(id);
  }

  async lockEndpoint(id: number): Promise<void> {
    this.#fail('lockEndpoint');
    this.#endpoint(id).locked = true;
    this.#locks.set(id, (this.#locks.get(id) ?? 0) + 1);
    this.kernel.calls.push(`lock ${id}`);
  }

  async readPolicy(id: number): Promise<MapState> {
    this.#fail('readPolicy');
    return this.#endpoint(id).policy;
  }

  async applyHostPolicy(state: MapState, wanted: HostSwitch): Promise<void> {
    this.#fail('applyHostPolicy');
    const diff = diffMapState(this.kernel.host?.state ?? EMPTY_MAP_STATE, state);
    this.kernel.host = { ...wanted, state };
    this.kernel.calls.push(`host +${diff.upserts.length} -${diff.deletes.length}`);
  }

  async removeHostPolicy(): Promise<void> {
    this.kernel.host = undefined;
    this.kernel.calls.push('host off');
  }

  async readHostPolicy(): Promise<HostPolicy | undefined> {
    return this.kernel.host;
  }

  async upsertIpcache(entries: readonly IpcacheEntry[]): Promise<void> {
    this.#fail('upsertIpcache');
    for (const entry of entries) {
      this.kernel.ipcache.set(formatCidr(entry.prefix), entry);
      const held = entry.held === true ? ' held' : '';
      this.kernel.calls.push(`ipcache + ${formatCidr(entry.prefix)} ${entry.identity}${held}`);
    }
  }

  async deleteIpcache(prefixes: readonly Cidr[]): Promise<void> {
    for (const prefix of prefixes) {
      this.kernel.ipcache.delete(formatCidr(prefix));
      this.kernel.calls.push(`ipcache - ${formatCidr(prefix)}`);
    }
  }

  async upsertService(service: KernelService): Promise<void> {
    this.#fail('upsertService');
    this.kernel.services.set(frontendKey(service.frontend), service);
  }

  async deleteService(frontend: ServiceFrontend): Promise<void> {
    this.#fail('deleteService');
    this.kernel.services.delete(frontendKey(frontend));
  }

  async retainServices(frontends: readonly ServiceFrontend[]): Promise<void> {
    this.#fail('retainServices');
    const kept = new Set(frontends.map(frontendKey));
    for (const key of this.kernel.services.keys()) if (!kept.has(key)) this.kernel.services.delete(key);
  }

  async readServices(): Promise<readonly KernelService[]> {
    return [...this.kernel.services.values()];
  }

  async readIpcache(): Promise<readonly IpcacheEntry[]> {
    return [...this.kernel.ipcache.values()];
  }

  async readCounters(): Promise<readonly []> {
    return [];
  }

  async readRuleConnections(): Promise<ReadonlyMap<number, RuleConnections>> {
    return this.kernel.ruleConnections;
  }

  async retainRuleConnections(ids: ReadonlySet<number>): Promise<void> {
    for (const id of this.kernel.ruleConnections.keys())
      if (id !== UNCOUNTED_RULES && !ids.has(id)) this.kernel.ruleConnections.delete(id);
  }

  /** One map of maps, and in it a policy map for each endpoint, as the real one tells them. */
  async readMapUsage(): Promise<readonly MapUsage[]> {
    const path = '/bpf/maps/ciliate_policy_v2';
    const row = (name: string, entries: number): MapUsage => ({
      name,
      path,
      entries,
      maxEntries: 16,
      errors: 0,
    });
    const held = [...this.kernel.endpoints].map(([id, { policy }]) =>
      row(`ciliate_policy_v2_${id}`, policy.size),
    );
    return [row('ciliate_policy_v2', this.kernel.endpoints.size), ...held];
  }

  onEvents(): void {
    this.#fail('onEvents');
  }

  async collectGarbage(): Promise<number> {
    return 0;
  }

  #fail(call: keyof Datapath): void {
    const error = this.failures.get(call);
    if (error !== undefined) throw error;
  }

  #endpoint(id: number): FakeKernelEndpoint {
    const held = this.kernel.endpoints.get(id);
    if (held === undefined) throw new Error(`the kernel holds no endpoint ${id}`);
    return held;
  }
}
