import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Bpf } from '../../bpf/addon/index.ts';
import { EventRing } from '../../src/datapath/event-ring.ts';
import type { DatapathMaps } from '../../src/datapath/programs.ts';
import type { MonitorEvent } from '../../src/model/event.ts';

describe('EventRing', () => {
  it('tells as one lost event what the kernel could not write and what the reader could not hold', () => {
    const lost = Buffer.alloc(16);
    lost.writeBigUInt64LE(5n, 0);
    let deliver: Parameters<Bpf['openRingBuffer']>[1] = () => assert.fail('no ring was opened');
    const bpf: Pick<Bpf, 'openRingBuffer'> = {
      openRingBuffer: (_map, onRecords) => {
        deliver = onRecords;
        return { consume: () => 0, close: () => undefined };
      },
    };
    const told: MonitorEvent[] = [];
    const maps = { lost: { lookup: () => lost } };
    new EventRing(bpf as Bpf, maps as unknown as DatapathMaps, (events) => void told.push(...events));
    deliver([], 0);
    assert.deepEqual(told, [], 'what was lost before it was opened is not told');
    lost.writeBigUInt64LE(2n, 8);
    deliver([], 3);
    deliver([], 0);
    assert.deepEqual(told, [{ kind: 'lost', source: 'ring', count: 5 }]);
  });
});
