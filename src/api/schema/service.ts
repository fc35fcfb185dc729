import Type from 'typebox';
import { bool, int, known, list, type ModelOf, model, opt, str, u16 } from './build.ts';

export const FrontendAddress = model('FrontendAddress', {
  ip: opt(str),
  protocol: opt(known('tcp', 'udp', 'sctp', 'any')),
  scope: opt(known('external', 'internal')),
  port: opt(u16),
});
export type FrontendAddress = ModelOf<typeof FrontendAddress>;

export const BackendAddress = model('BackendAddress', {
  ip: str,
  protocol: opt(str),
  port: opt(u16),
  nodeName: opt(str),
  state: opt(known('active', 'terminating', 'terminating-not-serving', 'quarantined', 'maintenance')),
  preferred: opt(bool),
  weight: opt(Type.Union([u16, Type.Null()])),
  zone: opt(str),
});
export type BackendAddress = ModelOf<typeof BackendAddress>;

/** `affinityTimeout` (ours): how long a client keeps its backend, in seconds; 0 or absent: it does not. */
export const ServiceFlags = model('ServiceFlags', {
  type: opt(known('ClusterIP', 'NodePort', 'ExternalIPs', 'HostPort', 'LoadBalancer', 'LocalRedirect')),
  trafficPolicy: opt(known('Cluster', 'Local')),
  extTrafficPolicy: opt(known('Cluster', 'Local')),
  intTrafficPolicy: opt(known('Cluster', 'Local')),
  natPolicy: opt(known('None', 'Nat46', 'Nat64')),
  healthCheckNodePort: opt(u16),
  name: opt(str),
  namespace: opt(str),
  cluster: opt(str),
  'active-frontend': opt(bool),
  'direct-server-return': opt(bool),
  affinityTimeout: opt(int),
});
export type ServiceFlags = ModelOf<typeof ServiceFlags>;

export const ServiceSpec = model('ServiceSpec', {
  id: opt(int),
  'frontend-address': opt(FrontendAddress),
  'backend-addresses': opt(list(BackendAddress)),
  flags: opt(ServiceFlags),
  updateServices: opt(bool),
});
export type ServiceSpec = ModelOf<typeof ServiceSpec>;

export const ServiceStatus = model('ServiceStatus', { realized: opt(ServiceSpec) });
export type ServiceStatus = ModelOf<typeof ServiceStatus>;

export const Service = model('Service', { spec: opt(ServiceSpec), status: opt(ServiceStatus) });
export type Service = ModelOf<typeof Service>;
