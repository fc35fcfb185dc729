import type { Cidr, IpBytes } from '../base/ip.ts';
import { type Identity, isLocalIdentity } from '../model/identity.ts';
import type { DnsPattern } from '../model/l7.ts';
import type { Label } from '../model/labels.ts';
import type { NamedPort } from '../model/named-port.ts';
import type { PolicyInventory } from '../model/policy-inventory.ts';
import type { LabelSelector, SelectorKey } from '../model/selector.ts';
import type { CidrSpec, Entity, IcmpSpec, PortRule, PortSpec, RuleItem, ServiceSpec } from './rule.ts';

/*
 * What one item of a rule says of one peer, protocol and port, as its definition reads; see evaluate-naive.ts. Shares no
 * code with the compiled form on purpose.
 */

/** The other side of a flow. */
export interface NaivePeer {
  /** Identity 0 for one that is not known. */
  readonly identity: Identity;
  /** Of a peer outside the cluster; without it the label of source `cidr` of a local identity says where it lies. */
  readonly address?: IpBytes | undefined;
  /** Texts of the FQDN selectors that names of the address match; without it the labels of source `fqdn` say so. */
  readonly names?: readonly string[] | undefined;
}

export interface NaiveWorld {
  readonly clusterName: string;
  /** CIDR groups and services that rules name; default none. */
  readonly inventory?: PolicyInventory | undefined;
}

/** A first address and how many of its bits count. */
interface Place {
  readonly bits: string;
}

