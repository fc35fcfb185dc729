import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Bpf, type BpfMap, loadBpf } from '../../bpf/addon/index.ts';
import { SystemError } from '../base/errors.ts';
import { IpcacheFlag, MapName, PolicyDirection } from '../model/constants.gen.ts';
import type { MapStateEntry, MapStateKey } from '../model/map-state.ts';
import type { ServiceBackend, ServiceFrontend, ServiceProtocol } from '../model/service.ts';
import { type ConntrackFlow, readConntrackMap, ticksOfJiffies } from './conntrack-table.ts';
import { readCounters } from './counters.ts';
import { decodeEndpoint, type EndpointRecord } from './endpoint-codec.ts';
import { UnknownEndpointError } from './errors.ts';
import { readIpcacheMap } from './ipcache-table.ts';
import {
  backendEntryLayout,
  configLayout,
  endpointCountersLayout,
  endpointLayout,
  policyStatsKeyLayout,
  policyStatsLayout,
  serviceEntryLayout,
  serviceKeyLayout,
} from './map-layouts.ts';
import { pinFolders } from './pins.ts';
import { openPolicyMap } from './policy-maps.ts';
import { readPolicyMap } from './policy-writer.ts';
import { decodeBackend, decodeServiceEntry, decodeServiceKey, type ServiceHead } from './service-codec.ts';
import { indexKey, readIndex, sumPerCpu } from './struct-layout.ts';
import type { DatapathCounter, IpcacheEntry } from './types.ts';

export interface EndpointRow extends EndpointRecord {
  readonly slot: number;
  readonly ingressPackets: bigint;
  readonly egressPackets: bigint;
  readonly ingressBytes: bigint;
  readonly egressBytes: bigint;
  readonly ingressDrops: bigint;
  readonly egressDrops: bigint;
}

/** One entry of a policy map. The counts are of packets that the entry decided: the first of each flow. */
export interface PolicyRow {
  readonly key: MapStateKey;
  readonly entry: MapStateEntry;
  readonly packets: bigint;
  readonly bytes: bigint;
}

/** One entry of the map of services; slot 0 has no backend, the others nothing but that and the id. */
export interface ServiceSlotRow extends ServiceHead {
  readonly frontend: ServiceFrontend;
  readonly slot: number;
  readonly backend: number;
}

export interface BackendRow extends ServiceBackend {
  readonly id: number;
  readonly protocol: ServiceProtocol;
}

/**
 * Reads a node's pinned maps without its agent. Each walk is lazy and takes memory for one batch; entries that come
 * and go meanwhile may be missed or, rarely, seen twice.
 */
export interface MapReader {
  /** Names of the pinned maps. */
  readonly mapNames: readonly string[];
  endpoints(): Iterable<EndpointRow>;
  /** @throws UnknownEndpointError */
  policy(endpointId: number): Iterable<PolicyRow>;
  /** Without the ranges of endpoints that have no identity of their own. */
  ipcache(): Iterable<IpcacheEntry>;
  conntrack(family: 4 | 6): Iterable<ConntrackFlow>;
  services(): Iterable<ServiceSlotRow>;
  backends(): Iterable<BackendRow>;
  counters(): readonly DatapathCounter[];
  close(): void;
}

class PinnedMapReader implements MapReader {
  readonly #bpf: Bpf;
  readonly #folder: string;
  readonly #open = new Map<string, BpfMap>();

  constructor(bpf: Bpf, folder: string) {
    this.#bpf = bpf;
    this.#folder = folder;
  }

