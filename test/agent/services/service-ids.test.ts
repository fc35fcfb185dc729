import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { MAX_SERVICE_ID, ServiceIds } from '../../../src/agent/services/service-ids.ts';

describe('the ids of services', () => {
  it('stay those of their frontends, each of one only, whatever comes and goes', () => {
    const frontend = fc.constantFrom('a', 'b', 'c', 'd', 'e');
    const step = fc.oneof(
      fc.record({ kind: fc.constant('claim' as const), frontend, id: fc.integer({ min: -1, max: 6 }) }),
      fc.record({ kind: fc.constant('take' as const), frontend }),
      fc.record({ kind: fc.constant('release' as const), frontend }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const ids = new ServiceIds();
        const model = new Map<string, number>();
        for (const one of steps) {
          if (one.kind === 'release') {
            ids.release(one.frontend);
            model.delete(one.frontend);
          } else if (one.kind === 'claim') {
            const isFree = !model.has(one.frontend) && ![...model.values()].includes(one.id) && one.id > 0;
            assert.equal(ids.claim(one.frontend, one.id), isFree || model.get(one.frontend) === one.id);
            if (isFree) model.set(one.frontend, one.id);
          } else {
            const id = ids.take(one.frontend) ?? assert.fail('none is free');
            assert.equal(id, model.get(one.frontend) ?? id);
            model.set(one.frontend, id);
          }
          assert.equal(new Set(model.values()).size, model.size);
          for (const [name, id] of model) {
            assert.equal(ids.idOf(name), id);
            assert.equal(ids.frontendOf(id), name);
          }
        }
      }),
    );
  });

  it('are given anew only when all others were, and run out', () => {
    const ids = new ServiceIds();
    ids.claim('kept', 7);
    assert.equal(ids.take('next'), 8);
    ids.release('next');
    assert.equal(ids.take('other'), 9);
    for (let i = 0; ids.take(`f${i}`) !== undefined; i++) assert.ok(i < MAX_SERVICE_ID);
    assert.equal(ids.take('one more'), undefined);
    ids.release('f100');
    assert.ok(ids.take('one more'));
  });
});
