import { CiliateError, ExitCode } from '../base/errors.ts';

/** States of an endpoint, as the API names them. */
export const ENDPOINT_STATES = [
  'creating',
  'waiting-for-identity',
  'waiting-to-regenerate',
  'regenerating',
  'ready',
  'not-ready',
  'restoring',
  'disconnecting',
  'disconnected',
  'invalid',
] as const;
export type EndpointState = (typeof ENDPOINT_STATES)[number];

/**
 * Which state may follow which. Everything may end (`disconnecting`), and nothing comes back from there. `not-ready`
 * is an endpoint whose last regeneration failed: the policy that was realized before goes on being enforced, or nothing
 * passes where no policy could be worked out.
 */
const NEXT: Readonly<Record<EndpointState, readonly EndpointState[]>> = {
  creating: ['waiting-for-identity', 'disconnecting', 'invalid'],
  'waiting-for-identity': ['waiting-to-regenerate', 'disconnecting'],
  'waiting-to-regenerate': ['regenerating', 'waiting-for-identity', 'disconnecting'],
  regenerating: ['ready', 'not-ready', 'disconnecting'],
  ready: ['waiting-to-regenerate', 'waiting-for-identity', 'disconnecting'],
  'not-ready': ['waiting-to-regenerate', 'waiting-for-identity', 'disconnecting'],
  restoring: ['waiting-for-identity', 'waiting-to-regenerate', 'disconnecting'],
  disconnecting: ['disconnected'],
  disconnected: [],
  invalid: ['disconnecting'],
};

export function mayFollow(from: EndpointState, to: EndpointState): boolean {
  return NEXT[from].includes(to);
}

/** A state was asked for that cannot follow: a fault of ours. */
export class EndpointStateError extends CiliateError {
  constructor(id: number, from: EndpointState, to: EndpointState) {
    super(`endpoint ${id} cannot go from ${from} to ${to}`, {
      code: 'ENDPOINT_STATE',
      exitCode: ExitCode.internal,
    });
  }
}
