import { loadBpf } from '../../bpf/addon/index.ts';
import { type Cidr, formatCidr, parseCidr, parseIp } from '../../src/base/ip.ts';
import { encodeAddressKey, encodeIpcacheEntry, encodeIpcacheKey } from '../../src/datapath/address-codec.ts';
import { encodeEndpoint, NO_POLICY } from '../../src/datapath/endpoint-codec.ts';
import { moveEpoch, REMOTE_SLOT } from '../../src/datapath/epochs.ts';
import { conntrackKey } from '../../src/datapath/flow-lookup.ts';
import { addressEntryLayout, ctEntryLayout, metricsLayout } from '../../src/datapath/map-layouts.ts';
import { PolicyMaps } from '../../src/datapath/policy-maps.ts';
import { writePolicyDiff } from '../../src/datapath/policy-writer.ts';
import {
  DEFAULT_LIFETIMES,
  type LoadedPrograms,
  loadPrograms,
  writeConfig,
} from '../../src/datapath/programs.ts';
import { fieldsOf, indexKey, sumPerCpu } from '../../src/datapath/struct-layout.ts';
import { AddressFlag, CtFlag, DropReason, MetricDirection } from '../../src/model/constants.gen.ts';
import { type Identity, type NumericIdentity, ReservedIdentity } from '../../src/model/identity.ts';
import { type Direction, type MapState, Protocol } from '../../src/model/map-state.ts';
import { diffMapState } from '../../src/model/map-state-diff.ts';
import type { PolicyEnforcement, PrefixIdentity } from '../../src/policy/index.ts';
import { buildFrame, type FrameOptions } from './frames.ts';

/** Of the engine's two endpoints. */
const SLOTS = [1, 2] as const;
/** The loopback device: BPF_PROG_TEST_RUN runs a program as if on it. */
const IFINDEX = 1;
const TC_ACT_SHOT = 2;
const TC_ACT_REDIRECT = 7;
const ENDPOINT_MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
/** The loopback's own address, so that the packet is for this host. */
const LOOPBACK_MAC = new Uint8Array(6);
const POD_RANGES = ['10.50.0.0/16', 'fd50::/64'];
const ENDPOINT_HOSTS = [65_000, 65_001] as const;
/** Addresses of the known identities follow each other from here. */
const FIRST_PEER = 256;
/** Source ports that follow each other before the flows are forgotten and the first one comes again. */
const FLOWS = 40_000;
/** Where no socket of a proxy is, a redirected flow is dropped for one of the last two. */
const REASONS = [
  DropReason.policy,
  DropReason.policyDeny,
  DropReason.proxyLookupFailed,
  DropReason.proxyUnknownProto,
];

/** What an entry of conntrack says of the proxy. */
const redirectLayout = fieldsOf(ctEntryLayout, ['flags', 'proxyPort']);

type Family = 4 | 6;

/** What the shipped programs did. */
export interface BpfVerdict {
  /** 0 when the packet passed, else the drop reason; 178 when it was for the proxy, which has no socket here. */
  readonly reason: number;
  /** Host order; what the flow's entry in conntrack keeps: undefined when it does not pass the proxy. */
  readonly proxyPort: number | undefined;
}

/** Who sends or gets a packet: somebody by the place in the list of known identities, an address outside, or the second endpoint. */
export type BpfPeer = number | Uint8Array | 'second';
/** Which of the engine's endpoints: packets are those of the first one. */
export type BpfEnd = 'first' | 'second';

export interface BpfPacket {
  readonly peer: BpfPeer;
  readonly direction: Direction;
  readonly protocol: number;
  /** Host order; of ICMP the type. */
  readonly port: number;
}

/** The nth address of the range that endpoints take theirs from. */
function address(family: Family, n: number): Uint8Array {
  return parseIp(family === 4 ? `10.50.${n >> 8}.${n & 255}` : `fd50::${n.toString(16)}`);
}

const placeOf = (end: BpfEnd): 0 | 1 => (end === 'first' ? 0 : 1);

/**
 * The shipped programs with an endpoint and another one for it to speak with, judging packets by BPF_PROG_TEST_RUN. Nothing is attached or pinned; peers
 * are known by the ipcache. Needs root and BPF, and the object and addon built.
 */
