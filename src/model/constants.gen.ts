// Written by scripts/generate-constants.ts from bpf/constants.json. Do not edit.

/** Drop reasons, numbered as in Cilium 1.19. A number is never given to another reason. */
export const DropReason = {
  invalidSmac: 130,
  invalidDmac: 131,
  invalidSip: 132,
  policy: 133,
  invalid: 134,
  ctInvalidHdr: 135,
  fragNeeded: 136,
  ctUnknownProto: 137,
  unknownL3: 139,
  missedTailCall: 140,
  writeError: 141,
  unknownL4: 142,
  unknownTarget: 150,
  unroutable: 151,
  ctCreateFailed: 155,
  invalidExthdr: 156,
  fragNosupport: 157,
  noService: 158,
  noTunnelEndpoint: 160,
  unknownCt: 163,
  unsupportedL2: 166,
  encapProhibited: 170,
  invalidIdentity: 171,
  unknownSender: 172,
  fragNotFound: 175,
  forbiddenIcmp6: 176,
  proxyLookupFailed: 178,
  proxyAssignFailed: 179,
  proxyUnknownProto: 180,
  policyDeny: 181,
  vlanFiltered: 182,
  ttlExceeded: 196,
  hostNotReady: 202,
  epNotReady: 203,
} as const;

/** Texts of {@link DropReason}. */
export const dropReasonText: Readonly<Record<number, string>> = {
  130: 'Invalid source mac',
  131: 'Invalid destination mac',
  132: 'Invalid source ip',
  133: 'Policy denied',
  134: 'Invalid packet',
  135: 'CT: Truncated or invalid header',
  136: 'Fragmentation needed',
  137: 'CT: Unknown L4 protocol',
  139: 'Unsupported L3 protocol',
  140: 'Missed tail call',
  141: 'Error writing to packet',
  142: 'Unknown L4 protocol',
  150: 'Unknown L3 target address',
  151: 'Unroutable',
  155: 'CT: Map insertion failed',
  156: 'Invalid IPv6 extension header',
  157: 'IP fragmentation not supported',
  158: 'Service backend not found',
  160: 'No tunnel/encapsulation endpoint (datapath BUG!)',
  163: 'Unknown connection tracking state',
  166: 'Unsupported L2 protocol',
  170: 'Encapsulation traffic is prohibited',
  171: 'Invalid identity',
  172: 'Unknown sender',
  175: 'First logical datagram fragment not found',
  176: 'Forbidden ICMPv6 message',
  178: 'Socket lookup failed',
  179: 'Socket assign failed',
  180: 'Proxy redirection not supported for protocol',
  181: 'Policy denied by denylist',
  182: 'VLAN traffic disallowed by VLAN filter',
  196: 'TTL exceeded',
  202: 'Host datapath not ready',
  203: 'Endpoint policy program not available',
};

/** Reasons of the metrics map that are no drops. */
export const ForwardReason = {
  forwarded: 0,
} as const;

/** Texts of {@link ForwardReason}. */
export const forwardReasonText: Readonly<Record<number, string>> = {
  0: 'Success',
};

/** Directions of the metrics map. */
export const MetricDirection = {
  ingress: 1,
  egress: 2,
  service: 3,
} as const;

/** Texts of {@link MetricDirection}. */
export const metricDirectionText: Readonly<Record<number, string>> = {
  1: 'INGRESS',
  2: 'EGRESS',
  3: 'SERVICE',
};

/** Direction in the key of a policy map and in events, seen from the endpoint. */
export const PolicyDirection = {
  ingress: 0,
  egress: 1,
} as const;

/** Texts of {@link PolicyDirection}. */
export const policyDirectionText: Readonly<Record<number, string>> = {
  0: 'ingress',
  1: 'egress',
};

/** Where a packet was seen when its trace was written, numbered as in Cilium. */
export const ObservationPoint = {
  toLxc: 0,
  toProxy: 1,
  toHost: 2,
  toStack: 3,
  toOverlay: 4,
  fromLxc: 5,
  fromProxy: 6,
  fromHost: 7,
  fromStack: 8,
  fromOverlay: 9,
  fromNetwork: 10,
  toNetwork: 11,
  fromCrypto: 12,
  toCrypto: 13,
} as const;

/** Texts of {@link ObservationPoint}. */
export const observationPointText: Readonly<Record<number, string>> = {
  0: 'to-endpoint',
  1: 'to-proxy',
  2: 'to-host',
  3: 'to-stack',
  4: 'to-overlay',
  5: 'from-endpoint',
  6: 'from-proxy',
  7: 'from-host',
  8: 'from-stack',
  9: 'from-overlay',
  10: 'from-network',
  11: 'to-network',
  12: 'from-crypto-stack',
  13: 'to-crypto-stack',
};

