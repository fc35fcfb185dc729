import type * as Api from '../api/schema.ts';
import type { LabelFilter } from '../model/label-filter.ts';
import { formatLabels } from '../model/labels.ts';
import { Protocol } from '../model/map-state.ts';
import { identitiesWithVerdict, l4Summary } from '../policy/index.ts';
import type { Endpoint, EndpointPolicy } from './endpoint.ts';
import { attachmentId } from './endpoint-index.ts';
import { ENDPOINT_OPTIONS } from './endpoint-request.ts';
import type { StatusLogEntry } from './status-log.ts';

export interface EndpointViewOptions {
  /** Without a datapath nothing is enforced, whatever the rules say. */
  readonly enforcing: boolean;
  /** Which labels make identities here. */
  readonly labelFilter: LabelFilter;
}

function enabledText(
  { options }: Endpoint,
  policy: EndpointPolicy | undefined,
  enforcing: boolean,
): Api.EndpointPolicyEnabled {
  const { ingress, egress } = policy?.policy.enforcement ?? { ingress: false, egress: false };
  if (!enforcing || (!ingress && !egress)) return 'none';
  const directions = ingress && egress ? 'both' : ingress ? 'ingress' : 'egress';
  return options.PolicyAuditMode === 'Enabled' ? `audit-${directions}` : directions;
}

function policyView(
  endpoint: Endpoint,
  policy: EndpointPolicy | undefined,
  enforcing: boolean,
): Api.EndpointPolicy {
  const revision = policy?.revision ?? 0;
  if (policy === undefined) {
    return {
      'policy-revision': revision,
      id: endpoint.identity?.id ?? 0,
      'policy-enabled': 'none',
      build: endpoint.builds,
    };
  }
  const { mapState, subject } = policy.policy;
  return {
    'policy-revision': revision,
    id: subject.id,
    'policy-enabled': enabledText(endpoint, policy, enforcing),
    build: endpoint.builds,
    'allowed-ingress-identities': identitiesWithVerdict(mapState, 'ingress', 'allow'),
    'denied-ingress-identities': identitiesWithVerdict(mapState, 'ingress', 'deny'),
    'allowed-egress-identities': identitiesWithVerdict(mapState, 'egress', 'allow'),
    'denied-egress-identities': identitiesWithVerdict(mapState, 'egress', 'deny'),
    l4: l4Summary(policy.policy),
    'cidr-policy': { ingress: [], egress: [] },
  };
}

export function logView(entries: readonly StatusLogEntry[]): readonly Api.EndpointStatusChange[] {
  return entries.map(({ time, code, message, state }) => ({
    timestamp: time.toISOString(),
    code,
    message,
    state,
  }));
}

/** `policy` is OK only when what the rules ask now is what is enforced. */
export function healthView(
  endpoint: Endpoint,
  { enforcing }: Pick<EndpointViewOptions, 'enforcing'>,
): Api.EndpointHealth {
  if (endpoint.isEnding)
    return { overallHealth: 'Disabled', bpf: 'Disabled', policy: 'Disabled', connected: false };
  const bpf = !enforcing ? 'Disabled' : endpoint.attached ? 'OK' : 'Bootstrap';
  const policy =
    endpoint.failure !== undefined
      ? 'Failure'
      : endpoint.state === 'ready'
        ? enforcing
          ? 'OK'
          : 'Disabled'
        : 'Pending';
  const overall = policy === 'Failure' ? 'Failure' : endpoint.state === 'ready' ? 'OK' : 'Bootstrap';
  return { overallHealth: overall, bpf, policy, connected: endpoint.attached };
}

export function labelsView(endpoint: Endpoint, filter: LabelFilter): Api.LabelConfiguration {
  const { identity, informational } = filter.split(endpoint.labels);
  const user = formatLabels(endpoint.labels);
  return {
    spec: { user },
    status: {
      realized: { user },
      'security-relevant': formatLabels(identity),
      derived: formatLabels(informational),
      disabled: [],
    },
  };
}

function identifiersView({ spec }: Endpoint, endpoint: Endpoint): Api.EndpointIdentifiers {
  const pod = spec.k8sPodName;
  return {
    'cni-attachment-id': attachmentId(endpoint),
    'container-id': spec.containerId,
    'container-name': spec.containerName,
    'docker-endpoint-id': spec.dockerEndpointId,
    'docker-network-id': spec.dockerNetworkId,
    'pod-name': pod === undefined ? undefined : `${spec.k8sNamespace ?? ''}/${pod}`,
    'k8s-pod-name': pod,
    'k8s-namespace': spec.k8sNamespace,
  };
}

function networkingView({ spec }: Endpoint): Api.EndpointNetworking {
  return {
    addressing: [{ ipv4: spec.ipv4, ipv6: spec.ipv6 }],
    mac: spec.mac === '' ? undefined : spec.mac,
    'host-mac': spec.hostMac === '' ? undefined : spec.hostMac,
    'interface-name': spec.interfaceName === '' ? undefined : spec.interfaceName,
    'interface-index': spec.interfaceIndex === 0 ? undefined : spec.interfaceIndex,
    'container-interface-name': spec.containerInterfaceName,
  };
}

function namedPortsView({ spec }: Endpoint): Api.NamedPorts {
  const protocol = { [Protocol.tcp]: 'TCP', [Protocol.udp]: 'UDP', [Protocol.sctp]: 'SCTP' } as const;
  return spec.namedPorts.map(({ name, protocol: number, port }) => ({
    name,
    port,
    protocol: protocol[number as keyof typeof protocol],
  }));
}

export function configurationView(endpoint: Endpoint): Api.EndpointConfigurationSpec {
  return {
    options: { ...ENDPOINT_OPTIONS, ...endpoint.options },
    'label-configuration': { user: formatLabels(endpoint.labels) },
  };
}

/** An endpoint as the API shows it. */
export function endpointView(endpoint: Endpoint, options: EndpointViewOptions): Api.Endpoint {
  const { identity } = endpoint;
  const configuration = configurationView(endpoint);
  return {
    id: endpoint.id,
    spec: configuration,
    status: {
      'external-identifiers': identifiersView(endpoint, endpoint),
      ...(identity !== undefined && { identity: { id: identity.id, labels: formatLabels(identity.labels) } }),
      labels: labelsView(endpoint, options.labelFilter).status,
      realized: configuration,
      networking: networkingView(endpoint),
      policy: {
        spec: policyView(endpoint, endpoint.desired, options.enforcing),
        realized: policyView(endpoint, endpoint.realized, options.enforcing),
        'proxy-policy-revision': 0,
        'proxy-statistics': [],
      },
      log: logView(endpoint.log.newestFirst().slice(0, 1)),
      controllers: [],
      state: endpoint.state,
      health: healthView(endpoint, options),
      namedPorts: namedPortsView(endpoint),
    },
  };
}
