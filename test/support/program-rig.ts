import { type Bpf, loadBpf, type RingBuffer } from '../../bpf/addon/index.ts';
import { parseCidr, parseIp } from '../../src/base/ip.ts';
import { readCounters } from '../../src/datapath/counters.ts';
import { EndpointTable } from '../../src/datapath/endpoint-table.ts';
import { decodeEvent } from '../../src/datapath/event-decoder.ts';
import { syncHostAddresses } from '../../src/datapath/host-addresses.ts';
import { HostEndpoint } from '../../src/datapath/host-endpoint.ts';
import { IpcacheTable } from '../../src/datapath/ipcache-table.ts';
import { configLayout } from '../../src/datapath/map-layouts.ts';
import { PolicyMaps } from '../../src/datapath/policy-maps.ts';
import { PolicyPool } from '../../src/datapath/policy-pool.ts';
import {
  type AttachedHook,
  DEFAULT_LIFETIMES,
  type LoadedPrograms,
  loadPrograms,
  writeConfig,
} from '../../src/datapath/programs.ts';
import { countUncounted, readRuleStats, retainRuleStats } from '../../src/datapath/rule-stats.ts';
import { ServiceTable } from '../../src/datapath/service-table.ts';
import { indexKey } from '../../src/datapath/struct-layout.ts';
import type {
  DatapathEndpoint,
  Enforcement,
  HostSwitch,
  IpcacheEntry,
  RuleConnections,
} from '../../src/datapath/types.ts';
import type { MonitorEvent } from '../../src/model/event.ts';
import type { MapState } from '../../src/model/map-state.ts';

/** The loopback: the one device that every namespace has; BPF_PROG_TEST_RUN takes only real ones. */
export const LOOPBACK = 1;
/** Number of the node's own endpoint. */
export const HOST_ID = 4090;
/** A device that is never looked at. */
export const ELSEWHERE = 4242;

const SKB_BYTES = 192;
const SKB_MARK = 8;
const SKB_INGRESS_IFINDEX = 36;
const SKB_IFINDEX = 40;

const VERDICTS: Readonly<Record<number, Verdict>> = {
  0: 'pass',
  2: 'drop',
  7: 'redirect',
  4294967295: 'next',
};

/** pass: to the stack; redirect: to an endpoint, past the stack; next: none of our business. */
export type Verdict = 'pass' | 'drop' | 'redirect' | 'next';

export interface RunResult {
  readonly verdict: Verdict;
  readonly data: Buffer;
  readonly events: readonly MonitorEvent[];
}

export function testEndpoint(
  id: number,
  values: Partial<DatapathEndpoint> & { readonly identity: number },
): DatapathEndpoint {
  return {
    id,
    ifindex: ELSEWHERE + id,
    ifname: `lxc${id}`,
    mac: Uint8Array.from([0x02, 0, 0, 0, 0, id]),
    hostMac: new Uint8Array(6),
    ipv4: parseIp(`10.0.0.${id}`),
    ipv6: parseIp(`fd00::${id.toString(16)}`),
    ...values,
  };
}

/** The shipped programs with maps of their own, nothing attached: packets go in by BPF_PROG_TEST_RUN. */
export class ProgramRig {
  readonly bpf: Bpf = loadBpf();
  readonly loaded: LoadedPrograms;
  readonly policies: PolicyPool;
  readonly endpoints: EndpointTable;
  readonly ipcache: IpcacheTable;
  readonly host: HostEndpoint;
  readonly services: ServiceTable;
  readonly #ring: RingBuffer;
  #events: MonitorEvent[] = [];

