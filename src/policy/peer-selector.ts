import { createHash } from 'node:crypto';
import { type Cidr, formatCidr, parseCidr } from '../base/ip.ts';
import { dnsPatternText } from '../model/dns-pattern.ts';
import { type Identity, isAllocatedIdentity, isLocalIdentity, ReservedIdentity } from '../model/identity.ts';
import type { DnsPattern } from '../model/l7.ts';
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
import { distinctPrefixes, PrefixSet } from './prefix-set.ts';
import type { CidrSpec, Entity, Peers, ServiceSpec } from './rule.ts';
import type { RuleContext } from './rule-context.ts';

/** What picks peers. `every` also covers peers that no identity is known of. `text` is the same exactly for equal selectors. */
export type PeerSelector =
  | { readonly kind: 'every'; readonly text: '' }
  | { readonly kind: 'labels'; readonly text: string; readonly selector: LabelSelector }
  | { readonly kind: 'entity'; readonly text: string; readonly entity: Exclude<Entity, 'all' | 'none'> }
  | {
      readonly kind: 'cidr';
      readonly text: string;
      readonly prefixes: readonly Cidr[];
      readonly except: readonly Cidr[];
      readonly inside: PrefixSet;
      readonly outside: PrefixSet;
    }
  /** Addresses of names. `name` is the text of the name or pattern, as in the label of source `fqdn`. */
  | { readonly kind: 'fqdn'; readonly text: string; readonly name: string; readonly pattern: DnsPattern }
  /** Nodes by their labels. */
  | { readonly kind: 'nodes'; readonly text: string; readonly selector: LabelSelector };

export const EVERY_PEER: PeerSelector = { kind: 'every', text: '' };

/** An identity with what its labels say about addresses, read once. */
export interface KnownIdentity extends Identity {
  /** What of the outside it stands for; undefined for whatever has an identity by its own labels. */
  readonly prefix: Cidr | undefined;
}

const WHOLE = { 4: parseCidr('0.0.0.0/0'), 6: parseCidr('::/0') };

/** The prefix of a local identity or of the whole outside. A workload's own label of source `cidr` says nothing. */
function prefixOf({ id, labels }: Identity): Cidr | undefined {
  const isWhole = id === ReservedIdentity.worldIpv4 || id === ReservedIdentity.worldIpv6;
  if (!isWhole && !isLocalIdentity(id)) return undefined;
  const named = labels.find(({ source }) => source === 'cidr');
  if (named !== undefined) return parseCidr(named.key);
  return hasReserved(labels, ['world-ipv6']) ? WHOLE[6] : WHOLE[4];
}

const WORLD: Label = { source: 'reserved', key: 'world', value: '' };

/**
 * What lies outside is the world to selectors of labels, whether a rule gave its prefix an identity or not.
 * @throws UsageError CIDR_INVALID for a local identity whose label is no prefix
 */
export function knownIdentity(identity: Identity): KnownIdentity {
  const prefix = prefixOf(identity);
  const labels = prefix === undefined ? identity.labels : [...identity.labels, WORLD];
  return { id: identity.id, labels, prefix };
}