export class BpfPolicyEngine {
  readonly #loaded: LoadedPrograms;
  readonly #policies: PolicyMaps;
  readonly #known: readonly Identity[];
  /** Text of a prefix -> it, and the identity that the ipcache has for it. */
  readonly #prefixes = new Map<string, { readonly prefix: Cidr; readonly identity: NumericIdentity }>();
  readonly #mapStates: [MapState, MapState] = [new Map(), new Map()];
  #packets = 0;

  private constructor(loaded: LoadedPrograms, policies: PolicyMaps, known: readonly Identity[]) {
    this.#loaded = loaded;
    this.#policies = policies;
    this.#known = known;
  }

  static async create(known: readonly Identity[]): Promise<BpfPolicyEngine> {
    const bpf = loadBpf();
    const loaded = loadPrograms({ bpf, conntrackEntries: 65_536 });
    await writeConfig(loaded, DEFAULT_LIFETIMES);
    const engine = new BpfPolicyEngine(
      loaded,
      new PolicyMaps(bpf, loaded.maps.policy, loaded.maps.policyStats),
      known,
    );
    engine.#introduce();
    return engine;
  }

  close(): void {
    this.#policies.close();
    this.#loaded.close();
  }

  #introduce(): void {
    const { maps } = this.#loaded;
    maps.devices.update(indexKey(IFINDEX), indexKey(SLOTS[0]));
    for (const range of POD_RANGES) this.#tellIdentity(parseCidr(range), ReservedIdentity.unknown);
    for (const family of [4, 6] as const) {
      for (const [i, slot] of SLOTS.entries()) {
        const own = encodeAddressKey(address(family, ENDPOINT_HOSTS[i] ?? 0));
        maps.addresses.update(own, addressEntryLayout.encode({ slot }));
      }
      for (const [i, { id }] of this.#known.entries()) {
        const bytes = address(family, FIRST_PEER + i);
        if (id === ReservedIdentity.host) {
          const host = addressEntryLayout.encode({ flags: AddressFlag.fHost });
          maps.addresses.update(encodeAddressKey(bytes), host);
        } else if (id !== ReservedIdentity.unknown) {
          this.#tellIdentity({ family, bytes, length: bytes.length * 8 }, id);
        }
      }
    }
  }

  #tellIdentity(prefix: Cidr, identity: NumericIdentity): void {
    const entry = encodeIpcacheEntry({ prefix, identity, tunnelEndpoint: undefined });
    this.#loaded.maps.ipcache.update(encodeIpcacheKey(prefix), entry);
  }

  /** Makes these the prefixes outside that have identities. */
  setPrefixes(prefixes: readonly PrefixIdentity[]): void {
    const wanted = new Map(prefixes.map((item) => [formatCidr(item.prefix), item]));
    for (const [text, { prefix }] of this.#prefixes) {
      if (wanted.has(text)) continue;
      this.#loaded.maps.ipcache.delete(encodeIpcacheKey(prefix));
      this.#prefixes.delete(text);
    }
    for (const [text, { prefix, identity }] of wanted) {
      if (this.#prefixes.get(text)?.identity === identity.id) continue;
      this.#tellIdentity(prefix, identity.id);
      this.#prefixes.set(text, { prefix, identity: identity.id });
    }
  }

  /** Makes an endpoint one of `subject` with this policy, written as the agent writes it. */
  async setPolicy(
    subject: Identity,
    { mapState, enforcement }: { readonly mapState: MapState; readonly enforcement: PolicyEnforcement },
    end: BpfEnd = 'first',
  ): Promise<void> {
    const { maps } = this.#loaded;
    const place = placeOf(end);
    const [slot, host] = [SLOTS[place], ENDPOINT_HOSTS[place]];
    const endpoint = {
      id: slot,
      identity: subject.id,
      ifindex: IFINDEX,
      ifname: 'lo',
      mac: ENDPOINT_MAC,
      hostMac: LOOPBACK_MAC,
      ipv4: address(4, host),
      ipv6: address(6, host),
    };
    const policy = this.#policies.get(slot);
    await writePolicyDiff(policy, diffMapState(this.#mapStates[place], mapState));
    this.#mapStates[place] = mapState;
    maps.endpoints.update(
      indexKey(slot),
      encodeEndpoint({ endpoint, locked: false, enforcement, policies: [slot, NO_POLICY], inForce: 0 }),
    );
    moveEpoch(maps, slot);
    moveEpoch(maps, REMOTE_SLOT);
  }

  /**
   * Judges a packet that opens a flow, between the endpoint and a peer.
   * @throws Error when it was dropped for another reason than policy
   */
  verdict(packet: BpfPacket): BpfVerdict {
    const flow = this.#frame(packet);
    const data = buildFrame(flow);
    const before = this.#drops(packet);
    const { programs } = this.#loaded;
    const id = typeof packet.peer === 'number' ? this.#known[packet.peer]?.id : undefined;
    const inbound = id === ReservedIdentity.host ? programs.to_pod : programs.from_netdev;
    const program = packet.direction === 'egress' ? programs.from_pod : inbound;
    const { retval } = program.testRun({ data });
    const proxyPort = this.#proxyPort(flow);
    const handedOver = { reason: DropReason.proxyLookupFailed, proxyPort };
    // What the stack sends to an endpoint goes back in at its device, where the proxy's sockets can be given to it.
    if (program === programs.to_pod && retval === TC_ACT_REDIRECT) return handedOver;
    if (retval !== TC_ACT_SHOT) return { reason: 0, proxyPort };
    const after = this.#drops(packet);
    const reason = REASONS.find((_, i) => after[i] !== before[i]);
    if (reason === undefined) throw new Error(`dropped, but not by policy: ${JSON.stringify(packet)}`);
    return reason === DropReason.proxyUnknownProto ? handedOver : { reason, proxyPort };
  }

  /** Where the proxy that has the flow listens, by the flow's entry; 0 is one that the policy gave no port. */
  #proxyPort({
    source,
    destination,
    protocol,
    sourcePort,
    destinationPort,
  }: FrameOptions): number | undefined {
    if (protocol !== Protocol.tcp && protocol !== Protocol.udp) return undefined;
    const client = { address: source, port: sourcePort };
    const { key } = conntrackKey(client, { address: destination, port: destinationPort }, protocol);
    const { ct4, ct6 } = this.#loaded.maps;
    const value = (source.length === 4 ? ct4 : ct6).lookup(key);
    if (value === undefined) return undefined;
    const { flags, proxyPort } = redirectLayout.decode(value);
    return (flags & (CtFlag.proxyA | CtFlag.proxyB)) === 0 ? undefined : proxyPort;
  }

  /** A packet of an old flow in the other direction would be its answer. */
  #forgetFlows(): void {
    const { ct4, ct6 } = this.#loaded.maps;
    for (const map of [ct4, ct6]) {
      const found = [...map.batches(1024)].map(({ keys, count }) => ({ keys: Buffer.from(keys), count }));
      for (const { keys, count } of found) map.deleteBatch(keys, count);
    }
  }

  #frame({ peer, direction, protocol, port }: BpfPacket): FrameOptions {
    const n = this.#packets++;
    if (n % FLOWS === 0) this.#forgetFlows();
    const either: Family = protocol === 58 || (protocol !== 1 && n % 2 === 1) ? 6 : 4;
    const other = this.#addressOf(peer, either);
    const own = address(other.length === 4 ? 4 : 6, ENDPOINT_HOSTS[0]);
    const egress = direction === 'egress';
    return {
      sourceMac: egress ? ENDPOINT_MAC : LOOPBACK_MAC,
      destinationMac: LOOPBACK_MAC,
      source: egress ? own : other,
      destination: egress ? other : own,
      protocol,
      // A port of its own makes every packet the first of a flow.
      sourcePort: 10_000 + (n % FLOWS),
      destinationPort: port,
    };
  }

  #addressOf(peer: BpfPeer, family: Family): Uint8Array {
    if (peer === 'second') return address(family, ENDPOINT_HOSTS[1]);
    return typeof peer === 'number' ? address(family, FIRST_PEER + peer) : peer;
  }

  /** Packets dropped so far in the directions that are judged, one count for each of REASONS. */
  #drops({ direction, peer }: BpfPacket): readonly bigint[] {
    const directions: readonly Direction[] = peer === 'second' ? ['ingress', 'egress'] : [direction];
    return REASONS.map((reason) =>
      directions.reduce((sum, one): bigint => sum + this.#count(MetricDirection[one], reason), 0n),
    );
  }

  #count(direction: number, reason: number): bigint {
    const value = this.#loaded.maps.metrics.lookup(indexKey((direction << 8) | reason));
    return value === undefined ? 0n : sumPerCpu(metricsLayout, value, 'packets');
  }
}
