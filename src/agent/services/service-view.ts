import type * as Api from '../../api/schema.ts';
import { formatIp } from '../../base/ip.ts';
import type { KernelService } from '../../datapath/types.ts';
import type { Service, ServiceBackend, ServiceProtocol } from '../../model/service.ts';

export interface ServiceEntry {
  readonly service: Service;
  /** What the datapath has of it; undefined: nothing yet. */
  readonly realized: KernelService | undefined;
}

function backendView(backend: ServiceBackend, protocol: ServiceProtocol): Api.BackendAddress {
  return { ip: formatIp(backend.address), port: backend.port, protocol, state: backend.state };
}

/** A service as the API tells it, and as `readServiceSpec` reads it. */
export function serviceSpecView(service: Service): Api.ServiceSpec {
  const { id, type, name, namespace, frontend, backends, affinitySeconds, onlyLocal = false } = service;
  const intTrafficPolicy = onlyLocal ? 'Local' : 'Cluster';
  const { address, port, protocol } = frontend;
  return {
    id,
    'frontend-address': { ip: formatIp(address), port, protocol, scope: 'external' },
    'backend-addresses': backends.map((backend) => backendView(backend, protocol)),
    flags: {
      ...{ type, name, namespace },
      ...{ trafficPolicy: 'Cluster', extTrafficPolicy: 'Cluster', intTrafficPolicy },
      ...(affinitySeconds > 0 && { affinityTimeout: affinitySeconds }),
    },
  };
}

/** `spec` is what is wanted, `status.realized` what the datapath has of it: without backends while it has none of it. */
export function serviceView({ service, realized }: ServiceEntry): Api.Service {
  return {
    spec: serviceSpecView(service),
    status: { realized: serviceSpecView({ ...service, backends: [], ...realized }) },
  };
}
