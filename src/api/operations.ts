import type { EndpointRef } from './endpoint-ref.ts';
import type * as Api from './schema.ts';

export type { EndpointRef } from './endpoint-ref.ts';
export { ApiError } from './errors.ts';

/** What every operation gets beside its parameters. */
export interface CallContext {
  /** Aborted when the caller hangs up or the deadline has passed. */
  readonly signal: AbortSignal;
}

export interface HealthzOptions {
  /** Only `cilium` and `cluster.ciliumHealth`: answered at once, from memory. */
  readonly brief: boolean;
  /** Fail (`cilium.state` Failure) when Kubernetes is configured and away. */
  readonly requireK8sConnectivity: boolean;
}

export type IpFamily = 'ipv4' | 'ipv6';

export interface AllocateIpsOptions {
  /** Absent: both families. */
  readonly family?: IpFamily | undefined;
  readonly owner?: string | undefined;
  readonly pool?: string | undefined;
  /** Give the address back by itself unless an endpoint takes it (with the answer's expiration uuid) in time. */
  readonly expiration: boolean;
}

export interface IpOptions {
  readonly owner?: string | undefined;
  readonly pool?: string | undefined;
}

export interface FqdnCacheFilter {
  /** As `matchPattern` of a rule; not checked yet. */
  readonly pattern?: string | undefined;
  readonly cidr?: string | undefined;
  readonly source?: string | undefined;
}

/**
 * The agent behind its REST API: one method an operation, called with validated parameters. An operation refuses by
 * rejecting with `ApiError` (status as listed); anything else that it throws answers 500. Results may leave optional
 * objects out: the server fills those that real clients need (src/agent/api/shape.ts).
 */
export interface AgentOperations {
  /** GET /healthz → 200. */
  healthz(options: HealthzOptions, context: CallContext): Promise<Api.StatusResponse>;

  /** GET /config → 200. `status.daemonConfigurationMap` and `status.configurationOrigins` hold every setting. */
  getConfig(context: CallContext): Promise<Api.DaemonConfiguration>;
  /** PATCH /config → 200. 400: unknown option or value (names it); 500: could not be applied, nothing changed. */
  patchConfig(spec: Api.DaemonConfigurationSpec, context: CallContext): Promise<void>;

  /** GET /endpoint → 200; 404 when a filter is given and nothing matches. An endpoint matches with all labels. */
  listEndpoints(labels: readonly string[], context: CallContext): Promise<readonly Api.Endpoint[]>;
  /** DELETE /endpoint → 200, or 206 when the result (number of errors) is > 0; 404: none of that container. */
  deleteEndpoints(request: Api.EndpointBatchDeleteRequest, context: CallContext): Promise<number>;
  /** GET /endpoint/{id} → 200, 404. */
  getEndpoint(id: EndpointRef, context: CallContext): Promise<Api.Endpoint>;
  /**
   * PUT /endpoint/{id} → 201. The body's `id` may be 0 or absent: then the path's, or a free one. 400: invalid (names the
   * field); 409: the id, an address or the interface is in use; 429: too many at once; 500: failed, undone; 503:
   * the agent is still starting.
   */
  putEndpoint(
    id: EndpointRef,
    request: Api.EndpointChangeRequest,
    context: CallContext,
  ): Promise<Api.Endpoint>;
  /** PATCH /endpoint/{id} → 200, 400, 404, 429, 500, 503: only members that are given change. */
  patchEndpoint(
    id: EndpointRef,
    request: Api.EndpointChangeRequest,
    context: CallContext,
  ): Promise<Api.Endpoint>;
  /** DELETE /endpoint/{id} → 200, or 206 with the number of errors of the take-down; 404, 429, 503. */
  deleteEndpoint(id: EndpointRef, context: CallContext): Promise<number>;
  /** GET /endpoint/{id}/config → 200, 404. */
  getEndpointConfig(id: EndpointRef, context: CallContext): Promise<Api.EndpointConfigurationStatus>;
  /** PATCH /endpoint/{id}/config → 200; 400: unknown option or value; 404, 500. Values also as `0` and `1`. */
  patchEndpointConfig(
    id: EndpointRef,
    spec: Api.EndpointConfigurationSpec,
    context: CallContext,
  ): Promise<void>;
  /** GET /endpoint/{id}/labels → 200, 404. */
  getEndpointLabels(id: EndpointRef, context: CallContext): Promise<Api.LabelConfiguration>;
  /** PATCH /endpoint/{id}/labels → 200: `user` replaces the endpoint's own labels; 400: bad label; 404, 429, 500. */
  patchEndpointLabels(id: EndpointRef, spec: Api.LabelConfigurationSpec, context: CallContext): Promise<void>;
  /** GET /endpoint/{id}/log → 200 (newest first), 404. */
  getEndpointLog(id: EndpointRef, context: CallContext): Promise<readonly Api.EndpointStatusChange[]>;
  /** GET /endpoint/{id}/healthz → 200, 404. */
  getEndpointHealth(id: EndpointRef, context: CallContext): Promise<Api.EndpointHealth>;

  /** GET /identity → 200; 404 when a filter is given and nothing matches. */
  listIdentities(labels: readonly string[], context: CallContext): Promise<readonly Api.Identity[]>;
  /** GET /identity/{id} → 200, 404; 400: not a number. */
  getIdentity(id: number, context: CallContext): Promise<Api.Identity>;
  /** GET /identity/endpoints → 200: the identities of local endpoints. */
  listIdentityEndpoints(context: CallContext): Promise<readonly Api.IdentityEndpoints[]>;

