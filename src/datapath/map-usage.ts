import { join } from 'node:path';
import type { BpfMap } from '../../bpf/addon/index.ts';
import { DatapathLimit, MapName } from '../model/constants.gen.ts';
import type { EndpointTable } from './endpoint-table.ts';
import type { PolicyPool } from './policy-pool.ts';
import type { DatapathMaps } from './programs.ts';
import type { MapUsage } from './types.ts';

/** Maps whose entries nobody else counts. */
const COUNTED_MAPS = [
  'ct4',
  'ct6',
  'fragments',
  'ipcache',
  'addresses',
  'devices',
  'policyStats',
  'ruleStats',
  'services',
  'backends',
  'serviceFlows',
  'serviceOrigins',
  'serviceAffinity',
] as const;

export interface UsedMaps {
  readonly maps: DatapathMaps;
  /** Where they are pinned. */
  readonly folder: string;
  readonly endpoints: Pick<EndpointTable, 'size' | 'policySizes'>;
  readonly policies: Pick<PolicyPool, 'size'>;
  /** Failed writes, by the map's name. */
  readonly errors: ReadonlyMap<string, number>;
}

async function countEntries(map: BpfMap): Promise<number> {
  let entries = 0;
  for await (const { count } of map.batchesAsync(4096)) entries += count;
  return entries;
}

/** How full each map is; those of policies are counted by who uses them. */
export async function readMapUsage(used: UsedMaps): Promise<readonly MapUsage[]> {
  const { maps, endpoints, policies, folder, errors } = used;
  const row = (name: string, entries: number, maxEntries: number, pin = name): MapUsage => ({
    ...{ name, path: join(folder, pin), entries, maxEntries },
    errors: errors.get(name) ?? 0,
  });
  const rows: MapUsage[] = [];
  for (const key of COUNTED_MAPS) {
    const map = maps[key];
    rows.push(row(MapName[key], await countEntries(map), map.info.maxEntries));
  }
  rows.push(row(MapName.endpoints, endpoints.size, DatapathLimit.endpointSlots - 1));
  rows.push(row(MapName.policy, policies.size, DatapathLimit.policyMaps));
  for (const [id, entries] of endpoints.policySizes()) {
    rows.push(row(`${MapName.policy}_${id}`, entries, DatapathLimit.policyEntries, MapName.policy));
  }
  return rows;
}
