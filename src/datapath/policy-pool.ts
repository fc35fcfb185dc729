import { setTimeout as delay } from 'node:timers/promises';
import { BpfError } from '../../bpf/addon/index.ts';
import { SystemError } from '../base/errors.ts';
import { DatapathLimit } from '../model/constants.gen.ts';
import { EMPTY_MAP_STATE, type MapState } from '../model/map-state.ts';
import { diffMapState, sameMapState } from '../model/map-state-diff.ts';
import type { PolicyMaps } from './policy-maps.ts';
import { readPolicyMap, writePolicyDiff } from './policy-writer.ts';

export interface PolicyPoolOptions {
  /**
   * How long after the last switch away from it a map may still be read: by a program that began before. Programs run some
   * microseconds with softirqs off; the rest is for a virtual CPU that is not scheduled meanwhile. Default 3 ms.
   */
  readonly graceMs?: number;
  /** How long after a change maps that are not in force are tidied: whoever waits for an answer comes first. Default 20 ms. */
  readonly tidyMs?: number;
}

const GRACE_MS = 3;
const TIDY_MS = 20;
/** Pairs without users whose maps are made ahead of need. */
const SPARE_PAIRS = 4;
const PAIRS = DatapathLimit.policyMaps / 2;

/** A policy map, for every endpoint whose policy it holds. */
export interface PolicyMap {
  /** In the outer map. */
  readonly index: number;
}

interface Pooled extends PolicyMap {
  /** How many are judged by it, or will be. It is written only for the first of them, before he is. */
  users: number;
  /** Since when nobody is; milliseconds of `performance.now`. */
  leftMs: number;
  /** What it holds, or will when `ready` settles; undefined: nobody can join. */
  state: MapState | undefined;
  /** What it surely holds; undefined: the kernel has to be asked. */
  held: MapState | undefined;
  /** Writes under way, one after the other. */
  writes: number;
  /** Settles when what is written to it is. */
  ready: Promise<void>;
}

/**
 * The policy maps of a node, shared (docs/adr/0013): whoever has the same map state, the same object, is judged by the same
 * map. A map is never changed while anybody is judged by it: a change goes to the other one of its pair, and is written
 * once. When everybody has left a map it is brought, with nobody waiting, to what the other one of its pair holds, so that
 * the next change has only itself to write.
 */
export class PolicyPool {
  readonly #maps: Pick<PolicyMaps, 'has' | 'get' | 'ensure' | 'close'>;
  readonly #graceMs: number;
  readonly #tidyMs: number;
  readonly #known = new Map<number, Pooled>();
  readonly #byState = new Map<MapState, Pooled>();
  readonly #untidy = new Set<number>();
  #tidying: NodeJS.Timeout | undefined;
  #refilling = false;
  #closed = false;

  constructor(
    maps: Pick<PolicyMaps, 'has' | 'get' | 'ensure' | 'close'>,
    { graceMs = GRACE_MS, tidyMs = TIDY_MS }: PolicyPoolOptions = {},
  ) {
    this.#maps = maps;
    this.#graceMs = graceMs;
    this.#tidyMs = tidyMs;
  }

