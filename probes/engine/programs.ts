import { closeSync } from 'node:fs';
import {
  BPF_MMAPABLE,
  BpfAttachType,
  type BpfLink,
  type BpfMap,
  BpfMapType,
  type BpfObject,
  loadBpf,
} from '../../bpf/addon/index.ts';
import { buildAsset } from '../../src/base/assets.ts';
import { ipFamily, parseIp } from '../../src/base/ip.ts';
import { DevicePlace, readWaypoints, WAYPOINT_ANSWER, type Waypoint } from '../../src/base/waypoint.ts';
import { PathRecord, RECORDS_A_BLOCK } from './constants.ts';

/** `struct probe_counters`: what the programs saw, summed over CPUs. */
export interface ProgramCounters {
  readonly stamped: number;
  readonly consumed: number;
  readonly passedUp: number;
  readonly echoed: number;
  readonly refusedAddress: number;
  readonly refusedForm: number;
  readonly refusedRate: number;
}

export interface ProgramOptions {
  readonly pathsMax: number;
  /** Ours, in cookies. */
  readonly prober: number;
  /** Echoes that one address gets in a second. */
  readonly echoesPerSecond: number;
  /** Of the peers, where requests go whose handshakes are noted; host order. */
  readonly tcpPort: number;
}

const CONFIG_BYTES = 12;
const ADDRESS_BYTES = 20;
const PEER_BYTES = 24;
/** Of `heard_ns` in `struct probe_peer`. */
const HEARD_AT = 16;
const PLACES = [DevicePlace.ingress, DevicePlace.echo | WAYPOINT_ANSWER];
const COUNTERS = 7;
const ZERO = new Uint8Array(4);

/** The programs of `health.bpf.c`, loaded once an engine; what stands on devices goes when `close` is called, or with us. */
export class ProbePrograms {
  readonly #object: BpfObject;
  readonly #maps: Readonly<
    Record<'blocks' | 'peers' | 'own' | 'counters' | 'waypoints' | 'handshakes', BpfMap>
  >;
  readonly #programs: Readonly<Record<'ingress' | 'egress', ReturnType<BpfObject['program']>>>;
  /** By origin and index of the device. */
  readonly #links = new Map<string, readonly BpfLink[]>();
  /** By block of paths. */
  readonly #records: BpfMap[] = [];
  /** Of `probe_batches`, for the engine's memory; ours to close. */
  readonly batchesFd: number;
  #closed = false;

