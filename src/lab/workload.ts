import { createHash } from 'node:crypto';
import type * as Api from '../api/schema.ts';
import { SystemError } from '../base/errors.ts';
import { agentClient } from './agent-process.ts';
import { netnsPath } from './host.ts';
import { checkWorkloadName, type NodeLayout, netnsPrefix } from './layout.ts';
import { configureWorkload, createWorkloadLink, NODE_DEVICE, type WorkloadLink } from './network.ts';
import type { WorkloadRecord } from './record.ts';

export interface WorkloadSpec {
  readonly name: string;
  readonly node: NodeLayout;
  /** `k8s:class=xwing`; those that Kubernetes would add are added. */
  readonly labels: readonly string[];
  /** Namespace as Kubernetes has them; `default`. */
  readonly namespace?: string | undefined;
  /** No label at all, as a pod has whose labels are not known yet: its identity is reserved:init. */
  readonly unlabelled?: boolean | undefined;
  /** Ports that rules may name. */
  readonly namedPorts?: Api.NamedPorts | undefined;
}

const NAMESPACE = 'default';

/** The labels of a pod as Kubernetes would give them: its own, its namespace and its service account. */
export function podLabels(own: readonly string[], namespace = NAMESPACE): readonly string[] {
  return [
    ...own,
    `k8s:io.kubernetes.pod.namespace=${namespace}`,
    'k8s:io.cilium.k8s.policy.serviceaccount=default',
  ].sort();
}

/** Stable stand-in for a container's id: 64 hexadecimal digits. */
function containerId(labName: string, name: string): string {
  return createHash('sha256').update(`${labName}/${name}`).digest('hex');
}

/** At most 15 characters, as the kernel wants, and unique on a node. */
function hostInterface(id: string): string {
  return `lxc${id.slice(0, 12)}`;
}

function labelsOf({ labels, namespace, unlabelled }: WorkloadSpec): readonly string[] {
  return unlabelled === true ? [] : podLabels(labels, namespace);
}

interface EndpointParts {
  readonly spec: WorkloadSpec;
  readonly id: string;
  readonly ipam: Api.IPAMResponse;
  readonly netns: string | undefined;
  readonly link: WorkloadLink | undefined;
}

function endpointRequest({ spec, id, ipam, netns, link }: EndpointParts): Api.EndpointChangeRequest {
  const { ipv4, ipv6 } = ipam.address;
  return {
    'container-id': id,
    'container-name': spec.name,
    labels: [...labelsOf(spec)],
    state: 'waiting-for-identity',
    addressing: { ...(ipv4 === undefined ? {} : { ipv4 }), ...(ipv6 === undefined ? {} : { ipv6 }) },
    'k8s-pod-name': spec.name,
    'k8s-namespace': spec.namespace ?? NAMESPACE,
    'sync-build-endpoint': true,
    ...(spec.namedPorts === undefined ? {} : { 'named-ports': spec.namedPorts }),
    ...(netns === undefined ? {} : { 'container-netns-path': netnsPath(netns) }),
    ...(link === undefined
      ? {}
      : {
          'interface-name': link.ifname,
          'interface-index': link.ifindex,
          'container-interface-name': NODE_DEVICE,
          mac: link.mac,
          'host-mac': link.hostMac,
        }),
  };
}

/**
 * Does for a workload what a CNI plugin does for a pod: link, addresses, endpoint, and only when its policy is in place
 * the inside of its namespace. In a lab without namespaces the endpoint has addresses and nothing else.
 */
export async function createWorkload(labName: string, spec: WorkloadSpec): Promise<WorkloadRecord> {
  checkWorkloadName(spec.name);
  const client = agentClient(spec.node);
  const id = containerId(labName, spec.name);
  const nodeNetns = spec.node.netns;
  const netns = nodeNetns === undefined ? undefined : `${netnsPrefix(labName)}pod-${spec.name}`;
  const link =
    nodeNetns === undefined || netns === undefined
      ? undefined
      : await createWorkloadLink(nodeNetns, netns, hostInterface(id));
  const ipam = await client.allocateIps({ owner: `${NAMESPACE}/${spec.name}` });
  const endpoint = await client.putEndpoint(
    `container-id:${id}`,
    endpointRequest({ spec, id, ipam, netns, link }),
  );
  if (endpoint?.id === undefined) {
    throw new SystemError(`the agent of ${spec.node.name} named no endpoint for ${spec.name}`, {
      code: 'AGENT_ANSWER',
    });
  }
  const { ipv4, ipv6 } = ipam.address;
  if (netns !== undefined) {
    const gateway = ipam['host-addressing'];
    await configureWorkload(netns, {
      ipv4,
      ipv6,
      gatewayIpv4: gateway.ipv4?.ip,
      gatewayIpv6: gateway.ipv6?.ip,
    });
  }
  return {
    name: spec.name,
    node: spec.node.name,
    netns,
    ifname: link?.ifname,
    labels: labelsOf(spec),
    endpointId: endpoint.id,
    ipv4,
    ipv6,
  };
}
