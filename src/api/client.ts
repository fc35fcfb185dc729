import type { ApiAddress } from './address.ts';
import type { AnswerShape } from './answer-shape.ts';
import { checkedCall } from './checked-call.ts';
import type * as Api from './schema.ts';
import { SourceError } from './source-error.ts';
import { type ApiCall, Transport } from './transport.ts';

export interface ClientOptions {
  readonly address: ApiAddress;
  /** For each call; default 90 s. */
  readonly timeoutMs?: number | undefined;
  /** Longest answer that is taken; default 256 MiB. */
  readonly maxAnswerBytes?: number | undefined;
}

/** The agent's REST API, read and write, of our agent or of a Cilium agent. Every method rejects with `SourceError`. */
export class AgentClient {
  readonly name: string;
  readonly #transport: Transport;

  constructor(options: ClientOptions) {
    this.#transport = new Transport({
      ...options,
      basePath: '/v1',
      peer: 'agent',
      hint: 'is the agent running? start it with `ciliate agent`, or name its socket with -H unix:///path or CILIATE_SOCK',
    });
    this.name = this.#transport.name;
  }

  healthz(
    options: { readonly brief?: boolean; readonly timeoutMs?: number } = {},
  ): Promise<Api.StatusResponse> {
    const headers = { brief: String(options.brief === true) };
    return this.#call({ method: 'GET', path: '/healthz', headers, timeoutMs: options.timeoutMs });
  }

  config(): Promise<Api.DaemonConfiguration> {
    return this.#get('/config');
  }

  /** A Cilium agent wants `Enabled`, `Disabled` or the raw value, and the whole realized option map with the change. */
  patchConfig(spec: Api.DaemonConfigurationSpec): Promise<void> {
    return this.#call({ method: 'PATCH', path: '/config', body: spec }, 'anything');
  }

  /** Endpoints that carry all the labels; none match: []. */
  endpoints(labels: readonly string[] = []): Promise<readonly Api.Endpoint[]> {
    return this.#filtered('/endpoint', labels);
  }

  endpoint(id: string): Promise<Api.Endpoint> {
    return this.#get(endpointPath(id));
  }

  /** 2018 agents answer nothing. */
  putEndpoint(id: string, request: Api.EndpointChangeRequest): Promise<Api.Endpoint | undefined> {
    return this.#call({ method: 'PUT', path: endpointPath(id), body: request }, 'object or nothing');
  }

  patchEndpoint(id: string, request: Api.EndpointChangeRequest): Promise<Api.Endpoint | undefined> {
    return this.#call({ method: 'PATCH', path: endpointPath(id), body: request }, 'object or nothing');
  }

  /** @returns the number of errors met while it was taken down (it is gone all the same). */
  deleteEndpoint(id: string): Promise<number> {
    return this.#count({ method: 'DELETE', path: endpointPath(id) });
  }

  /** Deletes all endpoints of a container. @returns the number of errors. */
  deleteEndpoints(request: Api.EndpointBatchDeleteRequest): Promise<number> {
    return this.#count({ method: 'DELETE', path: '/endpoint', body: request });
  }

  endpointConfig(id: string): Promise<Api.EndpointConfigurationStatus> {
    return this.#get(`${endpointPath(id)}/config`);
  }

  /** A Cilium agent wants values `0` and `1`, and the whole realized option map with the change. */
  patchEndpointConfig(id: string, spec: Api.EndpointConfigurationSpec): Promise<void> {
    return this.#call({ method: 'PATCH', path: `${endpointPath(id)}/config`, body: spec }, 'anything');
  }

  endpointLabels(id: string): Promise<Api.LabelConfiguration> {
    return this.#get(`${endpointPath(id)}/labels`);
  }

  patchEndpointLabels(id: string, spec: Api.LabelConfigurationSpec): Promise<void> {
    return this.#call({ method: 'PATCH', path: `${endpointPath(id)}/labels`, body: spec }, 'anything');
  }

  endpointLog(id: string): Promise<readonly Api.EndpointStatusChange[]> {
    return this.#list(`${endpointPath(id)}/log`);
  }

  endpointHealth(id: string): Promise<Api.EndpointHealth> {
    return this.#get(`${endpointPath(id)}/healthz`);
  }

  /** Identities that carry all the labels; none match: []. */
  identities(labels: readonly string[] = []): Promise<readonly Api.Identity[]> {
    return this.#filtered('/identity', labels);
  }

  identity(id: number | string): Promise<Api.Identity> {
    return this.#get(`/identity/${encodeURIComponent(String(id))}`);
  }

  identityEndpoints(): Promise<readonly Api.IdentityEndpoints[]> {
    return this.#list('/identity/endpoints');
  }

  policy(labels: readonly string[] = []): Promise<Api.Policy> {
    return this.#call({ method: 'GET', path: '/policy', ...filterBody(labels) });
  }

  /** `text` is the rules' JSON. 2018 agents and ours. */
  putPolicy(text: string): Promise<Api.Policy> {
    return this.#call({ method: 'PUT', path: '/policy', body: text });
  }

  /** Deletes the rules that carry all the labels; none given: all rules. 2018 agents and ours. */
  deletePolicy(labels: readonly string[]): Promise<Api.Policy> {
    return this.#call({ method: 'DELETE', path: '/policy', body: labels });
  }

  /** The groups and services that rules may name. */
  policyObjects(): Promise<Api.PolicyObjects> {
    return this.#get('/policy/objects');
  }

  /** Removes rules by their objects, and groups and services. @param refs `Service/default/web` */
  deletePolicyObjects(refs: readonly string[]): Promise<Api.Policy> {
    return this.#call({ method: 'DELETE', path: '/policy/objects', body: refs });
  }

  policySelectors(): Promise<readonly Api.SelectorIdentityMapping[]> {
    return this.#list('/policy/selectors');
  }

  policySubjectSelectors(): Promise<readonly Api.SelectorIdentityMapping[]> {
    return this.#list('/policy/subject-selectors');
  }

  /** Rules with their numbers and counters. Our agent only. */
  policyRules(): Promise<readonly Api.PolicyRuleStatus[]> {
    return this.#list('/policy/rules');
  }

  /** Flows that were judged of late. Our agent only. */
  policyFlows(): Promise<Api.PolicyFlows> {
    return this.#get('/policy/flows');
  }

  /** Addresses of names, of one endpoint or all; none match: []. @throws NOT_FOUND: no such endpoint */
  fqdnCache(
    filter: {
      readonly endpoint?: string | undefined;
      readonly pattern?: string | undefined;
      readonly cidr?: string | undefined;
      readonly source?: string | undefined;
    } = {},
  ): Promise<readonly Api.DNSLookup[]> {
    const { endpoint, pattern, cidr, source } = filter;
    const query = { matchpattern: pattern, cidr, source };
    if (endpoint === undefined) return this.#orNone({ method: 'GET', path: '/fqdn/cache', query });
    const path = `/fqdn/cache/${endpointPathPart(endpoint)}`;
    return this.#call({ method: 'GET', path, query }, 'list');
  }

  /** Forgets the addresses of the names that match. */
  cleanFqdnCache(pattern?: string): Promise<void> {
    const query = { matchpattern: pattern };
    return this.#call({ method: 'DELETE', path: '/fqdn/cache', query }, 'anything');
  }

  fqdnNames(): Promise<Api.NameManager> {
    return this.#get('/fqdn/names');
  }

  /** Entries of the ipcache, of one prefix and of identities that carry all the labels; none match: []. */
  ips(options: { readonly cidr?: string; readonly labels?: readonly string[] } = {}) {
    return this.#filtered<Api.IPListEntry>('/ip', options.labels ?? [], { cidr: options.cidr });
  }

  allocateIps(
    options: {
      readonly family?: 'ipv4' | 'ipv6';
      readonly owner?: string;
      readonly pool?: string;
      readonly expiration?: boolean;
    } = {},
  ): Promise<Api.IPAMResponse> {
    const { family, owner, pool, expiration = false } = options;
    const headers = { expiration: String(expiration) };
    return this.#call({ method: 'POST', path: '/ipam', query: { family, owner, pool }, headers });
  }

  allocateIp(ip: string, options: { readonly owner?: string; readonly pool?: string } = {}): Promise<void> {
    return this.#call(
      { method: 'POST', path: `/ipam/${encodeURIComponent(ip)}`, query: options },
      'anything',
    );
  }

  releaseIp(ip: string, options: { readonly pool?: string } = {}): Promise<void> {
    return this.#call(
      { method: 'DELETE', path: `/ipam/${encodeURIComponent(ip)}`, query: options },
      'anything',
    );
  }

  /** All nodes; of a 2018 agent, those of its status. */
  async nodes(): Promise<readonly Api.NodeElement[]> {
    try {
      return (await this.nodeChanges())['nodes-added'] ?? [];
    } catch (error) {
      if (!(error instanceof SourceError) || error.code !== 'NOT_FOUND') throw error;
      return (await this.healthz()).cluster?.nodes ?? [];
    }
  }

  /** With the `client-id` of the last answer: what changed since; 0: all, and a new client-id. */
  nodeChanges(clientId?: number): Promise<Api.ClusterNodeStatus> {
    const headers = clientId === undefined ? {} : { 'client-id': String(clientId) };
    return this.#call({ method: 'GET', path: '/cluster/nodes', headers });
  }

  nodeIds(): Promise<readonly Api.NodeID[]> {
    return this.#list('/node/ids');
  }

  maps(): Promise<Api.BPFMapList> {
    return this.#get('/map');
  }

  map(name: string): Promise<Api.BPFMap> {
    return this.#get(`/map/${encodeURIComponent(name)}`);
  }

  services(): Promise<readonly Api.Service[]> {
    return this.#list('/service');
  }

  service(id: number): Promise<Api.Service> {
    return this.#get(`/service/${id}`);
  }

  /** @param id 0: that of the frontend, or a free one (ours). @returns what there is then; a Cilium agent tells nothing */
  putService(id: number, spec: Api.ServiceSpec): Promise<Api.Service | undefined> {
    return this.#call({ method: 'PUT', path: `/service/${id}`, body: spec }, 'object or nothing');
  }

  deleteService(id: number): Promise<void> {
    return this.#call({ method: 'DELETE', path: `/service/${id}` }, 'anything');
  }

  debugInfo(): Promise<Api.DebugInfo> {
    return this.#get('/debuginfo');
  }

  /** Prometheus text. Our agent only. */
  async metrics(): Promise<string> {
    return (await this.#transport.text({ method: 'GET', path: '/metrics', headers: { accept: '*/*' } })).text;
  }

  /** Any path below /v1, its body as it came: for archives. */
  async raw(path: string, timeoutMs?: number): Promise<string> {
    return (await this.#transport.text({ method: 'GET', path, timeoutMs })).text;
  }

  async #count(call: ApiCall): Promise<number> {
    const answer = await this.#call<unknown>(call, 'anything');
    return typeof answer === 'number' ? answer : 0;
  }

  #get<T>(path: string): Promise<T> {
    return this.#call({ method: 'GET', path });
  }

  #list<T>(path: string): Promise<readonly T[]> {
    return this.#call({ method: 'GET', path }, 'list');
  }

  async #filtered<T>(
    path: string,
    labels: readonly string[],
    query?: ApiCall['query'],
  ): Promise<readonly T[]> {
    const call: ApiCall = { method: 'GET', path, query, ...filterBody(labels) };
    const filters = labels.length > 0 || query?.cidr !== undefined;
    return filters ? this.#orNone(call) : this.#call(call, 'list');
  }

  /** A list whose absence (404) means that nothing is in it. */
  async #orNone<T>(call: ApiCall): Promise<readonly T[]> {
    try {
      return await this.#call(call, 'list');
    } catch (error) {
      if (error instanceof SourceError && error.code === 'NOT_FOUND') return [];
      throw error;
    }
  }

  #call<T>(call: ApiCall, shape: AnswerShape = 'object'): Promise<T> {
    return checkedCall(this.#transport, call, shape);
  }
}

function endpointPath(id: string): string {
  return `/endpoint/${endpointPathPart(id)}`;
}

function endpointPathPart(id: string): string {
  return encodeURIComponent(id).replaceAll('%3A', ':');
}

/** No filter, no body: a body that is not needed is a body that an old agent may refuse. */
function filterBody(labels: readonly string[]): Pick<ApiCall, 'body'> {
  return labels.length === 0 ? {} : { body: labels };
}
