import type { AgentOperations } from '../../api/operations.ts';
import type * as Api from '../../api/schema.ts';
import type { Identity } from '../../model/identity.ts';
import { isLocalIdentity, isNodeIdentity, RESERVED_IDENTITIES } from '../../model/identity.ts';
import { formatLabels, hasLabels, labelsSha256, parseLabels } from '../../model/labels.ts';
import { identityById } from '../identity-manager.ts';
import { notFound, type OperationsDeps } from './deps.ts';

type IdentityOperations = Pick<AgentOperations, 'listIdentities' | 'getIdentity' | 'listIdentityEndpoints'>;

function identityView(identity: Identity): Api.Identity {
  return {
    id: identity.id,
    labels: formatLabels(identity.labels),
    labelsSHA256: labelsSha256(identity.labels),
  };
}

/** Also those that only this node has: of prefixes, names and nodes. */
export async function findIdentity(deps: OperationsDeps, id: number): Promise<Identity | undefined> {
  if (!isLocalIdentity(id) && !isNodeIdentity(id)) return identityById(id, deps.store);
  return deps.policy.localIdentities().find((identity) => identity.id === id);
}

/** Identities: `/identity`. */
export function identityOperations(deps: OperationsDeps): IdentityOperations {
  return {
    async listIdentities(labels: readonly string[]): Promise<readonly Api.Identity[]> {
      const wanted = parseLabels(labels, 'any');
      const reserved = RESERVED_IDENTITIES.filter(({ id }) => id !== 0);
      const all = [...reserved, ...(await deps.store.listIdentities()), ...deps.policy.localIdentities()];
      const found = all.filter((identity) => hasLabels(identity.labels, wanted));
      if (labels.length > 0 && found.length === 0)
        throw notFound(`no identity has the labels ${labels.join(', ')}`);
      return found.map(identityView);
    },

    async getIdentity(id: number): Promise<Api.Identity> {
      const identity = await findIdentity(deps, id);
      if (identity === undefined) throw notFound(`no identity ${id}`);
      return identityView(identity);
    },

    async listIdentityEndpoints(): Promise<readonly Api.IdentityEndpoints[]> {
      const counts = new Map<number, { identity: Identity; refCount: number }>();
      for (const { identity } of deps.manager.list()) {
        if (identity === undefined) continue;
        counts.set(identity.id, { identity, refCount: (counts.get(identity.id)?.refCount ?? 0) + 1 });
      }
      return [...counts.values()].map(({ identity, refCount }) => ({
        identity: identityView(identity),
        refCount,
      }));
    },
  };
}
