import assert from 'node:assert/strict';
import { decodeBackend, decodeServiceEntry, encodeServiceKey } from '../../src/datapath/service-codec.ts';
import type { ServiceMaps } from '../../src/datapath/service-table.ts';
import { indexKey } from '../../src/datapath/struct-layout.ts';
import type { ServiceFrontend } from '../../src/model/service.ts';

/** The backends that a program would find at a frontend, slot by slot; undefined: no service. Every slot must lead to one. */
export function backendsAt(
  maps: Pick<ServiceMaps, 'services' | 'backends'>,
  frontend: ServiceFrontend,
): readonly ReturnType<typeof decodeBackend>[] | undefined {
  const head = maps.services.lookup(encodeServiceKey(frontend, 0));
  if (head === undefined) return undefined;
  return Array.from({ length: decodeServiceEntry(head).count }, (_, i) => {
    const slot = maps.services.lookup(encodeServiceKey(frontend, i + 1));
    assert.ok(slot, `slot ${i + 1}`);
    const value = maps.backends.lookup(indexKey(decodeServiceEntry(slot).backend));
    assert.ok(value, `the backend of slot ${i + 1}`);
    return decodeBackend(value);
  });
}
