import { BpfError, type BpfMap } from '../../bpf/addon/index.ts';
import { SystemError } from '../base/errors.ts';
import { DatapathLimit } from '../model/constants.gen.ts';
import {
  type BackendState,
  frontendKey,
  type ServiceBackend,
  type ServiceFrontend,
  type ServiceProtocol,
} from '../model/service.ts';
import {
  backendEntryLayout,
  serviceEntryLayout,
  serviceFlowLayout,
  serviceKeyLayout,
} from './map-layouts.ts';
import { retainClients } from './service-affinity.ts';
import {
  decodeBackend,
  decodeServiceEntry,
  decodeServiceKey,
  encodeBackend,
  encodeServiceHead,
  encodeServiceKey,
  encodeServiceSlot,
} from './service-codec.ts';
import { indexKey, readIndex } from './struct-layout.ts';
import type { KernelService } from './types.ts';

export interface ServiceMaps {
  readonly services: BpfMap;
  readonly backends: BpfMap;
  readonly serviceFlows: BpfMap;
  readonly serviceEpoch: BpfMap;
  readonly serviceAffinity: BpfMap;
}

/** A backend in the kernel, and what each service that names it says of it. */
interface Backend {
  readonly id: number;
  readonly protocol: ServiceProtocol;
  written: ServiceBackend;
  readonly states: Map<string, BackendState>;
}

/** A service as it was written last. */
interface Written {
  readonly service: KernelService;
  /** Active ones, in the order of their slots. */
  readonly slots: readonly Backend[];
  readonly named: readonly Backend[];
}

/** The best that any service says of a backend holds: what is to take no new flows of a service is in none of its slots. */
const BEST_FIRST: readonly BackendState[] = ['active', 'terminating', 'quarantined', 'maintenance'];

/** Thousands of services may name one backend, and hardly any says else than that it is active. */
function bestOf(states: Iterable<BackendState>): BackendState {
  let best = BEST_FIRST.length;
  for (const state of states) {
    if (state === 'active') return state;
    best = Math.min(best, BEST_FIRST.indexOf(state));
  }
  return BEST_FIRST[best] ?? 'active';
}

/** Each address and port once; of two that name the same the last counts. */
function distinct({ backends, frontend }: KernelService): readonly ServiceBackend[] {
  const { protocol } = frontend;
  return [...new Map(backends.map((backend) => [frontendKey({ ...backend, protocol }), backend])).values()];
}

/**
 * Services and backends in the kernel. A program may read them at any moment: backends are there before slots lead to
 * them, slots before the count that names them, and each goes in the opposite order.
 */
export class ServiceTable {
  readonly #maps: ServiceMaps;
  readonly #services = new Map<string, Written>();
  readonly #backends = new Map<string, Backend>();
  readonly #ids = new Set<number>();
  #lastId = 0;
  #epoch = 0;

  constructor(maps: ServiceMaps) {
    this.#maps = maps;
  }

  /** Takes over what the maps hold. */
  adopt(): void {
    const byId = new Map<number, Backend>();
    for (const { keys, values, count } of this.#maps.backends.batches()) {
      for (let i = 0; i < count; i++) {
        const { protocol, ...written } = decodeBackend(values, i * backendEntryLayout.bytes);
        const backend: Backend = { id: readIndex(keys, i * 4), protocol, written, states: new Map() };
        byId.set(backend.id, backend);
        this.#ids.add(backend.id);
        this.#backends.set(frontendKey({ ...written, protocol }), backend);
      }
    }
    this.#adoptServices(byId);
    this.#lastId = this.#highestId();
    const epoch = this.#maps.serviceEpoch.lookup(indexKey(0));
    this.#epoch = epoch === undefined ? 0 : readIndex(epoch);
    // The agent before may have been killed between a change and its epoch.
    this.#moveEpoch();
  }

  /** No backend may get the id of one that a flow still has. */
  #highestId(): number {
    let highest = 0;
    for (const id of this.#ids) highest = Math.max(highest, id);
    for (const { values, count } of this.#maps.serviceFlows.batches()) {
      for (let i = 0; i < count; i++) {
        highest = Math.max(highest, readIndex(values, i * serviceFlowLayout.bytes));
      }
    }
    return highest;
  }

