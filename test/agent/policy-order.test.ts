import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { PolicyOrder, type PolicyOrderOptions } from '../../src/agent/policy-order.ts';
import { silentLog } from '../../src/base/log.ts';
import { testSeed } from '../support/policy-gen.ts';

const turn = (): Promise<void> => sleep(0);

describe('the order of changes', () => {
  const setUp = (options: PolicyOrderOptions = {}) => {
    const closed: number[] = [];
    const failures = { close: 0 };
    const close = async (id: number): Promise<void> => {
      if (failures.close-- > 0) throw new Error('busy');
      closed.push(id);
    };
    const order = new PolicyOrder({ log: silentLog, close }, { retryBaseMs: 1, ...options });
    const done: string[] = [];
    const begin = (name: string, endpoints: readonly number[], identities: readonly number[] = []) =>
      order.begin({ endpoints, identities, finish: async () => void done.push(name) });
    return { order, done, closed, failures, begin };
  };

  it('lets the ipcache follow when the last map is written, and not before', async () => {
    const { order, done, closed, begin } = setUp();
    const all = begin('a', [1, 2]);
    order.written(1, 1);
    await turn();
    assert.deepEqual(done, []);
    order.written(2, 1);
    await all;
    assert.deepEqual(done, ['a']);
    assert.deepEqual(closed, []);
    await order.settled(1);
  });

  it('takes a map that holds a later change for one that holds the earlier', async () => {
    const { order, done, begin } = setUp();
    const a = begin('a', [1]);
    const b = begin('b', [1, 2]);
    order.written(1, order.sequence);
    await a;
    assert.deepEqual(done, ['a']);
    order.written(2, 2);
    await b;
    assert.deepEqual(done, ['a', 'b']);
  });

  it('never lets a change overtake an earlier one', async () => {
    const { order, done, begin } = setUp();
    begin('a', [1]);
    const b = begin('b', []);
    await turn();
    assert.deepEqual(done, []);
    order.written(1, 1);
    await b;
    assert.deepEqual(done, ['a', 'b']);
  });

  it('is not held up by an endpoint that went, also while the change waits for an earlier one', async () => {
    const { order, done, closed, begin } = setUp();
    const first = begin('first', [1]);
    const second = begin('second', [2]);
    order.forget(2);
    order.forget(1);
    await Promise.all([first, second]);
    assert.deepEqual(done, ['first', 'second']);
    assert.deepEqual(closed, []);
  });

  describe('with an endpoint that is not written', () => {
    it('closes it at once when writing it failed, and then goes on', async () => {
      const { order, done, closed, begin } = setUp();
      const all = begin('a', [1, 2]);
      order.failed(1, 0);
      await turn();
      assert.deepEqual(closed, [], 'what failed before the change may hold it yet');
      order.failed(1, 1);
      await turn();
      assert.deepEqual(closed, [], 'nobody is closed while another one is waited for');
      order.written(2, 1);
      await all;
      assert.deepEqual([closed, done], [[1], ['a']]);
    });

    it('closes nobody whose policy was written on the second try, before anybody had to be closed', async () => {
      const { order, closed, begin } = setUp();
      const all = begin('a', [1, 2]);
      order.failed(1, 1);
      order.written(1, 1);
      order.written(2, 1);
      await all;
      assert.deepEqual(closed, []);
    });

    it('closes one that is late after its time', async () => {
      const { done, closed, begin } = setUp({ waitMs: 20 });
      await begin('a', [1]);
      assert.deepEqual([closed, done], [[1], ['a']]);
    });

    it('does not go on before it is closed, however often that fails', async () => {
      const { order, done, closed, failures, begin } = setUp();
      failures.close = 3;
      const all = begin('a', [1], [300]);
      order.failed(1, 1);
      while (failures.close > 0) {
        assert.deepEqual(done, []);
        assert.equal(order.mayName(300), false);
        await turn();
      }
      await all;
      assert.deepEqual([closed, done], [[1], ['a']]);
    });

    it('opens it for nothing that was worked out before the change', async () => {
      const { order, begin } = setUp();
      const all = begin('a', [1]);
      order.failed(1, 1);
      await all;
      assert.equal(order.mayOpen(1, 0), false);
      order.written(1, 0);
      assert.equal(order.mayOpen(1, 0), false);
      assert.equal(order.mayOpen(1, 1), true);
      order.written(1, 1);
      assert.equal(order.mayOpen(1, 0), true);
    });

    it('closes it again for the next change, without waiting for it', async () => {
      const { order, closed, begin } = setUp();
      const a = begin('a', [1]);
      order.failed(1, 1);
      await a;
      await begin('b', [1]);
      assert.deepEqual(closed, [1, 1]);
      assert.equal(order.mayOpen(1, 1), false);
      assert.equal(order.mayOpen(1, 2), true);
    });
  });

  describe('of naming an identity', () => {
    it('comes after the maps and before the last step, and not at all before anybody told of it', async () => {
      const { order } = setUp();
      let during = false;
      const all = order.begin({
        endpoints: [1],
        identities: [300],
        finish: async () => {
          during = order.mayName(300);
        },
      });
      assert.equal(order.mayName(300), false);
      order.written(1, 1);
      await all;
      assert.equal(during, true);
      assert.equal(order.mayName(301), false);
      order.unknow([300]);
      assert.equal(order.mayName(300), false);
    });

    it('waits for every change under way, also when no policy picks it', async () => {
      const { order, begin } = setUp();
      const a = begin('a', [1]);
      order.know([300]);
      assert.equal(order.mayName(300), false);
      order.written(1, 1);
      await a;
      assert.equal(order.mayName(300), true);
      order.know([301]);
      assert.equal(order.mayName(301), true);
    });

    it('does not begin again when it is told once more', async () => {
      const { order, begin } = setUp();
      order.know([300]);
      begin('a', [1], [300]);
      assert.equal(order.mayName(300), true);
      order.stop();
    });

    it('waits for a barrier, whenever it became known', async () => {
      const { order } = setUp();
      order.know([300]);
      const all = order.begin({ endpoints: [1], barrier: true, finish: async () => undefined });
      assert.equal(order.mayName(300), false);
      order.written(1, 1);
      await all;
      assert.equal(order.mayName(300), true);
    });
  });

  it('names nobody whom an open map does not know, whatever fails, is late or goes', async () => {
    const seed = testSeed();
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(5), fc.nat(3)), { maxLength: 40 }), async (steps) => {
        /** Endpoint -> the change that its map holds; closed ones have none. */
        const maps = new Map<number, number | undefined>([1, 2, 3].map((id) => [id, 0]));
        const close = async (id: number): Promise<void> => void (maps.has(id) && maps.set(id, undefined));
        const order = new PolicyOrder({ log: silentLog, close }, { retryBaseMs: 1, waitMs: 1 });
        /** Identity -> its change and the endpoints that pick it. */
        const picks = new Map<number, { sequence: number; endpoints: readonly number[] }>();
        /** Writes under way: endpoint -> what they hold. */
        const writes = new Map<number, number>();
        const check = (): void => {
          for (const [identity, { sequence, endpoints }] of picks)
            if (order.mayName(identity))
              for (const id of endpoints)
                assert.ok((maps.get(id) ?? sequence) >= sequence, `${identity} at ${id}`);
        };
        for (const [action, id] of steps) {
          if (action <= 1) {
            const endpoints = [1, 2, 3].filter((one) => one !== id && maps.has(one));
            const identity = 300 + picks.size;
            const all = order.begin({ endpoints, identities: [identity], finish: async () => check() });
            picks.set(identity, { sequence: order.sequence, endpoints });
            void all;
          } else if (action === 2) writes.set(id, order.sequence);
          else if (action === 3) {
            const sequence = writes.get(id);
            writes.delete(id);
            if (sequence === undefined || !maps.has(id)) continue;
            if (!order.mayOpen(id, sequence)) order.failed(id, sequence);
            else {
              maps.set(id, sequence);
              order.written(id, sequence);
            }
          } else if (action === 4) order.failed(id, order.sequence);
          else await turn();
          check();
        }
        await sleep(3);
        check();
        order.stop();
      }),
      { seed, numRuns: 300 },
    );
  });

  it('tells who waits that the ipcache failed, goes on trying, and then settles', async () => {
    const { order } = setUp();
    let failures = 2;
    const all = order.begin({
      endpoints: [],
      finish: async () => {
        if (failures-- > 0) throw new Error('map full');
      },
    });
    await assert.rejects(order.settled(1), /map full/);
    await all;
    await order.settled(1);
    assert.equal(failures, -1);
  });

  it('lets everybody go when it is stopped', async () => {
    const { order, done, begin } = setUp();
    const change = begin('a', [1]);
    const waiting = order.settled(1);
    order.stop();
    await Promise.all([change, waiting]);
    assert.deepEqual(done, []);
  });
});
