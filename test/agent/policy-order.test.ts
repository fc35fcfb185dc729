import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { PolicyOrder } from '../../src/agent/policy-order.ts';
import { silentLog } from '../../src/base/log.ts';

describe('the order of changes', () => {
  const setUp = (options = {}) => {
    const order = new PolicyOrder(silentLog, { retryBaseMs: 1, ...options });
    const done: string[] = [];
    const begin = (name: string, endpoints: readonly number[]): Promise<void> =>
      order.begin({ endpoints, finish: async () => void done.push(name) });
    return { order, done, begin };
  };
  const turn = (): Promise<void> => sleep(0);

  it('lets the ipcache follow when the last map is written, and not before', async () => {
    const { order, done, begin } = setUp();
    const all = begin('a', [1, 2]);
    order.attempted(1, 1);
    await turn();
    assert.deepEqual(done, []);
    order.attempted(2, 1);
    await all;
    assert.deepEqual(done, ['a']);
    await order.settled(1);
  });

  it('takes a map that holds a later change for one that holds the earlier', async () => {
    const { order, done, begin } = setUp();
    const a = begin('a', [1]);
    const b = begin('b', [1, 2]);
    order.attempted(1, order.sequence);
    await a;
    assert.deepEqual(done, ['a']);
    order.attempted(2, 2);
    await b;
    assert.deepEqual(done, ['a', 'b']);
  });

  it('never lets a change overtake an earlier one', async () => {
    const { order, done, begin } = setUp();
    begin('a', [1]);
    const b = begin('b', []);
    await turn();
    assert.deepEqual(done, []);
    order.attempted(1, 1);
    await b;
    assert.deepEqual(done, ['a', 'b']);
  });

  it('is not held up by an endpoint that went, nor for ever by one that is not written', async () => {
    const { order, done, begin } = setUp({ waitMs: 20 });
    const gone = begin('gone', [1]);
    order.forget(1);
    await gone;
    await begin('late', [2]);
    assert.deepEqual(done, ['gone', 'late']);
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
