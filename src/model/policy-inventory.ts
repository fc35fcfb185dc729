import type { CidrGroup } from './cidr-group.ts';
import type { ServiceAddresses, ServiceObject } from './service-backends.ts';

/** A Secret of Kubernetes. */
export interface SecretObject {
  readonly namespace: string;
  readonly name: string;
  /** What its one entry holds, a byte a character; undefined when it has none, or several. Never to be shown. */
  readonly value: string | undefined;
}

/** Objects that rules name without selecting endpoints: what they stand for follows from the newest version of each. */
export interface PolicyInventory {
  /** Each name once. */
  readonly cidrGroups: readonly CidrGroup[];
  /** Each namespace and name once. */
  readonly services: readonly ServiceObject[];
  /** Each kind, namespace and name once. */
  readonly addresses: readonly ServiceAddresses[];
  /** Each namespace and name once; default none. */
  readonly secrets?: readonly SecretObject[] | undefined;
}

export const EMPTY_INVENTORY: PolicyInventory = { cidrGroups: [], services: [], addresses: [] };

function newest<T>(older: readonly T[], newer: readonly T[], keyOf: (item: T) => string): readonly T[] {
  const byKey = new Map<string, T>();
  for (const item of [...older, ...newer]) byKey.set(keyOf(item), item);
  return [...byKey.values()];
}

/** `older` with each object of `newer` put in the place of its former version. */
export function mergeInventory(older: PolicyInventory, newer: PolicyInventory): PolicyInventory {
  const secrets = newest(
    older.secrets ?? [],
    newer.secrets ?? [],
    ({ namespace, name }) => `${namespace}/${name}`,
  );
  return {
    ...(secrets.length > 0 && { secrets }),
    cidrGroups: newest(older.cidrGroups, newer.cidrGroups, ({ name }) => name),
    services: newest(older.services, newer.services, ({ namespace, name }) => `${namespace}/${name}`),
    addresses: newest(
      older.addresses,
      newer.addresses,
      ({ kind, namespace, name }) => `${kind}/${namespace}/${name}`,
    ),
  };
}
