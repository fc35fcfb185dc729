import type { BpfMap } from '../../bpf/addon/index.ts';
import { type EndpointRecord, encodeEndpoint } from './endpoint-codec.ts';
import { indexKey } from './struct-layout.ts';

/** What becomes of the record of a slot. */
export interface RecordChange {
  readonly slot: number;
  /** As the kernel has it; undefined: an empty one. */
  readonly before: EndpointRecord | undefined;
  readonly after: EndpointRecord;
}

/**
 * Writes records, all at once, so that whoever is judged meanwhile is judged by one of its policies, whole (`union
 * endpoint_head`): first the policy maps that a record did not name yet, beside the one in force, then all the rest.
 * @throws BpfError
 */
export function switchRecords(endpoints: BpfMap, changes: readonly RecordChange[]): void {
  const named = changes.flatMap(({ slot, before, after: { policies } }) =>
    before === undefined || before.policies === policies ? [] : { slot, record: { ...before, policies } },
  );
  writeRecords(endpoints, named);
  writeRecords(
    endpoints,
    changes.map(({ slot, after }) => ({ slot, record: after })),
  );
}

function writeRecords(
  endpoints: BpfMap,
  records: readonly { readonly slot: number; readonly record: EndpointRecord }[],
): void {
  const keys = Buffer.concat(records.map(({ slot }) => indexKey(slot)));
  endpoints.updateBatch(
    keys,
    Buffer.concat(records.map(({ record }) => encodeEndpoint(record))),
    records.length,
  );
}
