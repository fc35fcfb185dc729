import type { EngineSelf, ProbeEngine, Routes } from '../../probes/engine/index.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { atOnce, inTurns, type Slices } from '../base/slices.ts';
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
/** Addresses whose routes are asked for in one slice: some 10 ms. */
const ASKED_A_SLICE = 2000;
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
  #missing = '';
  #cancel: (() => void) | undefined;
  /** Counts the looks at all routes. */
  #looks = 0;
  #stopped = false;

  constructor(options: ProbeDevicesOptions, deps: ProbeDevicesDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  start(): void {
    atOnce(this.#place());
    this.#lookLater();
  }

  /** May be called twice. */
  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
    this.#deps.routes.close();
  }

  /** Of another node list: where programs stand. */
  followRoutes({ nodes }: Pick<NodeView, 'nodes'>): Slices<void> {
    this.#addresses = nodes.flatMap(({ targets }) => targets.map(({ address }) => address));
    return this.#place();
  }

  /** Of another node list: whom the responder answers, and at which addresses of ours. */
  followPeers({ self, nodes }: Pick<NodeView, 'self' | 'nodes'>): void {
    const hosts = nodes.flatMap(hostTargets);
    const addressesOf = (ours: boolean): string[] =>
      hosts.filter(({ node }) => (node === self) === ours).map(({ address }) => address);
    this.#deps.engine.setPeers(addressesOf(false), [
      ...new Set([...addressesOf(true), ...this.#options.sources]),
    ]);
  }

  #lookLater(): void {
    this.#cancel = this.#deps.clock.after(LOOK_MS, () => {
      if (this.#haveChanged()) void inTurns(this.#place(), () => !this.#stopped);
      this.#lookLater();
    });
  }

  #haveChanged(): boolean {
    try {
      return this.#deps.routes.changed();
    } catch (error) {
      this.#fail(error);
      return false;
    }
  }

  /** Asks the kernel, slice by slice; a later look than this one is right. */
  *#place(): Slices<void> {
    const look = ++this.#looks;
    const { engine, routes } = this.#deps;
    const { names, sources } = this.#options;
    const addresses = this.#addresses;
    try {
      const named = names.map((name) => routes.indexOf(name)).filter((index) => index !== undefined);
      this.#tellMissing(names.filter((name) => routes.indexOf(name) === undefined));
      const devices = new Set([LOOPBACK, ...named]);
      for (let at = 0; at < addresses.length; at += ASKED_A_SLICE) {
        if (at > 0) yield;
        if (look !== this.#looks || this.#stopped) return;
        for (const index of routes.devices(addresses.slice(at, at + ASKED_A_SLICE), sources))
          devices.add(index);
      }
      engine.setDevices(0, [...devices]);
      this.#tell();
      this.#failure = undefined;
    } catch (error) {
      this.#fail(error);
    }
  }

  /** What cannot be asked leaves the programs where they are; told once. */
  #fail(error: unknown): void {
    const reason = errorText(error);
    if (reason !== this.#failure)
      this.#deps.log.warn({ reason }, 'devices of probes are not known: programs stay where they are');
    this.#failure = reason;
  }

  /** A device may come later; a slip in its name should not be silent until then. */
  #tellMissing(names: readonly string[]): void {
    const missing = names.join(', ');
    if (missing !== this.#missing && missing !== '')
      this.#deps.log.warn({ devices: names }, 'no such device: echoes that come in by it have no answer');
    this.#missing = missing;
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
