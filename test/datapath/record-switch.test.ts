import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { BpfMap } from '../../bpf/addon/index.ts';
import {
  decodeEndpoint,
  type EndpointRecord,
  NO_POLICIES,
  NO_POLICY,
  placePolicy,
} from '../../src/datapath/endpoint-codec.ts';
import { endpointLayout } from '../../src/datapath/map-layouts.ts';
import { RecordSwitch } from '../../src/datapath/record-switch.ts';
import { readIndex } from '../../src/datapath/struct-layout.ts';
import { testEndpoint } from '../support/program-rig.ts';

/** What was written, in order. */
class WrittenRecords {
  readonly writes: (readonly { slot: number; record: EndpointRecord | undefined }[])[] = [];

  updateBatch(keys: Buffer, values: Buffer, count: number): void {
    if (count === 0) return;
    this.writes.push(
      Array.from({ length: count }, (_, i) => ({
        slot: readIndex(keys, 4 * i),
        record: decodeEndpoint(values, i * endpointLayout.bytes),
      })),
    );
  }
}

const endpoint = testEndpoint(1, { identity: 1000 });
const CLOSED: EndpointRecord = {
  endpoint,
  locked: true,
  enforcement: { ingress: false, egress: false },
  ...NO_POLICIES,
};
const ENFORCED = { locked: false, enforcement: { ingress: true, egress: true } };

describe('a switch of records', () => {
  it('names a map beside the one in force first, and then puts it in force with all that belongs to it', () => {
    const map = new WrittenRecords();
    const after = { ...CLOSED, ...ENFORCED, ...placePolicy(CLOSED, 7) };
    new RecordSwitch(map as unknown as BpfMap).write([{ slot: 3, before: CLOSED, after }]);
    assert.deepEqual(map.writes, [
      [{ slot: 3, record: { ...CLOSED, policies: [NO_POLICY, 7] } }],
      [{ slot: 3, record: { ...CLOSED, ...ENFORCED, policies: [NO_POLICY, 7], inForce: 1 } }],
    ]);
  });

  it('is one write for all records that name their maps already', () => {
    const map = new WrittenRecords();
    const before: EndpointRecord = { ...CLOSED, ...ENFORCED, policies: [6, 7], inForce: 1 };
    const after = { ...before, ...placePolicy(before, 6) };
    const changes = [3, 4].map((slot) => ({ slot, before, after }));
    new RecordSwitch(map as unknown as BpfMap).write(changes);
    assert.deepEqual(
      map.writes.map((records) =>
        records.map(({ slot, record }) => [slot, record?.policies, record?.inForce]),
      ),
      [
        [
          [3, [6, 7], 0],
          [4, [6, 7], 0],
        ],
      ],
    );
  });

  it('keeps what is in force where the map stays the same', () => {
    const before: EndpointRecord = { ...CLOSED, ...ENFORCED, policies: [6, 7], inForce: 1 };
    assert.deepEqual(placePolicy(before, 7), { policies: [6, 7], inForce: 1 });
    assert.deepEqual(placePolicy(before, 9), { policies: [9, 7], inForce: 0 });
  });
});
