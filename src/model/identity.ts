import type { Label } from './labels.ts';

/** Cluster-wide number of one label set. 0 is unknown: no rule selects it. */
export type NumericIdentity = number;

/** Reserved identities with the numbers of Cilium 1.19, which tools and people know. */
export const ReservedIdentity = {
  unknown: 0,
  host: 1,
  world: 2,
  unmanaged: 3,
  health: 4,
  init: 5,
  remoteNode: 6,
  kubeApiserver: 7,
  ingress: 8,
  worldIpv4: 9,
  worldIpv6: 10,
} as const;

/** Range in which identities of label sets are allocated. */
export const MIN_ALLOCATED_IDENTITY = 256;
export const MAX_ALLOCATED_IDENTITY = 65535;

/** Numbers from here on are of one node only: prefixes of CIDR rules and names of `toFQDNs`, as in Cilium 1.19. */
export const LOCAL_IDENTITY_SCOPE = 1 << 24;
/** Numbers from here on are of one node only, for other nodes and their labels, as in Cilium 1.19. */
export const NODE_IDENTITY_SCOPE = 2 << 24;

/** Whether the number was given by this node, to a prefix or a set of names. */
export function isLocalIdentity(id: NumericIdentity): boolean {
  return id >= LOCAL_IDENTITY_SCOPE && id < NODE_IDENTITY_SCOPE;
}

/** Whether the number was given by this node to other nodes with the same labels. */
export function isNodeIdentity(id: NumericIdentity): boolean {
  return id >= NODE_IDENTITY_SCOPE && id < 3 << 24;
}

/** Whether it is of peers outside of the cluster, whose addresses rules may tell apart. */
export function isOutsideIdentity(id: NumericIdentity): boolean {
  const { world, worldIpv4, worldIpv6 } = ReservedIdentity;
  return isLocalIdentity(id) || id === world || id === worldIpv4 || id === worldIpv6;
}

export interface Identity {
  readonly id: NumericIdentity;
  /** Sorted by `source:key`. */
  readonly labels: readonly Label[];
}

const reserved = (key: string): Label => ({ source: 'reserved', key, value: '' });

/** The reserved identities with their labels, ascending by number; `unknown` (0) has the label `reserved:unknown`. */
export const RESERVED_IDENTITIES: readonly Identity[] = [
  { id: ReservedIdentity.unknown, labels: [reserved('unknown')] },
  { id: ReservedIdentity.host, labels: [reserved('host')] },
  { id: ReservedIdentity.world, labels: [reserved('world')] },
  { id: ReservedIdentity.unmanaged, labels: [reserved('unmanaged')] },
  { id: ReservedIdentity.health, labels: [reserved('health')] },
  { id: ReservedIdentity.init, labels: [reserved('init')] },
  { id: ReservedIdentity.remoteNode, labels: [reserved('remote-node')] },
  { id: ReservedIdentity.kubeApiserver, labels: [reserved('kube-apiserver'), reserved('remote-node')] },
  { id: ReservedIdentity.ingress, labels: [reserved('ingress')] },
  { id: ReservedIdentity.worldIpv4, labels: [reserved('world-ipv4')] },
  { id: ReservedIdentity.worldIpv6, labels: [reserved('world-ipv6')] },
];

const NAME_BY_ID = new Map(RESERVED_IDENTITIES.map(({ id, labels }) => [id, labels[0]?.key ?? '']));
const BY_NAME = new Map(RESERVED_IDENTITIES.map((identity) => [identity.labels[0]?.key ?? '', identity]));

/** `host`, `world`, `remote-node` ...; undefined when the number is not a reserved one. */
export function reservedIdentityName(id: NumericIdentity): string | undefined {
  return NAME_BY_ID.get(id);
}

/** The reserved identity of a name without its source: `host`, `kube-apiserver` ... */
export function reservedIdentity(name: string): Identity | undefined {
  return BY_NAME.get(name);
}

/** Names of the reserved identities, ascending by number. */
export function reservedIdentityNames(): readonly string[] {
  return [...BY_NAME.keys()];
}

/** Whether the number belongs to a label set of this cluster (256..65535). */
export function isAllocatedIdentity(id: NumericIdentity): boolean {
  return id >= MIN_ALLOCATED_IDENTITY && id <= MAX_ALLOCATED_IDENTITY;
}

/**
 * The reserved identity that a label set names, if it consists of reserved labels only: its number is fixed and is
 * never allocated. A set with `reserved:init` and other labels has none.
 */
export function reservedIdentityOfLabels(labels: readonly Label[]): Identity | undefined {
  const keys = labels.map((label) => (label.source === 'reserved' ? label.key : ''));
  if (keys.length === 0 || keys.includes('')) return undefined;
  return RESERVED_IDENTITIES.find(
    (identity) =>
      identity.labels.length === keys.length && identity.labels.every((label) => keys.includes(label.key)),
  );
}
