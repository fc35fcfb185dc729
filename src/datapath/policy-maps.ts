import { type Bpf, BpfError, type BpfMap, BpfMapType, type MapBtf } from '../../bpf/addon/index.ts';
import { SystemError } from '../base/errors.ts';
import { DatapathLimit } from '../model/constants.gen.ts';
import { policyEntryLayout, policyKeyLayout } from './map-layouts.ts';
import { indexKey, readIndex } from './struct-layout.ts';

const BPF_F_NO_PREALLOC = 1;
const SPARE_SLOTS = 4;

/** Which of a slot's two policy maps. */
export type PolicySide = 0 | 1;

const SIDES: readonly PolicySide[] = [0, 1];

const indexOf = (slot: number, side: PolicySide): number => 2 * slot + side;

/** Whether the slot has, or ever had, an endpoint, or is about to. */
export function hasPolicyMap(outer: BpfMap, slot: number): boolean {
  return outer.lookup(indexKey(indexOf(slot, 0))) !== undefined;
}

/** Opens a policy map of a slot by the id that the outer map tells. */
export function openPolicyMap(bpf: Bpf, outer: BpfMap, slot: number, side: PolicySide): BpfMap | undefined {
  const id = outer.lookup(indexKey(indexOf(slot, side)));
  return id === undefined ? undefined : bpf.mapById(readIndex(id));
}

/**
 * The policy maps of the slots, two each. Storing one in the outer map waits about 12 ms for RCU, so a slot keeps its
 * maps for ever, and the slots in use and a few more are given theirs ahead of need.
 */
export class PolicyMaps {
  readonly #bpf: Bpf;
  readonly #outer: BpfMap;
  /** By index in the outer map. */
  readonly #open = new Map<number, BpfMap>();
  readonly #btf: MapBtf | undefined;
  /** By index: maps that are being put into the outer one. Never two for one index: the later would hide the other. */
  readonly #storing = new Map<number, Promise<boolean>>();
  #refilling = false;
  #closed = false;

  /** @param beside a map of the same object, whose BTF describes theirs too: the outer map has none */
  constructor(bpf: Bpf, outer: BpfMap, beside: BpfMap) {
    this.#bpf = bpf;
    this.#outer = outer;
    this.#btf = bpf.findMapBtf(beside, policyKeyLayout.name, policyEntryLayout.name);
  }

  /** A map of a slot, made when there is none. */
  get(slot: number, side: PolicySide): BpfMap {
    const index = indexOf(slot, side);
    const known = this.#open.get(index);
    if (known !== undefined) return known;
    const map = openPolicyMap(this.#bpf, this.#outer, slot, side) ?? this.#create(index);
    this.#open.set(index, map);
    return map;
  }

  /** The same, without stopping the event loop when one must be made. */
  async ensure(slot: number, side: PolicySide): Promise<BpfMap> {
    const index = indexOf(slot, side);
    if (this.#storing.has(index) || !this.#has(index)) await this.#store(index);
    return this.get(slot, side);
  }

  #has(index: number): boolean {
    return this.#open.has(index) || this.#outer.lookup(indexKey(index)) !== undefined;
  }

  #create(index: number): BpfMap {
    const map = this.#make();
    this.#outer.updateInner(indexKey(index), map);
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
      btf: this.#btf,
    });
  }

  /** Settles when a slot with a map is free, or none is being given one: what is under way must not be chosen. */
  async settled(used: ReadonlySet<number>): Promise<void> {
    const isSpare = (index: number): boolean => index % 2 === 0 && !used.has(index / 2);
    while (this.#storing.size > 0 && ![...this.#open.keys()].some(isSpare))
      await Promise.race(this.#storing.values());
  }

  /**
   * The free slot to use next: one that has a map already, if there is any.
   * @throws SystemError DATAPATH_FULL
   */
  freeSlot(used: ReadonlySet<number>): number {
    let first: number | undefined;
    for (let slot = 1; slot < DatapathLimit.endpointSlots; slot++) {
      if (used.has(slot) || this.#storing.has(indexOf(slot, 0))) continue;
      first ??= slot;
      if (this.#has(indexOf(slot, 0))) return slot;
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

  /** Gives spare slots their first map, then all their second, one after the other, while the event loop goes on. */
  refill(used: ReadonlySet<number>): void {
    if (this.#refilling || this.#closed) return;
    const index = this.#firstMissing(used);
    if (index === undefined) return;
    this.#refilling = true;
    void this.#store(index).then((stored) => {
      this.#refilling = false;
      if (stored) this.refill(used);
    });
  }

  #firstMissing(used: ReadonlySet<number>): number | undefined {
    const spare: number[] = [];
    for (let slot = 1; slot < DatapathLimit.endpointSlots && spare.length < SPARE_SLOTS; slot++) {
      if (!used.has(slot)) spare.push(slot);
    }
    for (const side of SIDES) {
      for (const slot of side === 0 ? spare : [...used, ...spare]) {
        if (!this.#has(indexOf(slot, side))) return indexOf(slot, side);
      }
    }
    return undefined;
  }

  /** @returns false when it cannot be now: the slot gets its map when it is needed, and the failure shows then */
  #store(index: number): Promise<boolean> {
    const known = this.#storing.get(index);
    if (known !== undefined) return known;
    const stored = this.#storeNow(index).finally(() => this.#storing.delete(index));
    this.#storing.set(index, stored);
    return stored;
  }

  async #storeNow(index: number): Promise<boolean> {
    let map: BpfMap | undefined;
    try {
      map = this.#make();
      await this.#outer.updateInnerAsync(indexKey(index), map);
    } catch (error) {
      map?.close();
      if (error instanceof BpfError) return false;
      throw error;
    }
    if (this.#closed) map.close();
    else this.#open.set(index, map);
    return !this.#closed;
  }

  close(): void {
    this.#closed = true;
    for (const map of this.#open.values()) map.close();
    this.#open.clear();
  }
}
