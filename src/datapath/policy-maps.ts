import { type Bpf, type BpfMap, BpfMapType, type MapBtf } from '../../bpf/addon/index.ts';
import { DatapathLimit } from '../model/constants.gen.ts';
import { policyEntryLayout, policyKeyLayout } from './map-layouts.ts';
import { indexKey, readIndex } from './struct-layout.ts';

const BPF_F_NO_PREALLOC = 1;

/** Opens a policy map by the id that the outer map tells. */
export function openPolicyMap(bpf: Bpf, outer: BpfMap, index: number): BpfMap | undefined {
  const id = index < DatapathLimit.policyMaps ? outer.lookup(indexKey(index)) : undefined;
  return id === undefined ? undefined : bpf.mapById(readIndex(id));
}

/**
 * The policy maps of the kernel, by their indices in the outer map. Storing one there waits about 12 ms for RCU, so what
 * is stored stays for ever.
 */
export class PolicyMaps {
  readonly #bpf: Bpf;
  readonly #outer: BpfMap;
  readonly #open = new Map<number, BpfMap>();
  readonly #btf: MapBtf | undefined;
  /** Maps that are being put into the outer one. Never two for one index: the later would hide the other. */
  readonly #storing = new Map<number, Promise<void>>();
  #closed = false;

  /** @param beside a map of the same object, whose BTF describes theirs too: the outer map has none */
  constructor(bpf: Bpf, outer: BpfMap, beside: BpfMap) {
    this.#bpf = bpf;
    this.#outer = outer;
    this.#btf = bpf.findMapBtf(beside, policyKeyLayout.name, policyEntryLayout.name);
  }

  /** Whether there is a map at the index, or will be. */
  has(index: number): boolean {
    if (this.#open.has(index) || this.#storing.has(index)) return true;
    return this.#outer.lookup(indexKey(index)) !== undefined;
  }

  /** The map at an index, made when there is none. */
  get(index: number): BpfMap {
    const known = this.#open.get(index) ?? openPolicyMap(this.#bpf, this.#outer, index);
    if (known !== undefined) return this.#keep(index, known);
    const made = this.#make();
    this.#outer.updateInner(indexKey(index), made);
    return this.#keep(index, made);
  }

  /** The same, without stopping the event loop when one must be made. @rejects BpfError */
  async ensure(index: number): Promise<BpfMap> {
    const storing = this.#storing.get(index);
    if (storing !== undefined) await storing;
    else if (!this.has(index)) {
      const stored = this.#store(index).finally(() => this.#storing.delete(index));
      this.#storing.set(index, stored);
      await stored;
    }
    return this.get(index);
  }

  #keep(index: number, map: BpfMap): BpfMap {
    this.#open.set(index, map);
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

  async #store(index: number): Promise<void> {
    const map = this.#make();
    try {
      await this.#outer.updateInnerAsync(indexKey(index), map);
    } catch (error) {
      map.close();
      throw error;
    }
    if (this.#closed) map.close();
    else this.#keep(index, map);
  }

  close(): void {
    this.#closed = true;
    for (const map of this.#open.values()) map.close();
    this.#open.clear();
  }
}
