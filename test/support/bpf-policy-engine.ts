import { type BpfMap, loadBpf } from '../../bpf/addon/index.ts';
import { type Cidr, parseCidr, parseIp } from '../../src/base/ip.ts';
import { encodeAddressKey, encodeIpcacheEntry, encodeIpcacheKey } from '../../src/datapath/address-codec.ts';
import { encodeEndpoint } from '../../src/datapath/endpoint-codec.ts';
import { moveEpoch, REMOTE_SLOT } from '../../src/datapath/epochs.ts';
import { addressEntryLayout, metricsLayout } from '../../src/datapath/map-layouts.ts';
import { PolicyMaps } from '../../src/datapath/policy-maps.ts';
import { writePolicyDiff } from '../../src/datapath/policy-writer.ts';
import {
  DEFAULT_LIFETIMES,
  type LoadedPrograms,
  loadPrograms,
  writeConfig,
} from '../../src/datapath/programs.ts';
import { indexKey, sumPerCpu } from '../../src/datapath/struct-layout.ts';
import { AddressFlag, DropReason, MetricDirection } from '../../src/model/constants.gen.ts';
import { type Identity, type NumericIdentity, ReservedIdentity } from '../../src/model/identity.ts';
import type { MapState } from '../../src/model/map-state.ts';
import { diffMapState, type PolicyEnforcement } from '../../src/policy/index.ts';
import { buildFrame } from './frames.ts';
import type { PolicyPacket } from './policy-gen.ts';

const SLOT = 1;
/** The loopback device: BPF_PROG_TEST_RUN runs a program as if on it. */
const IFINDEX = 1;
const TC_ACT_SHOT = 2;
const ENDPOINT_MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
/** The loopback's own address, so that the packet is for this host. */
const LOOPBACK_MAC = new Uint8Array(6);
const POD_RANGES = ['10.50.0.0/16', 'fd50::/64'];
const ENDPOINT_HOST = 65_000;
const REASONS = [DropReason.policy, DropReason.policyDeny, DropReason.proxyLookupFailed];

type Family = 4 | 6;

/** What the shipped programs did: 0 when the packet passed, else the drop reason. */
export type BpfVerdict = number;

/** The nth address of the range that endpoints take theirs from. */
function address(family: Family, n: number): Uint8Array {
  return parseIp(family === 4 ? `10.50.${n >> 8}.${n & 255}` : `fd50::${n.toString(16)}`);
}

/**
 * The shipped programs with one endpoint, judging packets by BPF_PROG_TEST_RUN. Nothing is attached or pinned; peers
 * are known by the ipcache. Needs root and BPF, and the object and addon built.
 */
export class BpfPolicyEngine {
  readonly #loaded: LoadedPrograms;
  readonly #policies: PolicyMaps;
  readonly #policy: BpfMap;
  #mapState: MapState = new Map();
  #packets = 0;

  private constructor(loaded: LoadedPrograms, policies: PolicyMaps) {
    this.#loaded = loaded;
    this.#policies = policies;
    this.#policy = policies.get(SLOT, 0);
  }

  static async create(peers: readonly Identity[]): Promise<BpfPolicyEngine> {
    const bpf = loadBpf();
    const loaded = loadPrograms({ bpf, conntrackEntries: 65_536 });
    await writeConfig(loaded, DEFAULT_LIFETIMES);
    const engine = new BpfPolicyEngine(loaded, new PolicyMaps(bpf, loaded.maps.policy));
    engine.#know(peers);
    return engine;
  }

  close(): void {
    this.#policies.close();
    this.#loaded.close();
  }

