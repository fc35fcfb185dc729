import type { BpfMap } from '../../bpf/addon/index.ts';
import { EndpointEncoder, type EndpointRecord } from './endpoint-codec.ts';
import { indexKeys } from './struct-layout.ts';

/** What becomes of the record of a slot. */
export interface RecordChange {
  readonly slot: number;
  /** As the kernel has it; undefined: an empty one. */
  readonly before: EndpointRecord | undefined;
  readonly after: EndpointRecord;
}

interface Written {
  readonly slot: number;
  readonly record: EndpointRecord;
}

/** Puts policy maps in force by the records of slots. */
export class RecordSwitch {
  readonly #endpoints: BpfMap;
  readonly #encoder = new EndpointEncoder();

  constructor(endpoints: BpfMap) {
    this.#endpoints = endpoints;
  }

  /**
   * Writes records, all at once, so that whoever is judged meanwhile is judged by one of its policies, whole (`union
   * endpoint_head`): first the policy maps that a record did not name yet, beside the one in force, then all the rest.
   * @throws BpfError
   */
  write(changes: readonly RecordChange[]): void {
    const named = changes.flatMap(({ slot, before, after: { policies } }) =>
      before === undefined || before.policies === policies ? [] : { slot, record: { ...before, policies } },
    );
    if (named.length > 0) this.#write(named);
    this.#write(changes.map(({ slot, after }) => ({ slot, record: after })));
  }

  #write(written: readonly Written[]): void {
    const keys = indexKeys(written.map(({ slot }) => slot));
    const records = this.#encoder.encode(written.map(({ record }) => record));
    this.#endpoints.updateBatch(keys, records, written.length);
  }
}
