import { agentAddress, healthAddress } from './address.ts';
import { AgentClient } from './client.ts';
import { HealthClient } from './health-client.ts';
import type { DecodedMapEntry, Source } from './source.ts';

/** Reads pinned maps: given by the caller, since maps are the datapath's. */
export interface MapReader {
  /** Names of the node's pinned maps. */
  names(): Promise<readonly string[]>;
  /** Entries of one map, decoded. */
  entries(name: string): AsyncIterable<DecodedMapEntry>;
}

export interface LiveSourceOptions {
  readonly agent: AgentClient;
  readonly health: HealthClient;
  readonly maps: MapReader;
}

export interface LiveClientOptions {
  /** The flag -H/--host. */
  readonly host?: string | undefined;
  /** The health agent's flag; default: by environment. */
  readonly healthHost?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stateDir?: string | undefined;
  readonly timeoutMs?: number | undefined;
}

/** Clients of the agent and the health agent that flags and environment name. */
export function liveClients(options: LiveClientOptions): {
  readonly agent: AgentClient;
  readonly health: HealthClient;
} {
  const { host, healthHost, env, stateDir, timeoutMs } = options;
  return {
    agent: new AgentClient({ address: agentAddress({ host, env, stateDir }), timeoutMs }),
    health: new HealthClient({ address: healthAddress({ host: healthHost, env, stateDir }), timeoutMs }),
  };
}

/** A live agent, its health agent and its maps as a `Source`. */
export function createLiveSource(options: LiveSourceOptions): Source {
  const { agent, health, maps } = options;
  return {
    name: agent.name,
    healthz: (choice) => agent.healthz(choice),
    config: () => agent.config(),
    endpoints: (labels) => agent.endpoints(labels),
    endpoint: (id) => agent.endpoint(id),
    endpointConfig: (id) => agent.endpointConfig(id),
    endpointLabels: (id) => agent.endpointLabels(id),
    endpointLog: (id) => agent.endpointLog(id),
    endpointHealth: (id) => agent.endpointHealth(id),
    identities: (labels) => agent.identities(labels),
    identity: (id) => agent.identity(id),
    policy: (labels) => agent.policy(labels),
    ips: () => agent.ips(),
    services: () => agent.services(),
    service: (id) => agent.service(id),
    nodes: () => agent.nodes(),
    maps: () => agent.maps(),
    map: (name) => agent.map(name),
    healthStatus: () => health.status(),
    metrics: (of) => (of === 'agent' ? agent.metrics() : health.metrics()),
    bpfEntries: (name) => maps.entries(name),
    bpfMaps: () => maps.names(),
  };
}
