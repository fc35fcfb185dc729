import { BpfError, type BpfMap } from '../../bpf/addon/index.ts';
import { ruleStatsLayout } from './map-layouts.ts';
import { indexKey, readIndex, sumPerCpu } from './struct-layout.ts';
import { type RuleConnections, UNCOUNTED_RULES } from './types.ts';

const BATCH = 1024;

/** What each rule decided, summed over the CPUs; by rule id. Without the place for those that have none, if it is empty. */
export async function readRuleStats(map: BpfMap): Promise<ReadonlyMap<number, RuleConnections>> {
  const found = new Map<number, RuleConnections>();
  for await (const { keys, values, count } of map.batchesAsync(BATCH)) {
    for (let i = 0; i < count; i++) {
      const value = values.subarray(i * map.valueStride, (i + 1) * map.valueStride);
      const sum = (field: keyof RuleConnections): number => Number(sumPerCpu(ruleStatsLayout, value, field));
      const id = readIndex(keys, i * 4);
      const counted = { allowed: sum('allowed'), denied: sum('denied'), redirected: sum('redirected') };
      if (id !== UNCOUNTED_RULES || Object.values(counted).some((flows) => flows > 0)) found.set(id, counted);
    }
  }
  return found;
}

/** Takes out the rules that are none of `ids`. */
export async function retainRuleStats(map: BpfMap, ids: ReadonlySet<number>): Promise<void> {
  const gone: number[] = [];
  for await (const { keys, count } of map.batchesAsync(BATCH)) {
    for (let i = 0; i < count; i++) {
      const id = readIndex(keys, i * 4);
      if (id !== UNCOUNTED_RULES && !ids.has(id)) gone.push(id);
    }
  }
  for (const id of gone) map.delete(indexKey(id));
  countUncounted(map);
}

/**
 * Makes the place where flows of rules are counted that find no other; what is counted there already stays. Without room
 * for it (a full map of an earlier version) it is made when rules were taken out.
 */
export function countUncounted(map: BpfMap): void {
  try {
    map.update(indexKey(UNCOUNTED_RULES), Buffer.alloc(map.valueStride), 'create');
  } catch (error) {
    if (!(error instanceof BpfError && (error.errnoName === 'EEXIST' || error.errnoName === 'E2BIG')))
      throw error;
  }
}