  /** GET /policy → 200; 404 when a filter is given and no rule carries all the labels. */
  getPolicy(labels: readonly string[], context: CallContext): Promise<Api.Policy>;
  /**
   * PUT /policy → 200 with the new revision. `text` is the rules' JSON, as it was sent. 400: no JSON; 460: invalid rules
   * (which, which field, why; nothing changed); 500.
   */
  putPolicy(text: string, context: CallContext): Promise<Api.Policy>;
  /** DELETE /policy → 200 with the new revision; no labels: all rules. 404: no rule carries them; 400, 500. */
  deletePolicy(labels: readonly string[], context: CallContext): Promise<Api.Policy>;
  /** GET /policy/resolve → 200: the verdict in lower case; 400. As of 2018. */
  resolvePolicy(selector: Api.TraceSelector, context: CallContext): Promise<Api.PolicyTraceResult>;
  /** GET /policy/objects → 200. Ours. */
  getPolicyObjects(context: CallContext): Promise<Api.PolicyObjects>;
  /**
   * DELETE /policy/objects → 200 with the rules that are left. 400: no reference to an object; 404: one is not there, and
   * nothing changed; 500. Ours.
   */
  deletePolicyObjects(refs: readonly string[], context: CallContext): Promise<Api.Policy>;
  /** GET /policy/selectors → 200. */
  getPolicySelectors(context: CallContext): Promise<readonly Api.SelectorIdentityMapping[]>;
  /** GET /policy/subject-selectors → 200. */
  getPolicySubjectSelectors(context: CallContext): Promise<readonly Api.SelectorIdentityMapping[]>;

  /** GET /policy/rules → 200, in the order in which they were added. Ours. */
  listPolicyRules(context: CallContext): Promise<readonly Api.PolicyRuleStatus[]>;
  /** GET /policy/flows → 200, newest first. Ours. */
  listPolicyFlows(context: CallContext): Promise<Api.PolicyFlows>;

  /** GET /fqdn/cache → 200; 400: bad pattern; 404: nothing matches. */
  listFqdnCache(filter: FqdnCacheFilter, context: CallContext): Promise<readonly Api.DNSLookup[]>;
  /** GET /fqdn/cache/{id} → 200, empty when nothing matches; 400: bad pattern; 404: no such endpoint. */
  listEndpointFqdnCache(
    id: EndpointRef,
    filter: FqdnCacheFilter,
    context: CallContext,
  ): Promise<readonly Api.DNSLookup[]>;
  /** DELETE /fqdn/cache → 200; no pattern: all names. 400: bad pattern. */
  deleteFqdnCache(pattern: string | undefined, context: CallContext): Promise<void>;
  /** GET /fqdn/names → 200. */
  getFqdnNames(context: CallContext): Promise<Api.NameManager>;

  /** GET /ip?cidr= → 200 (the ipcache); 404 when a filter is given and nothing matches. `cidr` is valid. */
  listIps(
    filter: { readonly cidr?: string | undefined; readonly labels: readonly string[] },
    context: CallContext,
  ): Promise<readonly Api.IPListEntry[]>;
  /** POST /ipam → 201; 502: none free; 501: the family is off. */
  allocateIps(options: AllocateIpsOptions, context: CallContext): Promise<Api.IPAMResponse>;
  /** POST /ipam/{ip} → 200; 400: outside the range; 409: in use; 501: the family is off. */
  allocateIp(ip: string, options: IpOptions, context: CallContext): Promise<void>;
  /** DELETE /ipam/{ip} → 200; 404: not allocated; 400; 409: an endpoint uses it. */
  releaseIp(ip: string, options: IpOptions, context: CallContext): Promise<void>;

  /** GET /cluster/nodes → 200. All nodes known now; the server works out what changed for each `client-id`. */
  listNodes(
    context: CallContext,
  ): Promise<{ readonly self: string; readonly nodes: readonly Api.NodeElement[] }>;
  /** GET /node/ids → 200. */
  listNodeIds(context: CallContext): Promise<readonly Api.NodeID[]>;

  /** GET /map → 200. */
  listMaps(context: CallContext): Promise<Api.BPFMapList>;
  /** GET /map/{name} → 200, 404. */
  getMap(name: string, context: CallContext): Promise<Api.BPFMap>;

  /** GET /service → 200, by id. */
  listServices(context: CallContext): Promise<readonly Api.Service[]>;
  /** GET /service/{id} → 200, 404; 400: not a number. As of 2018, like PUT and DELETE. */
  getService(id: number, context: CallContext): Promise<Api.Service>;
  /**
   * PUT /service/{id} → 201, or 200 for one that was there, with the service (ours: Cilium answers nothing). Id 0: that of
   * the frontend, or a free one (ours). 400: invalid (names the field); 409: the frontend has another id, the id another
   * frontend, or the frontend is that of a Kubernetes object; 500: kept, and not in the datapath yet; 503: the agent is
   * still starting.
   */
  putService(
    id: number,
    spec: Api.ServiceSpec,
    context: CallContext,
  ): Promise<{ readonly service: Api.Service; readonly created: boolean }>;
  /** DELETE /service/{id} → 200, 404; 409: it follows from a Kubernetes object; 500: not out of the datapath yet; 503. */
  deleteService(id: number, context: CallContext): Promise<void>;
  /** GET /debuginfo → 200. */
  getDebugInfo(context: CallContext): Promise<Api.DebugInfo>;
  /** GET /metrics → 200, Prometheus text (ours; the agent's TCP listener serves the same). */
  getMetrics(context: CallContext): Promise<string>;
}
