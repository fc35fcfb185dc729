import type { Identity } from '../model/identity.ts';
import type { Label } from '../model/labels.ts';
import type { Direction } from '../model/map-state.ts';
import type { LabelSelector, SelectorKey } from '../model/selector.ts';
import type { EnforcementMode } from './resolve.ts';
import type { Entity, PortSpec, Rule, RuleItem } from './rule.ts';

/*
 * The policy, rule by rule, as its definition reads. It shares no code with the compiled form on purpose: tests hold
 * one against the other.
 *
 * For a subject and a direction, take all rules with items of that direction whose selector picks the subject.
 * 1. No such rule: allow, unless the mode or the label reserved:init enforces.
 * 2. The peer is the node itself, the direction ingress, and localhost is always allowed: allow.
 * 3. An item of one of them matches peer, protocol and port: allow.
 * 4. Otherwise: deny.
 */

export interface NaiveOptions {
  readonly mode: EnforcementMode;
  readonly allowLocalhost: 'always' | 'policy';
  readonly clusterName: string;
}

export interface NaiveQuery {
  readonly subject: Identity;
  /** Identity 0 for a peer that is not known. */
  readonly peer: Identity;
  readonly direction: Direction;
  readonly protocol: number;
  /** Destination port, host order. */
  readonly port: number;
}

function valuesOf(labels: readonly Label[], key: SelectorKey): string[] {
  const same = labels.filter((label) => label.key === key.key);
  return same
    .filter((label) => key.source === 'any' || label.source === key.source)
    .map(({ value }) => value);
}

function selects(selector: LabelSelector, labels: readonly Label[]): boolean {
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

function entityHolds(entity: Entity, peer: Identity, clusterName: string): boolean {
  if (entity === 'all') return true;
  if (entity === 'none' || peer.id === 0) return false;
  const reserved = peer.labels.filter(({ source }) => source === 'reserved').map(({ key }) => key);
  if (entity === 'world') return reserved.some((name) => name.startsWith('world'));
  if (entity !== 'cluster') return reserved.includes(entity);
  const inside = ['host', 'remote-node', 'init', 'health', 'unmanaged', 'ingress'];
  if (reserved.some((name) => inside.includes(name))) return true;
  const cluster = valuesOf(peer.labels, { source: 'k8s', key: 'io.cilium.k8s.policy.cluster' })[0];
  return peer.id > 255 && peer.id < 65536 && (cluster ?? clusterName) === clusterName;
}

function peerHolds({ peers, ports }: RuleItem, peer: Identity, clusterName: string): boolean {
  if (peers === undefined) return ports !== undefined;
  if (peers.kind === 'entities')
    return peers.entities.some((entity) => entityHolds(entity, peer, clusterName));
  if (peers.kind !== 'endpoints') return false;
  for (const selector of peers.selectors) {
    if (selector.matchLabels.length + selector.matchExpressions.length === 0) return true;
    if (peer.id !== 0 && selects(selector, peer.labels)) return true;
  }
  return false;
}

const PROTOCOL_NAMES: Readonly<Record<number, string>> = { 6: 'TCP', 17: 'UDP', 132: 'SCTP' };

function portHolds(spec: PortSpec, query: NaiveQuery): boolean {
  const name = PROTOCOL_NAMES[query.protocol];
  if (name === undefined || (spec.protocol !== 'ANY' && spec.protocol !== name)) return false;
  if (spec.port === 0) return true;
  if (typeof spec.port === 'string') return false;
  return query.port >= spec.port && query.port <= (spec.endPort ?? spec.port);
}

function itemAllows(item: RuleItem, query: NaiveQuery, clusterName: string): boolean {
  if (!peerHolds(item, query.peer, clusterName)) return false;
  if (item.ports === undefined) return true;
  return item.ports.some((rule) => rule.ports.some((spec) => portHolds(spec, query)));
}

/** Whether a new flow is allowed, read off the rules one by one. */
export function evaluateNaive(rules: readonly Rule[], options: NaiveOptions, query: NaiveQuery): boolean {
  if (options.mode === 'never') return true;
  const { subject, peer, direction } = query;
  const items: RuleItem[] = [];
  for (const rule of rules) {
    if (selects(rule.subject, subject.labels)) items.push(...(rule[direction] ?? []));
  }
  const init = subject.labels.some(({ source, key }) => source === 'reserved' && key === 'init');
  if (items.length === 0 && options.mode === 'default' && !init) return true;
  const fromHost = peer.labels.some(({ source, key }) => source === 'reserved' && key === 'host');
  if (direction === 'ingress' && fromHost && options.allowLocalhost === 'always') return true;
  return items.some((item) => itemAllows(item, query, options.clusterName));
}
