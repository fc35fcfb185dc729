import { isDeepStrictEqual } from 'node:util';
import { SystemError } from '../../base/errors.ts';
import { formatIp } from '../../base/ip.ts';
import type { Datapath, KernelService } from '../../datapath/types.ts';
import { frontendKey, type Service, type ServiceFrontend } from '../../model/service.ts';
import type { Controllers } from '../controllers.ts';
import { AgentEventType, agentEvent, type EmitEvent } from '../events.ts';

export interface ServiceWriterDeps {
  readonly datapath: Pick<Datapath, 'upsertService' | 'deleteService' | 'retainServices' | 'readServices'>;
  readonly controllers: Controllers;
  readonly emit: EmitEvent;
}

/** What the writer asks whoever decides which services there are. Keys are those of `frontendKey`. */
export interface WantedServices {
  wanted(key: string): Service | undefined;
  /** The datapath has nothing of the frontend any more, and is to have nothing. */
  onGone(key: string): void;
}

/** Writes of services to the datapath since the start. */
export interface ServiceEvents {
  readonly add: number;
  readonly update: number;
  readonly delete: number;
}

const CONTROLLER = 'sync-services';
/** How many backends an event names. */
const BACKENDS_TOLD = 64;
/** How many frontends a message names. */
const SHOWN = 5;

function kernelService({ id, type, frontend, backends, affinitySeconds }: Service): KernelService {
  return { id, type, frontend, backends, affinitySeconds };
}

const socketOf = ({ address, port }: Pick<ServiceFrontend, 'address' | 'port'>) => ({
  ip: formatIp(address),
  port,
});

/** As Cilium tells it, but of services with many backends the first ones alone. */
function upsertedMessage(service: Service): Readonly<Record<string, unknown>> {
  const { id, type, name, namespace, frontend, backends } = service;
  return {
    id,
    'frontend-address': socketOf(frontend),
    'backend-addresses': backends.slice(0, BACKENDS_TOLD).map(socketOf),
    ...(backends.length > BACKENDS_TOLD && { 'backend-count': backends.length }),
    ...{ type, name, namespace, 'traffic-policy': 'Cluster' },
  };
}

/** Makes the datapath have the services that are wanted: differences only, and again until it took them. */
export class ServiceWriter {
  readonly #deps: ServiceWriterDeps;
  readonly #wanted: WantedServices;
  readonly #sync: { trigger(): Promise<void> };
  /** What the datapath has; at the start as an earlier agent left it. */
  readonly #realized = new Map<string, KernelService>();
  /** Those that this agent wrote: what an earlier one did tells its active backends only. */
  readonly #told = new Set<string>();
  readonly #dirty = new Set<string>();
  readonly #failures = new Map<string, unknown>();
  #retain: readonly ServiceFrontend[] | undefined;
  #events: ServiceEvents = { add: 0, update: 0, delete: 0 };

  constructor(deps: ServiceWriterDeps, wanted: WantedServices) {
    this.#deps = deps;
    this.#wanted = wanted;
    this.#sync = deps.controllers.add({ name: CONTROLLER, run: () => this.#run() });
  }

  get events(): ServiceEvents {
    return this.#events;
  }

  /** Frontends that the datapath did not take. */
  get failed(): readonly string[] {
    return [...this.#failures.keys()];
  }

  realized(key: string): KernelService | undefined {
    return this.#realized.get(key);
  }

  failureOf(key: string): unknown {
    return this.#failures.get(key);
  }

  /** Takes over what an earlier agent left. */
  async adopt(): Promise<readonly KernelService[]> {
    const held = await this.#deps.datapath.readServices();
    for (const service of held) this.#realized.set(frontendKey(service.frontend), service);
    return held;
  }

  /** What is wanted of these may be something else. Settles when all that is dirty now was tried. */
  async touch(keys: Iterable<string>): Promise<void> {
    for (const key of keys) this.#dirty.add(key);
    if (this.#dirty.size > 0) await this.#sync.trigger().catch(() => undefined);
  }

  /** What is not among these goes, also what this agent never heard of. */
  async retain(frontends: readonly ServiceFrontend[]): Promise<void> {
    this.#retain = frontends;
    await this.#sync.trigger().catch(() => undefined);
  }

  /** What goes makes room for what comes. @rejects SystemError SERVICES_UNWRITTEN: the others are written all the same */
  async #run(): Promise<void> {
    await this.#runRetain();
    const isWanted = (key: string): number => (this.#wanted.wanted(key) === undefined ? 0 : 1);
    for (const key of [...this.#dirty].sort((a, b) => isWanted(a) - isWanted(b))) {
      this.#dirty.delete(key);
      try {
        await this.#write(key);
        this.#failures.delete(key);
      } catch (error) {
        this.#failures.set(key, error);
        this.#dirty.add(key);
      }
    }
    this.#throwFailures();
  }

  #throwFailures(): void {
    const [first] = this.#failures.values();
    if (first === undefined) return;
    const { failed } = this;
    const more = failed.length > SHOWN ? ', ...' : '';
    throw new SystemError(
      `${failed.length} services are not in the datapath as they should be: ${failed.slice(0, SHOWN).join(', ')}${more}`,
      { code: 'SERVICES_UNWRITTEN', cause: first },
    );
  }

  async #runRetain(): Promise<void> {
    const frontends = this.#retain;
    if (frontends === undefined) return;
    await this.#deps.datapath.retainServices(frontends);
    this.#retain = undefined;
    const kept = new Set(frontends.map(frontendKey));
    for (const key of [...this.#realized.keys()]) if (!kept.has(key)) this.#forget(key);
  }

  #forget(key: string): void {
    this.#realized.delete(key);
    this.#told.delete(key);
    if (this.#wanted.wanted(key) === undefined) this.#wanted.onGone(key);
    else this.#dirty.add(key);
  }

  async #write(key: string): Promise<void> {
    const service = this.#wanted.wanted(key);
    const held = this.#realized.get(key);
    if (service !== undefined) await this.#upsert(key, service, held);
    else if (held === undefined) this.#wanted.onGone(key);
    else await this.#delete(key, held);
  }

  async #upsert(key: string, service: Service, held: KernelService | undefined): Promise<void> {
    const wanted = kernelService(service);
    if (this.#told.has(key) && isDeepStrictEqual(held, wanted)) return;
    await this.#deps.datapath.upsertService(wanted);
    this.#realized.set(key, wanted);
    this.#told.add(key);
    this.#count(held === undefined ? 'add' : 'update');
    this.#deps.emit(agentEvent(AgentEventType.serviceUpserted, upsertedMessage(service)));
  }

  async #delete(key: string, { id, frontend }: KernelService): Promise<void> {
    await this.#deps.datapath.deleteService(frontend);
    this.#forget(key);
    this.#count('delete');
    this.#deps.emit(agentEvent(AgentEventType.serviceDeleted, { id }));
  }

  #count(event: keyof ServiceEvents): void {
    this.#events = { ...this.#events, [event]: this.#events[event] + 1 };
  }
}
