import { type Bpf, BpfError, type BpfMap, BpfMapType } from '../../bpf/addon/index.ts';
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
  #storing: { readonly slot: number; readonly done: Promise<void> } | undefined;
  #closed = false;

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
    const map = this.#make();
    this.#outer.updateInner(indexKey(slot), map);
    return map;
  }

  #make(): BpfMap {
    return this.#bpf.createMap({
      type: BpfMapType.lpmTrie,
      name: 'ciliate_policy',
      keySize: policyKeyLayout.bytes,
      valueSize: policyEntryLayout.bytes,
      maxEntries: DatapathLimit.policyEntries,
      flags: BPF_F_NO_PREALLOC,
    });
  }

  /** Settles when a slot with a map is free, or none is being given one: what is under way must not be chosen. */
  async settled(used: ReadonlySet<number>): Promise<void> {
    const isSpare = (slot: number): boolean => !used.has(slot);
    while (this.#storing !== undefined && ![...this.#open.keys()].some(isSpare)) await this.#storing.done;
  }

  /**
   * The free slot to use next: one that has a map already, if there is any.
   * @throws SystemError DATAPATH_FULL
   */
  freeSlot(used: ReadonlySet<number>): number {
    let first: number | undefined;
    for (let slot = 1; slot < DatapathLimit.endpointSlots; slot++) {
      if (used.has(slot) || slot === this.#storing?.slot) continue;
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

  /** Gives spare slots their maps, one after the other, while the event loop goes on. */
  refill(used: ReadonlySet<number>): void {
    if (this.#storing !== undefined || this.#closed) return;
    let spare = 0;
    for (let slot = 1; slot < DatapathLimit.endpointSlots && spare < SPARE_SLOTS; slot++) {
      if (used.has(slot)) continue;
      spare++;
      if (this.#open.has(slot) || this.#outer.lookup(indexKey(slot)) !== undefined) continue;
      const done = this.#store(slot).then((stored) => {
        this.#storing = undefined;
        if (stored) this.refill(used);
      });
      this.#storing = { slot, done };
      return;
    }
  }

  /** @returns false when it cannot be now: the slot gets its map when it is needed, and the failure shows then */
  async #store(slot: number): Promise<boolean> {
    let map: BpfMap | undefined;
    try {
      map = this.#make();
      await this.#outer.updateInnerAsync(indexKey(slot), map);
    } catch (error) {
      map?.close();
      if (error instanceof BpfError) return false;
      throw error;
    }
    if (this.#closed) map.close();
    else this.#open.set(slot, map);
    return !this.#closed;
  }

  close(): void {
    this.#closed = true;
    for (const map of this.#open.values()) map.close();
    this.#open.clear();
  }
}