  /** @throws BpfError when the kernel or our privileges do not allow it */
  constructor({ pathsMax, ...numbers }: ProgramOptions) {
    const spec = loadBpf().openObject(buildAsset('health.bpf.o'));
    try {
      spec.setMaxEntries('probe_blocks', Math.ceil(pathsMax / RECORDS_A_BLOCK));
      this.#object = spec.load();
    } catch (error) {
      spec.close();
      throw error;
    }
    const map = (name: string): BpfMap => this.#object.map(name);
    this.#maps = {
      blocks: map('probe_blocks'),
      peers: map('probe_peers'),
      own: map('probe_own'),
      counters: map('probe_counters'),
      waypoints: map('probe_waypoints'),
      handshakes: map('probe_handshakes'),
    };
    this.#programs = {
      ingress: this.#object.program('probe_ingress'),
      egress: this.#object.program('probe_egress'),
    };
    const config = map('probe_config');
    config.update(ZERO, configValue(numbers));
    config.close();
    const batches = map('probe_batches');
    this.batchesFd = batches.descriptor();
    batches.close();
  }

  /**
   * Stands on a device, before what is there. What comes later and wants to be the first is before us.
   * @param netns path of its namespace; undefined: ours
   * @throws BpfError; nothing stands there then
   */
  attach(origin: number, ifindex: number, netns: string | undefined): void {
    const links: BpfLink[] = [];
    try {
      for (const [program, attachType] of [
        [this.#programs.egress, BpfAttachType.tcxEgress],
        [this.#programs.ingress, BpfAttachType.tcxIngress],
      ] as const) {
        links.push(program.attach({ ifindex, attachType, netns, first: true }));
      }
    } catch (error) {
      release(links);
      throw error;
    }
    this.#links.set(linkKey(origin, ifindex), links);
  }

  /** Undone: whether they stood there. */
  detach(origin: number, ifindex: number): boolean {
    const links = this.#links.get(linkKey(origin, ifindex));
    release(links ?? []);
    return this.#links.delete(linkKey(origin, ifindex));
  }

  /** Whether they stand on the device; a device that was removed took its programs along. */
  stands(origin: number, ifindex: number): boolean {
    const links = this.#links.get(linkKey(origin, ifindex)) ?? [];
    return links.length > 0 && links.every(({ info }) => info.ifindex === ifindex);
  }

  /** How many blocks of paths have records. */
  get blocks(): number {
    return this.#records.length;
  }

  /**
   * Makes the records of the next block of paths, 0.9 MB of the kernel's memory. Takes some 10 ms: the kernel waits until
   * no program looks at what was there.
   * @param share maps the memory of the block's map, of which it gets a descriptor
   * @throws BpfError, or what `share` throws; there is no such block then
   */
  addBlock(share: (block: number, descriptor: number) => void): void {
    const records = loadBpf().createMap({
      type: BpfMapType.array,
      name: 'probe_records',
      keySize: 4,
      valueSize: PathRecord.words * 4,
      maxEntries: RECORDS_A_BLOCK,
      flags: BPF_MMAPABLE,
    });
    try {
      const descriptor = records.descriptor();
      try {
        share(this.blocks, descriptor);
      } finally {
        closeSync(descriptor);
      }
      this.#maps.blocks.updateInner(new Uint8Array(Uint32Array.of(this.blocks).buffer), records);
    } catch (error) {
      records.close();
      throw error;
    }
    this.#records.push(records);
  }

  /** Who is answered, and at which addresses of ours. What is there already keeps its count. */
  setPeers(peers: readonly string[], own: readonly string[]): void {
    replaceKeys(this.#maps.peers, peers, new Uint8Array(PEER_BYTES));
    replaceKeys(this.#maps.own, own, Uint8Array.of(1, 0, 0, 0));
  }

  counters(): ProgramCounters {
    const values = this.#maps.counters.lookup(ZERO);
    const sums = new Array<number>(COUNTERS).fill(0);
    for (let at = 0; values !== undefined && at < values.length; at += COUNTERS * 8) {
      for (let i = 0; i < COUNTERS; i++)
        sums[i] = (sums[i] ?? 0) + Number(values.readBigUInt64LE(at + i * 8));
    }
    const [stamped = 0, consumed = 0, passedUp = 0, echoed = 0, refusedAddress = 0, refusedForm = 0] = sums;
    const refusedRate = sums[6] ?? 0;
    return { stamped, consumed, passedUp, echoed, refusedAddress, refusedForm, refusedRate };
  }

  /** Where probes of a path, whoever sent them, were seen on our devices. */
  waypoints(path: { readonly prober: number; readonly path: number }): readonly Waypoint[] {
    const found = readWaypoints((key) => this.#maps.waypoints.lookup(key), path, PLACES);
    const echo = found.find(({ hook }) => hook === DevicePlace.echo);
    const ingress = found.find(({ hook }) => hook === DevicePlace.ingress);
    if (echo === undefined || (ingress !== undefined && ingress.atNs >= echo.atNs)) return found;
    // What was answered came in; the program notes the answer only.
    return [{ ...echo, hook: DevicePlace.ingress, leg: 'request' }, echo];
  }

  /** When an echo was asked for last from an address, monotonic ns; 0: never, or it is no node's. */
  heardNs(address: string): number {
    const value = this.#maps.peers.lookup(addressKey(address));
    return value === undefined ? 0 : Number(value.readBigUInt64LE(HEARD_AT));
  }

  /** @see Handshakes.handshakeNs */
  handshakeNs(fd: number): number | undefined {
    const value = this.#maps.handshakes.lookup(new Uint8Array(Int32Array.of(fd).buffer));
    const [sentNs, answeredNs] = [value?.readBigUInt64LE(0) ?? 0n, value?.readBigUInt64LE(8) ?? 0n];
    return answeredNs === 0n ? undefined : Number(answeredNs - sentNs);
  }

  /** Time that the programs ran, ns; undefined unless the kernel keeps it (`kernel.bpf_stats_enabled`). */
  runTimeNs(): number | undefined {
    const times = Object.values(this.#programs).map(({ info }) => Number(info.runTimeNs));
    return times.some((ns) => ns > 0) ? times.reduce((sum, ns) => sum + ns, 0) : undefined;
  }

  /** Detaches and frees all. May be called twice. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const links of this.#links.values()) release(links);
    this.#links.clear();
    for (const item of [...Object.values(this.#programs), ...Object.values(this.#maps), ...this.#records])
      item.close();
    this.#object.close();
    closeSync(this.batchesFd);
  }
}

function linkKey(origin: number, ifindex: number): string {
  return `${origin} ${ifindex}`;
}

/** Nobody else holds them: closed, they are off the device, which may be gone already. */
function release(links: readonly BpfLink[]): void {
  for (const link of links) link.close();
}

/** `struct probe_config`. */
function configValue({ prober, echoesPerSecond, tcpPort }: Omit<ProgramOptions, 'pathsMax'>): Buffer {
  const value = Buffer.alloc(CONFIG_BYTES);
  value.writeUInt32LE(prober, 0);
  value.writeUInt32LE(echoesPerSecond, 4);
  value.writeUInt16BE(tcpPort, 8);
  return value;
}

/** `struct probe_address`. */
function addressKey(address: string): Buffer {
  const bytes = parseIp(address);
  const key = Buffer.alloc(ADDRESS_BYTES);
  key.set(bytes);
  key.writeUInt32LE(ipFamily(bytes), 16);
  return key;
}

function replaceKeys(map: BpfMap, addresses: readonly string[], value: Uint8Array): void {
  const wanted = new Map(addresses.map((address) => [address, addressKey(address)]));
  const keep = new Set([...wanted.values()].map((key) => key.toString('hex')));
  const gone: Buffer[] = [];
  for (let key = map.nextKey(undefined); key !== undefined; key = map.nextKey(key)) {
    if (!keep.delete(key.toString('hex'))) gone.push(Buffer.from(key));
  }
  for (const key of gone) map.delete(key);
  for (const key of wanted.values()) if (keep.has(key.toString('hex'))) map.update(key, value);
}
