import { type L7Policy, NO_PROXY_PORTS, type ProxyPorts } from '../model/l7.ts';
import type { ProxyEndpoint } from '../model/proxy-protocol.ts';

/** How the node's proxy fares, for `status`. `off`: no rule has needed it yet. */
export interface ProxyState {
  readonly state: 'Ok' | 'Warning' | 'Failure' | 'Off';
  /** Empty when there is nothing to say. */
  readonly message: string;
}

/** The L7 proxy of a node, seen by the rest of the agent. */
export interface ProxyPart {
  /** Finds the process of an earlier agent, if there is one. */
  start(): Promise<void>;
  /** Lets the process go on without this agent. */
  stop(): Promise<void>;
  /** Where redirected flows go; all 0 before the first `need`. */
  readonly ports: ProxyPorts;
  /** Rules need the proxy from now on: its sockets are bound when this settles. @throws what starting it threw */
  need(): Promise<void>;
  /**
   * Makes this the policy of the proxy.
   * @returns whether it was in force there within the time
   */
  apply(policy: L7Policy, endpoints: readonly ProxyEndpoint[], timeoutMs: number): Promise<boolean>;
  /** Lets the answer of a DNS observation go on to the client. */
  dnsApplied(id: number): void;
  status(): ProxyState;
}

/** Without a datapath nothing is redirected. */
export const noProxy: ProxyPart = {
  start: async () => undefined,
  stop: async () => undefined,
  ports: NO_PROXY_PORTS,
  need: async () => undefined,
  apply: async () => true,
  dnsApplied: () => undefined,
  status: () => ({ state: 'Off', message: '' }),
};
