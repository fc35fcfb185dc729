import { formatIp } from '../base/ip.ts';
import type { Label } from '../model/labels.ts';
import type {
  EndpointGroup,
  ServiceAddresses,
  ServiceListen,
  ServiceObject,
  ServicePort,
} from '../model/service-backends.ts';

export function labelMap(labels: readonly Label[]): Readonly<Record<string, string>> {
  return Object.fromEntries(labels.map(({ key, value }) => [key, value]));
}

function portJson({ name, protocol, port, target, nodePort }: ServicePort): object {
  return {
    ...(name !== '' && { name }),
    ...{ protocol, port, targetPort: target },
    ...(nodePort > 0 && { nodePort }),
  };
}

function listenSpec(listen: ServiceListen): object {
  const { type, clusterIps, externalIps, families, ports, affinitySeconds, onlyLocal } = listen;
  const clientIP = { timeoutSeconds: affinitySeconds };
  return {
    type,
    clusterIPs: clusterIps.map(formatIp),
    externalIPs: externalIps.map(formatIp),
    ipFamilies: families.map((family) => `IPv${family}`),
    ports: ports.map(portJson),
    ...(onlyLocal && { internalTrafficPolicy: 'Local' }),
    ...(affinitySeconds > 0 && { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP } }),
  };
}

/** A Service as Kubernetes writes it. */
export function serviceObject({ name, namespace, labels, selector, listen }: ServiceObject): object {
  const pods = selector?.matchLabels.map(({ key, value }) => [key, value] as const);
  const balancers = listen?.loadBalancerIps ?? [];
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace, labels: labelMap(labels) },
    spec: {
      ...(pods !== undefined && { selector: Object.fromEntries(pods) }),
      ...(listen && listenSpec(listen)),
    },
    ...(balancers.length > 0 && {
      status: { loadBalancer: { ingress: balancers.map((ip) => ({ ip: formatIp(ip) })) } },
    }),
  };
}

function groupsOf({ groups, addresses }: ServiceAddresses): readonly EndpointGroup[] {
  return (
    groups ?? [{ endpoints: addresses.map((address) => ({ address, state: 'active' as const })), ports: [] }]
  );
}

function endpointsObject(object: ServiceAddresses): object {
  const { name, namespace } = object;
  return {
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: { name, namespace },
    subsets: groupsOf(object).map(({ endpoints, ports }) => ({
      addresses: endpoints.map(({ address, node }) => ({
        ip: formatIp(address),
        ...(node !== undefined && { nodeName: node }),
      })),
      ports,
    })),
  };
}

/** A slice has addresses of one family. */
function sliceObject(object: ServiceAddresses): object {
  const { name, namespace, service } = object;
  const [group] = groupsOf(object);
  const endpoints = group?.endpoints ?? [];
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, namespace, labels: { 'kubernetes.io/service-name': service } },
    addressType: endpoints[0]?.address.length === 16 ? 'IPv6' : 'IPv4',
    endpoints: endpoints.map(({ address, state, serving = false, node }) => ({
      addresses: [formatIp(address)],
      ...(state === 'terminating' && { conditions: { ready: false, serving, terminating: true } }),
      ...(node !== undefined && { nodeName: node }),
    })),
    ports: group?.ports ?? [],
  };
}

/** An Endpoints or EndpointSlice object as Kubernetes writes it. */
export function serviceAddressesObject(object: ServiceAddresses): object {
  return object.kind === 'slice' ? sliceObject(object) : endpointsObject(object);
}
