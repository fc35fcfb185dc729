import { ReservedIdentity } from '../model/identity.ts';
import type { MapState } from '../model/map-state.ts';
import {
  decodeEndpoint,
  type EndpointRecord,
  NO_POLICIES,
  type PolicyPlaces,
  placePolicy,
} from './endpoint-codec.ts';
import { moveEpoch } from './epochs.ts';
import type { Links } from './links.ts';
import { endpointLayout } from './map-layouts.ts';
import type { PolicyMap, PolicyPool } from './policy-pool.ts';
import type { DatapathMaps } from './programs.ts';
import { RecordSwitch } from './record-switch.ts';
import { indexKey } from './struct-layout.ts';
import type { DatapathEndpoint, HostPolicy, HostSwitch } from './types.ts';

const SLOT = 0;
const HOOKS = ['to_host', 'from_host'] as const;

function hostRecord(wanted: HostSwitch, places: PolicyPlaces): EndpointRecord {
  const endpoint: DatapathEndpoint = {
    id: wanted.id,
    identity: ReservedIdentity.host,
    ifindex: 0,
    ifname: '',
    mac: new Uint8Array(6),
    hostMac: new Uint8Array(6),
    ipv4: undefined,
    ipv6: undefined,
  };
  const { ingress, egress, audit } = wanted;
  return { endpoint, locked: false, enforcement: { ingress, egress }, ...places, audit };
}

/**
 * The node as an endpoint of its own: slot 0, whose record is empty while no policy is for the node. Its programs are on
 * the node's devices only then. Unlike an endpoint it is never locked: a policy that cannot be written leaves the one
 * before in force, since nobody could come and mend it.
 */
export class HostEndpoint {
  readonly #maps: DatapathMaps;
  readonly #links: Pick<Links, 'attach' | 'detach'>;
  readonly #policies: PolicyPool;
  readonly #records: RecordSwitch;
  readonly #devices: readonly number[];
  #policy: PolicyMap | undefined;
  #record: EndpointRecord | undefined;
  #last: Promise<unknown> = Promise.resolve();

  /** @param devices to other nodes */
  constructor(
    maps: DatapathMaps,
    links: Pick<Links, 'attach' | 'detach'>,
    policies: PolicyPool,
    devices: readonly number[],
  ) {
    this.#maps = maps;
    this.#links = links;
    this.#policies = policies;
    this.#records = new RecordSwitch(maps.endpoints);
    this.#devices = devices;
  }

  /** Takes over what an earlier agent left in force. @param attached the devices that have the programs */
  adopt(attached: Readonly<Record<(typeof HOOKS)[number], ReadonlySet<number>>>): void {
    const value = this.#maps.endpoints.lookup(indexKey(SLOT));
    this.#record = value === undefined ? undefined : decodeEndpoint(value);
    if (this.#record !== undefined)
      this.#policy = this.#policies.adopt(this.#record.policies[this.#record.inForce]);
    const wanted = this.#record === undefined ? [] : this.#devices;
    for (const hook of HOOKS) {
      for (const ifindex of wanted) this.#links.attach(ifindex, hook);
      for (const ifindex of attached[hook]) if (!wanted.includes(ifindex)) this.#links.detach(ifindex, hook);
    }
  }

  /** What is in force; undefined where nothing of the node's own is judged. */
  read(): HostPolicy | undefined {
    if (this.#record === undefined || this.#policy === undefined) return undefined;
    const { endpoint, enforcement, audit = false } = this.#record;
    return { id: endpoint.id, ...enforcement, audit, state: this.#policies.read(this.#policy) };
  }

  /** One after the other, as they come. @throws BpfError; what was in force is then, and no program was taken off */
  apply(state: MapState, wanted: HostSwitch): Promise<void> {
    return this.#queued(() => this.#apply(state, wanted));
  }

  /** Nothing of the node's own is judged any more. */
  remove(): Promise<void> {
    return this.#queued(async () => {
      if (this.#record === undefined) return;
      this.#maps.endpoints.update(indexKey(SLOT), Buffer.alloc(endpointLayout.bytes));
      this.#switched(undefined, undefined);
      for (const hook of HOOKS) for (const ifindex of this.#devices) this.#links.detach(ifindex, hook);
    });
  }

  #queued(action: () => Promise<void>): Promise<void> {
    const done = this.#last.then(action);
    this.#last = done.catch(() => undefined);
    return done;
  }

  /** Where nothing is judged yet the programs come last. */
  async #apply(state: MapState, wanted: HostSwitch): Promise<void> {
    const before = this.#record;
    const policy = await this.#policies.acquire(state, this.#policy);
    const after = hostRecord(wanted, placePolicy(before ?? NO_POLICIES, policy.index));
    try {
      this.#records.write([{ slot: SLOT, before, after }]);
    } catch (error) {
      this.#policies.release(policy);
      throw error;
    }
    this.#switched(after, policy);
    if (before !== undefined) return;
    for (const hook of HOOKS) for (const ifindex of this.#devices) this.#links.attach(ifindex, hook);
  }

  #switched(record: EndpointRecord | undefined, policy: PolicyMap | undefined): void {
    const left = this.#policy;
    this.#record = record;
    this.#policy = policy;
    moveEpoch(this.#maps, SLOT);
    if (left !== undefined) this.#policies.release(left);
  }
}
