import { ApiError } from '../../api/operations.ts';
import type * as Api from '../../api/schema.ts';
import { formatIp, type IpBytes, parseIp } from '../../base/ip.ts';
import {
  type BackendState,
  frontendKey,
  isServiceAddress,
  isUnspecified,
  MAX_AFFINITY_SECONDS,
  MAX_BACKENDS,
  type Service,
  type ServiceBackend,
  type ServiceFrontend,
  type ServiceProtocol,
  type ServiceType,
} from '../../model/service.ts';
import { MAX_SERVICE_ID } from './service-ids.ts';

const PROTOCOLS: readonly ServiceProtocol[] = ['TCP', 'UDP', 'SCTP'];
const TYPES: readonly ServiceType[] = ['ClusterIP', 'NodePort', 'ExternalIPs', 'LoadBalancer', 'HostPort'];
/** Of those that have frontends at every address of the node. */
const AT_NODES: readonly ServiceType[] = ['NodePort', 'HostPort'];
const STATES: Readonly<Record<string, BackendState>> = {
  active: 'active',
  terminating: 'terminating',
  'terminating-not-serving': 'terminating',
  quarantined: 'quarantined',
  maintenance: 'maintenance',
};
const LONGEST_NAME = 253;

function refuse(field: string, message: string): never {
  throw new ApiError(400, message, { field });
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 80));
}

/** @throws ApiError 400: what no packet can have as its destination, or every node */
function readAddress(text: string | undefined, field: string): IpBytes {
  if (text === undefined || text === '') return refuse(field, 'is missing');
  let address: IpBytes;
  try {
    address = parseIp(text);
  } catch {
    return refuse(field, `${shown(text)} is not an IP address`);
  }
  return isServiceAddress(address) ? address : refuse(field, `${text} is no address that pods can send to`);
}

function readPort(port: number | undefined, field: string): number {
  if (port === undefined || port === 0) return refuse(field, 'needs a port from 1 to 65535');
  return port;
}

function readProtocol(text: string | undefined, field: string, otherwise: ServiceProtocol): ServiceProtocol {
  if (text === undefined || text === '') return otherwise;
  const found = PROTOCOLS.find((protocol) => protocol === text.toUpperCase());
  return found ?? refuse(field, `${shown(text)} cannot be balanced, only tcp, udp and sctp can`);
}

function readFrontend(spec: Api.ServiceSpec): ServiceFrontend {
  const field = 'frontend-address';
  const frontend = spec[field];
  if (frontend === undefined) return refuse(field, 'is missing');
  if ((frontend.scope ?? 'external') !== 'external')
    refuse(`${field}.scope`, 'only external frontends are balanced');
  return {
    address: readAddress(frontend.ip, `${field}.ip`),
    port: readPort(frontend.port, `${field}.port`),
    protocol: readProtocol(frontend.protocol, `${field}.protocol`, 'TCP'),
  };
}

function readState(text: string | undefined, field: string): BackendState {
  const state = Object.hasOwn(STATES, text ?? 'active') ? STATES[text ?? 'active'] : undefined;
  return (
    state ?? refuse(field, `${shown(text ?? '')} is no state, known are ${Object.keys(STATES).join(', ')}`)
  );
}

function readBackend(backend: Api.BackendAddress, field: string, frontend: ServiceFrontend): ServiceBackend {
  const address = readAddress(backend.ip, `${field}.ip`);
  const port = readPort(backend.port, `${field}.port`);
  if (address.length !== frontend.address.length) {
    const families = `IPv${address.length === 4 ? 4 : 6} behind a frontend of IPv${address.length === 4 ? 6 : 4}`;
    refuse(`${field}.ip`, `${formatIp(address)} is ${families}, and no family is translated`);
  }
  if (isUnspecified(address))
    refuse(`${field}.ip`, `${formatIp(address)} is no address that pods can send to`);
  if (readProtocol(backend.protocol, `${field}.protocol`, frontend.protocol) !== frontend.protocol)
    refuse(`${field}.protocol`, `is not ${frontend.protocol}, the frontend's`);
  if (port === frontend.port && formatIp(address) === formatIp(frontend.address))
    refuse(field, 'is the frontend itself');
  if (frontend.protocol === 'SCTP' && port !== frontend.port)
    refuse(`${field}.port`, `of SCTP must be the frontend's, ${frontend.port}: its checksum covers the port`);
  return { address, port, state: readState(backend.state, `${field}.state`) };
}

