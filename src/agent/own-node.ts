import { type Cidr, formatCidr, parseIp } from '../base/ip.ts';
import type { DatapathNode } from '../datapath/types.ts';
import type { ClusterNode } from '../model/node.ts';
import type { IpIdentity } from '../store/types.ts';
import type { Endpoint } from './endpoint.ts';
import { addressesOf, ownerOf } from './endpoint-addresses.ts';
import type { HealthPart } from './health-part.ts';
import type { Ipam } from './ipam.ts';
import type { NodeFacts } from './node-facts.ts';
import type { AgentOptions } from './options.ts';

/** This node as the others see it. */
export function ownNode(options: AgentOptions, facts: NodeFacts, health: HealthPart): ClusterNode {
  const range = (cidr: Cidr | undefined): string | undefined => cidr && formatCidr(cidr);
  const { ipv4, ipv6 } = health.addresses();
  const labels = options['node-own-labels'];
  return {
    name: options['node-name'],
    ipv4: facts.ipv4,
    ipv6: facts.ipv6,
    ipv4AllocRange: range(options['ipv4-range']),
    ipv6AllocRange: range(options['ipv6-range']),
    ipv4HealthIp: ipv4,
    ipv6HealthIp: ipv6,
    ...(labels.length > 0 && { labels: Object.fromEntries(labels) }),
  };
}

/** The addresses that this node publishes: those of endpoints that have an identity. */
export function ownIps(
  endpoints: readonly Endpoint[],
  nodeName: string,
  facts: NodeFacts,
): readonly IpIdentity[] {
  const hostIp = facts.ipv4 ?? facts.ipv6 ?? '';
  return endpoints.flatMap(({ spec, identity, isEnding }) => {
    if (identity === undefined || isEnding) return [];
    const owner = spec.k8sPodName === undefined ? {} : { owner: ownerOf(spec) };
    return addressesOf(spec).map((ip) => ({
      cidr: `${ip}/${parseIp(ip).length * 8}`,
      identity: identity.id,
      node: nodeName,
      hostIp,
      ...owner,
      ...(spec.namedPorts.length > 0 && { namedPorts: spec.namedPorts }),
    }));
  });
}

/** What the datapath must know of this node. */
export function datapathNode(options: AgentOptions, facts: NodeFacts, ipam: Ipam): DatapathNode {
  const own = [options['ipv4-range'], options['ipv6-range']].filter((range) => range !== undefined);
  const router = (family: 4 | 6): Uint8Array | undefined => {
    const ip = ipam.routerIp(family);
    return ip === undefined ? undefined : parseIp(ip);
  };
  return {
    addresses: [facts.ipv4, facts.ipv6].filter((ip) => ip !== undefined).map(parseIp),
    podCidrs: options['cluster-cidrs'].length > 0 ? options['cluster-cidrs'] : own,
    devices: facts.devices,
    routerIpv4: router(4),
    routerIpv6: router(6),
  };
}
