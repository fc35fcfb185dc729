import { getSystemErrorName } from 'node:util';
import { SystemError } from '../../src/base/errors.ts';
import { type IpFamily, ipFamily, parseIp } from '../../src/base/ip.ts';
import { type NativeEngine, nativeEngine, type RoutesHandle } from './native.ts';

function failure(what: string, errno: number): SystemError {
  return new SystemError(`cannot ${what}: ${getSystemErrorName(errno)}`, { code: 'ROUTES' });
}

/** The kernel's routes of one network namespace, as far as devices go; 64 devices at most. */
export class Routes {
  readonly #native: NativeEngine;
  readonly #handle: RoutesHandle;

  /** @param netnsFd open descriptor of the namespace; undefined: ours. @throws SystemError code ROUTES */
  constructor(netnsFd?: number) {
    this.#native = nativeEngine();
    const handle = this.#native.routesOpen(netnsFd ?? -1);
    if (typeof handle === 'number') throw failure('ask the kernel for routes', handle);
    this.#handle = handle;
  }

  /** Whether links, addresses or routes may have changed since the last call. @throws SystemError code ROUTES */
  changed(): boolean {
    const result = this.#native.routesChanged(this.#handle);
    if (result < 0) throw failure('hear of changed routes', result);
    return result > 0;
  }

  /**
   * Indices of the devices that lead to these addresses, all ways of a route included; an address of our own gives the
   * loopback, one without a route nothing.
   * @param sources text forms, where probes leave from: the first of a family counts
   * @throws SystemError code ROUTES
   */
  devices(addresses: readonly string[], sources: readonly string[] = []): number[] {
    const from = sources.map((text) => parseIp(text));
    const found = ([4, 6] as const).flatMap((family) =>
      this.#devicesOf(
        family,
        addresses,
        from.find((bytes) => ipFamily(bytes) === family) ?? new Uint8Array(0),
      ),
    );
    return [...new Set(found)].sort((a, b) => a - b);
  }

  #devicesOf(family: IpFamily, addresses: readonly string[], source: Uint8Array): readonly number[] {
    const wanted = addresses.map((text) => parseIp(text)).filter((bytes) => ipFamily(bytes) === family);
    if (wanted.length === 0) return [];
    const result = this.#native.routesDevices(this.#handle, family, Buffer.concat(wanted), source);
    if (typeof result === 'number') throw failure('ask the kernel for routes', result);
    return result;
  }

  /** Undefined: there is no such device. */
  indexOf(name: string): number | undefined {
    const index = this.#native.routesIndex(this.#handle, name);
    return index < 0 ? undefined : index;
  }

  /** Undefined: there is no such device. */
  nameOf(index: number): string | undefined {
    const name = this.#native.routesName(this.#handle, index);
    return typeof name === 'string' ? name : undefined;
  }

  /** May be called twice. */
  close(): void {
    this.#native.routesClose(this.#handle);
  }
}
