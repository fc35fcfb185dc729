import type { AgentOperations, EndpointRef, FqdnCacheFilter } from '../../api/operations.ts';
import type * as Api from '../../api/schema.ts';
import { fqdnCacheView, fqdnNamesView } from '../../policy/fqdn-view.ts';
import { notFound, type OperationsDeps } from './deps.ts';

type FqdnOperations = Pick<
  AgentOperations,
  'listFqdnCache' | 'listEndpointFqdnCache' | 'deleteFqdnCache' | 'getFqdnNames'
>;

function fqdnLookups(
  deps: OperationsDeps,
  filter: FqdnCacheFilter,
  endpoint: number | undefined,
): readonly Api.DNSLookup[] {
  const { pattern: matchPattern, cidr, source } = filter;
  const found = fqdnCacheView(deps.fqdn.lookups(), { matchPattern, cidr, source, endpoint });
  if (found.length === 0 && endpoint === undefined) throw notFound('no name that was looked up matches');
  return found.map((lookup) => ({ ...lookup, ips: [...lookup.ips] }));
}

/** Names: `/fqdn`. */
export function fqdnOperations(deps: OperationsDeps): FqdnOperations {
  return {
    async listFqdnCache(filter: FqdnCacheFilter): Promise<readonly Api.DNSLookup[]> {
      return fqdnLookups(deps, filter, undefined);
    },

    async listEndpointFqdnCache(
      ref: EndpointRef,
      filter: FqdnCacheFilter,
    ): Promise<readonly Api.DNSLookup[]> {
      return fqdnLookups(deps, filter, deps.manager.get(ref).id);
    },

    async deleteFqdnCache(pattern: string | undefined): Promise<void> {
      await deps.fqdn.clean(pattern);
    },

    async getFqdnNames(): Promise<Api.NameManager> {
      const { FQDNPolicySelectors } = fqdnNamesView(
        deps.policy.fqdnSelectors().map(({ pattern }) => pattern),
      );
      return { DNSPollNames: [], FQDNPolicySelectors: [...FQDNPolicySelectors] };
    },
  };
}
