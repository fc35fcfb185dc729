import { SystemError } from '../base/errors.ts';
import { DatapathLimit } from '../model/constants.gen.ts';
import { EMPTY_MAP_STATE, type MapState } from '../model/map-state.ts';
import { encodeAddressKey } from './address-codec.ts';
import {
  decodeEndpoint,
  type EndpointRecord,
  encodeEndpoint,
  NO_POLICIES,
  placePolicy,
} from './endpoint-codec.ts';
import { moveEpoch } from './epochs.ts';
import { EndpointLockedError, PolicyWriteError, UnknownEndpointError } from './errors.ts';
import type { Links } from './links.ts';
import { addressEntryLayout, endpointLayout } from './map-layouts.ts';
import type { PolicyMap, PolicyPool } from './policy-pool.ts';
import { PolicySwitches } from './policy-switches.ts';
import type { DatapathMaps } from './programs.ts';
import type { RecordChange } from './record-switch.ts';
import { indexKey, readIndex } from './struct-layout.ts';
import type { DatapathEndpoint, Enforcement, PolicySwitch } from './types.ts';

const UNENFORCED: Enforcement = { ingress: false, egress: false };

interface Slot {
  readonly slot: number;
  record: EndpointRecord;
  /** Its policy map, shared; undefined before its first policy. */
  policy: PolicyMap | undefined;
  /** How often it was locked: what began to be written before that does not unlock it. */
  locks: number;
}

/** An attachment under way; detaching its endpoint makes it a thing of the past. */
interface Wish {
  readonly id: number;
  gone: boolean;
}

/**
 * The endpoints of the node in the kernel. Each has a slot that its record, its epoch and its counters share.
 * A write to a record or a policy is always followed by the slot's epoch.
 */
export class EndpointTable {
  readonly #maps: DatapathMaps;
  readonly #links: Pick<Links, 'attach' | 'attachAsync' | 'release'>;
  readonly #policies: PolicyPool;
  readonly #switches: PolicySwitches;
  readonly #byId = new Map<number, Slot>();
  readonly #slots = new Set<number>();
  readonly #wishes = new Set<Wish>();
  #lastAttach: Promise<void> = Promise.resolve();

  constructor(
    maps: DatapathMaps,
    links: Pick<Links, 'attach' | 'attachAsync' | 'release'>,
    policies: PolicyPool,
  ) {
    this.#maps = maps;
    this.#links = links;
    this.#policies = policies;
    this.#switches = new PolicySwitches(maps);
  }

