import type { BpfMap } from '../../bpf/addon/index.ts';
import { MetricDirection } from '../model/constants.gen.ts';
import { metricsLayout } from './map-layouts.ts';
import { readIndex, sumPerCpu } from './struct-layout.ts';
import type { DatapathCounter } from './types.ts';

const DIRECTIONS: Readonly<Record<number, DatapathCounter['direction']>> = {
  [MetricDirection.ingress]: 'ingress',
  [MetricDirection.egress]: 'egress',
  [MetricDirection.service]: 'service',
};

/** Every counter of the metrics map that is not zero, summed over the CPUs. */
export function readMetricsMap(map: BpfMap): readonly DatapathCounter[] {
  const counters: DatapathCounter[] = [];
  for (const { keys, values, count } of map.batches(256)) {
    for (let i = 0; i < count; i++) {
      const index = readIndex(keys, i * 4);
      const value = values.subarray(i * map.valueStride, (i + 1) * map.valueStride);
      const packets = sumPerCpu(metricsLayout, value, 'packets');
      const direction = DIRECTIONS[index >> 8];
      if (packets === 0n || direction === undefined) continue;
      counters.push({
        reason: index & 0xff,
        direction,
        packets,
        bytes: sumPerCpu(metricsLayout, value, 'bytes'),
      });
    }
  }
  return counters;
}
