import type { BpfMap } from '../../bpf/addon/index.ts';
import { DatapathLimit, ForwardReason, MetricDirection } from '../model/constants.gen.ts';
import { endpointCountersLayout, metricsLayout } from './map-layouts.ts';
import { indexKey, readIndex, sumPerCpu } from './struct-layout.ts';
import type { DatapathCounter } from './types.ts';

const DIRECTIONS: Readonly<Record<number, DatapathCounter['direction']>> = {
  [MetricDirection.ingress]: 'ingress',
  [MetricDirection.egress]: 'egress',
  [MetricDirection.service]: 'service',
};

/** The maps that hold the counters: drops by reason, what passed by endpoint slot. */
export interface CounterMaps {
  readonly metrics: BpfMap;
  readonly endpointCounters: BpfMap;
  /** The epoch of a slot that was never used is 0. */
  readonly epochs: BpfMap;
}

function usedSlots(epochs: BpfMap): readonly number[] {
  const used: number[] = [];
  for (const { keys, values, count } of epochs.batches(DatapathLimit.endpointSlots)) {
    for (let i = 0; i < count; i++) {
      const slot = readIndex(keys, i * 4);
      // Slot 0 is the node's own.
      if (slot === 0 || readIndex(values, i * 4) !== 0) used.push(slot);
    }
  }
  return used;
}

/** What passed, over all slots that ever had an endpoint: it never goes down when one leaves. */
function readForwarded({ endpointCounters, epochs }: CounterMaps): DatapathCounter[] {
  const sum = { ingressPackets: 0n, ingressBytes: 0n, egressPackets: 0n, egressBytes: 0n };
  for (const slot of usedSlots(epochs)) {
    const value = endpointCounters.lookup(indexKey(slot)) ?? Buffer.alloc(0);
    for (const field of Object.keys(sum) as (keyof typeof sum)[]) {
      sum[field] += sumPerCpu(endpointCountersLayout, value, field);
    }
  }
  const reason = ForwardReason.forwarded;
  return [
    { reason, direction: 'ingress', packets: sum.ingressPackets, bytes: sum.ingressBytes },
    { reason, direction: 'egress', packets: sum.egressPackets, bytes: sum.egressBytes },
  ];
}

function readDrops(map: BpfMap): DatapathCounter[] {
  const counters: DatapathCounter[] = [];
  for (const { keys, values, count } of map.batches(256)) {
    for (let i = 0; i < count; i++) {
      const index = readIndex(keys, i * 4);
      const value = values.subarray(i * map.valueStride, (i + 1) * map.valueStride);
      const direction = DIRECTIONS[index >> 8];
      if (direction === undefined) continue;
      const packets = sumPerCpu(metricsLayout, value, 'packets');
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

/** Every counter that is not zero, summed over the CPUs. */
export function readCounters(maps: CounterMaps): readonly DatapathCounter[] {
  return [...readForwarded(maps), ...readDrops(maps.metrics)].filter(({ packets }) => packets > 0n);
}
