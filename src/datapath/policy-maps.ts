import { type Bpf, type BpfMap, BpfMapType } from '../../bpf/addon/index.ts';
import { SystemError } from '../base/errors.ts';
import { DatapathLimit } from '../model/constants.gen.ts';
import { policyEntryLayout, policyKeyLayout } from './map-layouts.ts';
import { indexKey, readIndex } from './struct-layout.ts';

const BPF_F_NO_PREALLOC = 1;
const SPARE_SLOTS = 4;

/** Opens the policy map of a slot by the id that the outer map tells. */
export function openPolicyMap(bpf: Bpf, outer: BpfMap, slot: number): BpfMap | undefined {
  const id = outer.lookup(indexKey(slot));
  return id === undefined ? undefined : bpf.mapById(readIndex(id));
}

/**
 * The policy maps of the slots. Storing one in the outer map waits about 12 ms for RCU, so a slot keeps its map for
 * ever, and a few slots beyond those in use are given theirs ahead of need.
 */
export class PolicyMaps {
  readonly #bpf: Bpf;
  readonly #outer: BpfMap;
  readonly #open = new Map<number, BpfMap>();
  #refill: NodeJS.Immediate | undefined;

  constructor(bpf: Bpf, outer: BpfMap) {
    this.#bpf = bpf;
    this.#outer = outer;
  }

  /** The map of a slot, made when there is none. */
  get(slot: number): BpfMap {
    const known = this.#open.get(slot);
    if (known !== undefined) return known;
    const map = openPolicyMap(this.#bpf, this.#outer, slot) ?? this.#create(slot);
    this.#open.set(slot, map);
    return map;
  }

  #create(slot: number): BpfMap {
    const map = this.#bpf.createMap({
      type: BpfMapType.lpmTrie,
      name: 'ciliate_policy',
      keySize: policyKeyLayout.bytes,
      valueSize: policyEntryLayout.bytes,
      maxEntries: DatapathLimit.policyEntries,
      flags: BPF_F_NO_PREALLOC,
    });
    this.#outer.updateInner(indexKey(slot), map);
    return map;
  }

  /**
   * The free slot to use next: one that has a map already, if there is any.
   * @throws SystemError DATAPATH_FULL
   */
  freeSlot(used: ReadonlySet<number>): number {
    let first: number | undefined;
    for (let slot = 1; slot < DatapathLimit.endpointSlots; slot++) {
      if (used.has(slot)) continue;
      first ??= slot;
      if (this.#open.has(slot) || this.#outer.lookup(indexKey(slot)) !== undefined) return slot;
      if (slot > used.size + SPARE_SLOTS) break;
    }
    if (first === undefined) {
      throw new SystemError(
        `all ${DatapathLimit.endpointSlots - 1} endpoint slots of the datapath are in use`,
        {
          code: 'DATAPATH_FULL',
        },
      );
    }
    return first;
  }

  /** Gives one slot a turn of the event loop its map until enough spare ones are there. */
  refill(used: ReadonlySet<number>): void {
    if (this.#refill !== undefined) return;
    let spare = 0;
    for (let slot = 1; slot < DatapathLimit.endpointSlots && spare < SPARE_SLOTS; slot++) {
      if (used.has(slot)) continue;
      spare++;
      if (this.#open.has(slot)) continue;
      this.#refill = setImmediate(() => {
        this.#refill = undefined;
        this.get(slot);
        this.refill(used);
      }).unref();
      return;
    }
  }

  close(): void {
    if (this.#refill !== undefined) clearImmediate(this.#refill);
    this.#refill = undefined;
    for (const map of this.#open.values()) map.close();
    this.#open.clear();
  }
}