/** The reserved labels by which an entity is known; `cluster` also takes the identities of its workloads. */
const ENTITY_LABELS: Record<Exclude<Entity, 'all' | 'none'>, readonly string[]> = {
  world: ['world', 'world-ipv4', 'world-ipv6'],
  'world-ipv4': ['world-ipv4'],
  'world-ipv6': ['world-ipv6'],
  cluster: ['host', 'remote-node', 'kube-apiserver', 'init', 'health', 'unmanaged', 'ingress'],
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

/** This node is the host, and no node to `fromNodes` and `toNodes`, as in Cilium. */
function isNode({ labels }: Identity): boolean {
  return hasReserved(labels, ['remote-node']);
}

/** Whether the selector picks a known identity. */
export function matchesPeer(peer: PeerSelector, identity: KnownIdentity, clusterName: string): boolean {
  const { id, labels, prefix } = identity;
  switch (peer.kind) {
    case 'every':
      return true;
    case 'labels':
      return matchesSelector(peer.selector, labels);
    case 'entity':
      return (
        hasReserved(labels, ENTITY_LABELS[peer.entity]) ||
        (peer.entity === 'cluster' && isLocalWorkload(identity, clusterName))
      );
    case 'cidr':
      return prefix !== undefined && peer.inside.covers(prefix) && !peer.outside.covers(prefix);
    case 'fqdn':
      return isLocalIdentity(id) && labels.some(({ source, key }) => source === 'fqdn' && key === peer.name);
    case 'nodes':
      return isNode(identity) && matchesSelector(peer.selector, labels);
  }
}

/** What of `world-ipv4` and `world-ipv6` a selector may tell apart. */
function familiesNamed(peer: PeerSelector): readonly string[] {
  if (peer.kind === 'entity') return [peer.entity];
  if (peer.kind !== 'labels') return [];
  return [...peer.selector.matchLabels, ...peer.selector.matchExpressions].map(({ key }) => key);
}

/** The prefixes that must have identities of their own for the selector to pick whole ones. */
export function prefixesInUse(peer: PeerSelector): readonly Cidr[] {
  if (peer.kind === 'cidr') return [...peer.prefixes, ...peer.except];
  const named = familiesNamed(peer);
  return [
    ...(named.includes('world-ipv4') ? [WHOLE[4]] : []),
    ...(named.includes('world-ipv6') ? [WHOLE[6]] : []),
  ];
}

export function labelsPeer(selector: LabelSelector): PeerSelector {
  if (isEmptySelector(selector)) return EVERY_PEER;
  return { kind: 'labels', text: selectorText(selector), selector };
}

function entityPeers(entity: Entity): PeerSelector[] {
  if (entity === 'none') return [];
  if (entity === 'all') return [EVERY_PEER];
  return [{ kind: 'entity', text: `entity ${entity}`, entity }];
}

/** Lists of prefixes as text: whole as long as that is short, else by their digest. */
function prefixesText(prefixes: readonly Cidr[]): string {
  const text = prefixes.map(formatCidr).join(',');
  if (prefixes.length <= 16) return text;
  return `${prefixes.length} prefixes ${createHash('sha256').update(text).digest('hex')}`;
}

function cidrPeer(prefixes: readonly Cidr[], except: readonly Cidr[]): PeerSelector {
  const within = distinctPrefixes(prefixes);
  const without = distinctPrefixes(except);
  const but = without.length === 0 ? '' : ` except ${prefixesText(without)}`;
  return {
    kind: 'cidr',
    text: `cidr ${prefixesText(within)}${but}`,
    prefixes: within,
    except: without,
    inside: new PrefixSet(within),
    outside: new PrefixSet(without),
  };
}

function cidrSetPeer(spec: CidrSpec, context: RuleContext): PeerSelector {
  const prefixes = spec.kind === 'cidr' ? [spec.cidr] : context.groupPrefixes(spec);
  return cidrPeer(prefixes, spec.except);
}

function servicePeers(spec: ServiceSpec, context: RuleContext): PeerSelector[] {
  return context
    .servicePeers(spec)
    .map((peers) => (peers.kind === 'pods' ? labelsPeer(peers.selector) : cidrPeer(peers.prefixes, [])));
}

function fqdnPeer(pattern: DnsPattern): PeerSelector {
  const name = dnsPatternText(pattern);
  return { kind: 'fqdn', text: `fqdn ${name}`, name, pattern };
}

/** The selectors of an item's peers; an empty list picks nobody. */
export function peerSelectors(peers: Peers, context: RuleContext): readonly PeerSelector[] {
  switch (peers.kind) {
    case 'endpoints':
      return peers.selectors.map(labelsPeer);
    case 'entities':
      return peers.entities.flatMap(entityPeers);
    case 'cidrs':
      return peers.cidrs.map((cidr) => cidrPeer([cidr], []));
    case 'cidr-sets':
      return peers.sets.map((spec) => cidrSetPeer(spec, context));
    case 'services':
      return peers.services.flatMap((spec) => servicePeers(spec, context));
    case 'fqdns':
      return peers.names.map(fqdnPeer);
    case 'nodes':
      return peers.selectors.map((selector) => ({
        kind: 'nodes',
        text: `nodes ${selectorText(selector)}`,
        selector,
      }));
  }
}

function cidrApiText({ prefixes, except }: PeerSelector & { kind: 'cidr' }): string {
  const label = (cidr: Cidr) => ({ source: 'cidr', key: formatCidr(cidr), value: '' });
  const excluded = except.map((cidr) => ({
    source: 'cidr',
    key: formatCidr(cidr),
    operator: 'DoesNotExist' as const,
    values: [],
  }));
  return goSelectorText(makeSelector(prefixes.map(label), excluded));
}

/** The text by which Cilium's API names the selector, see `goSelectorText`. */
export function peerSelectorApiText(peer: PeerSelector): string {
  switch (peer.kind) {
    case 'every':
      return goSelectorText(EMPTY_SELECTOR);
    case 'labels':
    case 'nodes':
      return goSelectorText(peer.selector);
    case 'entity':
      return goSelectorText(makeSelector([{ source: 'reserved', key: peer.entity, value: '' }]));
    case 'cidr':
      return cidrApiText(peer);
    case 'fqdn':
      return peer.pattern.kind === 'pattern'
        ? `MatchName: , MatchPattern: ${peer.name}`
        : `MatchName: ${peer.name}, MatchPattern: `;
  }
}
