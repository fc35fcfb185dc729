import type { Cidr, IpBytes, IpFamily } from '../base/ip.ts';
import { IpcacheFlag } from '../model/constants.gen.ts';
import { addressKeyLayout, ipcacheEntryLayout, ipcacheKeyLayout } from './map-layouts.ts';
import type { IpcacheEntry } from './types.ts';

/** Bits of an ipcache key before the address. */
const STATIC_BITS = 32;

/** `struct address_key`. */
export function encodeAddressKey(address: IpBytes): Buffer {
  return addressKeyLayout.encode({ family: address.length === 4 ? 4 : 6, address });
}

/** `struct ipcache_key`. */
export function encodeIpcacheKey(prefix: Cidr): Buffer {
  return ipcacheKeyLayout.encode({
    prefixBits: STATIC_BITS + prefix.length,
    family: prefix.family,
    address: prefix.bytes,
  });
}

function decodePrefix(buffer: Uint8Array, offset: number): Cidr {
  const { prefixBits, family: raw, address } = ipcacheKeyLayout.decode(buffer, offset);
  const family: IpFamily = raw === 4 ? 4 : 6;
  return { family, bytes: address.subarray(0, family === 4 ? 4 : 16), length: prefixBits - STATIC_BITS };
}

/** `struct ipcache_entry`. An IPv4 tunnel endpoint fills the first four bytes. */
export function encodeIpcacheEntry(entry: IpcacheEntry, flags = 0): Buffer {
  return ipcacheEntryLayout.encode({
    identity: entry.identity,
    flags: entry.held === true ? flags | IpcacheFlag.fHeld : flags,
    tunnel: entry.tunnelEndpoint ?? new Uint8Array(),
  });
}

/** Entry and flags of one record of the ipcache. */
export function decodeIpcache(
  keys: Uint8Array,
  values: Uint8Array,
  index: number,
): { readonly entry: IpcacheEntry; readonly flags: number } {
  const prefix = decodePrefix(keys, index * ipcacheKeyLayout.bytes);
  const { identity, flags, tunnel } = ipcacheEntryLayout.decode(values, index * ipcacheEntryLayout.bytes);
  const held = (flags & IpcacheFlag.fHeld) !== 0;
  return { entry: { prefix, identity, tunnelEndpoint: tunnelAddress(tunnel), ...(held && { held }) }, flags };
}

function tunnelAddress(bytes: Uint8Array): IpBytes | undefined {
  if (bytes.every((byte) => byte === 0)) return undefined;
  return bytes.subarray(4).every((byte) => byte === 0) ? bytes.slice(0, 4) : bytes;
}
