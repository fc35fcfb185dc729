import Type, { type TSchema } from 'typebox';
import type { Answer, Body, Method, Operation, Param, ParamKind } from './contract-types.ts';
import * as Api from './schema.ts';

/** Base path of every operation. */
export const API_BASE_PATH = '/v1';

const MAX_POLICY_BYTES = 8 * 1024 * 1024;
/** As many backends as a service can have. */
const MAX_SERVICE_BYTES = 8 * 1024 * 1024;

const inPath = <K extends ParamKind>(kind: K, description?: string) => param('path', kind, description);
const inQuery = <K extends ParamKind>(kind: K, description?: string) => param('query', kind, description);
const inHeader = <K extends ParamKind>(kind: K, description?: string) => param('header', kind, description);

function param<const I extends Param['in'], K extends ParamKind>(where: I, kind: K, description?: string) {
  return { in: where, kind, ...(description === undefined ? {} : { description }) };
}

/** A body that must be there. */
function body<S extends TSchema>(name: string, schema: S) {
  return { name, schema, required: true } as const;
}

const labelFilter = { name: 'labels', schema: Api.Labels, required: false } as const;

const DESCRIPTIONS: Readonly<Record<number, string>> = {
  400: 'Invalid request; the text names the field',
  404: 'Not found',
  409: 'In use already',
  429: 'Too many requests at once',
  460: 'Invalid policy; nothing changed',
  500: 'Failed; nothing changed',
  501: 'Switched off here',
  502: 'No address is free',
  503: 'Not ready yet, or not in time',
};

/** The answers of an operation: its good ones, then statuses that answer a bare JSON string. */
function answers(good: Readonly<Record<number, TSchema | undefined>>, bad: readonly number[] = []) {
  const all: Record<number, Answer> = {};
  for (const [status, schema] of Object.entries(good)) {
    all[Number(status)] = { description: 'Success', ...(schema === undefined ? {} : { schema }) };
  }
  for (const status of bad) {
    all[status] = { description: DESCRIPTIONS[status] ?? 'Failed', schema: Api.ErrorText };
  }
  return all;
}

interface OperationInput<P, B> {
  readonly summary: string;
  readonly params?: P;
  readonly body?: B;
  readonly answers: Readonly<Record<number, Answer>>;
}

function operation<
  const P extends Readonly<Record<string, Param>> = Record<never, never>,
  const B extends Body | undefined = undefined,
>(method: Method, path: string, input: OperationInput<P, B>): Operation<P, B> {
  return {
    method,
    path,
    tag: path.split('/')[1] ?? '',
    summary: input.summary,
    params: input.params ?? ({} as P),
    body: input.body as B,
    answers: input.answers,
  };
}

const endpointId = { id: inPath('endpoint', 'Local id, or prefix:value') };
const serviceId = { id: inPath('integer', 'Of this node, 1 to 65535') };
const fqdnFilter = {
  matchpattern: inQuery('text', 'Only names that this matches'),
  cidr: inQuery('cidr', 'Only addresses in this prefix'),
  source: inQuery('text', 'lookup or connection'),
};
const ipamOptions = { owner: inQuery('text'), pool: inQuery('text') };

