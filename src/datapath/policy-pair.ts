import { setTimeout as delay } from 'node:timers/promises';
import { BpfError, type BpfMap } from '../../bpf/addon/index.ts';
import type { MapState, MapStateDiff } from '../model/map-state.ts';
import { mapStateKeyText } from '../model/map-state.ts';
import type { PolicyMaps, PolicySide } from './policy-maps.ts';
import { countChange, mergeDiffs, readPolicyMap, writePolicyDiff } from './policy-writer.ts';

/**
 * How long after a switch the map that was left may still be read: by a program that began before. Programs run some
 * microseconds with softirqs off; the rest is for a virtual CPU that is not scheduled meanwhile.
 */
const GRACE_MS = 3;

const NOTHING: MapStateDiff = { upserts: [], deletes: [] };

/**
 * The two policy maps of one slot (docs/adr/0010). A change is written to the one that is not in force; whoever owns the
 * endpoint's record then makes it the one in force and calls `switched`.
 */
export class PolicyPair {
  readonly #maps: PolicyMaps;
  readonly #slot: number;
  #side: PolicySide;
  /** What the other map lacks of the one in force; undefined: nobody knows what it holds. */
  #behind: MapStateDiff | undefined;
  #entries: number;
  #switchedMs = 0;
  /** The other map is brought up to date. */
  #catchingUp: Promise<void> = Promise.resolve();
  /** The other map is for a change that is not in force yet, and nothing else may write it. */
  #preparing = false;

  /** @param side the map in force */
  constructor(maps: PolicyMaps, slot: number, side: PolicySide) {
    this.#maps = maps;
    this.#slot = slot;
    this.#side = side;
    this.#entries = this.read().size;
  }

  get side(): PolicySide {
    return this.#side;
  }

  get otherSide(): PolicySide {
    return this.#side === 0 ? 1 : 0;
  }

  /** Of the map in force. */
  get entries(): number {
    return this.#entries;
  }

  read(): MapState {
    return readPolicyMap(this.#maps.get(this.#slot, this.#side));
  }

  /** Changes the map in force: only while its endpoint is locked, so that nothing is judged by it. @throws BpfError */
  async writeInPlace(diff: MapStateDiff): Promise<void> {
    this.#behind = undefined;
    const map = this.#maps.get(this.#slot, this.#side);
    const entries = this.#entries + countChange(map, diff);
    try {
      await writePolicyDiff(map, diff);
      this.#entries = entries;
    } catch (error) {
      this.#entries = this.read().size;
      throw error;
    }
  }

  /**
   * Makes the other map what the one in force is after `diff`.
   * @returns to be called once the other map is the one in force
   * @throws BpfError (E2BIG, ENOSPC, ENOMEM); the map in force is as it was
   */
  async prepare(diff: MapStateDiff): Promise<() => void> {
    this.#preparing = true;
    await this.#catchingUp;
    await this.#grace();
    const side = this.otherSide;
    const other = await this.#maps.ensure(this.#slot, side);
    const entries = this.#entries + countChange(this.#maps.get(this.#slot, this.#side), diff);
    const change = this.#changeOf(other, diff);
    this.#behind = undefined;
    await writePolicyDiff(other, change);
    return () => {
      this.#side = side;
      this.#behind = diff;
      this.#entries = entries;
      this.#switchedMs = performance.now();
      this.#preparing = false;
    };
  }

  /**
   * Brings the other map to what the one in force holds, so that the next change has only itself to write. Where that fails
   * the next change writes it whole.
   */
  catchUp(): Promise<void> {
    this.#catchingUp = this.#catchingUp.then(() => this.#catchUp());
    return this.#catchingUp;
  }

  async #catchUp(): Promise<void> {
    await this.#grace();
    const behind = this.#behind;
    if (this.#preparing || behind === undefined || behind === NOTHING) return;
    let left: MapStateDiff | undefined = NOTHING;
    try {
      await writePolicyDiff(this.#maps.get(this.#slot, this.otherSide), behind);
    } catch (error) {
      if (!(error instanceof BpfError)) throw error;
      left = undefined;
    }
    if (this.#behind === behind) this.#behind = left;
  }

  /** Counted from the last switch, also from one that comes while it is waited for. */
  async #grace(): Promise<void> {
    for (;;) {
      const graceMs = this.#switchedMs + GRACE_MS - performance.now();
      if (graceMs <= 0) return;
      await delay(graceMs);
    }
  }

  /** What `other` lacks of the one in force after `diff`. */
  #changeOf(other: BpfMap, diff: MapStateDiff): MapStateDiff {
    if (this.#behind === NOTHING) return diff;
    return this.#behind === undefined
      ? this.#rebuild(readPolicyMap(other), diff)
      : mergeDiffs(this.#behind, diff);
  }

  /** What turns `other` into the map in force after `diff`. */
  #rebuild(other: MapState, diff: MapStateDiff): MapStateDiff {
    const wanted = new Map(this.read());
    for (const key of diff.deletes) wanted.delete(mapStateKeyText(key));
    for (const upsert of diff.upserts) wanted.set(mapStateKeyText(upsert.key), upsert);
    const stale = [...other].filter(([text]) => !wanted.has(text));
    return { upserts: [...wanted.values()], deletes: stale.map(([, { key }]) => key) };
  }
}
