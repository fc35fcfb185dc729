import type { BpfMap } from '../../bpf/addon/index.ts';
import { ruleStatsLayout } from './map-layouts.ts';
import { indexKey, readIndex, sumPerCpu } from './struct-layout.ts';
import type { RuleConnections } from './types.ts';

const BATCH = 1024;

/** What each rule decided, summed over the CPUs; by rule id. */
export function readRuleStats(map: BpfMap): ReadonlyMap<number, RuleConnections> {
  const found = new Map<number, RuleConnections>();
  for (const { keys, values, count } of map.batches(BATCH)) {
    for (let i = 0; i < count; i++) {
      const value = values.subarray(i * map.valueStride, (i + 1) * map.valueStride);
      const sum = (field: keyof RuleConnections): number => Number(sumPerCpu(ruleStatsLayout, value, field));
      found.set(readIndex(keys, i * 4), {
        allowed: sum('allowed'),
        denied: sum('denied'),
        redirected: sum('redirected'),
      });
    }
  }
  return found;
}

/** Takes out the rules that are none of `ids`. */
export function retainRuleStats(map: BpfMap, ids: ReadonlySet<number>): void {
  const gone: number[] = [];
  for (const { keys, count } of map.batches(BATCH)) {
    for (let i = 0; i < count; i++) {
      const id = readIndex(keys, i * 4);
      if (!ids.has(id)) gone.push(id);
    }
  }
  for (const id of gone) map.delete(indexKey(id));
}
