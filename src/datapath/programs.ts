import { totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Bpf, BpfMap, BpfObject, BpfObjectSpec, BpfProgram } from '../../bpf/addon/index.ts';
import { buildAsset } from '../base/assets.ts';
import { CiliateError, SystemError } from '../base/errors.ts';
import { DatapathLimit, EventKind, MapName } from '../model/constants.gen.ts';
import { PinnedByOtherVersionError } from './errors.ts';
import { configLayout, ctEntryLayout } from './map-layouts.ts';
import { takeOlderEndpoints } from './older-endpoints.ts';
import { indexKey } from './struct-layout.ts';

export const OBJECT_FILE = 'ciliate.bpf.o';

/** Seconds that a conntrack entry lives after its last packet. */
export interface ConntrackLifetimes {
  readonly tcp: number;
  readonly tcpSyn: number;
  readonly tcpClosing: number;
  readonly any: number;
}

export const DEFAULT_LIFETIMES: ConntrackLifetimes = { tcp: 8000, tcpSyn: 60, tcpClosing: 10, any: 60 };

export type AttachedHook = 'from_pod' | 'to_pod' | 'from_netdev' | 'to_host' | 'from_host';
export type DatapathMaps = { readonly [K in keyof typeof MapName]: BpfMap };

export interface LoadedPrograms {
  readonly maps: DatapathMaps;
  readonly programs: Readonly<Record<AttachedHook, BpfProgram>>;
  readonly clock: BpfProgram;
  readonly empty: BpfProgram;
  close(): void;
}

export interface LoadOptions {
  readonly bpf: Bpf;
  /** Pinned maps are taken from here and new ones are pinned here; without it nothing is pinned. */
  readonly mapsFolder?: string | undefined;
  /** Entries of each conntrack map; a power of two. Default: 0.125 % of memory, 16,384 to 524,288. */
  readonly conntrackEntries?: number | undefined;
  readonly objectPath?: string | undefined;
}

const BYTES_PER_FLOW = 2 * ctEntryLayout.bytes;
const MEMORY_SHARE = 800;

/** Maps of flows, and how many times fewer entries they have than conntrack's. */
const FLOW_MAPS = new Map<string, number>([
  [MapName.ct4, 1],
  [MapName.ct6, 1],
  [MapName.serviceFlows, 4],
  [MapName.serviceOrigins, 4],
  [MapName.serviceAffinity, 4],
]);

function defaultConntrackEntries(): number {
  const wanted = totalmem() / MEMORY_SHARE / BYTES_PER_FLOW;
  return 2 ** Math.round(Math.log2(Math.min(524_288, Math.max(16_384, wanted))));
}

/** Sizes of pinned maps win over wishes: a map cannot grow while flows are in it. */
function prepareMaps(spec: BpfObjectSpec, options: LoadOptions): Set<string> {
  const pinned = new Set<string>();
  const entries = options.conntrackEntries ?? defaultConntrackEntries();
  for (const name of Object.values(MapName)) {
    const path = options.mapsFolder === undefined ? undefined : join(options.mapsFolder, name);
    const old = path === undefined ? undefined : options.bpf.openPinnedMap(path);
    const share = FLOW_MAPS.get(name);
    if (share !== undefined)
      spec.setMaxEntries(name, old?.info.maxEntries ?? Math.max(1024, entries / share));
    old?.close();
    if (old === undefined || path === undefined) continue;
    reusePinned(spec, name, path);
    pinned.add(name);
  }
  return pinned;
}

/** @throws PinnedByOtherVersionError */
function reusePinned(spec: BpfObjectSpec, name: string, path: string): void {
  try {
    spec.reusePinned(name, path);
  } catch (error) {
    if (error instanceof CiliateError && error.code === 'BPF_MAP_MISMATCH')
      throw new PinnedByOtherVersionError(dirname(path), error);
    throw error;
  }
}

function openMaps(object: BpfObject): DatapathMaps {
  const maps: Partial<Record<keyof typeof MapName, BpfMap>> = {};
  for (const key of Object.keys(MapName) as (keyof typeof MapName)[]) maps[key] = object.map(MapName[key]);
  return maps as DatapathMaps;
}