/** What conntrack says of a packet; also the reason of a trace. */
export const CtState = {
  new: 0,
  established: 1,
  reply: 2,
  related: 3,
  reopened: 4,
  unknown: 5,
} as const;

/** Texts of {@link CtState}. */
export const ctStateText: Readonly<Record<number, string>> = {
  0: 'new',
  1: 'established',
  2: 'reply',
  3: 'related',
  4: 'reopened',
  5: 'unknown',
};

/** Bits of ct_entry.flags. */
export const CtFlag = {
  initB: 1,
  seenReply: 2,
  established: 4,
  closingA: 8,
  closingB: 16,
  host: 32,
  proxyA: 64,
  proxyB: 128,
  nat: 256,
  tunnel: 512,
} as const;

/** Texts of {@link CtFlag}. */
export const ctFlagText: Readonly<Record<number, string>> = {
  1: 'initiator-b',
  2: 'seen-reply',
  4: 'established',
  8: 'closing-a',
  16: 'closing-b',
  32: 'host',
  64: 'proxy-a',
  128: 'proxy-b',
  256: 'nat',
  512: 'tunnel',
};

/** Kinds of records in the ring buffer. */
export const EventKind = {
  drop: 1,
  trace: 2,
  policyVerdict: 3,
  waypoint: 4,
} as const;

/** Texts of {@link EventKind}. */
export const eventKindText: Readonly<Record<number, string>> = {
  1: 'drop',
  2: 'trace',
  3: 'policy-verdict',
  4: 'waypoint',
};

/** Where our programs are attached: place in the waypoints map, and part of a pinned link's name. */
export const Hook = {
  fromPod: 0,
  toPod: 1,
  fromNetdev: 2,
  toNetdev: 3,
  fromOverlay: 4,
  fromHost: 5,
  toHost: 6,
} as const;

/** Texts of {@link Hook}. */
export const hookText: Readonly<Record<number, string>> = {
  0: 'from_pod',
  1: 'to_pod',
  2: 'from_netdev',
  3: 'to_netdev',
  4: 'from_overlay',
  5: 'from_host',
  6: 'to_host',
};

/** Which kind of policy entry decided. */
export const PolicyMatch = {
  none: 0,
  l3Only: 1,
  l3L4: 2,
  l4Only: 3,
  all: 4,
  l3Proto: 5,
  protoOnly: 6,
} as const;

/** Texts of {@link PolicyMatch}. */
export const policyMatchText: Readonly<Record<number, string>> = {
  0: 'none',
  1: 'L3-Only',
  2: 'L3-L4',
  3: 'L4-Only',
  4: 'all',
  5: 'L3-Proto',
  6: 'Proto-Only',
};

/** Bits of policy_entry.flags. */
export const PolicyFlag = {
  fDeny: 1,
  fRedirect: 2,
} as const;

/** Texts of {@link PolicyFlag}. */
export const policyFlagText: Readonly<Record<number, string>> = {
  1: 'deny',
  2: 'redirect',
};

/** Bits of endpoint.flags. */
export const EndpointFlag = {
  locked: 1,
  enforceIngress: 2,
  enforceEgress: 4,
  policyB: 8,
  audit: 16,
} as const;

/** Texts of {@link EndpointFlag}. */
export const endpointFlagText: Readonly<Record<number, string>> = {
  1: 'locked',
  2: 'enforce-ingress',
  4: 'enforce-egress',
  8: 'policy-b: the second of the two policy maps that it names is in force',
  16: 'audit: what its policy refuses is told, and passes',
};

/** Marks of packets within a node's namespace: bits 8 to 11; workloads cannot set them, a veth between namespaces clears them. 0xb00 is the prober's, PROBE_MARK in probe_structs.h. */
export const PacketMark = {
  mask: 3840,
  toProxy: 512,
  fromProxy: 2560,
  returned: 1024,
} as const;

/** Texts of {@link PacketMark}. */
export const packetMarkText: Readonly<Record<number, string>> = {
  3840: 'the bits that are ours',
  512: 'to be delivered to a socket of the proxy',
  2560: 'sent by a socket of the proxy',
  1024: 'met at egress on its way to an endpoint, sent back in because a proxy must see it',
};

/** Bits of address_entry.flags. */
export const AddressFlag = {
  fHost: 1,
} as const;

