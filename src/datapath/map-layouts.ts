import { be16, bytes, i32, pair, structLayout, text, u8, u16, u32, u64 } from './struct-layout.ts';

/** `struct config`. Lifetimes in units of jiffies >> 8. */
export const configLayout = structLayout('config', 40, {
  lifetimeTcp: [0, u32],
  lifetimeTcpSyn: [4, u32],
  lifetimeTcpClose: [8, u32],
  lifetimeAny: [12, u32],
  hz: [16, u32],
  eventKinds: [20, u32],
  jiffies: [24, u64],
  monotonicNs: [32, u64],
});

export const endpointLayout = structLayout('endpoint', 64, {
  id: [0, u16],
  flags: [2, u8],
  families: [3, u8],
  policy: [4, pair(u16)],
  identity: [8, u32],
  ifindex: [12, u32],
  ip4: [16, bytes(4)],
  ip6: [20, bytes(16)],
  mac: [36, bytes(6)],
  hostMac: [42, bytes(6)],
  ifname: [48, text(16)],
});

export const addressKeyLayout = structLayout('address_key', 24, { family: [0, u8], address: [8, bytes(16)] });
export const addressEntryLayout = structLayout('address_entry', 8, { slot: [0, u32], flags: [4, u32] });

export const endpointCountersLayout = structLayout('endpoint_counters', 64, {
  ingressPackets: [0, u64],
  ingressBytes: [8, u64],
  egressPackets: [16, u64],
  egressBytes: [24, u64],
  ingressDrops: [32, u64],
  egressDrops: [40, u64],
});

export const metricsLayout = structLayout('metrics_entry', 16, { packets: [0, u64], bytes: [8, u64] });

export const ipcacheKeyLayout = structLayout('ipcache_key', 24, {
  prefixBits: [0, u32],
  cluster: [4, u16],
  family: [7, u8],
  address: [8, bytes(16)],
});
export const ipcacheEntryLayout = structLayout('ipcache_entry', 24, {
  identity: [0, u32],
  flags: [4, u32],
  tunnel: [8, bytes(16)],
});

export const policyKeyLayout = structLayout('policy_key', 12, {
  prefixBits: [0, u32],
  identity: [4, u32],
  direction: [8, u8],
  protocol: [9, u8],
  port: [10, be16],
});
export const policyEntryLayout = structLayout('policy_entry', 12, {
  precedence: [0, u32],
  proxyPort: [4, be16],
  flags: [6, u8],
  l4Bits: [7, u8],
  ruleId: [8, u32],
});

export const policyStatsKeyLayout = structLayout('policy_stats_key', 12, {
  slot: [0, u16],
  direction: [2, u8],
  l4Bits: [3, u8],
  identity: [4, u32],
  protocol: [8, u8],
  port: [10, be16],
});
export const policyStatsLayout = structLayout('policy_stats', 16, { packets: [0, u64], bytes: [8, u64] });

/** Key: the rule's id, u32. */
export const ruleStatsLayout = structLayout('rule_stats', 24, {
  allowed: [0, u64],
  denied: [8, u64],
  redirected: [16, u64],
});

export const ct4KeyLayout = structLayout('ct4_key', 16, {
  address: [0, pair(bytes(4))],
  port: [8, pair(be16)],
  protocol: [12, u8],
  zone: [13, u8],
});
export const ct6KeyLayout = structLayout('ct6_key', 40, {
  address: [0, pair(bytes(16))],
  port: [32, pair(be16)],
  protocol: [36, u8],
  zone: [37, u8],
});
export const ctEntryLayout = structLayout('ct_entry', 64, {
  seen: [0, u32],
  lifetime: [4, u32],
  flags: [8, u16],
  tcpFlags: [10, pair(u8)],
  epoch: [12, pair(u32)],
  slot: [20, pair(u16)],
  ifindex: [24, pair(u32)],
  mac: [32, pair(bytes(8))],
  identity: [48, pair(u32)],
  proxyPort: [56, be16],
  reverseNat: [58, u16],
  tunnel: [60, bytes(4)],
});

export const serviceKeyLayout = structLayout('service_key', 24, {
  address: [0, bytes(16)],
  port: [16, be16],
  slot: [18, u16],
  protocol: [20, u8],
  family: [21, u8],
});
export const serviceEntryLayout = structLayout('service_entry', 16, {
  backend: [0, u32],
  affinity: [4, u32],
  count: [8, u16],
  id: [10, u16],
  type: [12, u8],
});
/** Key: the backend's id, u32. */
export const backendEntryLayout = structLayout('backend_entry', 24, {
  address: [0, bytes(16)],
  port: [16, be16],
  protocol: [18, u8],
  family: [19, u8],
  state: [20, u8],
});
export const serviceTupleLayout = structLayout('service_tuple', 40, {
  source: [0, bytes(16)],
  destination: [16, bytes(16)],
  sourcePort: [32, be16],
  destinationPort: [34, be16],
  protocol: [36, u8],
  family: [37, u8],
});
export const serviceFlowLayout = structLayout('service_flow', 16, {
  backend: [0, u32],
  seen: [4, u32],
  lifetime: [8, u32],
  service: [12, u16],
});
export const serviceOriginLayout = structLayout('service_origin', 40, {
  client: [0, bytes(16)],
  frontend: [16, bytes(16)],
  port: [32, be16],
});
export const affinityKeyLayout = structLayout('affinity_key', 24, {
  client: [0, bytes(16)],
  service: [16, u16],
  family: [18, u8],
});
export const affinityEntryLayout = structLayout('affinity_entry', 16, {
  usedNs: [0, u64],
  backend: [8, u32],
});

export const eventLayout = structLayout('event', 200, {
  kind: [0, u8],
  subtype: [1, u8],
  version: [2, u8],
  direction: [3, u8],
  source: [4, u16],
  destination: [6, u16],
  length: [8, u32],
  hash: [12, u32],
  sourceIdentity: [16, u32],
  destinationIdentity: [20, u32],
  ifindex: [24, u32],
  remoteIdentity: [28, u32],
  verdict: [32, i32],
  ruleId: [36, u32],
  monotonicNs: [40, u64],
  cookie: [48, u64],
  destinationPort: [56, u16],
  proxyPort: [58, u16],
  cpu: [60, u16],
  captureLength: [62, u16],
  ctState: [64, u8],
  match: [65, u8],
  protocol: [66, u8],
  hook: [67, u8],
  packet: [72, bytes(128)],
});

/** Every struct that C and TypeScript share: what the layout test goes through. */
export const sharedLayouts = [
  configLayout,
  endpointLayout,
  addressKeyLayout,
  addressEntryLayout,
  endpointCountersLayout,
  metricsLayout,
  ipcacheKeyLayout,
  ipcacheEntryLayout,
  policyKeyLayout,
  policyEntryLayout,
  policyStatsKeyLayout,
  policyStatsLayout,
  ruleStatsLayout,
  ct4KeyLayout,
  ct6KeyLayout,
  ctEntryLayout,
  serviceKeyLayout,
  serviceEntryLayout,
  backendEntryLayout,
  serviceTupleLayout,
  serviceFlowLayout,
  serviceOriginLayout,
  affinityKeyLayout,
  affinityEntryLayout,
  eventLayout,
] as const;