function closeAll(handles: readonly { close(): void }[]): void {
  for (const handle of handles) handle.close();
}

/**
 * Loads the one object. Maps that are pinned already are taken over with what is in them, endpoints also of the version
 * before.
 * @throws BpfError BPF_LOAD with the verifier's words, PinnedByOtherVersionError when a pinned map has another shape
 */
export function loadPrograms(options: LoadOptions): LoadedPrograms {
  const spec = options.bpf.openObject(options.objectPath ?? buildAsset(OBJECT_FILE));
  try {
    const pinned = prepareMaps(spec, options);
    const object = spec.load();
    const maps = openMaps(object);
    const programs = {
      from_pod: object.program('from_pod'),
      to_pod: object.program('to_pod'),
      from_netdev: object.program('from_netdev'),
      to_host: object.program('to_host'),
      from_host: object.program('from_host'),
    };
    const clock = object.program('clock');
    const empty = object.program('empty');
    object.close();
    if (options.mapsFolder !== undefined) takeOlderEndpoints(options.bpf, options.mapsFolder, maps.endpoints);
    for (const [key, name] of Object.entries(MapName)) {
      if (options.mapsFolder === undefined || pinned.has(name)) continue;
      maps[key as keyof typeof MapName].pin(join(options.mapsFolder, name));
    }
    const all = [...Object.values(maps), ...Object.values(programs), clock, empty];
    return { maps, programs, clock, empty, close: () => closeAll(all) };
  } finally {
    spec.close();
  }
}

const TICK_RATES = [100, 250, 300, 1000];
const CALIBRATION_MS = 60;
const EMPTY_FRAME = new Uint8Array(64);

/** Both clocks of the kernel, read at one instant by a program. */
export function readClocks(loaded: LoadedPrograms): {
  readonly jiffies: bigint;
  readonly monotonicNs: bigint;
} {
  loaded.clock.testRun({ data: EMPTY_FRAME });
  const value = loaded.maps.config.lookup(indexKey(0));
  if (value === undefined) throw new SystemError('the config map has no entry');
  const { jiffies, monotonicNs } = configLayout.decode(value);
  return { jiffies, monotonicNs };
}

/** The kernel tells its tick rate to nobody: two readings of both clocks do. */
async function measureTickRate(loaded: LoadedPrograms): Promise<number> {
  const first = readClocks(loaded);
  await delay(CALIBRATION_MS);
  const second = readClocks(loaded);
  const seconds = Number(second.monotonicNs - first.monotonicNs) / 1e9;
  const rate = Number(second.jiffies - first.jiffies) / seconds;
  const nearest = TICK_RATES.reduce((best, hz) => (Math.abs(hz - rate) < Math.abs(best - rate) ? hz : best));
  return nearest;
}

/** Ticks of conntrack (jiffies >> 8) in `seconds`, at least one. */
export function conntrackTicks(seconds: number, hz: number): number {
  return Math.max(1, Math.ceil((seconds * hz) / 2 ** DatapathLimit.jiffiesShift));
}

/** Writes the config entry; the tick rate is measured once for a map. */
export async function writeConfig(loaded: LoadedPrograms, lifetimes: ConntrackLifetimes): Promise<void> {
  const { config } = loaded.maps;
  const old = config.lookup(indexKey(0));
  const hz = (old && configLayout.decode(old).hz) || (await measureTickRate(loaded));
  const clocks = readClocks(loaded);
  config.update(
    indexKey(0),
    configLayout.encode({
      lifetimeTcp: conntrackTicks(lifetimes.tcp, hz),
      lifetimeTcpSyn: conntrackTicks(lifetimes.tcpSyn, hz),
      lifetimeTcpClose: conntrackTicks(lifetimes.tcpClosing, hz),
      lifetimeAny: conntrackTicks(lifetimes.any, hz),
      hz,
      eventKinds: (1 << EventKind.drop) | (1 << EventKind.trace) | (1 << EventKind.policyVerdict),
      ...clocks,
    }),
  );
}
