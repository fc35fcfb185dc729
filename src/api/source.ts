import type * as Api from './schema.ts';

/** One entry of a BPF map, decoded for reading: what `bpf ... list` and `map get` print. */
export interface DecodedMapEntry {
  readonly key: Readonly<Record<string, unknown>>;
  readonly value: Readonly<Record<string, unknown>>;
}

/**
 * Where a read command gets its data: a live agent and live maps, or an archive. Every method rejects with a
 * `SourceError` (SOURCE_UNREACHABLE, NOT_FOUND, ...) and never answers half.
 */
export interface Source {
  /** `unix:///var/run/ciliate/ciliate.sock`, or the archive's name: for messages. */
  readonly name: string;
  healthz(options?: { readonly brief?: boolean }): Promise<Api.StatusResponse>;
  config(): Promise<Api.DaemonConfiguration>;
  endpoints(labels?: readonly string[]): Promise<readonly Api.Endpoint[]>;
  endpoint(id: string): Promise<Api.Endpoint>;
  endpointConfig(id: string): Promise<Api.EndpointConfigurationStatus>;
  endpointLabels(id: string): Promise<Api.LabelConfiguration>;
  endpointLog(id: string): Promise<readonly Api.EndpointStatusChange[]>;
  endpointHealth(id: string): Promise<Api.EndpointHealth>;
  identities(labels?: readonly string[]): Promise<readonly Api.Identity[]>;
  identity(id: number | string): Promise<Api.Identity>;
  policy(labels?: readonly string[]): Promise<Api.Policy>;
  ips(): Promise<readonly Api.IPListEntry[]>;
  services(): Promise<readonly Api.Service[]>;
  service(id: number): Promise<Api.Service>;
  nodes(): Promise<readonly Api.NodeElement[]>;
  maps(): Promise<Api.BPFMapList>;
  map(name: string): Promise<Api.BPFMap>;
  healthStatus(): Promise<Api.HealthStatusResponse>;
  metrics(of: 'agent' | 'health'): Promise<string>;
  /** Entries of a pinned map, decoded by our codec or by BTF; `name` as under the node's `maps/` folder. */
  bpfEntries(name: string): AsyncIterable<DecodedMapEntry>;
  /** Names of the pinned maps. */
  bpfMaps(): Promise<readonly string[]>;
}
