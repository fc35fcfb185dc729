/** How the node's health probing fares, for `status`. */
export interface HealthStatus {
  readonly state: 'Ok' | 'Warning' | 'Failure' | 'Disabled';
  readonly message: string;
}

/** The health endpoint and the health process of a node, seen by the rest of the agent. */
export interface HealthPart {
  /** Makes or adopts both. What fails is tried again by a controller. */
  start(): Promise<void>;
  /** Lets both go on without this agent. */
  stop(): Promise<void>;
  status(): HealthStatus;
  /** Addresses of the health endpoint, once it has some. */
  addresses(): { readonly ipv4: string | undefined; readonly ipv6: string | undefined };
}

export const noHealth: HealthPart = {
  start: async () => undefined,
  stop: async () => undefined,
  status: () => ({ state: 'Disabled', message: 'health probing is off' }),
  addresses: () => ({ ipv4: undefined, ipv6: undefined }),
};