  constructor() {
    this.loaded = loadPrograms({ bpf: this.bpf, conntrackEntries: 65_536 });
    const { maps } = this.loaded;
    const noLinks = {
      attach: () => undefined,
      attachAsync: () => Promise.resolve(),
      release: () => undefined,
      detach: () => undefined,
    };
    this.policies = new PolicyPool(new PolicyMaps(this.bpf, maps.policy, maps.policyStats));
    this.host = new HostEndpoint(maps, noLinks, this.policies, []);
    this.endpoints = new EndpointTable(maps, noLinks, this.policies);
    this.ipcache = new IpcacheTable(maps.ipcache, maps);
    this.services = new ServiceTable(maps);
    this.#ring = this.bpf.openRingBuffer(maps.events, (records) => {
      for (const record of records) {
        const event = decodeEvent(record);
        if (event !== undefined) this.#events.push(event);
      }
    });
  }

  async start(nodeAddresses: readonly string[], podCidrs: readonly string[]): Promise<void> {
    await writeConfig(this.loaded, DEFAULT_LIFETIMES);
    countUncounted(this.loaded.maps.ruleStats);
    syncHostAddresses(this.loaded.maps, nodeAddresses.map(parseIp));
    this.ipcache.start(podCidrs.map(parseCidr));
  }

  async attach(endpoint: DatapathEndpoint, enforcement?: Enforcement, state?: MapState): Promise<void> {
    await this.endpoints.attach(endpoint);
    if (enforcement !== undefined) await this.setPolicy(endpoint.id, state ?? new Map(), enforcement);
  }

  /** Makes `state` the node's own policy; undefined takes it off. */
  async setHostPolicy(state: MapState | undefined, wanted: Partial<HostSwitch> = {}): Promise<void> {
    if (state === undefined) return this.host.remove();
    await this.host.apply(state, { id: HOST_ID, ingress: true, egress: true, audit: false, ...wanted });
  }

  /** Brings an endpoint's policy map to `state`. */
  setPolicy(id: number, state: MapState, enforcement: Enforcement): Promise<void> {
    return this.endpoints.applyPolicy(id, state, enforcement);
  }

  async setIdentity(prefix: string, identity: number, held = false): Promise<void> {
    const entry: IpcacheEntry = { prefix: parseCidr(prefix), identity, tunnelEndpoint: undefined, held };
    await this.ipcache.upsert([entry]);
  }

  /** Which kinds of events are written: bits of `EventKind`. */
  setEventKinds(kinds: number): void {
    const { config } = this.loaded.maps;
    const old = configLayout.decode(config.lookup(indexKey(0)) ?? Buffer.alloc(configLayout.bytes));
    config.update(indexKey(0), configLayout.encode({ ...old, eventKinds: kinds }));
  }

  /** @param ingressIfindex device by which it reached this machine; 0 when the machine itself sent it */
  run(hook: AttachedHook, data: Uint8Array, ingressIfindex: number = LOOPBACK, mark = 0): RunResult {
    const ctx = Buffer.alloc(SKB_BYTES);
    ctx.writeUInt32LE(mark, SKB_MARK);
    ctx.writeUInt32LE(ingressIfindex, SKB_INGRESS_IFINDEX);
    ctx.writeUInt32LE(LOOPBACK, SKB_IFINDEX);
    this.#events = [];
    const result = this.loaded.programs[hook].testRun({ data, ctx });
    this.#ring.consume();
    const verdict = VERDICTS[result.retval];
    if (verdict === undefined) throw new Error(`${hook} returned ${result.retval}`);
    return { verdict, data: result.data, events: this.#events };
  }

  /** Forgets every flow, and which client had which backend. */
  clearConntrack(): void {
    const { ct4, ct6, serviceFlows, serviceOrigins, serviceAffinity } = this.loaded.maps;
    for (const map of [ct4, ct6, serviceFlows, serviceOrigins, serviceAffinity]) {
      for (let key = map.nextKey(undefined); key !== undefined; key = map.nextKey(undefined)) map.delete(key);
    }
  }

  /** Packets counted under a reason so far. */
  counted(direction: 'ingress' | 'egress', reason: number): number {
    const found = readCounters(this.loaded.maps).find(
      (counter) => counter.direction === direction && counter.reason === reason,
    );
    return Number(found?.packets ?? 0n);
  }

  ruleConnections(): Promise<ReadonlyMap<number, RuleConnections>> {
    return readRuleStats(this.loaded.maps.ruleStats);
  }

  /** Forgets what the other rules decided. */
  retainRuleConnections(ids: ReadonlySet<number>): Promise<void> {
    return retainRuleStats(this.loaded.maps.ruleStats, ids);
  }

  close(): void {
    this.#ring.close();
    this.policies.close();
    this.loaded.close();
  }
}
