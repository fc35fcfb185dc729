import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import fc from 'fast-check';
import { loadBpf } from '../../bpf/addon/index.ts';
import { SystemError } from '../../src/base/errors.ts';
import { parseIp } from '../../src/base/ip.ts';
import {
  affinityEntryLayout,
  affinityKeyLayout,
  backendEntryLayout,
  serviceEntryLayout,
  serviceFlowLayout,
  serviceTupleLayout,
} from '../../src/datapath/map-layouts.ts';
import { type LoadedPrograms, loadPrograms } from '../../src/datapath/programs.ts';
import {
  decodeBackend,
  decodeServiceEntry,
  decodeServiceKey,
  encodeServiceKey,
  encodeServiceSlot,
} from '../../src/datapath/service-codec.ts';
import { ServiceTable } from '../../src/datapath/service-table.ts';
import { readIndex } from '../../src/datapath/struct-layout.ts';
import type { KernelService } from '../../src/datapath/types.ts';
import { DatapathLimit } from '../../src/model/constants.gen.ts';
import { type BackendState, frontendKey, type ServiceBackend } from '../../src/model/service.ts';
import { backendsAt } from '../support/kernel-services.ts';
import { bpfOrSkip } from '../support/privilege.ts';

const STATES = ['active', 'terminating', 'quarantined', 'maintenance'] as const satisfies BackendState[];

function backend(last: number, state: BackendState = 'active', port = 8080): ServiceBackend {
  return { address: parseIp(`10.0.0.${last}`), port, state };
}

function service(last: number, backends: readonly ServiceBackend[]): KernelService {
  const frontend = { address: parseIp(`10.96.0.${last}`), port: 80, protocol: 'TCP' } as const;
  return { id: last, type: 'ClusterIP', affinitySeconds: 0, frontend, backends };
}

