import { errorText } from '../base/errors.ts';
import {
  type Cidr,
  cidrContains,
  formatCidr,
  formatIp,
  type IpBytes,
  parseCidr,
  parseIp,
} from '../base/ip.ts';
import { type Identity, isAllocatedIdentity, ReservedIdentity } from '../model/identity.ts';
import { makeLabel } from '../model/labels.ts';
import { areNamedPorts, type NamedPort } from '../model/named-port.ts';
import type { ClusterNode } from '../model/node.ts';
import type { IpIdentity, StoreChange } from '../store/types.ts';
import type { Ipcache } from './ipcache.ts';
import { RangeTable } from './range-table.ts';

export interface PeerRecordsOptions {
  readonly self: () => ClusterNode;
  /** Ranges of all nodes' endpoints; empty: any range that is no larger than `LARGEST_RANGE`. */
  readonly clusterCidrs: readonly Cidr[];
}

/** Bits of the largest range that a node may announce where the cluster's ranges are not configured. */
const LARGEST_RANGE: Readonly<Record<4 | 6, number>> = { 4: 8, 6: 16 };
const LONGEST_NAME = 253;
const MAX_LABELS = 256;
const NODE_NAME = /^[^\s\p{C}]+$/u;

/** Why a record is not believed; the message says what it claims. */
class Refusal extends Error {}

type PlaceChange = Exclude<StoreChange, { kind: 'identity-upsert' | 'identity-delete' }>;
type Fields = Readonly<Record<string, unknown>>;

const ipKey = (cidr: unknown, node: unknown): string => `${String(cidr)} ${String(node)}`;