  /**
   * Takes over the endpoints whose devices still exist and removes what is left of the others. Programs that somebody
   * took off a device are put back at once: the policy that they enforce is still there.
   * @param indexOf the device that has a name now
   */
  adopt(
    attached: Readonly<Record<'from_pod' | 'to_pod', ReadonlySet<number>>>,
    indexOf: (ifname: string) => number | undefined,
  ): readonly DatapathEndpoint[] {
    const lost: Slot[] = [];
    for (const { keys, values, count } of this.#maps.endpoints.batches()) {
      for (let i = 0; i < count; i++) {
        const record = decodeEndpoint(values, i * endpointLayout.bytes);
        if (record === undefined) continue;
        const slot = readIndex(keys, i * 4);
        // The node's own, see HostEndpoint.
        if (slot === 0) continue;
        const index = record.policies[record.inForce];
        const policy = index < DatapathLimit.policyMaps ? this.#policies.adopt(index) : undefined;
        const entry: Slot = { slot, record, policy, locks: 0 };
        const { ifindex, ifname } = record.endpoint;
        this.#slots.add(slot);
        const guarded = attached.from_pod.has(ifindex) && attached.to_pod.has(ifindex);
        if (guarded || (indexOf(ifname) === ifindex && this.#guard(ifindex))) {
          this.#byId.set(record.endpoint.id, entry);
          this.#lead(entry);
          // The agent before may have been killed between a record and its epoch.
          moveEpoch(this.#maps, slot);
        } else {
          lost.push(entry);
        }
      }
    }
    for (const entry of lost) this.#remove(entry);
    this.#dropStrayDevices();
    return [...this.#byId.values()].map(({ record }) => record.endpoint);
  }

  #guard(ifindex: number): true {
    this.#links.attach(ifindex, 'from_pod');
    this.#links.attach(ifindex, 'to_pod');
    return true;
  }

  /** Device and address entries of slots that are free: what an agent left that died while attaching. */
  #dropStrayDevices(): void {
    for (const { map, bytes } of [
      { map: this.#maps.devices, bytes: 4 },
      { map: this.#maps.addresses, bytes: addressEntryLayout.bytes },
    ]) {
      const stray: Buffer[] = [];
      for (const { keys, values, count } of map.batches()) {
        for (let i = 0; i < count; i++) {
          const slot = readIndex(values, i * bytes);
          const keyBytes = map.info.keySize;
          if (slot !== 0 && !this.#slots.has(slot)) {
            stray.push(Buffer.from(keys.subarray(i * keyBytes, (i + 1) * keyBytes)));
          }
        }
      }
      for (const key of stray) map.delete(key);
    }
  }

  #entry(id: number): Slot {
    const entry = this.#byId.get(id);
    if (entry === undefined) throw new UnknownEndpointError(id);
    return entry;
  }

  /** Without the epoch: what was judged stays. */
  #put(entry: Slot, record: EndpointRecord): void {
    this.#maps.endpoints.update(indexKey(entry.slot), encodeEndpoint(record));
    entry.record = record;
  }

  #write(entry: Slot, record: EndpointRecord): void {
    this.#put(entry, record);
    moveEpoch(this.#maps, entry.slot);
  }

  /**
   * One after the other, since the kernel takes them so too. The event loop goes on meanwhile.
   * @throws UnknownEndpointError when the endpoint was detached before it was attached
   */
  attach(endpoint: DatapathEndpoint): Promise<void> {
    const wish: Wish = { id: endpoint.id, gone: false };
    this.#wishes.add(wish);
    const attached = this.#lastAttach.then(() => this.#attach(endpoint, wish));
    this.#lastAttach = attached.then(
      () => undefined,
      () => undefined,
    );
    return attached.finally(() => this.#wishes.delete(wish));
  }

  /** The record first, locked, then what leads to it, the programs last: nothing passes before a policy is there. */
  async #attach(endpoint: DatapathEndpoint, wish: Wish): Promise<void> {
    if (wish.gone) throw new UnknownEndpointError(endpoint.id);
    const old = this.#byId.get(endpoint.id);
    if (old !== undefined) this.#remove(old);
    for (const other of this.#byId.values()) {
      if (other.record.endpoint.ifindex === endpoint.ifindex) this.#remove(other);
    }
    const slot = this.#freeSlot();
    const record: EndpointRecord = { endpoint, locked: true, enforcement: UNENFORCED, ...NO_POLICIES };
    const entry: Slot = { slot, record, policy: undefined, locks: 0 };
    this.#slots.add(slot);
    try {
      this.#write(entry, record);
      this.#lead(entry);
      for (const hook of ['from_pod', 'to_pod'] as const) {
        await this.#links.attachAsync(endpoint.ifindex, hook);
      }
      if (wish.gone) throw new UnknownEndpointError(endpoint.id);
    } catch (error) {
      this.#remove(entry);
      throw error;
    }
    this.#byId.set(endpoint.id, entry);
  }

  /** @throws SystemError DATAPATH_FULL */
  #freeSlot(): number {
    for (let slot = 1; slot < DatapathLimit.endpointSlots; slot++) if (!this.#slots.has(slot)) return slot;
    throw new SystemError(
      `all ${DatapathLimit.endpointSlots - 1} endpoint slots of the datapath are in use`,
      {
        code: 'DATAPATH_FULL',
      },
    );
  }