  #know(peers: readonly Identity[]): void {
    const { maps } = this.#loaded;
    maps.devices.update(indexKey(IFINDEX), indexKey(SLOT));
    for (const range of POD_RANGES) this.#tellIdentity(parseCidr(range), ReservedIdentity.unknown);
    for (const family of [4, 6] as const) {
      const own = encodeAddressKey(address(family, ENDPOINT_HOST));
      maps.addresses.update(own, addressEntryLayout.encode({ slot: SLOT }));
      const host = encodeAddressKey(address(family, ReservedIdentity.host));
      maps.addresses.update(host, addressEntryLayout.encode({ flags: AddressFlag.fHost }));
      for (const { id } of peers) {
        if (id === ReservedIdentity.unknown || id === ReservedIdentity.host) continue;
        this.#tellIdentity({ family, bytes: address(family, id), length: family === 4 ? 32 : 128 }, id);
      }
    }
  }

  #tellIdentity(prefix: Cidr, identity: NumericIdentity): void {
    const entry = encodeIpcacheEntry({ prefix, identity, tunnelEndpoint: undefined });
    this.#loaded.maps.ipcache.update(encodeIpcacheKey(prefix), entry);
  }

  /** Makes the endpoint one of `subject` with this policy, written as the agent writes it. */
  async setPolicy(subject: Identity, mapState: MapState, enforcement: PolicyEnforcement): Promise<void> {
    const { maps } = this.#loaded;
    const endpoint = {
      id: 1,
      identity: subject.id,
      ifindex: IFINDEX,
      ifname: 'lo',
      mac: ENDPOINT_MAC,
      hostMac: LOOPBACK_MAC,
      ipv4: address(4, ENDPOINT_HOST),
      ipv6: address(6, ENDPOINT_HOST),
    };
    const diff = diffMapState(this.#mapState, mapState);
    await writePolicyDiff(this.#policy, diff);
    this.#mapState = mapState;
    maps.endpoints.update(
      indexKey(SLOT),
      encodeEndpoint({ endpoint, locked: false, enforcement, policySide: 0 }),
    );
    moveEpoch(maps.epochs, SLOT);
    moveEpoch(maps.epochs, REMOTE_SLOT);
  }

  /**
   * Judges a packet that opens a flow, between the endpoint and a peer.
   * @throws Error when it was dropped for another reason than policy
   */
  verdict(packet: PolicyPacket): BpfVerdict {
    const data = this.#frame(packet);
    const before = this.#drops(packet);
    const { programs } = this.#loaded;
    const fromHost = packet.peer.id === ReservedIdentity.host;
    const inbound = fromHost ? programs.to_pod : programs.from_netdev;
    const { retval } = (packet.direction === 'egress' ? programs.from_pod : inbound).testRun({ data });
    if (retval !== TC_ACT_SHOT) return 0;
    const after = this.#drops(packet);
    const reason = REASONS.find((_, i) => after[i] !== before[i]);
    if (reason === undefined) throw new Error(`dropped, but not by policy: ${JSON.stringify(packet)}`);
    return reason;
  }

  #frame({ peer, direction, protocol, port }: PolicyPacket): Uint8Array {
    const n = this.#packets++;
    const family: Family = protocol === 58 || (protocol !== 1 && n % 2 === 1) ? 6 : 4;
    const own = address(family, ENDPOINT_HOST);
    const other = address(family, peer.id === ReservedIdentity.unknown ? ENDPOINT_HOST + 1 : peer.id);
    const egress = direction === 'egress';
    return buildFrame({
      sourceMac: egress ? ENDPOINT_MAC : LOOPBACK_MAC,
      destinationMac: LOOPBACK_MAC,
      source: egress ? own : other,
      destination: egress ? other : own,
      protocol,
      // A port of its own makes every packet the first of a flow.
      sourcePort: 10_000 + (n % 50_000),
      destinationPort: port,
    });
  }

  /** Packets dropped so far in the packet's direction, one count for each of REASONS. */
  #drops({ direction }: PolicyPacket): readonly bigint[] {
    return REASONS.map((reason) => {
      const value = this.#loaded.maps.metrics.lookup(indexKey((MetricDirection[direction] << 8) | reason));
      return value === undefined ? 0n : sumPerCpu(metricsLayout, value, 'packets');
    });
  }
}
