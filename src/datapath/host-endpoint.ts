import type { Bpf } from '../../bpf/addon/index.ts';
import { ReservedIdentity } from '../model/identity.ts';
import type { MapState, MapStateDiff } from '../model/map-state.ts';
import { decodeEndpoint, type EndpointRecord, encodeEndpoint } from './endpoint-codec.ts';
import { moveEpoch } from './epochs.ts';
import type { Links } from './links.ts';
import { endpointLayout } from './map-layouts.ts';
import { PolicyMaps } from './policy-maps.ts';
import { PolicyPair } from './policy-pair.ts';
import type { DatapathMaps } from './programs.ts';
import { indexKey } from './struct-layout.ts';
import type { DatapathEndpoint, HostPolicy, HostSwitch } from './types.ts';

const SLOT = 0;
const HOOKS = ['to_host', 'from_host'] as const;

function hostRecord(wanted: HostSwitch, policySide: 0 | 1): EndpointRecord {
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
  return { endpoint, locked: false, enforcement: { ingress, egress }, policySide, audit };
}

/**
 * The node as an endpoint of its own: slot 0, whose record is empty while no policy is for the node. Its programs are on
 * the node's devices only then. Unlike an endpoint it is never locked: a policy that cannot be written leaves the one
 * before in force, since nobody could come and mend it.
 */
export class HostEndpoint {
  readonly #maps: DatapathMaps;
  readonly #links: Pick<Links, 'attach' | 'detach'>;
  readonly #policies: PolicyMaps;
  readonly #devices: readonly number[];
  #policy: PolicyPair | undefined;
  #record: EndpointRecord | undefined;
  #last: Promise<unknown> = Promise.resolve();

  /** @param devices to other nodes */
  constructor(
    bpf: Bpf,
    maps: DatapathMaps,
    links: Pick<Links, 'attach' | 'detach'>,
    devices: readonly number[],
  ) {
    this.#maps = maps;
    this.#links = links;
    this.#policies = new PolicyMaps(bpf, maps.policy, maps.policyStats);
    this.#devices = devices;
  }

  /** Takes over what an earlier agent left in force. @param attached the devices that have the programs */
  adopt(attached: Readonly<Record<(typeof HOOKS)[number], ReadonlySet<number>>>): void {
    const value = this.#maps.endpoints.lookup(indexKey(SLOT));
    this.#record = value === undefined ? undefined : decodeEndpoint(value);
    const wanted = this.#record === undefined ? [] : this.#devices;
    for (const hook of HOOKS) {
      for (const ifindex of wanted) this.#links.attach(ifindex, hook);
      for (const ifindex of attached[hook]) if (!wanted.includes(ifindex)) this.#links.detach(ifindex, hook);
    }
  }

  /** What is in force; undefined where nothing of the node's own is judged. */
  read(): HostPolicy | undefined {
    if (this.#record === undefined) return undefined;
    const { endpoint, enforcement, audit = false, policySide } = this.#record;
    this.#policy ??= new PolicyPair(this.#policies, SLOT, policySide);
    return { id: endpoint.id, ...enforcement, audit, state: this.#policy.read() };
  }

  /** One after the other, as they come. @throws BpfError; what was in force is then, and no program was taken off */
  apply(diff: MapStateDiff, wanted: HostSwitch): Promise<void> {
    return this.#queued(() => this.#apply(diff, wanted));
  }

  /** Nothing of the node's own is judged any more. */
  remove(): Promise<void> {
    return this.#queued(async () => {
      if (this.#record === undefined) return;
      this.#write(undefined);
      for (const hook of HOOKS) for (const ifindex of this.#devices) this.#links.detach(ifindex, hook);
    });
  }

  close(): void {
    this.#policies.close();
  }

  #queued(action: () => Promise<void>): Promise<void> {
    const done = this.#last.then(action);
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #apply(diff: MapStateDiff, wanted: HostSwitch): Promise<void> {
    if (this.#record === undefined) {
      await this.#begin(diff, wanted);
      return;
    }
    this.#policy ??= new PolicyPair(this.#policies, SLOT, this.#record.policySide);
    const policy = this.#policy;
    const switched = await policy.prepare(diff);
    this.#write(hostRecord(wanted, policy.otherSide));
    switched();
  }

  /** Nothing is judged by the map yet: it is written whole, then the record, then the programs come. */
  async #begin({ upserts }: MapStateDiff, wanted: HostSwitch): Promise<void> {
    await this.#policies.ensure(SLOT, 0);
    const policy = new PolicyPair(this.#policies, SLOT, 0);
    this.#policy = policy;
    await policy.writeInPlace({ upserts: [], deletes: keysOf(policy.read()) });
    await policy.writeInPlace({ upserts, deletes: [] });
    this.#write(hostRecord(wanted, 0));
    for (const hook of HOOKS) for (const ifindex of this.#devices) this.#links.attach(ifindex, hook);
  }

  #write(record: EndpointRecord | undefined): void {
    const value = record === undefined ? Buffer.alloc(endpointLayout.bytes) : encodeEndpoint(record);
    this.#maps.endpoints.update(indexKey(SLOT), value);
    moveEpoch(this.#maps, SLOT);
    this.#record = record;
  }
}

function keysOf(state: MapState): MapStateDiff['deletes'] {
  return [...state.values()].map(({ key }) => key);
}
