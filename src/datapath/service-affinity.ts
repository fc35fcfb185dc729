import type { BpfMap } from '../../bpf/addon/index.ts';
import { affinityEntryLayout, affinityKeyLayout } from './map-layouts.ts';

/**
 * Clients of a service come back to these backends only. Programs ask just whether a backend takes new flows at all, and
 * another service may still send it some.
 */
export function retainClients(affinity: BpfMap, service: number, backends: ReadonlySet<number>): void {
  const stride = affinityKeyLayout.bytes;
  const gone: Buffer[] = [];
  for (const { keys, values, count } of affinity.batches()) {
    for (let i = 0; i < count; i++) {
      if (affinityKeyLayout.decode(keys, i * stride).service !== service) continue;
      const { backend } = affinityEntryLayout.decode(values, i * affinityEntryLayout.bytes);
      if (!backends.has(backend)) gone.push(Buffer.from(keys.subarray(i * stride, (i + 1) * stride)));
    }
  }
  for (const key of gone) affinity.delete(key);
}
