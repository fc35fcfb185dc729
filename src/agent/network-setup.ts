import type { ClusterNode } from '../model/node.ts';
import type { EndpointSpec } from './endpoint.ts';

/** What the agent asks of the kernel's routing; `none` where there is no datapath to route for. */
export interface NetworkSetup {
  /** Sysctls and routes of the node itself; may be called again. */
  prepareNode(): Promise<void>;
  /** Host routes and permanent neighbours of an endpoint's addresses; may be called again. */
  addEndpoint(spec: EndpointSpec): Promise<void>;
  /** Their removal; fine when they, or the interface, are gone. */
  removeEndpoint(spec: EndpointSpec): Promise<void>;
  /** Makes the routes to other nodes' ranges exactly those of `nodes`. */
  syncNodes(nodes: readonly ClusterNode[]): Promise<void>;
  /** Index of an interface of this namespace; undefined when there is none of that name. */
  interfaceIndex(name: string): Promise<number | undefined>;
  /** The kernel's word for what an interface is, `veth`; empty for a physical one, undefined when there is none. */
  interfaceKind(name: string): Promise<string | undefined>;
  /** Removes every route that this agent ever made. */
  removeAll(): Promise<void>;
}

/** Changes nothing: for `--datapath none`. Every interface is taken to exist as it was told. */
export const noNetworkSetup: NetworkSetup = {
  prepareNode: async () => undefined,
  addEndpoint: async () => undefined,
  removeEndpoint: async () => undefined,
  syncNodes: async () => undefined,
  interfaceIndex: async () => undefined,
  interfaceKind: async () => undefined,
  removeAll: async () => undefined,
};
