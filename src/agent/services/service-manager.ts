import { isDeepStrictEqual } from 'node:util';
import { ApiError } from '../../api/operations.ts';
import type * as Api from '../../api/schema.ts';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { KernelService } from '../../datapath/types.ts';
import { frontendKey, type Service } from '../../model/service.ts';
import { ServiceFile } from './service-file.ts';
import { MAX_SERVICE_ID, ServiceIds } from './service-ids.ts';
import { readServiceSpec } from './service-request.ts';
import type { ServiceEntry } from './service-view.ts';
import { type ServiceEvents, ServiceWriter, type ServiceWriterDeps } from './service-writer.ts';

export interface ServiceManagerDeps extends ServiceWriterDeps {
  readonly log: Logger;
  readonly now: () => Date;
}

/** A service that follows from objects of Kubernetes; the node gives it an id. */
export type ObjectService = Omit<Service, 'id'>;

function nameOf({ name, namespace }: ObjectService): string {
  return `${namespace}/${name}`;
}

/**
 * The services of this node: those that callers of the API keep here, over restarts too, and those that follow from
 * objects of Kubernetes. Of a frontend that both have the API's counts. Frontends keep their ids.
 */
export class ServiceManager {
  readonly #deps: ServiceManagerDeps;
  readonly #file: ServiceFile;
  readonly #writer: ServiceWriter;
  readonly #ids = new ServiceIds();
  /** All maps are by `frontendKey`. */
  readonly #api = new Map<string, Service>();
  #objects: ReadonlyMap<string, Service> = new Map();
  /** What `#objects` were made of. */
  #told: ReadonlyMap<string, ObjectService> = new Map();
  /** Frontends for which no id was left. */
  #without: readonly string[] = [];
  #damage: string | undefined;
  #adopted: readonly KernelService[] = [];
  #allKnown = false;

