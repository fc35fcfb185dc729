import Type from 'typebox';
import { bool, int, known, list, type ModelOf, mapOf, model, oneOf, opt, str, u16, uint } from './build.ts';
import { AddressPair, Labels, NodeAddressing, Port } from './common.ts';
import { ControllerStatuses } from './controller.ts';
import { Identity, LabelConfigurationSpec, LabelConfigurationStatus } from './identity.ts';
import { CIDRPolicy, L4Policy } from './policy.ts';

export const EndpointState = oneOf(
  'creating',
  'waiting-for-identity',
  'not-ready',
  'waiting-to-regenerate',
  'regenerating',
  'restoring',
  'ready',
  'disconnecting',
  'disconnected',
  'invalid',
);
export type EndpointState = ModelOf<typeof EndpointState>;

/** Option values are texts: `Enabled`, `Disabled` or the raw value. */
export const ConfigurationMap = mapOf(str, { title: 'ConfigurationMap' });
export type ConfigurationMap = ModelOf<typeof ConfigurationMap>;

export const EndpointDatapathConfiguration = model('EndpointDatapathConfiguration', {
  'require-arp-passthrough': opt(bool),
  'require-egress-prog': opt(bool),
  'external-ipam': opt(bool),
  'require-routing': opt(bool),
  'install-endpoint-route': opt(bool),
  'disable-sip-verification': opt(bool),
});
export type EndpointDatapathConfiguration = ModelOf<typeof EndpointDatapathConfiguration>;

/** `aa:bb:cc:dd:ee:ff`; clients that know none leave it empty. */
const MacAddress = Type.String({ pattern: '^(([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2})?$' });

export const EndpointChangeRequest = model('EndpointChangeRequest', {
  id: opt(int),
  'container-id': opt(str),
  'container-name': opt(str),
  /** Path of the namespace that the endpoint's interface lives in. */
  'container-netns-path': opt(str),
  'docker-endpoint-id': opt(str),
  'docker-network-id': opt(str),
  labels: opt(Labels),
  'interface-name': opt(str),
  'interface-index': opt(uint),
  'parent-interface-index': opt(uint),
  'container-interface-name': opt(str),
  state: EndpointState,
  mac: opt(MacAddress),
  'host-mac': opt(MacAddress),
  addressing: opt(AddressPair),
  'k8s-pod-name': opt(str),
  'k8s-namespace': opt(str),
  'k8s-uid': opt(str),
  'datapath-map-id': opt(uint),
  'policy-enabled': opt(bool),
  pid: opt(uint),
  /** Answer only once the endpoint's first policy is in its map. */
  'sync-build-endpoint': opt(bool),
  'disable-legacy-identifiers': opt(bool),
  'netns-cookie': opt(str),
  'datapath-configuration': opt(EndpointDatapathConfiguration),
  properties: opt(mapOf(Type.Unknown())),
  /** Ports that rules may name; without a protocol TCP. Ours: elsewhere they come from the pod. */
  'named-ports': opt(list(Port)),
});
export type EndpointChangeRequest = ModelOf<typeof EndpointChangeRequest>;

export const EndpointBatchDeleteRequest = model('EndpointBatchDeleteRequest', { 'container-id': opt(str) });
export type EndpointBatchDeleteRequest = ModelOf<typeof EndpointBatchDeleteRequest>;

export const EndpointIdentifiers = model('EndpointIdentifiers', {
  'cni-attachment-id': opt(str),
  'container-id': opt(str),
  'container-name': opt(str),
  'docker-endpoint-id': opt(str),
  'docker-network-id': opt(str),
  'pod-name': opt(str),
  'k8s-pod-name': opt(str),
  'k8s-namespace': opt(str),
});
export type EndpointIdentifiers = ModelOf<typeof EndpointIdentifiers>;

export const EndpointNetworking = model('EndpointNetworking', {
  addressing: opt(list(AddressPair)),
  'host-addressing': opt(NodeAddressing),
  'host-mac': opt(str),
  mac: opt(str),
  'interface-name': opt(str),
  'interface-index': opt(int),
  'container-interface-name': opt(str),
});
export type EndpointNetworking = ModelOf<typeof EndpointNetworking>;

export const EndpointConfigurationSpec = model('EndpointConfigurationSpec', {
  options: opt(ConfigurationMap),
  'label-configuration': opt(LabelConfigurationSpec),
});
export type EndpointConfigurationSpec = ModelOf<typeof EndpointConfigurationSpec>;