/** Every operation of the agent's API by its name, which is that of the method of `AgentOperations` behind it. */
export const contract = {
  healthz: operation('get', '/healthz', {
    summary: 'Health and status of the agent',
    params: { brief: inHeader('boolean'), 'require-k8s-connectivity': inHeader('boolean') },
    answers: answers({ 200: Api.StatusResponse }),
  }),
  getConfig: operation('get', '/config', {
    summary: 'Configuration, with the origin of each value',
    answers: answers({ 200: Api.DaemonConfiguration }),
  }),
  patchConfig: operation('patch', '/config', {
    summary: 'Change options that may change while the agent runs',
    body: body('configuration', Api.DaemonConfigurationSpec),
    answers: answers({ 200: undefined }, [400, 500]),
  }),
  listEndpoints: operation('get', '/endpoint', {
    summary: 'Endpoints of this node that carry all of the labels',
    body: labelFilter,
    answers: answers({ 200: Api.Endpoints }, [400, 404, 429]),
  }),
  deleteEndpoints: operation('delete', '/endpoint', {
    summary: 'Delete the endpoints of a container',
    body: body('endpoint', Api.EndpointBatchDeleteRequest),
    answers: answers({ 200: undefined, 206: Type.Integer() }, [400, 404, 429, 503]),
  }),
  getEndpoint: operation('get', '/endpoint/{id}', {
    summary: 'One endpoint',
    params: endpointId,
    answers: answers({ 200: Api.Endpoint }, [400, 404, 429]),
  }),
  putEndpoint: operation('put', '/endpoint/{id}', {
    summary: 'Create an endpoint',
    params: endpointId,
    body: body('endpoint', Api.EndpointChangeRequest),
    answers: answers({ 201: Api.Endpoint }, [400, 409, 429, 500, 503]),
  }),
  patchEndpoint: operation('patch', '/endpoint/{id}', {
    summary: 'Change an endpoint',
    params: endpointId,
    body: body('endpoint', Api.EndpointChangeRequest),
    answers: answers({ 200: Api.Endpoint }, [400, 404, 429, 500, 503]),
  }),
  deleteEndpoint: operation('delete', '/endpoint/{id}', {
    summary: 'Delete an endpoint; 206 carries the number of errors met',
    params: endpointId,
    answers: answers({ 200: undefined, 206: Type.Integer() }, [400, 404, 429, 503]),
  }),
  getEndpointConfig: operation('get', '/endpoint/{id}/config', {
    summary: 'Options of an endpoint',
    params: endpointId,
    answers: answers({ 200: Api.EndpointConfigurationStatus }, [400, 404]),
  }),
  patchEndpointConfig: operation('patch', '/endpoint/{id}/config', {
    summary: 'Change options of an endpoint',
    params: endpointId,
    body: body('configuration', Api.EndpointConfigurationSpec),
    answers: answers({ 200: undefined }, [400, 404, 429, 500]),
  }),
  getEndpointLabels: operation('get', '/endpoint/{id}/labels', {
    summary: 'Labels of an endpoint',
    params: endpointId,
    answers: answers({ 200: Api.LabelConfiguration }, [400, 404]),
  }),
  patchEndpointLabels: operation('patch', '/endpoint/{id}/labels', {
    summary: 'Replace the labels that users gave an endpoint',
    params: endpointId,
    body: body('configuration', Api.LabelConfigurationSpec),
    answers: answers({ 200: undefined }, [400, 404, 429, 500]),
  }),
  getEndpointLog: operation('get', '/endpoint/{id}/log', {
    summary: 'What happened to an endpoint, newest first',
    params: endpointId,
    answers: answers({ 200: Api.EndpointStatusLog }, [400, 404]),
  }),
  getEndpointHealth: operation('get', '/endpoint/{id}/healthz', {
    summary: 'Health of an endpoint',
    params: endpointId,
    answers: answers({ 200: Api.EndpointHealth }, [400, 404]),
  }),
  listIdentities: operation('get', '/identity', {
    summary: 'Identities that carry all of the labels',
    body: labelFilter,
    answers: answers({ 200: Api.Identities }, [400, 404]),
  }),
  listIdentityEndpoints: operation('get', '/identity/endpoints', {
    summary: 'Identities of the endpoints of this node',
    answers: answers({ 200: Type.Array(Api.IdentityEndpoints) }),
  }),
  getIdentity: operation('get', '/identity/{id}', {
    summary: 'One identity',
    params: { id: inPath('identity') },
    answers: answers({ 200: Api.Identity }, [400, 404]),
  }),
  getPolicy: operation('get', '/policy', {
    summary: 'Rules that carry all of the labels, with the revision',
    body: labelFilter,
    answers: answers({ 200: Api.Policy }, [400, 404]),
  }),
  putPolicy: operation('put', '/policy', {
    summary: 'Add rules: their JSON, or a JSON string that holds it',
    body: {
      name: 'policy',
      schema: Type.Unknown(),
      required: true,
      asText: true,
      maxBytes: MAX_POLICY_BYTES,
    },
    answers: answers({ 200: Api.Policy }, [400, 460, 500]),
  }),
  deletePolicy: operation('delete', '/policy', {
    summary: 'Delete the rules that carry all of the labels; an empty list deletes all',
    body: body('labels', Api.Labels),
    answers: answers({ 200: Api.Policy }, [400, 404, 500]),
  }),
  resolvePolicy: operation('get', '/policy/resolve', {
    summary: 'Whether the rules allow traffic between labels, and why (2018)',
    body: body('traceSelector', Api.TraceSelector),
    answers: answers({ 200: Api.PolicyTraceResult }, [400]),
  }),
  getPolicyObjects: operation('get', '/policy/objects', {
    summary: 'Groups and services that rules may name (ours)',
    answers: answers({ 200: Api.PolicyObjects }),
  }),
  deletePolicyObjects: operation('delete', '/policy/objects', {
    summary:
      'Delete rules by the objects that they come from, and groups and services, by kind and name (ours)',
    body: body('objects', Api.PolicyObjectRefs),
    answers: answers({ 200: Api.Policy }, [400, 404, 500]),
  }),
  getPolicySelectors: operation('get', '/policy/selectors', {
    summary: 'Selectors of peers with the identities that they pick',
    answers: answers({ 200: Api.SelectorCache }),
  }),
  getPolicySubjectSelectors: operation('get', '/policy/subject-selectors', {
    summary: 'Selectors of subjects with the identities that they pick',
    answers: answers({ 200: Api.SelectorCache }),
  }),
  listPolicyRules: operation('get', '/policy/rules', {
    summary: 'Rules with their numbers, whom they select here and what they decided (ours)',
    answers: answers({ 200: Api.PolicyRuleStatuses }),
  }),
  listPolicyFlows: operation('get', '/policy/flows', {
    summary: 'New flows that were judged of late, by endpoint, peer and port (ours)',
    answers: answers({ 200: Api.PolicyFlows }),
  }),
  listFqdnCache: operation('get', '/fqdn/cache', {
    summary: 'Addresses of names that endpoints were told',
    params: fqdnFilter,
    answers: answers({ 200: Api.DNSLookups }, [400, 404]),
  }),
  deleteFqdnCache: operation('delete', '/fqdn/cache', {
    summary: 'Forget the addresses of the names that match; without a pattern all',
    params: { matchpattern: fqdnFilter.matchpattern },
    answers: answers({ 200: undefined }, [400]),
  }),
  listEndpointFqdnCache: operation('get', '/fqdn/cache/{id}', {
    summary: 'Addresses of names that one endpoint was told',
    params: { ...endpointId, ...fqdnFilter },
    answers: answers({ 200: Api.DNSLookups }, [400, 404]),
  }),
  getFqdnNames: operation('get', '/fqdn/names', {
    summary: 'Names and patterns of toFQDNs in force',
    answers: answers({ 200: Api.NameManager }, [400]),
  }),
  listIps: operation('get', '/ip', {
    summary: 'Which prefix belongs to which identity',
    params: { cidr: inQuery('cidr') },
    body: labelFilter,
    answers: answers({ 200: Api.IPList }, [400, 404]),
  }),
  allocateIps: operation('post', '/ipam', {
    summary: 'Allocate an address of each family, or of one',
    params: { family: inQuery('family'), ...ipamOptions, expiration: inHeader('boolean') },
    answers: answers({ 201: Api.IPAMResponse }, [400, 501, 502]),
  }),
  allocateIp: operation('post', '/ipam/{ip}', {
    summary: 'Allocate this address',
    params: { ip: inPath('ip'), ...ipamOptions },
    answers: answers({ 200: undefined }, [400, 409, 500, 501]),
  }),
  releaseIp: operation('delete', '/ipam/{ip}', {
    summary: 'Give this address back',
    params: { ip: inPath('ip'), ...ipamOptions },
    answers: answers({ 200: undefined }, [400, 404, 409, 500, 501]),
  }),
  listNodes: operation('get', '/cluster/nodes', {
    summary: 'Nodes of the cluster, or what changed since this client asked',
    params: { 'client-id': inHeader('integer', 'Of the last answer; 0 asks for one; absent: all nodes') },
    answers: answers({ 200: Api.ClusterNodeStatus }),
  }),
  listNodeIds: operation('get', '/node/ids', {
    summary: 'Numbers of the nodes with their addresses',
    answers: answers({ 200: Type.Array(Api.NodeID) }),
  }),
  listMaps: operation('get', '/map', {
    summary: 'Open BPF maps with the entries that the agent keeps a copy of',
    answers: answers({ 200: Api.BPFMapList }),
  }),
  getMap: operation('get', '/map/{name}', {
    summary: 'One open BPF map',
    params: { name: inPath('text') },
    answers: answers({ 200: Api.BPFMap }, [404]),
  }),
  listServices: operation('get', '/service', {
    summary: 'Services',
    answers: answers({ 200: Type.Array(Api.Service) }),
  }),
  getService: operation('get', '/service/{id}', {
    summary: 'One service',
    params: serviceId,
    answers: answers({ 200: Api.Service }, [400, 404]),
  }),
  putService: operation('put', '/service/{id}', {
    summary:
      'Create a service, or change the one with that id; id 0 (ours): that of the frontend, or a free one',
    params: serviceId,
    body: { ...body('service', Api.ServiceSpec), maxBytes: MAX_SERVICE_BYTES },
    answers: answers({ 200: Api.Service, 201: Api.Service }, [400, 409, 500, 503]),
  }),
  deleteService: operation('delete', '/service/{id}', {
    summary: 'Delete a service that came by this API',
    params: serviceId,
    answers: answers({ 200: undefined }, [400, 404, 409, 500, 503]),
  }),
  getDebugInfo: operation('get', '/debuginfo', {
    summary: 'Version and state in one answer',
    answers: answers({ 200: Api.DebugInfo }, [500]),
  }),
  getMetrics: operation('get', '/metrics', {
    summary: 'Metrics as Prometheus text',
    answers: {
      200: { description: 'Success', schema: Type.String(), mediaType: 'text/plain; version=0.0.4' },
    },
  }),
} as const satisfies Readonly<Record<string, Operation>>;

export type Contract = typeof contract;
export type OperationName = keyof Contract;