  get mapNames(): readonly string[] {
    return Object.values(MapName).filter((name) => existsSync(join(this.#folder, name)));
  }

  #map(name: string): BpfMap {
    const known = this.#open.get(name) ?? this.#bpf.openPinnedMap(join(this.#folder, name));
    if (known === undefined) {
      throw new SystemError(`no map is pinned at ${join(this.#folder, name)}`, { code: 'MAP_MISSING' });
    }
    this.#open.set(name, known);
    return known;
  }

  *endpoints(): Iterable<EndpointRow> {
    const counters = this.#map(MapName.endpointCounters);
    for (const { keys, values, count } of this.#map(MapName.endpoints).batches(512)) {
      for (let i = 0; i < count; i++) {
        const record = decodeEndpoint(values, i * endpointLayout.bytes);
        if (record === undefined) continue;
        const slot = readIndex(keys, i * 4);
        const counted = counters.lookup(indexKey(slot)) ?? Buffer.alloc(0);
        const sum = (field: Parameters<typeof sumPerCpu<typeof endpointCountersLayout.fields>>[2]): bigint =>
          sumPerCpu(endpointCountersLayout, counted, field);
        yield {
          ...record,
          slot,
          ingressPackets: sum('ingressPackets'),
          egressPackets: sum('egressPackets'),
          ingressBytes: sum('ingressBytes'),
          egressBytes: sum('egressBytes'),
          ingressDrops: sum('ingressDrops'),
          egressDrops: sum('egressDrops'),
        };
      }
    }
  }

  *policy(endpointId: number): Iterable<PolicyRow> {
    const row = [...this.endpoints()].find(({ endpoint }) => endpoint.id === endpointId);
    const map = row && openPolicyMap(this.#bpf, this.#map(MapName.policy), row.policies[row.inForce]);
    if (row === undefined || map === undefined) throw new UnknownEndpointError(endpointId);
    const stats = this.#map(MapName.policyStats);
    try {
      for (const { key, entry } of readPolicyMap(map).values()) {
        const value = stats.lookup(
          policyStatsKeyLayout.encode({
            slot: row.slot,
            direction: PolicyDirection[key.direction],
            l4Bits: key.protocol === 0 ? 0 : 8 + key.portPrefixLength,
            identity: key.identity,
            protocol: key.protocol,
            port: key.port,
          }),
        );
        const counted = value ?? Buffer.alloc(0);
        yield {
          key,
          entry,
          packets: sumPerCpu(policyStatsLayout, counted, 'packets'),
          bytes: sumPerCpu(policyStatsLayout, counted, 'bytes'),
        };
      }
    } finally {
      map.close();
    }
  }

  *ipcache(): Iterable<IpcacheEntry> {
    for (const { entry, flags } of readIpcacheMap(this.#map(MapName.ipcache)))
      if ((flags & IpcacheFlag.fRange) === 0) yield entry;
  }

  *conntrack(family: 4 | 6): Iterable<ConntrackFlow> {
    const value = this.#map(MapName.config).lookup(indexKey(0));
    const config = configLayout.decode(value ?? Buffer.alloc(configLayout.bytes));
    const hz = config.hz || 250;
    const passed = process.hrtime.bigint() - config.monotonicNs;
    const ticks = ticksOfJiffies(config.jiffies + (passed * BigInt(hz)) / 1_000_000_000n);
    yield* readConntrackMap(this.#map(family === 4 ? MapName.ct4 : MapName.ct6), { ticks, hz });
  }

  *services(): Iterable<ServiceSlotRow> {
    for (const { keys, values, count } of this.#map(MapName.services).batches())
      for (let i = 0; i < count; i++)
        yield {
          ...decodeServiceEntry(values, i * serviceEntryLayout.bytes),
          ...decodeServiceKey(keys, i * serviceKeyLayout.bytes),
        };
  }

  *backends(): Iterable<BackendRow> {
    for (const { keys, values, count } of this.#map(MapName.backends).batches())
      for (let i = 0; i < count; i++)
        yield { id: readIndex(keys, i * 4), ...decodeBackend(values, i * backendEntryLayout.bytes) };
  }

  counters(): readonly DatapathCounter[] {
    return readCounters({
      metrics: this.#map(MapName.metrics),
      endpointCounters: this.#map(MapName.endpointCounters),
      epochs: this.#map(MapName.epochs),
    });
  }

  close(): void {
    for (const map of this.#open.values()) map.close();
    this.#open.clear();
  }
}

/**
 * Opens the pinned maps of a node, whether or not its agent runs.
 * @throws SystemError DATAPATH_MISSING when nothing is pinned there
 */
export function openMapReader(bpfDir: string, bpf: Bpf = loadBpf()): MapReader {
  const { maps } = pinFolders(bpfDir);
  if (!existsSync(join(maps, MapName.endpoints))) {
    throw new SystemError(`no maps of a datapath are pinned in ${maps}`, {
      code: 'DATAPATH_MISSING',
      hint: 'is the agent running with --datapath bpf, and is this its --bpf-dir?',
    });
  }
  return new PinnedMapReader(bpf, maps);
}
