import { SystemError } from '../base/errors.ts';

/** An endpoint's policy could not be written whole: the endpoint is locked and drops everything until it is. */
export class PolicyWriteError extends SystemError {
  constructor(endpointId: number, cause: unknown) {
    super(`cannot write the policy of endpoint ${endpointId}: it is locked and drops everything`, {
      code: 'POLICY_WRITE',
      hint: 'select fewer identities or ports for this endpoint, or free memory; the agent tries again',
      cause,
    });
  }
}

export class UnknownEndpointError extends SystemError {
  constructor(endpointId: number) {
    super(`endpoint ${endpointId} is not in the datapath`, { code: 'DATAPATH_NO_ENDPOINT' });
  }
}
