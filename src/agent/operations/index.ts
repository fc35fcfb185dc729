import type { AgentOperations } from '../../api/operations.ts';
import { addressOperations } from './address-operations.ts';
import type { OperationsDeps } from './deps.ts';
import { endpointOperations } from './endpoint-operations.ts';
import { fqdnOperations } from './fqdn-operations.ts';
import { identityOperations } from './identity-operations.ts';
import { nodeOperations } from './node-operations.ts';
import { policyOperations } from './policy-operations.ts';
import { serviceOperations } from './service-operations.ts';

/** What the agent does for its REST API. */
export function createOperations(deps: OperationsDeps): AgentOperations {
  return {
    ...nodeOperations(deps),
    ...endpointOperations(deps),
    ...identityOperations(deps),
    ...policyOperations(deps),
    ...fqdnOperations(deps),
    ...addressOperations(deps),
    ...serviceOperations(deps),
  };
}
