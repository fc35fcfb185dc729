import { formatCidr, parseCidr } from '../base/ip.ts';
import type { EndpointSpec } from './endpoint.ts';

/** Addresses in text form, IPv4 first. */
export function addressesOf(spec: EndpointSpec): readonly string[] {
  return [spec.ipv4, spec.ipv6].filter((ip) => ip !== undefined);
}

/** `address/32` or `address/128`. */
export function hostCidr(ip: string): string {
  return formatCidr(parseCidr(ip));
}

/** Whose an address is, for people: `namespace/pod`, the container's name, or the endpoint's number. */
export function ownerOf(spec: EndpointSpec): string {
  if (spec.k8sPodName !== undefined) return `${spec.k8sNamespace ?? ''}/${spec.k8sPodName}`;
  return spec.containerName ?? `endpoint ${spec.id}`;
}