export const EndpointConfigurationStatus = model('EndpointConfigurationStatus', {
  realized: opt(EndpointConfigurationSpec),
  immutable: opt(ConfigurationMap),
  error: opt(str),
});
export type EndpointConfigurationStatus = ModelOf<typeof EndpointConfigurationStatus>;

export const EndpointPolicyEnabled = known(
  'none',
  'ingress',
  'egress',
  'both',
  'audit-ingress',
  'audit-egress',
  'audit-both',
);
export type EndpointPolicyEnabled = ModelOf<typeof EndpointPolicyEnabled>;

export const EndpointPolicy = model('EndpointPolicy', {
  'policy-revision': opt(int),
  id: opt(int),
  'policy-enabled': opt(EndpointPolicyEnabled),
  build: opt(int),
  'allowed-ingress-identities': opt(list(int)),
  'denied-ingress-identities': opt(list(int)),
  'allowed-egress-identities': opt(list(int)),
  'denied-egress-identities': opt(list(int)),
  l4: opt(L4Policy),
  'cidr-policy': opt(CIDRPolicy),
});
export type EndpointPolicy = ModelOf<typeof EndpointPolicy>;

export const MessageForwardingStatistics = model('MessageForwardingStatistics', {
  received: opt(int),
  denied: opt(int),
  error: opt(int),
  forwarded: opt(int),
});
export type MessageForwardingStatistics = ModelOf<typeof MessageForwardingStatistics>;

export const RequestResponseStatistics = model('RequestResponseStatistics', {
  requests: opt(MessageForwardingStatistics),
  responses: opt(MessageForwardingStatistics),
});
export type RequestResponseStatistics = ModelOf<typeof RequestResponseStatistics>;

export const ProxyStatistics = model('ProxyStatistics', {
  protocol: opt(str),
  port: opt(u16),
  'allocated-proxy-port': opt(u16),
  location: opt(known('ingress', 'egress')),
  statistics: opt(RequestResponseStatistics),
});
export type ProxyStatistics = ModelOf<typeof ProxyStatistics>;

export const EndpointPolicyStatus = model('EndpointPolicyStatus', {
  spec: opt(EndpointPolicy),
  realized: opt(EndpointPolicy),
  'proxy-policy-revision': opt(int),
  'proxy-statistics': opt(list(ProxyStatistics)),
});
export type EndpointPolicyStatus = ModelOf<typeof EndpointPolicyStatus>;

export const EndpointStatusChange = model('EndpointStatusChange', {
  /** RFC 3339, a plain text in the contract. */
  timestamp: opt(str),
  code: opt(known('OK', 'Failed')),
  message: opt(str),
  state: opt(EndpointState),
});
export type EndpointStatusChange = ModelOf<typeof EndpointStatusChange>;
export const EndpointStatusLog = list(EndpointStatusChange, { title: 'EndpointStatusLog' });
export type EndpointStatusLog = ModelOf<typeof EndpointStatusLog>;

export const EndpointHealthStatus = known('OK', 'Bootstrap', 'Pending', 'Warning', 'Failure', 'Disabled');
export type EndpointHealthStatus = ModelOf<typeof EndpointHealthStatus>;

export const EndpointHealth = model('EndpointHealth', {
  overallHealth: opt(EndpointHealthStatus),
  bpf: opt(EndpointHealthStatus),
  policy: opt(EndpointHealthStatus),
  connected: opt(bool),
});
export type EndpointHealth = ModelOf<typeof EndpointHealth>;

export const NamedPorts = list(Port, { title: 'NamedPorts' });
export type NamedPorts = ModelOf<typeof NamedPorts>;

export const EndpointStatus = model('EndpointStatus', {
  'external-identifiers': opt(EndpointIdentifiers),
  identity: opt(Identity),
  labels: opt(LabelConfigurationStatus),
  realized: opt(EndpointConfigurationSpec),
  networking: opt(EndpointNetworking),
  policy: opt(EndpointPolicyStatus),
  log: opt(EndpointStatusLog),
  controllers: opt(ControllerStatuses),
  state: EndpointState,
  health: opt(EndpointHealth),
  namedPorts: opt(NamedPorts),
});
export type EndpointStatus = ModelOf<typeof EndpointStatus>;

export const Endpoint = model('Endpoint', {
  id: opt(int),
  spec: opt(EndpointConfigurationSpec),
  status: opt(EndpointStatus),
});
export type Endpoint = ModelOf<typeof Endpoint>;
export const Endpoints = Type.Array(Endpoint);
