import type { IpBytes } from '../base/ip.ts';
import { AddressFlag } from '../model/constants.gen.ts';
import { encodeAddressKey } from './address-codec.ts';
import { moveEpoch, REMOTE_SLOT } from './epochs.ts';
import { addressEntryLayout, addressKeyLayout } from './map-layouts.ts';
import type { DatapathMaps } from './programs.ts';

/** Brings the node's own addresses in the addresses map to `wanted`. */
export function syncHostAddresses(maps: DatapathMaps, wanted: readonly IpBytes[]): void {
  const keys = new Set(wanted.map((address) => encodeAddressKey(address).toString('hex')));
  const stale: Buffer[] = [];
  for (const { keys: found, values, count } of maps.addresses.batches()) {
    for (let i = 0; i < count; i++) {
      const { flags } = addressEntryLayout.decode(values, i * addressEntryLayout.bytes);
      const key = found.subarray(i * addressKeyLayout.bytes, (i + 1) * addressKeyLayout.bytes);
      if ((flags & AddressFlag.fHost) !== 0 && !keys.has(key.toString('hex'))) stale.push(Buffer.from(key));
    }
  }
  for (const address of wanted) {
    maps.addresses.update(encodeAddressKey(address), addressEntryLayout.encode({ flags: AddressFlag.fHost }));
  }
  for (const key of stale) maps.addresses.delete(key);
  moveEpoch(maps, REMOTE_SLOT);
}
