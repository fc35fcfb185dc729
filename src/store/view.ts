import type { Identity, NumericIdentity } from '../model/identity.ts';
import { labelSetText } from '../model/labels.ts';
import type { ClusterNode } from '../model/node.ts';
import type { IpIdentity, StoreChange } from './types.ts';

/** Key of an address in a view: a node owns what it publishes, so two nodes may hold the same prefix for a moment. */
export function ipKey(cidr: string, node: string): string {
  return `${cidr} ${node}`;
}

/** The last known content of a backend: what reads answer from while it is away. */
export interface StoreView {
  readonly nodes: Map<string, ClusterNode>;
  readonly identities: Map<NumericIdentity, Identity>;
  readonly ips: Map<string, IpIdentity>;
  /** The same identities by `labelSetText`. */
  readonly identityByLabels: Map<string, Identity>;
}

export function emptyView(): StoreView {
  return { nodes: new Map(), identities: new Map(), ips: new Map(), identityByLabels: new Map() };
}

/** Every object of a view as upserts, in the order node, identity, address. */
export function viewAsChanges(view: StoreView): StoreChange[] {
  return [
    ...[...view.nodes.values()].map((node): StoreChange => ({ kind: 'node-upsert', node })),
    ...[...view.identities.values()].map((identity): StoreChange => ({ kind: 'identity-upsert', identity })),
    ...[...view.ips.values()].map((ip): StoreChange => ({ kind: 'ip-upsert', ip })),
  ];
}

export function putIdentity(view: StoreView, identity: Identity): void {
  view.identities.set(identity.id, identity);
  view.identityByLabels.set(labelSetText(identity.labels), identity);
}

function removeIdentity(view: StoreView, id: NumericIdentity): void {
  const identity = view.identities.get(id);
  if (identity === undefined) return;
  view.identities.delete(id);
  const key = labelSetText(identity.labels);
  if (view.identityByLabels.get(key)?.id === id) view.identityByLabels.delete(key);
}

export function applyChange(view: StoreView, change: StoreChange): void {
  switch (change.kind) {
    case 'node-upsert':
      view.nodes.set(change.node.name, change.node);
      return;
    case 'node-delete':
      view.nodes.delete(change.name);
      return;
    case 'identity-upsert':
      putIdentity(view, change.identity);
      return;
    case 'identity-delete':
      removeIdentity(view, change.id);
      return;
    case 'ip-upsert':
      view.ips.set(ipKey(change.ip.cidr, change.ip.node), change.ip);
      return;
    case 'ip-delete':
      view.ips.delete(ipKey(change.cidr, change.node));
  }
}

function changed<K, V>(before: ReadonlyMap<K, V>, after: ReadonlyMap<K, V>): V[] {
  return [...after].filter(([key, value]) => !same(before.get(key), value)).map(([, value]) => value);
}

function gone<K, V>(before: ReadonlyMap<K, V>, after: ReadonlyMap<K, V>): V[] {
  return [...before].filter(([key]) => !after.has(key)).map(([, value]) => value);
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** The changes that lead from one view to another: what a watcher is told after its place in the log was lost. */
export function diffViews(before: StoreView, after: StoreView): StoreChange[] {
  return [
    ...changed(before.nodes, after.nodes).map((node): StoreChange => ({ kind: 'node-upsert', node })),
    ...gone(before.nodes, after.nodes).map(({ name }): StoreChange => ({ kind: 'node-delete', name })),
    ...gone(before.identities, after.identities).map(
      ({ id }): StoreChange => ({ kind: 'identity-delete', id }),
    ),
    ...changed(before.identities, after.identities).map(
      (identity): StoreChange => ({ kind: 'identity-upsert', identity }),
    ),
    ...gone(before.ips, after.ips).map(({ cidr, node }): StoreChange => ({ kind: 'ip-delete', cidr, node })),
    ...changed(before.ips, after.ips).map((ip): StoreChange => ({ kind: 'ip-upsert', ip })),
    ...gone(before.identities, after.identities).map(
      ({ id }): StoreChange => ({ kind: 'identity-delete', id }),
    ),
  ];
}
