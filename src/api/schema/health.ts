import Type from 'typebox';
import { duration, list, type ModelOf, model, opt, str, timestamp } from './build.ts';
import { StatusResponse } from './status.ts';

/**
 * One probe: `latency` in ns, absent when it failed; `status` the failure's text, absent or empty when it is fine.
 * `filtered` is ours: only this probe is silent, and the address answers the other one, so it is not down.
 */
export const ConnectivityStatus = model('ConnectivityStatus', {
  latency: opt(Type.Integer({ description: 'nanoseconds' })),
  status: opt(str),
  lastProbed: opt(timestamp),
  filtered: opt(Type.Boolean()),
});
export type ConnectivityStatus = ModelOf<typeof ConnectivityStatus>;

/** An absent probe is unknown, not healthy. */
export const PathStatus = model('PathStatus', {
  ip: opt(str),
  icmp: opt(ConnectivityStatus),
  http: opt(ConnectivityStatus),
});
export type PathStatus = ModelOf<typeof PathStatus>;

export const HostStatus = model('HostStatus', {
  'primary-address': opt(PathStatus),
  'secondary-addresses': opt(list(PathStatus)),
});
export type HostStatus = ModelOf<typeof HostStatus>;

export const EndpointPathStatus = model('EndpointPathStatus', {
  'primary-address': opt(PathStatus),
  'secondary-addresses': opt(list(PathStatus)),
});
export type EndpointPathStatus = ModelOf<typeof EndpointPathStatus>;

/** `endpoint` is the 2018 form of `health-endpoint`; both are served. */
export const NodeStatus = model('NodeStatus', {
  name: opt(str),
  host: opt(HostStatus),
  'health-endpoint': opt(EndpointPathStatus),
  endpoint: opt(PathStatus),
});
export type NodeStatus = ModelOf<typeof NodeStatus>;

export const SelfStatus = model('SelfStatus', { name: opt(str) });
export type SelfStatus = ModelOf<typeof SelfStatus>;

/**
 * How ICMP is sent over each family: `bpf`, `raw`, `datagram`, with why it is not a better one behind it, as in
 * `raw (no programs: REASON)`; or why it is not sent: `off: REASON`, and paths of it stay unknown.
 */
export const IcmpModes = model('IcmpModes', { ipv4: opt(str), ipv6: opt(str) });
export type IcmpModes = ModelOf<typeof IcmpModes>;

/** The node list could not be renewed since then. */
export const NodesStale = model('NodesStale', { since: opt(timestamp), reason: opt(str) });
export type NodesStale = ModelOf<typeof NodesStale>;

/** `icmp-modes` and `nodes-stale` are ours; Cilium's clients pass over them. */
export const HealthStatusResponse = model('HealthStatusResponse', {
  /** Start of the round. */
  timestamp: opt(str),
  probeInterval: opt(duration),
  local: opt(SelfStatus),
  nodes: opt(list(NodeStatus)),
  'icmp-modes': opt(IcmpModes),
  'nodes-stale': opt(NodesStale),
});
export type HealthStatusResponse = ModelOf<typeof HealthStatusResponse>;

export const LoadResponse = model('LoadResponse', {
  last1min: opt(str),
  last5min: opt(str),
  last15min: opt(str),
});
export type LoadResponse = ModelOf<typeof LoadResponse>;

export const HealthResponse = model('HealthResponse', {
  cilium: opt(StatusResponse),
  uptime: opt(duration),
  'system-load': opt(LoadResponse),
});
export type HealthResponse = ModelOf<typeof HealthResponse>;
