import { loadAddon } from '../../src/base/assets.ts';

declare const socketBrand: unique symbol;
/** One open socket of the addon. */
export interface NativeSocket {
  readonly [socketBrand]: true;
}

/** The addon's functions: a count, or a negative errno. Records are read or written only during the call. */
export interface NativeIcmp {
  open(params: Int32Array, key: Uint8Array, source: Uint8Array): NativeSocket | number;
  watch(socket: NativeSocket, onReadable: () => void): number;
  send(socket: NativeSocket, records: Uint32Array, count: number): number;
  receive(socket: NativeSocket, records: Uint32Array): number;
  notices(socket: NativeSocket, records: Uint32Array): number;
  resetStamps(socket: NativeSocket): number;
  takeError(socket: NativeSocket): number;
  now(socket: NativeSocket): number;
  counters(socket: NativeSocket, counters: Float64Array): void;
  close(socket: NativeSocket): void;
  layout(): Int32Array;
}

export function nativeIcmp(): NativeIcmp {
  return loadAddon<NativeIcmp>('icmp.node');
}
