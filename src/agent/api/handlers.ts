import type { Contract, OperationName } from '../../api/contract.ts';
import type { BodyOf, ParamsOf } from '../../api/contract-types.ts';
import type { AgentOperations, CallContext } from '../../api/operations.ts';
import type { NodeChanges } from './node-changes.ts';
import * as shape from './shape.ts';

/** What a handler answers. No `body`: an empty one; a string with a `mediaType` is sent as it is, all else as JSON. */
export interface Reply {
  readonly status?: number;
  readonly body?: unknown;
  readonly mediaType?: string;
}

export interface HandlerDeps {
  readonly operations: AgentOperations;
  readonly nodeChanges: NodeChanges;
}

type Handler<N extends OperationName> = (
  deps: HandlerDeps,
  input: { readonly params: ParamsOf<Contract[N]>; readonly body: BodyOf<Contract[N]> },
  context: CallContext,
) => Promise<Reply>;

export type Handlers = { readonly [N in OperationName]: Handler<N> };

const errorCount = (count: number): Reply => (count > 0 ? { status: 206, body: count } : {});

/** From a validated request to the operation, and from its result to the answer. */
export const handlers: Handlers = {
  healthz: async ({ operations }, { params }, context) => {
    const brief = params.brief === true;
    const options = { brief, requireK8sConnectivity: params['require-k8s-connectivity'] === true };
    const status = await operations.healthz(options, context);
    return { body: brief ? status : shape.shapeStatus(status) };
  },
  getConfig: async ({ operations }, _input, context) => ({
    body: shape.shapeConfig(await operations.getConfig(context)),
  }),
  patchConfig: async ({ operations }, { body }, context) => {
    await operations.patchConfig(body, context);
    return {};
  },
  listEndpoints: async ({ operations }, { body }, context) => ({
    body: shape.shapeEndpoints(await operations.listEndpoints(body ?? [], context)),
  }),
  deleteEndpoints: async ({ operations }, { body }, context) =>
    errorCount(await operations.deleteEndpoints(body, context)),
  getEndpoint: async ({ operations }, { params }, context) => ({
    body: shape.shapeEndpoint(await operations.getEndpoint(params.id, context)),
  }),
  putEndpoint: async ({ operations }, { params, body }, context) => ({
    status: 201,
    body: shape.shapeEndpoint(await operations.putEndpoint(params.id, body, context)),
  }),
  patchEndpoint: async ({ operations }, { params, body }, context) => ({
    body: shape.shapeEndpoint(await operations.patchEndpoint(params.id, body, context)),
  }),
  deleteEndpoint: async ({ operations }, { params }, context) =>
    errorCount(await operations.deleteEndpoint(params.id, context)),
  getEndpointConfig: async ({ operations }, { params }, context) => ({
    body: shape.shapeEndpointConfig(await operations.getEndpointConfig(params.id, context)),
  }),
  patchEndpointConfig: async ({ operations }, { params, body }, context) => {
    await operations.patchEndpointConfig(params.id, body, context);
    return {};
  },
  getEndpointLabels: async ({ operations }, { params }, context) => ({
    body: shape.shapeLabels(await operations.getEndpointLabels(params.id, context)),
  }),
  patchEndpointLabels: async ({ operations }, { params, body }, context) => {
    await operations.patchEndpointLabels(params.id, body, context);
    return {};
  },
  getEndpointLog: async ({ operations }, { params }, context) => ({
    body: await operations.getEndpointLog(params.id, context),
  }),
  getEndpointHealth: async ({ operations }, { params }, context) => ({
    body: await operations.getEndpointHealth(params.id, context),
  }),
  listIdentities: async ({ operations }, { body }, context) => ({
    body: await operations.listIdentities(body ?? [], context),
  }),
  listIdentityEndpoints: async ({ operations }, _input, context) => ({
    body: shape.shapeIdentityEndpoints(await operations.listIdentityEndpoints(context)),
  }),
  getIdentity: async ({ operations }, { params }, context) => ({
    body: await operations.getIdentity(params.id, context),
  }),
  getPolicy: async ({ operations }, { body }, context) => ({
    body: await operations.getPolicy(body ?? [], context),
  }),
  putPolicy: async ({ operations }, { body }, context) => ({
    body: await operations.putPolicy(body, context),
  }),
  deletePolicy: async ({ operations }, { body }, context) => ({
    body: await operations.deletePolicy(body ?? [], context),
  }),
  resolvePolicy: async ({ operations }, { body }, context) => ({
    body: await operations.resolvePolicy(body, context),
  }),
  getPolicyObjects: async ({ operations }, _input, context) => ({
    body: await operations.getPolicyObjects(context),
  }),
  deletePolicyObjects: async ({ operations }, { body }, context) => ({
    body: await operations.deletePolicyObjects(body, context),
  }),
  getPolicySelectors: async ({ operations }, _input, context) => ({
    body: await operations.getPolicySelectors(context),
  }),
  getPolicySubjectSelectors: async ({ operations }, _input, context) => ({
    body: await operations.getPolicySubjectSelectors(context),
  }),
  listPolicyRules: async ({ operations }, _input, context) => ({
    body: await operations.listPolicyRules(context),
  }),
  listPolicyFlows: async ({ operations }, _input, context) => ({
    body: await operations.listPolicyFlows(context),
  }),
  listFqdnCache: async ({ operations }, { params }, context) => ({
    body: await operations.listFqdnCache({ ...params, pattern: params.matchpattern }, context),
  }),
  deleteFqdnCache: async ({ operations }, { params }, context) => {
    await operations.deleteFqdnCache(params.matchpattern, context);
    return {};
  },
  listEndpointFqdnCache: async ({ operations }, { params }, context) => ({
    body: await operations.listEndpointFqdnCache(
      params.id,
      { ...params, pattern: params.matchpattern },
      context,
    ),
  }),
  getFqdnNames: async ({ operations }, _input, context) => ({
    body: await operations.getFqdnNames(context),
  }),
  listIps: async ({ operations }, { params, body }, context) => ({
    body: shape.shapeIps(await operations.listIps({ cidr: params.cidr, labels: body ?? [] }, context)),
  }),
  allocateIps: async ({ operations }, { params }, context) => ({
    status: 201,
    body: await operations.allocateIps({ ...params, expiration: params.expiration === true }, context),
  }),
  allocateIp: async ({ operations }, { params }, context) => {
    await operations.allocateIp(params.ip, params, context);
    return {};
  },
  releaseIp: async ({ operations }, { params }, context) => {
    await operations.releaseIp(params.ip, params, context);
    return {};
  },
  listNodes: async ({ operations, nodeChanges }, { params }, context) => ({
    body: nodeChanges.answer(await operations.listNodes(context), params['client-id']),
  }),
  listNodeIds: async ({ operations }, _input, context) => ({ body: await operations.listNodeIds(context) }),
  listMaps: async ({ operations }, _input, context) => ({ body: await operations.listMaps(context) }),
  getMap: async ({ operations }, { params }, context) => ({
    body: await operations.getMap(params.name, context),
  }),
  listServices: async ({ operations }, _input, context) => ({
    body: shape.shapeServices(await operations.listServices(context)),
  }),
  getService: async ({ operations }, { params }, context) => ({
    body: shape.shapeService(await operations.getService(params.id, context)),
  }),
  putService: async ({ operations }, { params, body }, context) => {
    const { service, created } = await operations.putService(params.id, body, context);
    return { status: created ? 201 : 200, body: shape.shapeService(service) };
  },
  deleteService: async ({ operations }, { params }, context) => {
    await operations.deleteService(params.id, context);
    return {};
  },
  getDebugInfo: async ({ operations }, _input, context) => ({
    body: shape.shapeDebugInfo(await operations.getDebugInfo(context)),
  }),
  getMetrics: async ({ operations }, _input, context) => ({
    body: await operations.getMetrics(context),
    mediaType: 'text/plain; version=0.0.4; charset=utf-8',
  }),
};