  constructor(stateDir: string, deps: ServiceManagerDeps) {
    this.#deps = deps;
    this.#file = new ServiceFile(stateDir, deps);
    this.#writer = new ServiceWriter(deps, {
      wanted: (key) => this.#wanted(key),
      onGone: (key) => this.#ids.release(key),
    });
  }

  get count(): number {
    return this.#keys().size;
  }

  get events(): ServiceEvents {
    return this.#writer.events;
  }

  /** Frontends that the datapath does not have as it should. */
  get failed(): readonly string[] {
    return [...this.#writer.failed, ...this.#without];
  }

  /** What is wrong: for `status`. */
  get problems(): readonly string[] {
    const { length } = this.failed;
    const texts =
      length === 0 ? [] : [`${length} services are not in the datapath: see \`status --verbose\``];
    return this.#damage === undefined ? texts : [...texts, this.#damage];
  }

  /** Takes over what an earlier agent left: ids of frontends in the datapath, and the file with the services of the API. */
  async load(): Promise<void> {
    for (const service of this.#file.read()) {
      const key = frontendKey(service.frontend);
      this.#ids.claim(key, service.id);
      this.#api.set(key, service);
    }
    this.#damage = this.#file.damage;
    this.#adopted = await this.#writer.adopt();
    for (const { frontend, id } of this.#adopted) this.#ids.claim(frontendKey(frontend), id);
    await this.#writer.touch(this.#api.keys());
  }

  /** The services of all objects, as they are now. Settles when the datapath was told. */
  setObjects(services: readonly ObjectService[]): Promise<void> {
    const before = this.#objects;
    const objects = new Map<string, Service>();
    const told = new Map<string, ObjectService>();
    const without: string[] = [];
    for (const service of services) {
      const key = frontendKey(service.frontend);
      const other = objects.get(key);
      const id = this.#ids.take(key);
      if (other !== undefined) this.#warnOfClash(key, service, other);
      else if (id === undefined) without.push(key);
      else {
        const same = this.#told.get(key) === service ? before.get(key) : undefined;
        objects.set(key, same ?? { ...service, id });
        told.set(key, service);
      }
    }
    this.#told = told;
    this.#objects = objects;
    this.#without = without;
    const keys = new Set([...before.keys(), ...objects.keys()]);
    return this.#writer.touch(
      [...keys].filter((key) => !isDeepStrictEqual(before.get(key), objects.get(key))),
    );
  }

  #warnOfClash(frontend: string, service: ObjectService, other: ObjectService): void {
    this.#deps.log.warn(
      { frontend, service: nameOf(service), other: nameOf(other) },
      'two services have one frontend: the first counts',
    );
  }

  /** Every source has told its services: what an earlier agent left beside them goes. */
  async allKnown(): Promise<void> {
    if (this.#allKnown) return;
    this.#allKnown = true;
    // Nobody knows any more which services the API had: what the datapath has goes on, though nameless.
    if (this.#file.damage !== undefined) this.#keepAdopted();
    this.#adopted = [];
    await this.#writer.retain(this.list().map(({ service }) => service.frontend));
  }

  #keepAdopted(): void {
    for (const held of this.#adopted) {
      const key = frontendKey(held.frontend);
      if (this.#wanted(key) === undefined && this.#writer.realized(key) !== undefined)
        this.#api.set(key, { ...held, name: '', namespace: '' });
    }
    try {
      this.#file.write(this.#api.values());
    } catch (error) {
      this.#deps.log.error({ error: errorText(error) }, 'services cannot be kept');
    }
  }

  /** By id. */
  list(): readonly ServiceEntry[] {
    return [...this.#keys()]
      .flatMap((key) => this.#entry(key) ?? [])
      .sort((a, b) => a.service.id - b.service.id);
  }

  /** @throws ApiError 404 */
  get(id: number): ServiceEntry {
    const key = this.#ids.frontendOf(id);
    const entry = key === undefined ? undefined : this.#entry(key);
    if (entry === undefined) throw new ApiError(404, `no service ${id}`);
    return entry;
  }

  /**
   * Makes a service be as a caller of the API wants it, and keeps it.
   * @rejects ApiError 400, 409 with nothing changed; 500 when it is kept and not in the datapath yet: that is tried again ·
   * SystemError STATE_UNWRITABLE with nothing changed
   */
  async put(id: number, spec: Api.ServiceSpec): Promise<{ entry: ServiceEntry; created: boolean }> {
    const wanted = readServiceSpec(id, spec);
    const key = frontendKey(wanted.frontend);
    const service = { ...wanted, id: this.#idFor(key, id) };
    const created = !this.#api.has(key);
    this.#keep(key, service);
    await this.#settle(key, `service ${service.id} is kept, and tried again`);
    return { entry: { service, realized: this.#writer.realized(key) }, created };
  }

  /** @throws ApiError 409 */
  #idFor(key: string, wanted: number): number {
    const object = this.#objects.get(key);
    if (object !== undefined && !this.#api.has(key))
      throw new ApiError(409, `${key} is a frontend of the Kubernetes service ${nameOf(object)}`);
    const held = this.#ids.idOf(key);
    if (wanted !== 0 && held !== undefined && held !== wanted)
      throw new ApiError(409, `the frontend ${key} has the id ${held}`);
    const holder = wanted === 0 ? undefined : this.#ids.frontendOf(wanted);
    if (holder !== undefined && holder !== key)
      throw new ApiError(409, `the id ${wanted} is that of the frontend ${holder}`);
    if (wanted !== 0 && this.#ids.claim(key, wanted)) return wanted;
    const id = this.#ids.take(key);
    if (id === undefined) throw new ApiError(409, `all ${MAX_SERVICE_ID} ids of services are taken`);
    return id;
  }

  /**
   * Gives up a service of the API.
   * @rejects ApiError 404, 409 with nothing changed; 500 when it is given up and not out of the datapath yet ·
   * SystemError STATE_UNWRITABLE with nothing changed
   */
  async delete(id: number): Promise<void> {
    const key = frontendKey(this.get(id).service.frontend);
    const object = this.#objects.get(key);
    if (!this.#api.has(key) && object !== undefined)
      throw new ApiError(409, `service ${id} follows from the Kubernetes service ${nameOf(object)}`, {
        hint: 'take that object out',
      });
    this.#keep(key, undefined);
    await this.#settle(key, `service ${id} is given up, and tried again`);
  }

  /** Puts a service of the API in the place of the former one, on disk too. @throws SystemError STATE_UNWRITABLE */
  #keep(key: string, service: Service | undefined): void {
    const before = this.#api.get(key);
    this.#set(key, service);
    try {
      this.#file.write(this.#api.values());
      this.#damage = undefined;
    } catch (error) {
      this.#set(key, before);
      if (this.#wanted(key) === undefined && this.#writer.realized(key) === undefined) this.#ids.release(key);
      throw error;
    }
  }

  #set(key: string, service: Service | undefined): void {
    if (service === undefined) this.#api.delete(key);
    else this.#api.set(key, service);
  }

  /** Until the datapath has been told of one frontend; how others fare is not the caller's. */
  async #settle(key: string, what: string): Promise<void> {
    await this.#writer.touch([key]);
    const failure = this.#writer.failureOf(key);
    if (failure !== undefined) throw new ApiError(500, `${what}: ${errorText(failure)}`, { cause: failure });
  }

  #wanted(key: string): Service | undefined {
    return this.#api.get(key) ?? this.#objects.get(key);
  }

  #entry(key: string): ServiceEntry | undefined {
    const service = this.#wanted(key);
    return service && { service, realized: this.#writer.realized(key) };
  }

  #keys(): ReadonlySet<string> {
    return new Set([...this.#objects.keys(), ...this.#api.keys()]);
  }
}
