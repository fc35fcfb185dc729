import { type AgentOperations, ApiError, type EndpointRef } from '../../api/operations.ts';
import type * as Api from '../../api/schema.ts';
import type { Endpoint } from '../endpoint.ts';
import { configurationView, endpointView, healthView, labelsView, logView } from '../endpoint-view.ts';
import { isEnforcing, notFound, type OperationsDeps, refuseWhileStarting } from './deps.ts';

type EndpointOperations = Pick<
  AgentOperations,
  | 'listEndpoints'
  | 'deleteEndpoints'
  | 'getEndpoint'
  | 'putEndpoint'
  | 'patchEndpoint'
  | 'deleteEndpoint'
  | 'getEndpointConfig'
  | 'patchEndpointConfig'
  | 'getEndpointLabels'
  | 'patchEndpointLabels'
  | 'getEndpointLog'
  | 'getEndpointHealth'
>;

/** With a reserved label a workload would be taken for the host or for health. `reserved:init` only locks it down. */
function refuseReserved(labels: readonly string[] | null | undefined, field: string): void {
  const wrong = labels?.find((label) => label.startsWith('reserved:') && label !== 'reserved:init');
  if (wrong === undefined) return;
  throw new ApiError(400, `${wrong} is reserved: the agent alone gives it`, {
    field,
    code: 'LABEL_RESERVED',
  });
}

/** An endpoint as the API shows it. */
export function viewOf(deps: OperationsDeps, endpoint: Endpoint): Api.Endpoint {
  return endpointView(endpoint, { enforcing: isEnforcing(deps), labelFilter: deps.config.options.labels });
}

/** Endpoints: `/endpoint`. */
export function endpointOperations(deps: OperationsDeps): EndpointOperations {
  return {
    async listEndpoints(labels: readonly string[]): Promise<readonly Api.Endpoint[]> {
      const { manager } = deps;
      if (labels.length === 0) return manager.listAll().map((endpoint) => viewOf(deps, endpoint));
      const found = manager.listByLabels(labels);
      if (found.length === 0) throw notFound(`no endpoint has the labels ${labels.join(', ')}`);
      return found.map((endpoint) => viewOf(deps, endpoint));
    },

    async deleteEndpoints(request: Api.EndpointBatchDeleteRequest): Promise<number> {
      const { manager } = deps;
      const id = request['container-id'];
      if (id === undefined || id === '') throw new ApiError(400, 'is missing', { field: 'container-id' });
      const found = manager.list().filter(({ spec }) => spec.containerId === id);
      if (found.length === 0) throw notFound(`container ${id} has no endpoint`);
      const failures = await Promise.all(found.map((endpoint) => manager.remove(endpoint)));
      return failures.filter((count) => count > 0).length;
    },

    async getEndpoint(ref: EndpointRef): Promise<Api.Endpoint> {
      return viewOf(deps, deps.manager.get(ref));
    },

    async putEndpoint(ref: EndpointRef, request: Api.EndpointChangeRequest): Promise<Api.Endpoint> {
      refuseWhileStarting(deps);
      refuseReserved(request.labels, 'labels');
      return viewOf(deps, await deps.manager.create(ref, request));
    },

    async patchEndpoint(ref: EndpointRef, request: Api.EndpointChangeRequest): Promise<Api.Endpoint> {
      refuseWhileStarting(deps);
      refuseReserved(request.labels, 'labels');
      return viewOf(deps, await deps.manager.patch(ref, request));
    },

    async deleteEndpoint(ref: EndpointRef): Promise<number> {
      refuseWhileStarting(deps);
      const { manager } = deps;
      return manager.remove(manager.get(ref));
    },

    async getEndpointConfig(ref: EndpointRef): Promise<Api.EndpointConfigurationStatus> {
      return { realized: configurationView(deps.manager.get(ref)), immutable: {} };
    },

    async patchEndpointConfig(ref: EndpointRef, spec: Api.EndpointConfigurationSpec): Promise<void> {
      const { manager } = deps;
      refuseReserved(spec['label-configuration']?.user, 'label-configuration.user');
      manager.patchOptions(ref, spec.options ?? {});
      const user = spec['label-configuration']?.user;
      if (user !== undefined && user !== null) manager.patchLabels(ref, user);
    },

    async getEndpointLabels(ref: EndpointRef): Promise<Api.LabelConfiguration> {
      return labelsView(deps.manager.get(ref), deps.config.options.labels);
    },

    async patchEndpointLabels(ref: EndpointRef, spec: Api.LabelConfigurationSpec): Promise<void> {
      refuseReserved(spec.user, 'user');
      deps.manager.patchLabels(ref, spec.user);
    },

    async getEndpointLog(ref: EndpointRef): Promise<readonly Api.EndpointStatusChange[]> {
      return logView(deps.manager.get(ref).log.newestFirst());
    },

    async getEndpointHealth(ref: EndpointRef): Promise<Api.EndpointHealth> {
      return healthView(deps.manager.get(ref), { enforcing: isEnforcing(deps) });
    },
  };
}
