import { loadAddon } from '../../src/base/assets.ts';

declare const engineBrand: unique symbol;
/** One engine of the addon. */
export interface NativeHandle {
  readonly [engineBrand]: true;
}

declare const routesBrand: unique symbol;
/** Netlink sockets of the addon. */
export interface RoutesHandle {
  readonly [routesBrand]: true;
}

/** The addon's functions: a count, or a negative errno. Records are read or written only during the call. */
export interface NativeEngine {
  create(options: Int32Array, key: Uint8Array): NativeHandle | number;
  openSockets(
    engine: NativeHandle,
    origin: number,
    netnsFd: number,
    family: number,
    source: Uint8Array,
    mode: number,
  ): number;
  start(engine: NativeHandle, onEvents: () => void): number;
  command(engine: NativeHandle, commands: Uint32Array, count: number): number;
  events(engine: NativeHandle, records: Uint32Array): number;
  /** Records and accounts of all paths: live memory. */
  memory(engine: NativeHandle): [ArrayBuffer, ArrayBuffer];
  /** Puts the memory of a map in the place of a block of records, of whose paths none was opened yet. */
  share(engine: NativeHandle, block: number, descriptor: number): number;
  self(engine: NativeHandle, values: Float64Array): void;
  stop(engine: NativeHandle): void;
  layout(): Int32Array;
  routesOpen(netnsFd: number): RoutesHandle | number;
  routesChanged(routes: RoutesHandle): number;
  /** Indices of devices, or a negative errno. */
  routesDevices(
    routes: RoutesHandle,
    family: number,
    addresses: Uint8Array,
    source: Uint8Array,
  ): number[] | number;
  routesIndex(routes: RoutesHandle, name: string): number;
  routesName(routes: RoutesHandle, index: number): string | number;
  routesClose(routes: RoutesHandle): void;
}

export function nativeEngine(): NativeEngine {
  return loadAddon<NativeEngine>('engine.node');
}