  #adoptServices(byId: ReadonlyMap<number, Backend>): void {
    const heads: { frontend: ServiceFrontend; head: ReturnType<typeof decodeServiceEntry> }[] = [];
    const found: { frontend: ServiceFrontend; slot: number; backend: Backend | undefined }[] = [];
    for (const { keys, values, count } of this.#maps.services.batches()) {
      for (let i = 0; i < count; i++) {
        const { frontend, slot } = decodeServiceKey(keys, i * serviceKeyLayout.bytes);
        const entry = decodeServiceEntry(values, i * serviceEntryLayout.bytes);
        if (slot === 0) heads.push({ frontend, head: entry });
        else found.push({ frontend, slot, backend: byId.get(entry.backend) });
      }
    }
    const counts = new Map(heads.map(({ frontend, head }) => [frontendKey(frontend), head.count]));
    const slots = new Map<string, Backend | undefined>();
    for (const { frontend, slot, backend } of found) {
      const text = frontendKey(frontend);
      if (slot <= (counts.get(text) ?? 0)) slots.set(`${text} ${slot}`, backend);
      // Its writer was killed before it wrote the count, or after it took the slot out of it.
      else this.#maps.services.delete(encodeServiceKey(frontend, slot));
    }
    for (const { frontend, head } of heads) {
      const text = frontendKey(frontend);
      const held = Array.from({ length: head.count }, (_, i) => slots.get(`${text} ${i + 1}`));
      const named = held.filter((backend) => backend !== undefined);
      const { id, type, affinitySeconds } = head;
      const service = { id, type, affinitySeconds, frontend, backends: named.map(({ written }) => written) };
      for (const { states } of named) states.set(text, 'active');
      this.#services.set(text, { service, slots: named, named });
    }
  }

  /** @throws SystemError DATAPATH_FULL with what was there of the service left as it was */
  upsert(service: KernelService): void {
    const text = frontendKey(service.frontend);
    const old = this.#services.get(text);
    const wanted = distinct(service);
    const named: Backend[] = [];
    const slots: Backend[] = [];
    try {
      for (const backend of wanted) {
        const placed = this.#place(backend, service.frontend.protocol);
        named.push(placed);
        if (backend.state === 'active') slots.push(placed);
      }
      this.#writeSlots(service, slots);
    } catch (error) {
      this.#undo(service, old, { slots, named });
      throw this.#fullness(error, text);
    }
    this.#dropSlots(service.frontend, slots.length, old?.slots.length ?? 0);
    this.#services.set(text, { service, slots, named });
    this.#retainClients(service, slots, old);
    for (const [i, backend] of named.entries()) {
      backend.states.set(text, wanted[i]?.state ?? 'active');
    }
    const kept = new Set(named);
    for (const backend of old?.named ?? []) if (!kept.has(backend)) backend.states.delete(text);
    this.#settle([...named, ...(old?.named ?? [])]);
  }

  /** The backend's entry, made if there is none. One that slots are to lead to takes flows before they do. */
  #place(backend: ServiceBackend, protocol: ServiceProtocol): Backend {
    const text = frontendKey({ ...backend, protocol });
    const found = this.#backends.get(text);
    if (found !== undefined) {
      if (backend.state === 'active') this.#setState(found, 'active');
      return found;
    }
    const id = this.#freeId();
    this.#maps.backends.update(indexKey(id), encodeBackend(backend, protocol));
    const placed: Backend = { id, protocol, written: backend, states: new Map() };
    this.#ids.add(id);
    this.#backends.set(text, placed);
    return placed;
  }

  /** Ids go round: one is not given to another backend while flows may have it. */
  #freeId(): number {
    do this.#lastId = this.#lastId >= 0xffff_fffe ? 1 : this.#lastId + 1;
    while (this.#ids.has(this.#lastId));
    return this.#lastId;
  }

  #writeSlots(service: KernelService, slots: readonly Backend[]): void {
    const { frontend, id, type, affinitySeconds } = service;
    for (const [i, backend] of slots.entries()) {
      this.#maps.services.update(encodeServiceKey(frontend, i + 1), encodeServiceSlot(id, backend.id));
    }
    const head = { id, type, affinitySeconds, count: slots.length };
    this.#maps.services.update(encodeServiceKey(frontend, 0), encodeServiceHead(head));
  }

  /** Slots behind `count`, of which there may be as many as `most`. */
  #dropSlots(frontend: ServiceFrontend, count: number, most: number): void {
    for (let slot = most; slot > count; slot--) this.#maps.services.delete(encodeServiceKey(frontend, slot));
  }

  #undo(
    service: KernelService,
    old: Written | undefined,
    tried: { readonly slots: readonly Backend[]; readonly named: readonly Backend[] },
  ): void {
    if (old !== undefined) this.#writeSlots(old.service, old.slots);
    else this.#maps.services.delete(encodeServiceKey(service.frontend, 0));
    this.#dropSlots(service.frontend, old?.slots.length ?? 0, tried.slots.length);
    this.#settle(tried.named);
  }

  /** Also of a service that had the id before, or from when the service last kept its clients. */
  #retainClients(
    { id, affinitySeconds }: KernelService,
    slots: readonly Backend[],
    old: Written | undefined,
  ): void {
    const kept = new Set(slots);
    const hadOthers = old === undefined || old.service.affinitySeconds === 0;
    if (affinitySeconds > 0 && (hadOthers || old.slots.some((backend) => !kept.has(backend))))
      retainClients(this.#maps.serviceAffinity, id, new Set(slots.map((backend) => backend.id)));
  }

  #fullness(error: unknown, text: string): unknown {
    if (!(error instanceof BpfError && error.errnoName === 'E2BIG')) return error;
    return new SystemError(
      `no room for the service ${text} in the datapath: it takes ${DatapathLimit.services} frontends and backends of frontends, and ${DatapathLimit.backends} backends`,
      { code: 'DATAPATH_FULL', cause: error },
    );
  }

  /** Flows whose backend the flow cache knows ask again for it. */
  #moveEpoch(): void {
    this.#epoch = (this.#epoch + 1) >>> 0;
    this.#maps.serviceEpoch.update(indexKey(0), indexKey(this.#epoch));
  }

  /** Writes what the services say of these backends now; one of which none says anything goes. */
  #settle(backends: readonly Backend[]): void {
    for (const backend of new Set(backends)) {
      if (backend.states.size === 0) this.#forget(backend);
      else this.#setState(backend, bestOf(backend.states.values()));
    }
    this.#moveEpoch();
  }

  #setState(backend: Backend, state: BackendState): void {
    if (backend.written.state === state) return;
    backend.written = { ...backend.written, state };
    this.#maps.backends.update(indexKey(backend.id), encodeBackend(backend.written, backend.protocol));
  }

  #forget(backend: Backend): void {
    this.#maps.backends.delete(indexKey(backend.id));
    this.#ids.delete(backend.id);
    this.#backends.delete(frontendKey({ ...backend.written, protocol: backend.protocol }));
  }

  delete(frontend: ServiceFrontend): void {
    const text = frontendKey(frontend);
    const old = this.#services.get(text);
    if (old === undefined) return;
    this.#maps.services.delete(encodeServiceKey(frontend, 0));
    this.#dropSlots(frontend, 0, old.slots.length);
    this.#services.delete(text);
    for (const { states } of old.named) states.delete(text);
    this.#settle(old.named);
  }

  /** Deletes every service but these, and backends that none of them names. */
  retain(frontends: readonly ServiceFrontend[]): void {
    const kept = new Set(frontends.map(frontendKey));
    for (const [text, { service }] of this.#services) if (!kept.has(text)) this.delete(service.frontend);
    this.#settle([...this.#backends.values()]);
  }

  read(): readonly KernelService[] {
    return [...this.#services.values()].map(({ service, slots }) => ({
      ...service,
      backends: slots.map(({ written }) => ({ ...written, state: 'active' as const })),
    }));
  }
}
