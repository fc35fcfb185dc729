import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { type BpfMap, loadBpf } from '../../bpf/addon/index.ts';
import { parseIp } from '../../src/base/ip.ts';
import { backendEntryLayout, serviceEntryLayout, serviceKeyLayout } from '../../src/datapath/map-layouts.ts';
import { type LoadedPrograms, loadPrograms } from '../../src/datapath/programs.ts';
import { decodeBackend, decodeServiceEntry, decodeServiceKey } from '../../src/datapath/service-codec.ts';
import { type ServiceMaps, ServiceTable } from '../../src/datapath/service-table.ts';
import { readIndex } from '../../src/datapath/struct-layout.ts';
import type { KernelService } from '../../src/datapath/types.ts';
import { type BackendState, frontendKey } from '../../src/model/service.ts';
import { backendsAt } from '../support/kernel-services.ts';
import { bpfOrSkip } from '../support/privilege.ts';

const STATES = ['active', 'terminating', 'quarantined', 'maintenance'] as const satisfies BackendState[];
const WRITES = ['update', 'delete', 'updateBatch'];

/** What ends an agent in the middle of its work. */
class Killed extends Error {}

/** The same maps, of which a write is the last: the next one ends the writer. */
function fatal(maps: ServiceMaps, writes: number): ServiceMaps {
  let left = writes;
  const wrap = (map: BpfMap): BpfMap =>
    new Proxy(map, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== 'function') return value;
        return (...words: unknown[]): unknown => {
          if (WRITES.includes(String(name)) && left-- <= 0) throw new Killed();
          return Reflect.apply(value, target, words);
        };
      },
    });
  const { services, backends, serviceFlows, serviceEpoch, serviceAffinity } = maps;
  return {
    services: wrap(services),
    backends: wrap(backends),
    serviceFlows: wrap(serviceFlows),
    serviceEpoch: wrap(serviceEpoch),
    serviceAffinity: wrap(serviceAffinity),
  };
}

type Wanted = ReadonlyMap<number, KernelService>;

const list = fc.array(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.constantFrom(...STATES)), { maxLength: 5 });
const services = fc.dictionary(fc.constantFrom('1', '2'), list);

function wantedOf(lists: Readonly<Record<string, [number, BackendState][]>>): Wanted {
  return new Map(
    Object.entries(lists).map(([text, backends]) => {
      const id = Number(text);
      const frontend = { address: parseIp(`10.96.0.${id}`), port: 80, protocol: 'TCP' } as const;
      const states = new Map(backends);
      const each = [...states].map(([last, state]) => ({
        address: parseIp(`10.0.0.${last}`),
        port: 8080,
        state,
      }));
      return [id, { id, type: 'ClusterIP', affinitySeconds: 60, frontend, backends: each }];
    }),
  );
}

const activeOf = (wanted: Wanted, id: number): readonly string[] =>
  (wanted.get(id)?.backends ?? [])
    .filter(({ state }) => state === 'active')
    .map((backend) => frontendKey({ ...backend, protocol: 'TCP' }));

describe('an agent that is killed between two writes of services', { skip: bpfOrSkip() }, () => {
  let loaded: LoadedPrograms;

  before(() => {
    loaded = loadPrograms({ bpf: loadBpf(), conntrackEntries: 1024 });
  });
  after(() => loaded?.close());

  function clear(): void {
    for (const map of [loaded.maps.services, loaded.maps.backends])
      for (let key = map.nextKey(undefined); key !== undefined; key = map.nextKey(undefined)) map.delete(key);
  }

  /** Brings a table from one set of services to another, as the agent does it. */
  function bring(table: ServiceTable, from: Wanted, to: Wanted): void {
    for (const [id, service] of from) if (!to.has(id)) table.delete(service.frontend);
    for (const service of to.values()) table.upsert(service);
  }

  /** Where new flows to a service may go; undefined: it is no service. Each must lead to a backend that takes flows. */
  function reachable(id: number): readonly string[] | undefined {
    const frontend = { address: parseIp(`10.96.0.${id}`), port: 80, protocol: 'TCP' } as const;
    return backendsAt(loaded.maps, frontend)?.map((backend) => {
      assert.equal(backend.state, 'active', frontendKey(backend));
      return frontendKey(backend);
    });
  }

  function backends(): ReadonlyMap<string, readonly [id: number, state: BackendState]> {
    const found = new Map<string, readonly [number, BackendState]>();
    for (const { keys, values, count } of loaded.maps.backends.batches())
      for (let i = 0; i < count; i++) {
        const backend = decodeBackend(values, i * backendEntryLayout.bytes);
        assert.ok(!found.has(frontendKey(backend)), 'each backend once');
        found.set(frontendKey(backend), [readIndex(keys, i * 4), backend.state]);
      }
    return found;
  }

  /** Entries of the services map, as `frontend slot`. */
  function entries(): readonly string[] {
    const found: string[] = [];
    for (const { keys, values, count } of loaded.maps.services.batches())
      for (let i = 0; i < count; i++) {
        const { frontend, slot } = decodeServiceKey(keys, i * serviceKeyLayout.bytes);
        decodeServiceEntry(values, i * serviceEntryLayout.bytes);
        found.push(`${frontendKey(frontend)} ${slot}`);
      }
    return found.sort();
  }

  /** What holds between any two writes: who was and stays a backend is one, and nobody else is. */
  function assertWhole(from: Wanted, to: Wanted, held: ReturnType<typeof backends>): void {
    const now = backends();
    for (const id of [1, 2]) {
      const [old, next] = [activeOf(from, id), activeOf(to, id)];
      for (const text of reachable(id) ?? []) assert.ok(old.includes(text) || next.includes(text), text);
      for (const text of old.filter((each) => next.includes(each)))
        assert.deepEqual(now.get(text), held.get(text), `flows keep ${text}`);
      if (old.some((each) => next.includes(each))) assert.notEqual(reachable(id)?.length ?? 0, 0);
    }
  }

  function assertExactly(wanted: Wanted): void {
    for (const id of [1, 2]) assert.deepEqual(reachable(id) ?? [], activeOf(wanted, id));
    const named = [...wanted.values()].flatMap((each) =>
      each.backends.map(({ address }) => address.join('.')),
    );
    assert.equal(backends().size, new Set(named).size);
    const slots = [...wanted].flatMap(([id]) =>
      Array.from({ length: activeOf(wanted, id).length + 1 }, (_, i) => `10.96.0.${id}:80/TCP ${i}`),
    );
    assert.deepEqual(entries(), slots.sort());
  }

  it('leaves whole services at any write, and nothing that the next agent does not mend', () => {
    fc.assert(
      fc.property(services, services, services, (first, second, third) => {
        const [from, to, then] = [wantedOf(first), wantedOf(second), wantedOf(third)];
        for (let writes = 0, done = false; !done; writes++) {
          clear();
          bring(new ServiceTable(loaded.maps), new Map(), from);
          const held = backends();
          const dying = new ServiceTable(fatal(loaded.maps, writes));
          try {
            // The first write is that of the epoch, which says no more than was so.
            dying.adopt();
            bring(dying, from, to);
            done = true;
          } catch (error) {
            if (!(error instanceof Killed)) throw error;
          }
          assertWhole(from, to, held);
          const table = new ServiceTable(loaded.maps);
          table.adopt();
          for (const service of then.values()) table.upsert(service);
          table.retain([...then.values()].map(({ frontend }) => frontend));
          assertExactly(then);
        }
      }),
      { numRuns: 40 },
    );
  });
});
