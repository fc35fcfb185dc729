import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Bpf } from '../../bpf/addon/index.ts';
import { EventRing } from '../../src/datapath/event-ring.ts';
import { eventLayout } from '../../src/datapath/map-layouts.ts';
import type { DatapathMaps } from '../../src/datapath/programs.ts';
import { DatapathLimit, EventKind } from '../../src/model/constants.gen.ts';
import type { MonitorEvent } from '../../src/model/event.ts';

/** A record that holds nothing but its kind. */
function recordOf(kind: number): Buffer {
  const record = Buffer.alloc(eventLayout.bytes);
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  const { version, kind: at } = eventLayout.fields;
  version[1].write(view, version[0], DatapathLimit.eventVersion);
  at[1].write(view, at[0], kind);
  return record;
}

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
    new EventRing(bpf as Bpf, maps as unknown as DatapathMaps, {
      take: (events) => void told.push(...events),
      wantsDrops: () => true,
    });
    deliver([], 0);
    assert.deepEqual(told, [], 'what was lost before it was opened is not told');
    lost.writeBigUInt64LE(2n, 8);
    deliver([], 3);
    deliver([], 0);
    assert.deepEqual(told, [{ kind: 'lost', source: 'ring', count: 5 }]);
  });

  it('decodes drops only while they are wanted, and everything else always', () => {
    let deliver: Parameters<Bpf['openRingBuffer']>[1] = () => assert.fail('no ring was opened');
    const bpf: Pick<Bpf, 'openRingBuffer'> = {
      openRingBuffer: (_map, onRecords) => {
        deliver = onRecords;
        return { consume: () => 0, close: () => undefined };
      },
    };
    const kinds: string[] = [];
    let wanted = false;
    const maps = { lost: { lookup: () => Buffer.alloc(8) } };
    new EventRing(bpf as Bpf, maps as unknown as DatapathMaps, {
      take: (events) => void kinds.push(...events.map(({ kind }) => kind)),
      wantsDrops: () => wanted,
    });
    const records = [EventKind.drop, EventKind.policyVerdict, EventKind.trace].map(recordOf);
    deliver(records, 0);
    assert.deepEqual(kinds.splice(0), ['policy-verdict', 'trace']);
    wanted = true;
    deliver(records, 0);
    assert.deepEqual(kinds, ['drop', 'policy-verdict', 'trace']);
  });
});
