import { type Identity, isAllocatedIdentity } from '../model/identity.ts';
import { type Label, LabelKey, labelValue } from '../model/labels.ts';
import {
  EMPTY_SELECTOR,
  goSelectorText,
  isEmptySelector,
  type LabelSelector,
  makeSelector,
  matchesSelector,
  selectorText,
} from '../model/selector.ts';
import type { Entity, Peers } from './rule.ts';

/** What picks peers. `every` also covers peers that no identity is known of. `text` is the same exactly for equal selectors. */
export type PeerSelector =
  | { readonly kind: 'every'; readonly text: '' }
  | { readonly kind: 'labels'; readonly text: string; readonly selector: LabelSelector }
  | { readonly kind: 'entity'; readonly text: string; readonly entity: Exclude<Entity, 'all' | 'none'> };

export const EVERY_PEER: PeerSelector = { kind: 'every', text: '' };

/** The reserved labels by which an entity is known; `cluster` also takes the identities of its workloads. */
const ENTITY_LABELS: Record<Exclude<Entity, 'all' | 'none'>, readonly string[]> = {
  world: ['world', 'world-ipv4', 'world-ipv6'],
  'world-ipv4': ['world-ipv4'],
  'world-ipv6': ['world-ipv6'],
  cluster: ['host', 'remote-node', 'init', 'health', 'unmanaged', 'ingress'],
  host: ['host'],
  'remote-node': ['remote-node'],
  init: ['init'],
  health: ['health'],
  unmanaged: ['unmanaged'],
  'kube-apiserver': ['kube-apiserver'],
  ingress: ['ingress'],
};

function hasReserved(labels: readonly Label[], names: readonly string[]): boolean {
  return labels.some((label) => label.source === 'reserved' && names.includes(label.key));
}

/** Workloads of this cluster; one that names no cluster is of this one. */
function isLocalWorkload({ id, labels }: Identity, clusterName: string): boolean {
  if (!isAllocatedIdentity(id)) return false;
  const cluster = labelValue(labels, 'k8s', LabelKey.cluster);
  return cluster === undefined || cluster === clusterName;
}

/** Whether the selector picks a known identity. */
export function matchesPeer(peer: PeerSelector, identity: Identity, clusterName: string): boolean {
  switch (peer.kind) {
    case 'every':
      return true;
    case 'labels':
      return matchesSelector(peer.selector, identity.labels);
    case 'entity':
      return (
        hasReserved(identity.labels, ENTITY_LABELS[peer.entity]) ||
        (peer.entity === 'cluster' && isLocalWorkload(identity, clusterName))
      );
  }
}

function selectorPeer(selector: LabelSelector): PeerSelector {
  if (isEmptySelector(selector)) return EVERY_PEER;
  return { kind: 'labels', text: selectorText(selector), selector };
}

function entityPeers(entity: Entity): PeerSelector[] {
  if (entity === 'none') return [];
  if (entity === 'all') return [EVERY_PEER];
  return [{ kind: 'entity', text: `entity ${entity}`, entity }];
}

/** The selectors of an item's peers; an empty list picks nobody. */
export function peerSelectors(peers: Peers): readonly PeerSelector[] {
  switch (peers.kind) {
    case 'endpoints':
      return peers.selectors.map(selectorPeer);
    case 'entities':
      return peers.entities.flatMap(entityPeers);
    default:
      return [];
  }
}

/** The text by which Cilium's API names the selector, see `goSelectorText`. */
export function peerSelectorApiText(peer: PeerSelector): string {
  switch (peer.kind) {
    case 'every':
      return goSelectorText(EMPTY_SELECTOR);
    case 'labels':
      return goSelectorText(peer.selector);
    case 'entity':
      return goSelectorText(makeSelector([{ source: 'reserved', key: peer.entity, value: '' }]));
  }
}