  #at(index: number): Pooled {
    const known = this.#known.get(index);
    if (known !== undefined) return known;
    const fresh: Pooled = {
      index,
      users: 0,
      leftMs: Number.NEGATIVE_INFINITY,
      state: undefined,
      held: undefined,
      writes: 0,
      ready: Promise.resolve(),
    };
    this.#known.set(index, fresh);
    return fresh;
  }

  /** One more is judged by this map, as an earlier agent left it. */
  adopt(index: number): PolicyMap {
    const map = this.#at(index);
    map.users++;
    return map;
  }

  /**
   * A map that holds the state: to be released. If there is none yet it is written.
   * @param near the map in force until now: if nobody else is judged by its other one, that is written
   * @rejects BpfError (ENOMEM), SystemError POLICY_TOO_LARGE, DATAPATH_FULL; what is in force is as it was
   */
  async acquire(state: MapState, near?: PolicyMap): Promise<PolicyMap> {
    const map = this.#byState.get(state) ?? this.#claim(state, near && this.#at(near.index));
    map.users++;
    try {
      await map.ready;
      return map;
    } catch (error) {
      this.release(map);
      throw error;
    }
  }

  /** One less is judged by the map. */
  release({ index }: PolicyMap): void {
    const map = this.#at(index);
    map.users--;
    if (map.users > 0) return;
    map.leftMs = performance.now();
    this.#tidyLater(index);
  }

  /** Of a map in force. */
  read({ index }: PolicyMap): MapState {
    const map = this.#at(index);
    if (map.held !== undefined) return map.held;
    const found = readPolicyMap(this.#maps.get(index));
    if (map.writes === 0) map.held = found;
    return found;
  }

  /** How many maps somebody is judged by. */
  get size(): number {
    return [...this.#known.values()].filter(({ users }) => users > 0).length;
  }

  #claim(state: MapState, near: Pooled | undefined): Pooled {
    if (state.size > DatapathLimit.policyEntries)
      throw new SystemError(
        `the policy has ${state.size} entries, and a map holds ${DatapathLimit.policyEntries}`,
        { code: 'POLICY_TOO_LARGE' },
      );
    if (near?.held !== undefined && near.users > 0 && sameMapState(near.held, state)) {
      near.held = state;
      return this.#name(near, state);
    }
    const map = this.#name(this.#free(near), state);
    this.#begin(map, state);
    return map;
  }

  #name(map: Pooled, state: MapState | undefined): Pooled {
    if (map.state !== undefined) this.#byState.delete(map.state);
    map.state = state;
    if (state !== undefined) this.#byState.set(state, map);
    return map;
  }

  /** A map that nobody is judged by. @throws SystemError DATAPATH_FULL */
  #free(near: Pooled | undefined): Pooled {
    const other = near && this.#at(near.index ^ 1);
    if (other?.users === 0) return other;
    const spare = this.#spares(1);
    const made = spare.find((pair) => this.#maps.has(2 * pair)) ?? spare[0];
    if (made !== undefined) return this.#at(2 * made);
    throw new SystemError(`all ${DatapathLimit.policyMaps} policy maps of the datapath are in use`, {
      code: 'DATAPATH_FULL',
    });
  }

  /** The first pairs that nobody uses, SPARE_PAIRS and `more`. */
  #spares(more = 0): number[] {
    const spare: number[] = [];
    for (let pair = 0; pair < PAIRS && spare.length < SPARE_PAIRS + more; pair++)
      if (!this.#isUsed(pair)) spare.push(pair);
    return spare;
  }

  #isUsed(pair: number): boolean {
    return [2 * pair, 2 * pair + 1].some((index) => (this.#known.get(index)?.users ?? 0) > 0);
  }

  /** Makes a map hold a state, after what is written to it already. */
  #begin(map: Pooled, state: MapState): void {
    map.writes++;
    map.ready = this.#write(map, state, map.ready);
    // Whoever waits for it hears of a failure.
    map.ready.catch(() => undefined);
  }

  async #write(map: Pooled, state: MapState, earlier: Promise<void>): Promise<void> {
    await earlier.catch(() => undefined);
    try {
      await this.#grace(map);
      const inner = await this.#maps.ensure(map.index);
      const held = map.held ?? readPolicyMap(inner);
      map.held = undefined;
      await writePolicyDiff(inner, diffMapState(held, state));
      map.held = state;
    } catch (error) {
      if (map.state === state) this.#name(map, undefined);
      throw error;
    } finally {
      map.writes--;
    }
    this.#tidyLater(map.index);
    this.refill();
  }

  async #grace({ leftMs }: Pooled): Promise<void> {
    // A timer counts whole milliseconds and may end a little early.
    for (;;) {
      const graceMs = leftMs + this.#graceMs - performance.now();
      if (graceMs <= 0) return;
      await delay(Math.ceil(graceMs));
    }
  }

  #tidyLater(index: number): void {
    this.#untidy.add(index >> 1);
    if (this.#tidying !== undefined || this.#closed) return;
    this.#tidying = setTimeout(() => void this.#tidyAll(), this.#tidyMs).unref();
  }

  async #tidyAll(): Promise<void> {
    for (const pair of this.#untidy) {
      this.#untidy.delete(pair);
      await this.#tidy(this.#at(2 * pair), this.#at(2 * pair + 1));
      await this.#tidy(this.#at(2 * pair + 1), this.#at(2 * pair));
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#tidying = undefined;
  }

  /** Brings a map that nobody is judged by to what the other one of its pair holds, if somebody is judged by that. */
  async #tidy(map: Pooled, other: Pooled): Promise<void> {
    if (this.#closed || map.users > 0 || other.writes > 0) return;
    const state = other.users > 0 ? this.read(other) : EMPTY_MAP_STATE;
    if (map.held === state) return;
    this.#name(map, undefined);
    this.#begin(map, state);
    try {
      await map.ready;
    } catch (error) {
      // The next change writes it whole.
      if (!(error instanceof BpfError)) throw error;
    }
  }

  /** Makes the maps of spare pairs, and the other ones of those in use, one after the other, while the event loop goes on. */
  refill(): void {
    if (this.#refilling || this.#closed) return;
    const index = this.#firstMissing();
    if (index === undefined) return;
    this.#refilling = true;
    const done = (): void => {
      this.#refilling = false;
    };
    void this.#maps.ensure(index).then(
      () => {
        done();
        this.refill();
      },
      // It is made when it is needed, and the failure shows then.
      done,
    );
  }

  #firstMissing(): number | undefined {
    const spare = this.#spares();
    const used = [...this.#known.values()].filter(({ users }) => users > 0);
    const wanted = [
      ...spare.map((pair) => 2 * pair),
      ...used.map(({ index }) => index ^ 1),
      ...spare.map((pair) => 2 * pair + 1),
    ];
    return wanted.find((index) => !this.#maps.has(index));
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#tidying);
    this.#maps.close();
  }
}
