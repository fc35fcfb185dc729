import {
  duration,
  int,
  known,
  list,
  type ModelOf,
  mapOf,
  model,
  oneOf,
  opt,
  str,
  timestamp,
} from './build.ts';
import { ControllerStatuses } from './controller.ts';
import { NodeElement } from './network.ts';
import * as Features from './status-features.ts';

export const State = oneOf('Ok', 'Warning', 'Failure', 'Disabled');
export type State = ModelOf<typeof State>;

export const Status = model('Status', { state: opt(State), msg: opt(str) });
export type Status = ModelOf<typeof Status>;

export const K8sStatus = model('K8sStatus', {
  state: opt(State),
  'k8s-api-versions': opt(list(str)),
  msg: opt(str),
});
export type K8sStatus = ModelOf<typeof K8sStatus>;

/** `allocations`: address -> owner. */
export const IPAMStatus = model('IPAMStatus', {
  allocations: opt(mapOf(str)),
  ipv4: opt(list(str)),
  ipv6: opt(list(str)),
  status: opt(str),
});
export type IPAMStatus = ModelOf<typeof IPAMStatus>;

export const ClusterStatus = model('ClusterStatus', {
  ciliumHealth: opt(Status),
  self: opt(str),
  nodes: opt(list(NodeElement)),
});
export type ClusterStatus = ModelOf<typeof ClusterStatus>;

/** The event ring: `npages` pages of `pagesize` bytes; `lost` counts events. */
export const MonitorStatus = model('MonitorStatus', {
  cpus: opt(int),
  npages: opt(int),
  pagesize: opt(int),
  lost: opt(int),
  unknown: opt(int),
});
export type MonitorStatus = ModelOf<typeof MonitorStatus>;

export const ProxyRedirect = model('ProxyRedirect', {
  name: opt(str),
  proxy: opt(str),
  'proxy-port': opt(int),
});
export type ProxyRedirect = ModelOf<typeof ProxyRedirect>;

export const ProxyStatus = model('ProxyStatus', {
  'port-range': opt(str),
  ip: opt(str),
  'total-redirects': opt(int),
  'total-ports': opt(int),
  redirects: opt(list(ProxyRedirect)),
  'envoy-deployment-mode': opt(known('embedded', 'external')),
  /** Ours: of the proxy process, with what is wrong. */
  state: opt(State),
  msg: opt(str),
});
export type ProxyStatus = ModelOf<typeof ProxyStatus>;

export const HubbleStatus = model('HubbleStatus', {
  state: opt(State),
  msg: opt(str),
  observer: opt(
    model('HubbleObserverStatus', {
      'max-flows': opt(int),
      'current-flows': opt(int),
      'seen-flows': opt(int),
      uptime: opt(duration),
    }),
  ),
});
export type HubbleStatus = ModelOf<typeof HubbleStatus>;

/** `none` is ours: no datapath, nothing is enforced. */
export const DatapathMode = known('veth', 'netkit', 'netkit-l2', 'none');
export type DatapathMode = ModelOf<typeof DatapathMode>;
export const AttachMode = known('tc', 'tcx', 'none');
export type AttachMode = ModelOf<typeof AttachMode>;

/** Ours: services of the node, and the frontends that the datapath does not have as it should. */
export const ServicesStatus = model('ServicesStatus', { count: int, failed: list(str) });

export const StatusResponse = model('StatusResponse', {
  cilium: opt(Status),
  kvstore: opt(Status),
  'cni-file': opt(Status),
  'container-runtime': opt(Status),
  'host-firewall': opt(Features.HostFirewall),
  hubble: opt(HubbleStatus),
  'hubble-metrics': opt(model('HubbleMetricsStatus', { state: opt(State), msg: opt(str) })),
  kubernetes: opt(K8sStatus),
  'datapath-mode': opt(DatapathMode),
  'attach-mode': opt(AttachMode),
  'kube-proxy-replacement': opt(Features.KubeProxyReplacement),
  ipam: opt(IPAMStatus),
  nodeMonitor: opt(MonitorStatus),
  cluster: opt(ClusterStatus),
  controllers: opt(ControllerStatuses),
  proxy: opt(ProxyStatus),
  services: opt(ServicesStatus),
  'identity-range': opt(Features.IdentityRange),
  'ipv6-big-tcp': opt(Features.BigTCP),
  'ipv4-big-tcp': opt(Features.BigTCP),
  'bandwidth-manager': opt(Features.BandwidthManager),
  masquerading: opt(Features.Masquerading),
  routing: opt(Features.Routing),
  'clock-source': opt(Features.ClockSource),
  srv6: opt(Features.Srv6),
  /** What could not be asked in time, and since when its part of the answer is old. */
  stale: opt(mapOf(timestamp)),
  'client-id': opt(int),
  'cluster-mesh': opt(Features.ClusterMeshStatus),
  'bpf-maps': opt(Features.BPFMapStatus),
  encryption: opt(Features.EncryptionStatus),
  'cni-chaining': opt(Features.CNIChainingStatus),
  'auth-certificate-provider': opt(Status),
});
export type StatusResponse = ModelOf<typeof StatusResponse>;