const bitsOf = (bytes: IpBytes): string =>
  [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');

function prefixBits({ bytes, length }: Pick<Cidr, 'bytes' | 'length'>): string {
  return `${bytes.length}/${bitsOf(bytes).slice(0, length)}`;
}

function parsePlace(text: string): Place | undefined {
  const [address = '', length = ''] = text.split('/');
  const bytes = address.includes(':') ? v6Bytes(address) : address.split('.').map(Number);
  return { bits: prefixBits({ bytes: Uint8Array.from(bytes), length: Number(length) }) };
}

function v6Bytes(address: string): number[] {
  const [head = '', tail = ''] = address.split('::');
  const groups = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((g) => Number.parseInt(g, 16));
  const [left, right] = [groups(head), groups(tail)];
  const zeros = Array<number>(8 - left.length - right.length).fill(0);
  return [...left, ...zeros, ...right].flatMap((group) => [group >> 8, group & 255]);
}

/** Where outside the cluster a peer lies; undefined for endpoints, nodes and whoever is not known. */
function placeOf({ identity, address }: NaivePeer): Place | undefined {
  if (address !== undefined) return { bits: prefixBits({ bytes: address, length: address.length * 8 }) };
  const named = identity.labels.find(({ source }) => source === 'cidr')?.key;
  if (isLocalIdentity(identity.id) && named !== undefined) return parsePlace(named);
  const names = identity.labels.filter(({ source }) => source === 'reserved').map(({ key }) => key);
  if (!isLocalIdentity(identity.id) && identity.id !== 9 && identity.id !== 10) return undefined;
  return { bits: names.includes('world-ipv6') ? '16/' : '4/' };
}

/** The labels by which selectors see a peer: whatever lies outside is the world, whichever identity it has. */
function labelsOf(peer: NaivePeer): readonly Label[] {
  const place = placeOf(peer);
  if (place === undefined) return peer.identity.labels;
  const reserved = (key: string): Label => ({ source: 'reserved', key, value: '' });
  return [
    ...peer.identity.labels,
    reserved('world'),
    reserved(place.bits.startsWith('16/') ? 'world-ipv6' : 'world-ipv4'),
  ];
}

export function valuesOf(labels: readonly Label[], key: SelectorKey): string[] {
  const same = labels.filter((label) => label.key === key.key);
  return same
    .filter((label) => key.source === 'any' || label.source === key.source)
    .map(({ value }) => value);
}

export function selectsLabels(selector: LabelSelector, labels: readonly Label[]): boolean {
  for (const part of selector.matchLabels) {
    if (!valuesOf(labels, part).includes(part.value)) return false;
  }
  for (const part of selector.matchExpressions) {
    const values = valuesOf(labels, part);
    const listed = values.some((value) => part.values.includes(value));
    if (part.operator === 'In' && !listed) return false;
    if (part.operator === 'NotIn' && listed) return false;
    if (part.operator === 'Exists' && values.length === 0) return false;
    if (part.operator === 'DoesNotExist' && values.length > 0) return false;
  }
  return true;
}

/** An empty selector holds for whoever it may be, any other only for a peer that is known. */
export function selectorHolds(selector: LabelSelector, peer: NaivePeer): boolean {
  if (selector.matchLabels.length + selector.matchExpressions.length === 0) return true;
  const known = peer.identity.id !== 0 || peer.address !== undefined;
  return known && selectsLabels(selector, labelsOf(peer));
}

function entityHolds(entity: Entity, peer: NaivePeer, clusterName: string): boolean {
  if (entity === 'all') return true;
  if (entity === 'none' || (peer.identity.id === 0 && peer.address === undefined)) return false;
  const reserved = labelsOf(peer)
    .filter(({ source }) => source === 'reserved')
    .map(({ key }) => key);
  if (entity === 'world') return reserved.some((name) => name.startsWith('world'));
  if (entity !== 'cluster') return reserved.includes(entity);
  const inside = ['host', 'remote-node', 'kube-apiserver', 'init', 'health', 'unmanaged', 'ingress'];
  if (reserved.some((name) => inside.includes(name))) return true;
  const { id, labels } = peer.identity;
  const cluster = valuesOf(labels, { source: 'k8s', key: 'io.cilium.k8s.policy.cluster' })[0];
  return id > 255 && id < 65536 && (cluster ?? clusterName) === clusterName;
}

function cidrHolds(cidr: Cidr, place: Place | undefined): boolean {
  return place?.bits.startsWith(prefixBits(cidr)) === true;
}

function cidrSpecHolds(spec: CidrSpec, peer: NaivePeer, world: NaiveWorld): boolean {
  const place = placeOf(peer);
  if (spec.except.some((cidr) => cidrHolds(cidr, place))) return false;
  if (spec.kind === 'cidr') return cidrHolds(spec.cidr, place);
  const groups = (world.inventory?.cidrGroups ?? []).filter((group) =>
    spec.kind === 'group' ? group.name === spec.name : selectsLabels(spec.selector, group.labels),
  );
  return groups.some(({ cidrs }) => cidrs.some((cidr) => cidrHolds(cidr, place)));
}

function serviceHolds(spec: ServiceSpec, peer: NaivePeer, { inventory }: NaiveWorld): boolean {
  const named = (inventory?.services ?? []).filter(({ name, namespace, labels }) =>
    spec.kind === 'name'
      ? name === spec.name && namespace === spec.namespace
      : (spec.namespace === '' || namespace === spec.namespace) && selectsLabels(spec.selector, labels),
  );
  return named.some(({ name, namespace, selector }) => {
    if (selector !== undefined) {
      const key = { source: 'k8s', key: 'io.kubernetes.pod.namespace' };
      const isThere = valuesOf(peer.identity.labels, key).includes(namespace);
      return isThere && peer.identity.id !== 0 && selectsLabels(selector, peer.identity.labels);
    }
    const behind = (inventory?.addresses ?? []).filter(
      (object) => object.namespace === namespace && object.service === name,
    );
    const place = placeOf(peer);
    return behind.some(({ addresses }) =>
      addresses.some((bytes) => cidrHolds({ family: 4, bytes, length: bytes.length * 8 }, place)),
    );
  });
}

function nameText(name: DnsPattern): string {
  if (name.kind === 'regex') return `/${name.regex}/`;
  return name.kind === 'name' ? name.name : name.pattern;
}

function nameHolds(text: string, { identity, names }: NaivePeer): boolean {
  if (names !== undefined) return names.includes(text);
  const isLocal = isLocalIdentity(identity.id);
  return isLocal && identity.labels.some(({ source, key }) => source === 'fqdn' && key === text);
}

function nodeHolds(selector: LabelSelector, { identity }: NaivePeer): boolean {
  const isNode = identity.labels.some(({ source, key }) => source === 'reserved' && key === 'remote-node');
  return isNode && selectsLabels(selector, identity.labels);
}

/** Whether the item is for the peer. */
export function peerHolds(item: RuleItem, peer: NaivePeer, world: NaiveWorld): boolean {
  const { peers, ports, icmps } = item;
  if (peers === undefined) return ports !== undefined || icmps !== undefined;
  switch (peers.kind) {
    case 'endpoints':
      return peers.selectors.some((selector) => selectorHolds(selector, peer));
    case 'entities':
      return peers.entities.some((entity) => entityHolds(entity, peer, world.clusterName));
    case 'cidrs':
      return peers.cidrs.some((cidr) => cidrHolds(cidr, placeOf(peer)));
    case 'cidr-sets':
      return peers.sets.some((spec) => cidrSpecHolds(spec, peer, world));
    case 'services':
      return peers.services.some((spec) => serviceHolds(spec, peer, world));
    case 'fqdns':
      return peers.names.some((name) => nameHolds(nameText(name), peer));
    case 'nodes':
      return peers.selectors.some((selector) => nodeHolds(selector, peer));
  }
}

const PROTOCOL_NAMES: Readonly<Record<number, string>> = { 6: 'TCP', 17: 'UDP', 132: 'SCTP' };

/** First and last port that a port specification means for a protocol; undefined: none. */
export function portsMeant(
  spec: PortSpec,
  protocol: number,
  names: readonly NamedPort[],
): readonly [number, number] | undefined {
  const name = PROTOCOL_NAMES[protocol];
  if (name === undefined || (spec.protocol !== 'ANY' && spec.protocol !== name)) return undefined;
  if (spec.port === 0) return [0, 65535];
  if (typeof spec.port === 'number') return [spec.port, spec.endPort ?? spec.port];
  const numbers = new Set(
    names.filter((port) => port.name === spec.port && port.protocol === protocol).map(({ port }) => port),
  );
  const [only] = numbers;
  return numbers.size === 1 && only !== undefined ? [only, only] : undefined;
}

/** A kind of requests, `tls` for server names; undefined for a rule without. */
export function l7KindOf({ l7, serverNames }: PortRule): string | undefined {
  if (l7 !== undefined) return l7.kind;
  return serverNames !== undefined && serverNames.length > 0 ? 'tls' : undefined;
}

/** HTTP, Kafka and TLS are spoken over TCP, DNS over UDP too. */
export function l7Speaks(kind: string | undefined, protocol: number): boolean {
  if (kind === undefined) return true;
  return protocol === 6 || (kind === 'dns' && protocol === 17);
}

export interface NaivePort {
  readonly protocol: number;
  readonly port: number;
  /** What names of ports mean. */
  readonly names: readonly NamedPort[];
}

export function portHolds(rule: PortRule, { protocol, port, names }: NaivePort): boolean {
  if (!l7Speaks(l7KindOf(rule), protocol)) return false;
  return rule.ports.some((spec) => {
    const range = portsMeant(spec, protocol, names);
    return range !== undefined && port >= range[0] && port <= range[1];
  });
}

/** Of ICMP the type stands where the port would. */
export function icmpHolds({ family, type }: IcmpSpec, { protocol, port }: NaivePort): boolean {
  return protocol === (family === 4 ? 1 : 58) && port === type;
}
