import type { EngineSelf, ProbeEngine, Routes } from '../../probes/engine/index.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Clock } from './clock.ts';
import type { NodeView } from './node-view.ts';
import { hostTargets } from './targets.ts';

export interface ProbeDevicesOptions {
  /** Names of devices that are used besides those that routes lead to: where others' probes come in. */
  readonly names: readonly string[];
  /** Addresses that probes leave from. */
  readonly sources: readonly string[];
}

export interface ProbeDevicesDeps {
  readonly engine: Pick<ProbeEngine, 'setDevices' | 'setPeers'> & { self(): Pick<EngineSelf, 'devices'> };
  /** Of the namespace of the engine's first origin. */
  readonly routes: Pick<Routes, 'changed' | 'devices' | 'indexOf' | 'nameOf' | 'close'>;
  readonly clock: Pick<Clock, 'after'>;
  readonly log: Logger;
}

/** How long a change of the routes may go unnoticed. */
const LOOK_MS = 1000;
/** Its index in every namespace: what goes to ourselves goes by it. */
export const LOOPBACK = 1;

/**
 * Keeps the engine's programs on the devices that probes leave by, whichever they are: asked of the kernel's routes when
 * the node list or the routes have changed. And keeps the list of those that the echo responder answers.
 */
export class ProbeDevices {
  readonly #options: ProbeDevicesOptions;
  readonly #deps: ProbeDevicesDeps;
  #addresses: readonly string[] = [];
  #told = '';
  #failure: string | undefined;
  #cancel: (() => void) | undefined;

  constructor(options: ProbeDevicesOptions, deps: ProbeDevicesDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  start(): void {
    this.#place();
    this.#lookLater();
  }

  /** May be called twice. */
  stop(): void {
    this.#cancel?.();
    this.#deps.routes.close();
  }

  /** Of another node list: whom the responder answers, at which addresses of ours, and where programs stand. */
  follow({ self, nodes }: NodeView): void {
    const targets = nodes.flatMap((node) => node.targets);
    const hosts = nodes.flatMap(hostTargets);
    const addressesOf = (ours: boolean): string[] =>
      hosts.filter(({ node }) => (node === self) === ours).map(({ address }) => address);
    this.#addresses = targets.map(({ address }) => address);
    this.#deps.engine.setPeers(addressesOf(false), [
      ...new Set([...addressesOf(true), ...this.#options.sources]),
    ]);
    this.#place();
  }

  #lookLater(): void {
    this.#cancel = this.#deps.clock.after(LOOK_MS, () => {
      this.#guarded(() => {
        if (this.#deps.routes.changed()) this.#place();
      });
      this.#lookLater();
    });
  }

  #place(): void {
    this.#guarded(() => {
      const { engine, routes } = this.#deps;
      const { names, sources } = this.#options;
      const named = names.map((name) => routes.indexOf(name)).filter((index) => index !== undefined);
      engine.setDevices(0, [...new Set([LOOPBACK, ...named, ...routes.devices(this.#addresses, sources)])]);
      this.#tell();
    });
  }

  /** What cannot be asked leaves the programs where they are; told once. */
  #guarded(act: () => void): void {
    try {
      act();
      this.#failure = undefined;
    } catch (error) {
      const reason = errorText(error);
      if (reason !== this.#failure) {
        this.#deps.log.warn({ reason }, 'devices of probes are not known: programs stay where they are');
      }
      this.#failure = reason;
    }
  }

  #tell(): void {
    const { engine, routes, log } = this.#deps;
    const devices = engine.self().devices.filter(({ origin }) => origin === 0);
    const text = devices.map(({ ifindex, reason }) => `${ifindex} ${reason ?? ''}`).join(', ');
    if (text === this.#told) return;
    this.#told = text;
    const nameOf = (ifindex: number): string => routes.nameOf(ifindex) ?? String(ifindex);
    const good = devices.filter(({ reason }) => reason === undefined);
    log.info({ devices: good.map(({ ifindex }) => nameOf(ifindex)) }, 'probe programs stand on devices');
    for (const { ifindex, reason } of devices) {
      if (reason === undefined) continue;
      log.warn({ device: nameOf(ifindex), reason }, 'no probe programs on a device: answers have no times');
    }
  }
}