describe('the table of services', { skip: bpfOrSkip() }, () => {
  let loaded: LoadedPrograms;
  let table: ServiceTable;

  before(() => {
    loaded = loadPrograms({ bpf: loadBpf(), conntrackEntries: 1024 });
  });
  after(() => loaded?.close());
  beforeEach(() => {
    for (const map of [loaded.maps.services, loaded.maps.backends])
      for (let key = map.nextKey(undefined); key !== undefined; key = map.nextKey(undefined)) map.delete(key);
    table = new ServiceTable(loaded.maps);
  });

  /** Backends in the kernel by id. */
  function backends(): ReadonlyMap<number, ServiceBackend> {
    const found = new Map<number, ServiceBackend>();
    for (const { keys, values, count } of loaded.maps.backends.batches()) {
      for (let i = 0; i < count; i++) {
        const { protocol: _, ...each } = decodeBackend(values, i * backendEntryLayout.bytes);
        found.set(readIndex(keys, i * 4), each);
      }
    }
    return found;
  }

  /** What a program would find at a frontend, slot by slot; undefined: nothing. Every slot must lead to a backend. */
  function reachable({ frontend }: KernelService): readonly string[] | undefined {
    return backendsAt(loaded.maps, frontend)?.map(frontendKey);
  }

  /** How many entries the services map has beside those that frontends name. */
  function strays(): number {
    const counts = new Map<string, number>();
    const slots: string[] = [];
    for (const { keys, values, count } of loaded.maps.services.batches()) {
      for (let i = 0; i < count; i++) {
        const { frontend, slot } = decodeServiceKey(keys, i * 24);
        if (slot > 0) slots.push(`${frontendKey(frontend)} ${slot}`);
        else
          counts.set(frontendKey(frontend), decodeServiceEntry(values, i * serviceEntryLayout.bytes).count);
      }
    }
    const named = [...counts].flatMap(([text, n]) => Array.from({ length: n }, (_, i) => `${text} ${i + 1}`));
    return slots.filter((slot) => !named.includes(slot)).length;
  }

  it('has active backends in slots, and others only to be found by flows that have them', () => {
    const wanted = service(1, [backend(1), backend(2, 'terminating'), backend(3), backend(4, 'quarantined')]);
    table.upsert(wanted);
    assert.deepEqual(reachable(wanted), ['10.0.0.1:8080/TCP', '10.0.0.3:8080/TCP']);
    assert.deepEqual([...backends().values()].map(({ state }) => state).sort(), [
      'active',
      'active',
      'quarantined',
      'terminating',
    ]);
  });

  it('keeps one entry for a backend of several services, and the best state that any says of it', () => {
    table.upsert(service(1, [backend(1)]));
    table.upsert(service(2, [backend(1, 'terminating')]));
    assert.deepEqual([...backends().values()], [backend(1)]);
    table.delete(service(1, []).frontend);
    assert.deepEqual([...backends().values()], [backend(1, 'terminating')]);
    table.delete(service(2, []).frontend);
    assert.equal(backends().size, 0);
  });

  it('gives no backend the id of one that a flow still has, also after a restart', () => {
    table.upsert(service(1, [backend(1)]));
    const [id = 0] = backends().keys();
    const flow = serviceFlowLayout.encode({ backend: id + 41, service: 1, lifetime: 60 });
    loaded.maps.serviceFlows.update(Buffer.alloc(serviceTupleLayout.bytes), flow);
    table = new ServiceTable(loaded.maps);
    table.adopt();
    table.upsert(service(1, [backend(1), backend(2)]));
    assert.deepEqual(
      [...backends().keys()].sort((x, y) => x - y),
      [id, id + 42],
    );
  });

  it('lets no client come back to a backend that its service gives up, though another service has it', () => {
    const { serviceAffinity } = loaded.maps;
    const client = (last: number, id: number) =>
      affinityKeyLayout.encode({ client: parseIp(`10.1.0.${last}`), service: id, family: 4 });
    const remembered = () =>
      [1, 2, 3].map((last) => serviceAffinity.lookup(client(last, last === 3 ? 2 : 1)) !== undefined);
    const sticky = (last: number, ...lasts: number[]): KernelService => ({
      ...service(
        last,
        lasts.map((one) => backend(one)),
      ),
      affinitySeconds: 60,
    });
    table.upsert(sticky(1, 1, 2));
    table.upsert(sticky(2, 1, 2));
    const [first = 0, second = 0] = [...backends().keys()].sort((x, y) => x - y);
    const remember = (last: number, id: number, to: number): void =>
      serviceAffinity.update(client(last, id), affinityEntryLayout.encode({ usedNs: 1n, backend: to }));
    remember(1, 1, first);
    remember(2, 1, second);
    remember(3, 2, first);
    table.upsert(sticky(1, 1, 2, 3));
    assert.deepEqual(remembered(), [true, true, true]);
    table.upsert(sticky(1, 2, 3));
    assert.deepEqual(remembered(), [false, true, true]);
    table.upsert({ ...sticky(1, 2), affinitySeconds: 0 });
    table.upsert({ ...sticky(1, 3), affinitySeconds: 0 });
    table.upsert(sticky(1, 3));
    assert.deepEqual(remembered(), [false, false, true], 'nor after a time without affinity');
    table.delete(sticky(2).frontend);
    table.upsert(sticky(2, 3));
    assert.deepEqual(remembered(), [false, false, false], 'nor one of a service that had the id');
  });

  it('takes a backend that is named twice once', () => {
    table.upsert(service(1, [backend(1), backend(1), backend(1, 'active', 81)]));
    assert.equal(reachable(service(1, []))?.length, 2);
  });

  it('holds after any changes what was told last, and nothing else, also for the next agent', () => {
    const change = fc.record({
      last: fc.integer({ min: 1, max: 3 }),
      backends: fc.option(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 6 }), fc.constantFrom(...STATES)), { maxLength: 6 }),
        { nil: undefined },
      ),
      restart: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 12 }), (changes) => {
        table.retain([]);
        const wanted = new Map<number, KernelService>();
        for (const { last, backends: list, restart } of changes) {
          if (restart) {
            table = new ServiceTable(loaded.maps);
            table.adopt();
            for (const each of wanted.values()) table.upsert(each);
            table.retain([...wanted.values()].map(({ frontend }) => frontend));
          }
          const next = service(
            last,
            (list ?? []).map(([i, state]) => backend(i, state)),
          );
          if (list === undefined) table.delete(next.frontend);
          else table.upsert(next);
          if (list === undefined) wanted.delete(last);
          else wanted.set(last, next);
        }
        for (const each of wanted.values()) {
          const states = new Map(
            each.backends.map((one) => [frontendKey({ ...one, protocol: 'TCP' }), one.state]),
          );
          const active = [...states].filter(([, state]) => state === 'active').map(([text]) => text);
          assert.deepEqual(reachable(each), active);
        }
        const named = [...wanted.values()].flatMap((each) =>
          each.backends.map(({ address }) => address.join('.')),
        );
        assert.equal(backends().size, new Set(named).size);
        assert.equal(strays(), 0);
      }),
      { numRuns: 60 },
    );
  });

  it('leaves a service as it was when the map is full, and says so', () => {
    const old = service(1, [backend(1), backend(2)]);
    table.upsert(old);
    const room = DatapathLimit.services - 3;
    const filler = { address: parseIp('10.97.0.1'), port: 80, protocol: 'UDP' } as const;
    const keys = Buffer.concat(Array.from({ length: room }, (_, i) => encodeServiceKey(filler, i + 1)));
    const values = Buffer.concat(Array.from({ length: room }, () => encodeServiceSlot(9, 1)));
    loaded.maps.services.updateBatch(keys, values, room);
    const grown = service(1, [backend(3), backend(4), backend(5), backend(6)]);
    assert.throws(
      () => table.upsert(grown),
      (error) =>
        error instanceof SystemError &&
        error.code === 'DATAPATH_FULL' &&
        /10\.96\.0\.1:80/.test(error.message),
    );
    assert.deepEqual(reachable(old), ['10.0.0.1:8080/TCP', '10.0.0.2:8080/TCP']);
    assert.equal(backends().size, 2);
    assert.throws(() => table.upsert(service(2, [])), SystemError);
    assert.equal(reachable(service(2, [])), undefined);
    loaded.maps.services.delete(encodeServiceKey(filler, 1));
    loaded.maps.services.delete(encodeServiceKey(filler, 2));
    table.upsert(grown);
    assert.equal(reachable(grown)?.length, 4);
  });
});
