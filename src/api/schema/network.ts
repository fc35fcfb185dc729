import Type from 'typebox';
import { bool, int, known, list, type ModelOf, model, opt, str } from './build.ts';
import { AddressPair, NodeAddressing, NodeAddressingElement } from './common.ts';

export const IPListEntryMetadata = model('IPListEntryMetadata', {
  source: opt(str),
  namespace: opt(str),
  name: opt(str),
});
export type IPListEntryMetadata = ModelOf<typeof IPListEntryMetadata>;

export const IPListEntry = model('IPListEntry', {
  cidr: str,
  identity: int,
  hostIP: opt(str),
  encryptKey: opt(int),
  metadata: opt(IPListEntryMetadata),
});
export type IPListEntry = ModelOf<typeof IPListEntry>;
export const IPList = Type.Array(IPListEntry);

export const IPAMAddressResponse = model('IPAMAddressResponse', {
  ip: opt(str),
  gateway: opt(str),
  cidrs: opt(list(str)),
  'master-mac': opt(str),
  'expiration-uuid': opt(str),
  'interface-number': opt(str),
  'skip-masquerade': opt(bool),
});
export type IPAMAddressResponse = ModelOf<typeof IPAMAddressResponse>;

export const IPAMResponse = model('IPAMResponse', {
  address: AddressPair,
  ipv4: opt(IPAMAddressResponse),
  ipv6: opt(IPAMAddressResponse),
  'host-addressing': NodeAddressing,
});
export type IPAMResponse = ModelOf<typeof IPAMResponse>;

/** `zone` is ours: where the node stands, by its label `topology.kubernetes.io/zone`. */
export const NodeElement = model('NodeElement', {
  name: opt(str),
  zone: opt(str),
  'primary-address': opt(NodeAddressing),
  'secondary-addresses': opt(list(NodeAddressingElement)),
  'health-endpoint-address': opt(NodeAddressing),
  'ingress-address': opt(NodeAddressing),
  source: opt(str),
});
export type NodeElement = ModelOf<typeof NodeElement>;

/** The nodes, or how they changed since this client (`client-id`) last asked. */
export const ClusterNodeStatus = model('ClusterNodeStatus', {
  self: opt(str),
  'nodes-added': opt(list(NodeElement)),
  'nodes-removed': opt(list(NodeElement)),
  'client-id': opt(int),
});
export type ClusterNodeStatus = ModelOf<typeof ClusterNodeStatus>;

export const NodeID = model('NodeID', { id: int, ips: list(str) });
export type NodeID = ModelOf<typeof NodeID>;

export const BPFMapEntry = model('BPFMapEntry', {
  key: opt(str),
  value: opt(str),
  'desired-action': opt(known('ok', 'insert', 'delete', 'sync')),
  'last-error': opt(str),
});
export type BPFMapEntry = ModelOf<typeof BPFMapEntry>;

/**
 * An open map of the agent; `cache` is absent when it holds no copy of the entries. `entries` is ours: how many the kernel
 * holds.
 */
export const BPFMap = model('BPFMap', {
  path: opt(str),
  cache: opt(list(BPFMapEntry)),
  entries: opt(int),
});
export type BPFMap = ModelOf<typeof BPFMap>;
export const BPFMapList = model('BPFMapList', { maps: opt(list(BPFMap)) });
export type BPFMapList = ModelOf<typeof BPFMapList>;