/** Texts of {@link AddressFlag}. */
export const addressFlagText: Readonly<Record<number, string>> = {
  1: 'host',
};

/** Bits of ipcache_entry.flags. */
export const IpcacheFlag = {
  fRange: 1,
  fHeld: 2,
} as const;

/** Texts of {@link IpcacheFlag}. */
export const ipcacheFlagText: Readonly<Record<number, string>> = {
  1: 'range of endpoints: what it holds beyond longer prefixes is unknown',
  2: 'not every policy map knows the identity yet: no endpoint speaks with the prefix',
};

/** What a frontend is, in service_entry.type: only for whoever reads the map. */
export const ServiceType = {
  clusterIp: 0,
  nodePort: 1,
  externalIps: 2,
  loadBalancer: 3,
  hostPort: 4,
} as const;

/** Texts of {@link ServiceType}. */
export const serviceTypeText: Readonly<Record<number, string>> = {
  0: 'ClusterIP',
  1: 'NodePort',
  2: 'ExternalIPs',
  3: 'LoadBalancer',
  4: 'HostPort',
};

/** What a backend takes, in backend_entry.state. */
export const BackendState = {
  active: 0,
  terminating: 1,
  quarantined: 2,
  maintenance: 3,
} as const;

/** Texts of {@link BackendState}. */
export const backendStateText: Readonly<Record<number, string>> = {
  0: 'active',
  1: 'terminating',
  2: 'quarantined',
  3: 'maintenance',
};

/** Reserved identities that the programs know. */
export const ProgramIdentity = {
  unknown: 0,
  host: 1,
  world: 2,
  remoteNode: 6,
  kubeApiserver: 7,
} as const;

/** Texts of {@link ProgramIdentity}. */
export const programIdentityText: Readonly<Record<number, string>> = {
  0: 'unknown',
  1: 'host',
  2: 'world',
  6: 'remote-node',
  7: 'kube-apiserver',
};

/** Sizes that both sides must agree on. */
export const DatapathLimit = {
  endpointSlots: 4096,
  policyEntries: 16384,
  ruleStats: 24576,
  policyMaps: 8192,
  eventCaptureBytes: 128,
  eventVersion: 1,
  policyStaticBits: 40,
  jiffiesShift: 8,
  metricsEntries: 1024,
  waypoints: 20000,
  services: 65536,
  backends: 32768,
} as const;

/** Texts of {@link DatapathLimit}. */
export const datapathLimitText: Readonly<Record<number, string>> = {
  4096: 'slots of endpoints; slot 0 stands for what is no endpoint, its record for the node itself',
  16384: 'entries of one policy map',
  24576: 'rules whose connections are counted',
  8192: 'policy maps: for each slot the one in force, if none is shared, and one to change',
  128: 'most packet bytes in an event',
  1: 'layout of an event',
  40: 'bits of a policy key before protocol and port',
  8: 'conntrack counts in jiffies >> 8',
  1024: 'entries of the metrics map: direction << 8 | reason',
  20000: 'entries of the waypoints map: paths of probes at hooks',
  65536: 'entries of the services map: one a frontend, and one a frontend and active backend',
  32768: 'entries of the backends map',
};

/** Names of the maps, as in the object and as pinned. A number at the end is the version of the layout. */
export const MapName = {
  ct4: 'ciliate_ct4_v1',
  ct6: 'ciliate_ct6_v1',
  fragments: 'ciliate_frag_v1',
  devices: 'ciliate_devices_v1',
  addresses: 'ciliate_addresses_v1',
  endpoints: 'ciliate_endpoints_v2',
  epochs: 'ciliate_epochs_v1',
  shownEpochs: 'ciliate_shownep_v1',
  policy: 'ciliate_policy_v2',
  policyStats: 'ciliate_policystats_v1',
  ruleStats: 'ciliate_rulestats_v2',
  ipcache: 'ciliate_ipcache_v1',
  metrics: 'ciliate_metrics_v1',
  endpointCounters: 'ciliate_epcounters_v1',
  events: 'ciliate_events_v1',
  lost: 'ciliate_lost_v1',
  config: 'ciliate_config_v1',
  waypoints: 'ciliate_waypoints_v2',
  scratch: 'ciliate_scratch_v1',
  services: 'ciliate_services_v1',
  backends: 'ciliate_backends_v1',
  serviceFlows: 'ciliate_svcflows_v1',
  serviceOrigins: 'ciliate_svcorigin_v1',
  serviceAffinity: 'ciliate_svcaffin_v1',
  serviceEpoch: 'ciliate_svcepoch_v1',
} as const;
