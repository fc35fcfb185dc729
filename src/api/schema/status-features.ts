import Type from 'typebox';
import { bool, int, known, list, type ModelOf, mapOf, model, opt, str, timestamp } from './build.ts';

const Enabled = model('FeatureEnabled', { enabled: opt(bool) });

export const NodePortFeature = model('NodePortFeature', {
  enabled: opt(bool),
  mode: opt(known('SNAT', 'DSR', 'Hybrid')),
  dsrMode: opt(known('IP Option/Extension', 'IPIP', 'Geneve')),
  algorithm: opt(known('Random', 'Maglev')),
  acceleration: opt(known('None', 'Native', 'Generic', 'Best-Effort', 'Disabled')),
  portMin: opt(int),
  portMax: opt(int),
  lutSize: opt(int),
});

/** A client dies when one of the seven objects is missing here: always give all of them. */
export const KubeProxyReplacementFeatures = model('KubeProxyReplacementFeatures', {
  nodePort: opt(NodePortFeature),
  hostPort: opt(Enabled),
  externalIPs: opt(Enabled),
  hostReachableServices: opt(
    model('HostReachableServices', { enabled: opt(bool), protocols: opt(list(str)) }),
  ),
  socketLB: opt(Enabled),
  sessionAffinity: opt(Enabled),
  gracefulTermination: opt(Enabled),
  nat46X64: opt(
    model('Nat46X64', {
      enabled: opt(bool),
      service: opt(Enabled),
      gateway: opt(model('Nat46X64Gateway', { enabled: opt(bool), prefixes: opt(list(str)) })),
    }),
  ),
  socketLBTracing: opt(Enabled),
  bpfSocketLBHostnsOnly: opt(bool),
  annotations: opt(list(str)),
});

export const KubeProxyReplacement = model('KubeProxyReplacement', {
  mode: opt(known('True', 'False')),
  devices: opt(list(str)),
  deviceList: opt(list(model('KubeProxyDevice', { name: opt(str), ip: opt(list(str)) }))),
  directRoutingDevice: opt(str),
  features: opt(KubeProxyReplacementFeatures),
});
export type KubeProxyReplacement = ModelOf<typeof KubeProxyReplacement>;

export const Masquerading = model('Masquerading', {
  enabled: opt(bool),
  enabledProtocols: opt(model('MasqueradeProtocols', { ipv4: opt(bool), ipv6: opt(bool) })),
  mode: opt(known('BPF', 'iptables')),
  'ip-masq-agent': opt(bool),
  'snat-exclusion-cidr': opt(str),
  'snat-exclusion-cidr-v4': opt(str),
  'snat-exclusion-cidr-v6': opt(str),
});
export type Masquerading = ModelOf<typeof Masquerading>;

export const Routing = model('Routing', {
  'inter-host-routing-mode': opt(known('Native', 'Tunnel')),
  'intra-host-routing-mode': opt(known('BPF', 'Legacy')),
  'tunnel-protocol': opt(str),
});
export type Routing = ModelOf<typeof Routing>;

export const BandwidthManager = model('BandwidthManager', {
  enabled: opt(bool),
  devices: opt(list(str)),
  congestionControl: opt(known('cubic', 'bbr')),
});

export const BigTCP = model('BigTCP', { enabled: opt(bool), maxGRO: opt(int), maxGSO: opt(int) });
export const ClockSource = model('ClockSource', { mode: opt(known('ktime', 'jiffies')), hertz: opt(int) });
export type ClockSource = ModelOf<typeof ClockSource>;
export const Srv6 = model('Srv6', { enabled: opt(bool), srv6EncapMode: opt(known('SRH', 'Reduced')) });
export const HostFirewall = model('HostFirewall', {
  mode: opt(known('Disabled', 'Enabled')),
  devices: opt(list(str)),
});
export const IdentityRange = model('IdentityRange', { 'min-identity': opt(int), 'max-identity': opt(int) });
export type IdentityRange = ModelOf<typeof IdentityRange>;

export const WireguardPeer = model('WireguardPeer', {
  'public-key': opt(str),
  endpoint: opt(str),
  'last-handshake-time': opt(timestamp),
  'transfer-tx': opt(int),
  'transfer-rx': opt(int),
  'allowed-ips': opt(list(str)),
});
export const WireguardInterface = model('WireguardInterface', {
  name: opt(str),
  'public-key': opt(str),
  'listen-port': opt(int),
  'peer-count': opt(int),
  peers: opt(list(WireguardPeer)),
});
export const WireguardStatus = model('WireguardStatus', {
  'node-encryption': opt(str),
  'node-encrypt-opt-out-labels': opt(str),
  interfaces: opt(list(WireguardInterface)),
});
export type WireguardStatus = ModelOf<typeof WireguardStatus>;
export const IPsecStatus = model('IPsecStatus', {
  'decrypt-interfaces': opt(list(str)),
  'max-seq-number': opt(str),
  'keys-in-use': opt(int),
  'error-count': opt(int),
  'xfrm-errors': opt(mapOf(int)),
});
export const EncryptionStatus = model('EncryptionStatus', {
  mode: opt(known('Disabled', 'IPsec', 'Wireguard', 'Ztunnel')),
  msg: opt(str),
  ipsec: opt(IPsecStatus),
  wireguard: opt(WireguardStatus),
});
export type EncryptionStatus = ModelOf<typeof EncryptionStatus>;

export const BPFMapProperties = model('BPFMapProperties', { name: opt(str), size: opt(int) });
export const BPFMapStatus = model('BPFMapStatus', {
  'dynamic-size-ratio': opt(Type.Number()),
  maps: opt(list(BPFMapProperties)),
});
export type BPFMapStatus = ModelOf<typeof BPFMapStatus>;
export const CNIChainingStatus = model('CNIChainingStatus', {
  mode: opt(known('none', 'aws-cni', 'flannel', 'generic-veth', 'portmap')),
});

const nullableBool = Type.Union([bool, Type.Null()]);
export const RemoteClusterSynced = model('RemoteClusterSynced', {
  nodes: opt(bool),
  services: opt(bool),
  'service-exports': opt(nullableBool),
  endpoints: opt(bool),
  identities: opt(bool),
});
export const RemoteClusterConfig = model('RemoteClusterConfig', {
  required: opt(bool),
  retrieved: opt(bool),
  'cluster-id': opt(int),
  kvstoremesh: opt(bool),
  'sync-canaries': opt(bool),
  'service-exports-enabled': opt(nullableBool),
});
export const RemoteCluster = model('RemoteCluster', {
  name: opt(str),
  ready: opt(bool),
  connected: opt(bool),
  synced: opt(RemoteClusterSynced),
  config: opt(RemoteClusterConfig),
  'num-nodes': opt(int),
  'num-shared-services': opt(int),
  'num-service-exports': opt(int),
  'num-identities': opt(int),
  'num-endpoints': opt(int),
  status: opt(str),
  'num-failures': opt(int),
  'last-failure': opt(timestamp),
});
export const ClusterMeshStatus = model('ClusterMeshStatus', { clusters: opt(list(RemoteCluster)) });
export type ClusterMeshStatus = ModelOf<typeof ClusterMeshStatus>;
