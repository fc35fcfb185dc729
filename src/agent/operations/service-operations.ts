import type { AgentOperations } from '../../api/operations.ts';
import type * as Api from '../../api/schema.ts';
import { serviceView } from '../services/service-view.ts';
import { type OperationsDeps, refuseWhileStarting } from './deps.ts';

type ServiceOperations = Pick<
  AgentOperations,
  'listServices' | 'getService' | 'putService' | 'deleteService'
>;

/** Services: `/service`. */
export function serviceOperations(deps: OperationsDeps): ServiceOperations {
  const { services } = deps;
  return {
    async listServices(): Promise<readonly Api.Service[]> {
      return services.list().map(serviceView);
    },

    async getService(id: number): Promise<Api.Service> {
      return serviceView(services.get(id));
    },

    async putService(
      id: number,
      spec: Api.ServiceSpec,
    ): Promise<{ readonly service: Api.Service; readonly created: boolean }> {
      refuseWhileStarting(deps);
      const { entry, created } = await services.put(id, spec);
      return { service: serviceView(entry), created };
    },

    async deleteService(id: number): Promise<void> {
      refuseWhileStarting(deps);
      await services.delete(id);
    },
  };
}
