import { unlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { Bpf, BpfMap } from '../../bpf/addon/index.ts';
import { endpointLayout } from './map-layouts.ts';
import { listPins } from './pins.ts';
import { bytes, readIndex, structLayout, text, u8, u16, u32 } from './struct-layout.ts';

/** The endpoints as they were pinned when each slot had its own two policy maps, at 2 * slot and 2 * slot + 1. */
const OLDER_NAME = 'ciliate_endpoints_v1';

const olderLayout = structLayout('endpoint', 64, {
  id: [0, u16],
  flags: [2, u8],
  identity: [4, u32],
  ifindex: [8, u32],
  ip4: [12, bytes(4)],
  ip6: [16, bytes(16)],
  mac: [32, bytes(6)],
  hostMac: [38, bytes(6)],
  families: [44, u32],
  ifname: [48, text(16)],
});

export function hasOlderEndpoints(mapsFolder: string): boolean {
  return listPins(mapsFolder).includes(OLDER_NAME);
}

/**
 * Copies the records of an agent of that version, which name the same policy maps. To be called before any program reads
 * `endpoints`; those of the older version go on with theirs. It stays pinned, for as long as one of these may run, and
 * whoever is killed until then finds the same again.
 */
export function takeOlderEndpoints(bpf: Bpf, mapsFolder: string, endpoints: BpfMap): void {
  const older = bpf.openPinnedMap(join(mapsFolder, OLDER_NAME));
  if (older === undefined) return;
  try {
    for (const { keys, values, count } of older.batches()) {
      const records = Array.from({ length: count }, (_, i) => {
        const slot = readIndex(keys, i * 4);
        const raw = olderLayout.decode(values, i * olderLayout.bytes);
        if (raw.id === 0) return Buffer.alloc(endpointLayout.bytes);
        return endpointLayout.encode({ ...raw, policy: [2 * slot, 2 * slot + 1] });
      });
      endpoints.updateBatch(keys, Buffer.concat(records), count);
    }
  } finally {
    older.close();
  }
}

/** To be called when no program reads them any more, and before a record is written. */
export function forgetOlderEndpoints(mapsFolder: string): void {
  if (hasOlderEndpoints(mapsFolder)) unlinkSync(join(mapsFolder, OLDER_NAME));
}
