/** TCP ports at which a health endpoint answers, host order. */
export interface HealthEndpointPorts {
  /** As nodes do; what policies say of it is the user's. */
  readonly hello: number;
  /** What the generated policy of health endpoints always allows, for other health endpoints and nodes. */
  readonly allowed: number;
  /** What it always denies, for everybody: the canary. */
  readonly denied: number;
}

/** Greatest port of nodes' responders: two follow it. */
export const HEALTH_PORT_MAX = 65_533;

export function healthEndpointPorts(port: number): HealthEndpointPorts {
  return { hello: port, allowed: port + 1, denied: port + 2 };
}