function readBackends(spec: Api.ServiceSpec, frontend: ServiceFrontend): readonly ServiceBackend[] {
  const list = spec['backend-addresses'] ?? [];
  const field = 'backend-addresses';
  if (list.length > MAX_BACKENDS)
    refuse(field, `${list.length} are too many, a service has ${MAX_BACKENDS} at most`);
  const seen = new Map<string, number>();
  const backends = list.map((item, i) => {
    const backend = readBackend(item, `${field}[${i}]`, frontend);
    const key = frontendKey({ ...backend, protocol: frontend.protocol });
    const former = seen.get(key);
    if (former !== undefined) refuse(`${field}[${i}]`, `${key} is ${field}[${former}] already`);
    seen.set(key, i);
    return backend;
  });
  const weights = new Set(list.map(({ weight }) => weight ?? 100));
  if (weights.size > 1) refuse(`${field}[].weight`, 'they differ, and backends are not weighed');
  return backends;
}

function readType(flags: Api.ServiceFlags): ServiceType {
  const type = TYPES.find((known) => known === (flags.type ?? 'ClusterIP'));
  return type ?? refuse('flags.type', `${shown(flags.type ?? '')} is not supported, ${TYPES.join(', ')} are`);
}

function readName(text: string | undefined, field: string): string {
  if (text !== undefined && text.length > LONGEST_NAME)
    refuse(field, `is longer than ${LONGEST_NAME} characters`);
  return text ?? '';
}

function readAffinity({ affinityTimeout = 0 }: Api.ServiceFlags): number {
  if (affinityTimeout < 0 || affinityTimeout > MAX_AFFINITY_SECONDS)
    refuse('flags.affinityTimeout', `must be from 0 to ${MAX_AFFINITY_SECONDS} seconds`);
  return affinityTimeout;
}

/** Wishes that would be taken and not be heard. */
function refuseUnsupported(spec: Api.ServiceSpec, flags: Api.ServiceFlags): void {
  for (const name of ['trafficPolicy', 'extTrafficPolicy', 'intTrafficPolicy'] as const) {
    const policy = flags[name] ?? 'Cluster';
    if (policy !== 'Cluster') refuse(`flags.${name}`, `${shown(policy)} is not supported, only Cluster is`);
  }
  if ((flags.natPolicy ?? 'None') !== 'None') refuse('flags.natPolicy', 'no family is translated');
  if ((flags.healthCheckNodePort ?? 0) !== 0) refuse('flags.healthCheckNodePort', 'is not supported');
  if (spec.updateServices === true) refuse('updateServices', 'is not supported: name each service');
}

/**
 * What a caller of the API wants of a service.
 * @param id of the path; 0: one is to be found
 * @throws ApiError 400 naming the field
 */
export function readServiceSpec(id: number, spec: Api.ServiceSpec): Service {
  if (id < 0 || id > MAX_SERVICE_ID) refuse('id', `must be from 1 to ${MAX_SERVICE_ID}, or 0 for a free one`);
  if (spec.id !== undefined && spec.id !== 0 && spec.id !== id)
    refuse('service.id', `${spec.id} is not ${id}, the path's`);
  const flags = spec.flags ?? {};
  const frontend = readFrontend(spec);
  const type = readType(flags);
  if (isUnspecified(frontend.address) && !AT_NODES.includes(type))
    refuse('frontend-address.ip', `stands for every node: flags.type must be ${AT_NODES.join(' or ')} then`);
  refuseUnsupported(spec, flags);
  return {
    ...{ id, type, frontend },
    name: readName(flags.name, 'flags.name'),
    namespace: readName(flags.namespace, 'flags.namespace'),
    backends: readBackends(spec, frontend),
    affinitySeconds: readAffinity(flags),
  };
}
