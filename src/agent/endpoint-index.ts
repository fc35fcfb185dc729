import type { EndpointRef } from '../api/operations.ts';
import { formatIp, parseIp } from '../base/ip.ts';
import type { Endpoint } from './endpoint.ts';

function sameAddress(a: string | undefined, b: string): boolean {
  return a !== undefined && formatIp(parseIp(a)) === b;
}

function podName(endpoint: Endpoint): string {
  return `${endpoint.spec.k8sNamespace ?? ''}/${endpoint.spec.k8sPodName ?? ''}`;
}

/** `container id:interface`, as CNI names an attachment; without interface the container's first. */
export function attachmentId(endpoint: Endpoint): string | undefined {
  const { containerId, containerInterfaceName } = endpoint.spec;
  return containerId === undefined ? undefined : `${containerId}:${containerInterfaceName ?? 'eth0'}`;
}

type Matcher = (endpoint: Endpoint, value: string) => boolean;

const MATCH: Readonly<Record<Exclude<EndpointRef['kind'], 'cilium-local'>, Matcher>> = {
  'cilium-global': (endpoint, value) => String(endpoint.id) === value,
  'container-id': (endpoint, value) => endpoint.spec.containerId === value,
  'container-name': (endpoint, value) => endpoint.spec.containerName === value,
  'docker-endpoint': (endpoint, value) => endpoint.spec.dockerEndpointId === value,
  'pod-name': (endpoint, value) => podName(endpoint) === value,
  'cep-name': (endpoint, value) => podName(endpoint) === value,
  ipv4: (endpoint, value) => sameAddress(endpoint.spec.ipv4, value),
  ipv6: (endpoint, value) => sameAddress(endpoint.spec.ipv6, formatIp(parseIp(value))),
  'cni-attachment-id': (endpoint, value) =>
    attachmentId(endpoint) === value || endpoint.spec.containerId === value,
};

/** The endpoint that a reference names; undefined when there is none. @throws UsageError IP_INVALID */
export function findEndpoint(
  endpoints: ReadonlyMap<number, Endpoint>,
  ref: EndpointRef,
): Endpoint | undefined {
  if (ref.kind === 'cilium-local') return endpoints.get(ref.id);
  const matches = MATCH[ref.kind];
  for (const endpoint of endpoints.values()) if (matches(endpoint, ref.value)) return endpoint;
  return undefined;
}