  /** What leads to the endpoint: its device and its addresses. An agent that died while attaching may not have got so far. */
  #lead({ slot, record }: Slot): void {
    const { ifindex, ipv4, ipv6 } = record.endpoint;
    this.#maps.devices.update(indexKey(ifindex), indexKey(slot));
    for (const address of [ipv4, ipv6]) {
      if (address === undefined) continue;
      this.#maps.addresses.update(encodeAddressKey(address), addressEntryLayout.encode({ slot }));
    }
  }

  detach(id: number): void {
    for (const wish of this.#wishes) wish.gone ||= wish.id === id;
    const entry = this.#byId.get(id);
    if (entry !== undefined) this.#remove(entry);
  }

  /** Locked before anything goes, so that no packet meets half an endpoint; the programs outlive it on its device. */
  #remove(entry: Slot): void {
    const { endpoint } = entry.record;
    this.#write(entry, { ...entry.record, locked: true });
    for (const address of [endpoint.ipv4, endpoint.ipv6]) {
      if (address !== undefined) this.#deleteIfOurs(encodeAddressKey(address), entry.slot);
    }
    this.#links.release(endpoint.ifindex);
    const device = this.#maps.devices.lookup(indexKey(endpoint.ifindex));
    if (device !== undefined && readIndex(device) === entry.slot) {
      this.#maps.devices.delete(indexKey(endpoint.ifindex));
    }
    this.#maps.endpoints.update(indexKey(entry.slot), Buffer.alloc(endpointLayout.bytes));
    moveEpoch(this.#maps, entry.slot);
    this.#slots.delete(entry.slot);
    this.#byId.delete(endpoint.id);
    this.#leave(entry, undefined);
  }

  #deleteIfOurs(key: Buffer, slot: number): void {
    const value = this.#maps.addresses.lookup(key);
    if (value !== undefined && addressEntryLayout.decode(value).slot === slot)
      this.#maps.addresses.delete(key);
  }

  /** From now on the endpoint is judged by another map. */
  #leave(entry: Slot, next: PolicyMap | undefined): void {
    const left = entry.policy;
    entry.policy = next;
    if (left !== undefined) this.#policies.release(left);
  }

  /**
   * Takes a map that holds the policy, then switches to it, with identity and enforcement, as one.
   * @throws PolicyWriteError when no map takes it: the endpoint is locked then; EndpointLockedError when it was locked
   * meanwhile, and stays so
   */
  async applyPolicy(id: number, state: MapState, wanted: PolicySwitch): Promise<void> {
    const entry = this.#entry(id);
    const { locks } = entry;
    const policy = await this.#acquire(entry, state);
    const change = (): RecordChange => {
      if (this.#byId.get(id) !== entry) throw new UnknownEndpointError(id);
      if (entry.locks !== locks) throw new EndpointLockedError(id);
      const before = entry.record;
      const { identity = before.endpoint.identity, ingress, egress } = wanted;
      const places = placePolicy(before, policy.index);
      const { endpoint: known } = before;
      const endpoint = known.identity === identity ? known : { ...known, identity };
      const after = { endpoint, locked: false, enforcement: { ingress, egress }, ...places };
      return { slot: entry.slot, before, after };
    };
    const done = ({ after }: RecordChange): void => {
      entry.record = after;
      this.#leave(entry, policy);
    };
    try {
      await this.#switches.add({ change, done });
    } catch (error) {
      this.#policies.release(policy);
      throw error;
    }
  }

  async #acquire(entry: Slot, state: MapState): Promise<PolicyMap> {
    try {
      return await this.#policies.acquire(state, entry.policy);
    } catch (cause) {
      this.#lock(entry);
      throw new PolicyWriteError(entry.record.endpoint.id, cause);
    }
  }

  /** @throws UnknownEndpointError */
  lock(id: number): void {
    const entry = this.#entry(id);
    entry.locks++;
    this.#lock(entry);
  }

  #lock(entry: Slot): void {
    if (this.#byId.get(entry.record.endpoint.id) !== entry) return;
    this.#write(entry, { ...entry.record, locked: true });
  }

  readPolicy(id: number): MapState {
    return this.#read(this.#entry(id));
  }

  #read({ policy }: Slot): MapState {
    return policy === undefined ? EMPTY_MAP_STATE : this.#policies.read(policy);
  }

  /** Endpoint id -> entries of its policy map. */
  policySizes(): readonly (readonly [id: number, entries: number])[] {
    return [...this.#byId].map(([id, entry]) => [id, this.#read(entry).size]);
  }

  get size(): number {
    return this.#byId.size;
  }
}