function optionalText(fields: Fields, name: string): string | undefined {
  const value = fields[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string') return value;
  throw new Refusal(`${name} is no text`);
}

function address(fields: Fields, name: string, family: 4 | 6): string | undefined {
  const text = optionalText(fields, name);
  if (text === undefined) return undefined;
  const bytes = parseIp(text);
  if (bytes.length !== (family === 4 ? 4 : 16)) throw new Refusal(`${name} ${text} is not IPv${family}`);
  if (bytes.every((byte) => byte === 0) || (bytes[0] ?? 0) >= (family === 4 ? 224 : 255))
    throw new Refusal(`${name} ${text} is not the address of one host`);
  return formatIp(bytes);
}

/** @throws Refusal, LabelError */
function nodeLabels({ labels }: Fields): Pick<ClusterNode, 'labels'> {
  if (labels === undefined) return {};
  if (typeof labels !== 'object' || labels === null || Array.isArray(labels))
    throw new Refusal('its labels are none');
  const entries = Object.entries(labels);
  if (entries.length > MAX_LABELS) throw new Refusal(`it has ${entries.length} labels`);
  for (const [key, value] of entries) {
    if (typeof value !== 'string') throw new Refusal(`its label ${key} is no text`);
    makeLabel('node', key, value);
  }
  return { labels: Object.fromEntries(entries) };
}

/**
 * Reserved identities are every node's own, and no label set that was allocated holds their labels but `reserved:init`.
 * @throws Refusal, LabelError
 */
function checkIdentity({ id, labels }: Identity): void {
  if (!isAllocatedIdentity(id)) throw new Refusal('its number is not one that is allocated');
  if (!Array.isArray(labels)) throw new Refusal('it has no labels');
  for (const { source, key, value } of labels) {
    makeLabel(source, key, value);
    if (source === 'reserved' && key !== 'init') throw new Refusal(`it has the label reserved:${key}`);
  }
}

/**
 * What other nodes say of themselves, as far as it is believed. Whoever can write to the store could otherwise turn this
 * node's routes, or pass off its own workload as another's:
 * 1. a node's range lies in the cluster's, and overlaps neither this node's nor that of a node known before it;
 * 2. a node's addresses are nobody else's, and in nobody's range;
 * 3. an address with an identity is one host, in the range of no other node, behind the node that publishes it, and its
 *    identity is that of a workload;
 * 4. an identity has an allocated number and no reserved label.
 * What is refused is judged again whenever a node comes, changes or goes.
 */
export class PeerRecords {
  readonly #options: PeerRecordsOptions;
  readonly #ipcache: Pick<Ipcache, 'setNode' | 'removeNode' | 'setRemote' | 'removeRemote'>;
  /** As told. */
  readonly #toldNodes = new Map<string, unknown>();
  readonly #toldIps = new Map<string, IpIdentity>();
  /** As believed. */
  #nodes = new Map<string, ClusterNode>();
  #ranges = new RangeTable();
  #hosts = new Map<string, string>();
  readonly #ips = new Map<string, IpIdentity>();
  readonly #nodeRefusals = new Map<string, string>();
  readonly #ipRefusals = new Map<string, string>();
  readonly #identityRefusals = new Map<number, string>();
  #portsChanged = false;

  constructor(
    options: PeerRecordsOptions,
    ipcache: Pick<Ipcache, 'setNode' | 'removeNode' | 'setRemote' | 'removeRemote'>,
  ) {
    this.#options = options;
    this.#ipcache = ipcache;
  }

  /** Other nodes that are believed. */
  nodes(): readonly ClusterNode[] {
    return [...this.#nodes.values()];
  }

  /** The node, this one included, whose own address this is, or another node in whose range it lies. */
  holderOf(ip: string): string | undefined {
    const self = this.#options.self();
    const text = formatIp(parseIp(ip));
    if ([self.ipv4, self.ipv6].some((own) => own !== undefined && formatIp(parseIp(own)) === text))
      return self.name;
    const holder = this.#hosts.get(text) ?? this.#rangeHolder(parseIp(ip), self);
    return holder === self.name ? undefined : holder;
  }

  /** The named ports of other nodes' endpoints; undefined when they are as at the last call. */
  takeNamedPorts(): readonly NamedPort[] | undefined {
    if (!this.#portsChanged) return undefined;
    this.#portsChanged = false;
    return [...this.#ips.values()].flatMap(({ namedPorts }) => namedPorts ?? []);
  }

  /** Addresses of other nodes' endpoints that are believed. */
  ips(): Iterable<IpIdentity> {
    return this.#ips.values();
  }

  /** Which records are not believed, and why. */
  refusals(): readonly string[] {
    return [this.#nodeRefusals, this.#ipRefusals, this.#identityRefusals].flatMap((refusals) => [
      ...refusals.values(),
    ]);
  }

  /** Those of the identities that are believed. */
  credible(identities: readonly Identity[]): readonly Identity[] {
    return identities.filter((identity) => {
      this.#identityRefusals.delete(identity.id);
      try {
        checkIdentity(identity);
        return true;
      } catch (error) {
        this.#identityRefusals.set(identity.id, `identity ${identity.id}: ${errorText(error)}`);
        return false;
      }
    });
  }

  /** Takes changes over into the ipcache. @returns whether the nodes changed */
  apply(changes: readonly PlaceChange[]): boolean {
    const touched = new Set<string>();
    let nodesTold = false;
    for (const change of changes) {
      if (change.kind === 'node-upsert') this.#toldNodes.set(String(change.node?.name), change.node);
      else if (change.kind === 'node-delete') this.#toldNodes.delete(change.name);
      else touched.add(this.#tellIp(change));
      nodesTold ||= change.kind === 'node-upsert' || change.kind === 'node-delete';
    }
    if (nodesTold) this.#judgeNodes();
    for (const key of nodesTold ? new Set([...this.#toldIps.keys(), ...touched]) : touched)
      this.#judgeIp(key);
    return nodesTold;
  }

  #tellIp(change: Extract<PlaceChange, { kind: 'ip-upsert' | 'ip-delete' }>): string {
    if (change.kind === 'ip-delete') {
      const key = ipKey(change.cidr, change.node);
      this.#toldIps.delete(key);
      return key;
    }
    const key = ipKey(change.ip?.cidr, change.ip?.node);
    this.#toldIps.set(key, change.ip);
    return key;
  }

  #judgeNodes(): void {
    const before = this.#nodes;
    this.#nodes = new Map();
    this.#ranges = new RangeTable();
    this.#hosts = new Map();
    this.#nodeRefusals.clear();
    const self = this.#options.self();
    this.#enter(self);
    for (const [name, told] of this.#toldNodes) {
      if (name === self.name) continue;
      try {
        const node = this.#checkNode(told);
        this.#enter(node);
        this.#nodes.set(name, node);
      } catch (error) {
        this.#nodeRefusals.set(name, `node ${JSON.stringify(name)}: ${errorText(error)}`);
      }
    }
    for (const name of before.keys()) if (!this.#nodes.has(name)) this.#ipcache.removeNode(name);
    for (const [name, node] of this.#nodes)
      if (JSON.stringify(before.get(name)) !== JSON.stringify(node)) this.#ipcache.setNode(node);
  }

  #enter({ name, ipv4, ipv6, ipv4AllocRange, ipv6AllocRange }: ClusterNode): void {
    for (const range of [ipv4AllocRange, ipv6AllocRange])
      if (range !== undefined) this.#ranges.add(parseCidr(range), name);
    for (const ip of [ipv4, ipv6]) if (ip !== undefined) this.#hosts.set(formatIp(parseIp(ip)), name);
  }

  #checkNode(told: unknown): ClusterNode {
    if (typeof told !== 'object' || told === null) throw new Refusal('is no record');
    const fields = told as Fields;
    const { name } = fields;
    if (typeof name !== 'string' || name.length > LONGEST_NAME || !NODE_NAME.test(name))
      throw new Refusal('its name is none');
    const ipv4AllocRange = this.#checkRange(fields, 'ipv4AllocRange', 4);
    const ipv6AllocRange = this.#checkRange(fields, 'ipv6AllocRange', 6);
    return {
      name,
      ipv4: this.#checkHost(address(fields, 'ipv4', 4)),
      ipv6: this.#checkHost(address(fields, 'ipv6', 6)),
      ipv4AllocRange: ipv4AllocRange && formatCidr(ipv4AllocRange),
      ipv6AllocRange: ipv6AllocRange && formatCidr(ipv6AllocRange),
      ipv4HealthIp: this.#checkHealth(address(fields, 'ipv4HealthIp', 4), ipv4AllocRange),
      ipv6HealthIp: this.#checkHealth(address(fields, 'ipv6HealthIp', 6), ipv6AllocRange),
      ...nodeLabels(fields),
    };
  }

  #checkRange(fields: Fields, name: string, family: 4 | 6): Cidr | undefined {
    const text = optionalText(fields, name);
    if (text === undefined) return undefined;
    const range = parseCidr(text);
    if (range.family !== family) throw new Refusal(`its range ${text} is not IPv${family}`);
    const cluster = this.#options.clusterCidrs.filter((cidr) => cidr.family === family);
    const inside = cluster.some((cidr) => cidr.length <= range.length && cidrContains(cidr, range.bytes));
    if (!inside && (cluster.length > 0 || range.length < LARGEST_RANGE[family]))
      throw new Refusal(`its range ${formatCidr(range)} is outside the cluster's`);
    const holder = this.#ranges.overlapping(range);
    if (holder !== undefined) throw new Refusal(`its range ${formatCidr(range)} overlaps that of ${holder}`);
    for (const [ip, owner] of this.#hosts)
      if (cidrContains(range, parseIp(ip)))
        throw new Refusal(`its range ${formatCidr(range)} holds ${ip}, the address of ${owner}`);
    return range;
  }

  #checkHost(ip: string | undefined): string | undefined {
    if (ip === undefined) return undefined;
    const owner = this.#hosts.get(ip) ?? this.#ranges.holderOf(parseIp(ip));
    if (owner !== undefined) throw new Refusal(`its address ${ip} belongs to ${owner}`);
    return ip;
  }

  #checkHealth(ip: string | undefined, range: Cidr | undefined): string | undefined {
    if (ip === undefined || range === undefined || cidrContains(range, parseIp(ip))) return ip;
    throw new Refusal(`its health endpoint ${ip} is outside its range ${formatCidr(range)}`);
  }

  #judgeIp(key: string): void {
    const told = this.#toldIps.get(key);
    const before = this.#ips.get(key);
    let believed: IpIdentity | undefined;
    this.#ipRefusals.delete(key);
    if (told !== undefined && told.node !== this.#options.self().name) {
      try {
        believed = this.#checkIp(told);
      } catch (error) {
        this.#ipRefusals.set(key, `address ${JSON.stringify(key)}: ${errorText(error)}`);
      }
    }
    this.#portsChanged ||= portsText(before) !== portsText(believed);
    if (before !== undefined && before.cidr !== believed?.cidr)
      this.#ipcache.removeRemote(before.cidr, before.node);
    if (believed === undefined) this.#ips.delete(key);
    else if (!same(before, believed)) {
      this.#ips.set(key, believed);
      this.#ipcache.setRemote(believed);
    }
  }

  #checkIp(told: IpIdentity): IpIdentity {
    if (typeof told.cidr !== 'string' || typeof told.node !== 'string' || typeof told.hostIp !== 'string')
      throw new Refusal('is no record');
    if (told.owner !== undefined && typeof told.owner !== 'string') throw new Refusal('its owner is no text');
    if (told.namedPorts !== undefined && !areNamedPorts(told.namedPorts))
      throw new Refusal('its named ports are none');
    const prefix = parseCidr(told.cidr);
    const self = this.#options.self();
    if (prefix.length !== prefix.bytes.length * 8) throw new Refusal('is more than one address');
    if (!isAllocatedIdentity(told.identity) && !isPodIdentity(told.identity))
      throw new Refusal(`identity ${String(told.identity)} is not that of a workload`);
    const owner = this.#hosts.get(formatIp(prefix.bytes)) ?? this.#rangeHolder(prefix.bytes, self);
    if (owner !== undefined && owner !== told.node) throw new Refusal(`belongs to ${owner}`);
    if (this.#nodeRefusals.has(told.node)) throw new Refusal('its node is not believed');
    const hostIp = formatIp(parseIp(told.hostIp));
    const node = this.#nodes.get(told.node);
    const behind = node === undefined ? this.#hosts.get(hostIp) : told.node;
    if (behind !== undefined && (behind !== told.node || (node?.ipv4 !== hostIp && node?.ipv6 !== hostIp)))
      throw new Refusal(`${hostIp} is not the address of its node`);
    return { ...told, cidr: formatCidr(prefix), hostIp };
  }

  #rangeHolder(bytes: IpBytes, self: ClusterNode): string | undefined {
    const own = [self.ipv4AllocRange, self.ipv6AllocRange].filter((range) => range !== undefined);
    if (own.some((range) => cidrContains(parseCidr(range), bytes))) return self.name;
    return this.#ranges.holderOf(bytes);
  }
}

/** Identities without a number of their own that an endpoint may have. */
function isPodIdentity(id: number): boolean {
  return id === ReservedIdentity.health || id === ReservedIdentity.init;
}

const portsText = (ip: IpIdentity | undefined): string => JSON.stringify(ip?.namedPorts ?? []);

function same(a: IpIdentity | undefined, b: IpIdentity): boolean {
  return (
    a !== undefined &&
    a.cidr === b.cidr &&
    a.identity === b.identity &&
    a.hostIp === b.hostIp &&
    a.owner === b.owner &&
    portsText(a) === portsText(b)
  );
}
