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

/** The endpoint was locked while its policy was written: that may lack what it was locked for. */
export class EndpointLockedError extends SystemError {
  constructor(endpointId: number) {
    super(`endpoint ${endpointId} was closed while its policy was written`, { code: 'ENDPOINT_LOCKED' });
  }
}

export class UnknownEndpointError extends SystemError {
  constructor(endpointId: number) {
    super(`endpoint ${endpointId} is not in the datapath`, {
      code: 'DATAPATH_NO_ENDPOINT',
      hint: '`ciliate bpf endpoint list` shows those that are',
    });
  }
}

/** What an agent of another version pinned cannot be taken over. Its programs are left as they are. */
export class PinnedByOtherVersionError extends SystemError {
  constructor(mapsFolder: string, cause: unknown) {
    super(
      `the datapath pinned in ${mapsFolder} is of another version and cannot be taken over; it goes on enforcing as it is`,
      {
        code: 'DATAPATH_OTHER_VERSION',
        hint: 'start the version that made it, or give it up: `ciliate cleanup`, after which no policy is enforced until the agent has started again',
        cause,
      },
    );
  }
}
