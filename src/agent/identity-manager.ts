import {
  type Identity,
  RESERVED_IDENTITIES,
  ReservedIdentity,
  reservedIdentityOfLabels,
} from '../model/identity.ts';
import type { LabelFilter } from '../model/label-filter.ts';
import type { Label } from '../model/labels.ts';
import type { Store } from '../store/types.ts';

function reserved(id: number): Identity {
  const found = RESERVED_IDENTITIES.find((identity) => identity.id === id);
  if (found === undefined) throw new Error(`no reserved identity ${id}`);
  return found;
}

/** Identity of an endpoint without labels: locked down until it has some. */
export const INIT_IDENTITY = reserved(ReservedIdentity.init);

/**
 * The identity of an endpoint's labels: a reserved one by its number, `init` when no label counts, else the cluster's
 * number of that label set.
 * @throws StoreUnavailableError, IdentityRangeFullError
 */
export async function identityOfLabels(
  labels: readonly Label[],
  { filter, store }: { readonly filter: LabelFilter; readonly store: Store },
): Promise<Identity> {
  const { identity: relevant } = filter.split(labels);
  if (relevant.length === 0) return INIT_IDENTITY;
  return reservedIdentityOfLabels(relevant) ?? (await store.allocateIdentity(relevant));
}

/** The identity with this number, reserved ones included; undefined when the cluster has none. */
export async function identityById(id: number, store: Store): Promise<Identity | undefined> {
  return RESERVED_IDENTITIES.find((identity) => identity.id === id) ?? (await store.getIdentity(id));
}
