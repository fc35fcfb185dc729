/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Written by scripts/generate-constants.ts from bpf/constants.json. Do not edit. */
/* clang-format off */
#ifndef CILIATE_CONSTANTS_GEN_H
#define CILIATE_CONSTANTS_GEN_H

/* Drop reasons, numbered as in Cilium 1.19. A number is never given to another reason. */
#define DROP_INVALID_SMAC 130
#define DROP_INVALID_DMAC 131
#define DROP_INVALID_SIP 132
#define DROP_POLICY 133
#define DROP_INVALID 134
#define DROP_CT_INVALID_HDR 135
#define DROP_FRAG_NEEDED 136
#define DROP_CT_UNKNOWN_PROTO 137
#define DROP_UNKNOWN_L3 139
#define DROP_MISSED_TAIL_CALL 140
#define DROP_WRITE_ERROR 141
#define DROP_UNKNOWN_L4 142
#define DROP_UNKNOWN_TARGET 150
#define DROP_UNROUTABLE 151
#define DROP_CT_CREATE_FAILED 155
#define DROP_INVALID_EXTHDR 156
#define DROP_FRAG_NOSUPPORT 157
#define DROP_NO_SERVICE 158
#define DROP_NO_TUNNEL_ENDPOINT 160
#define DROP_UNKNOWN_CT 163
#define DROP_UNSUPPORTED_L2 166
#define DROP_ENCAP_PROHIBITED 170
#define DROP_INVALID_IDENTITY 171
#define DROP_UNKNOWN_SENDER 172
#define DROP_FRAG_NOT_FOUND 175
#define DROP_FORBIDDEN_ICMP6 176
#define DROP_PROXY_LOOKUP_FAILED 178
#define DROP_PROXY_ASSIGN_FAILED 179
#define DROP_PROXY_UNKNOWN_PROTO 180
#define DROP_POLICY_DENY 181
#define DROP_VLAN_FILTERED 182
#define DROP_TTL_EXCEEDED 196
#define DROP_HOST_NOT_READY 202
#define DROP_EP_NOT_READY 203

/* Reasons of the metrics map that are no drops. */
#define REASON_FORWARDED 0

/* Directions of the metrics map. */
#define METRIC_INGRESS 1
#define METRIC_EGRESS 2
#define METRIC_SERVICE 3

/* Direction in the key of a policy map and in events, seen from the endpoint. */
#define DIR_INGRESS 0
#define DIR_EGRESS 1

/* Where a packet was seen when its trace was written, numbered as in Cilium. */
#define TRACE_TO_LXC 0
#define TRACE_TO_PROXY 1
#define TRACE_TO_HOST 2
#define TRACE_TO_STACK 3
#define TRACE_TO_OVERLAY 4
#define TRACE_FROM_LXC 5
#define TRACE_FROM_PROXY 6
#define TRACE_FROM_HOST 7
#define TRACE_FROM_STACK 8
#define TRACE_FROM_OVERLAY 9
#define TRACE_FROM_NETWORK 10
#define TRACE_TO_NETWORK 11
#define TRACE_FROM_CRYPTO 12
#define TRACE_TO_CRYPTO 13

/* What conntrack says of a packet; also the reason of a trace. */
#define CT_NEW 0
#define CT_ESTABLISHED 1
#define CT_REPLY 2
#define CT_RELATED 3
#define CT_REOPENED 4
#define CT_UNKNOWN 5

/* Bits of ct_entry.flags. */
#define CTF_INIT_B 1
#define CTF_SEEN_REPLY 2
#define CTF_ESTABLISHED 4
#define CTF_CLOSING_A 8
#define CTF_CLOSING_B 16
#define CTF_HOST 32
#define CTF_PROXY_A 64
#define CTF_PROXY_B 128
#define CTF_NAT 256
#define CTF_TUNNEL 512

/* Kinds of records in the ring buffer. */
#define EVENT_DROP 1
#define EVENT_TRACE 2
#define EVENT_POLICY_VERDICT 3
#define EVENT_WAYPOINT 4

/* Where our programs are attached: place in the waypoints map, and part of a pinned link's name. */
#define HOOK_FROM_POD 0
#define HOOK_TO_POD 1
#define HOOK_FROM_NETDEV 2
#define HOOK_TO_NETDEV 3
#define HOOK_FROM_OVERLAY 4
#define HOOK_FROM_HOST 5
#define HOOK_TO_HOST 6

/* Which kind of policy entry decided. */
#define MATCH_NONE 0
#define MATCH_L3_ONLY 1
#define MATCH_L3_L4 2
#define MATCH_L4_ONLY 3
#define MATCH_ALL 4
#define MATCH_L3_PROTO 5
#define MATCH_PROTO_ONLY 6

/* Bits of policy_entry.flags. */
#define POLICY_F_DENY 1
#define POLICY_F_REDIRECT 2

/* Bits of endpoint.flags. */
#define EP_LOCKED 1
#define EP_ENFORCE_INGRESS 2
#define EP_ENFORCE_EGRESS 4
#define EP_POLICY_B 8
#define EP_AUDIT 16

/* Marks of packets within a node's namespace: bits 8 to 11; workloads cannot set them, a veth between namespaces clears them. 0xb00 is the prober's, PROBE_MARK in probe_structs.h. */
#define MARK_MASK 3840
#define MARK_TO_PROXY 512
#define MARK_FROM_PROXY 2560
#define MARK_RETURNED 1024

/* Bits of address_entry.flags. */
#define ADDRESS_F_HOST 1

/* Bits of ipcache_entry.flags. */
#define IPCACHE_F_RANGE 1
#define IPCACHE_F_HELD 2

/* What a frontend is, in service_entry.type: only for whoever reads the map. */
#define SERVICE_CLUSTER_IP 0
#define SERVICE_NODE_PORT 1
#define SERVICE_EXTERNAL_IPS 2
#define SERVICE_LOAD_BALANCER 3
#define SERVICE_HOST_PORT 4

/* What a backend takes, in backend_entry.state. */
#define BACKEND_ACTIVE 0
#define BACKEND_TERMINATING 1
#define BACKEND_QUARANTINED 2
#define BACKEND_MAINTENANCE 3

/* Reserved identities that the programs know. */
#define IDENTITY_UNKNOWN 0
#define IDENTITY_HOST 1
#define IDENTITY_WORLD 2
#define IDENTITY_REMOTE_NODE 6
#define IDENTITY_KUBE_APISERVER 7

/* Sizes that both sides must agree on. */
#define LIMIT_ENDPOINT_SLOTS 4096
#define LIMIT_POLICY_ENTRIES 16384
#define LIMIT_RULE_STATS 24576
#define LIMIT_POLICY_MAPS 8192
#define LIMIT_EVENT_CAPTURE_BYTES 128
#define LIMIT_EVENT_VERSION 1
#define LIMIT_POLICY_STATIC_BITS 40
#define LIMIT_JIFFIES_SHIFT 8
#define LIMIT_METRICS_ENTRIES 1024
#define LIMIT_WAYPOINTS 20000
#define LIMIT_SERVICES 65536
#define LIMIT_BACKENDS 32768

/* Names of the maps, as in the object and as pinned. A number at the end is the version of the layout. */
#define MAP_CT4 ciliate_ct4_v1
#define MAP_CT6 ciliate_ct6_v1
#define MAP_FRAGMENTS ciliate_frag_v1
#define MAP_DEVICES ciliate_devices_v1
#define MAP_ADDRESSES ciliate_addresses_v1
#define MAP_ENDPOINTS ciliate_endpoints_v2
#define MAP_EPOCHS ciliate_epochs_v1
#define MAP_SHOWN_EPOCHS ciliate_shownep_v1
#define MAP_POLICY ciliate_policy_v2
#define MAP_POLICY_STATS ciliate_policystats_v1
#define MAP_RULE_STATS ciliate_rulestats_v2
#define MAP_IPCACHE ciliate_ipcache_v1
#define MAP_METRICS ciliate_metrics_v1
#define MAP_ENDPOINT_COUNTERS ciliate_epcounters_v1
#define MAP_EVENTS ciliate_events_v1
#define MAP_LOST ciliate_lost_v1
#define MAP_CONFIG ciliate_config_v1
#define MAP_WAYPOINTS ciliate_waypoints_v2
#define MAP_SCRATCH ciliate_scratch_v1
#define MAP_SERVICES ciliate_services_v1
#define MAP_BACKENDS ciliate_backends_v1
#define MAP_SERVICE_FLOWS ciliate_svcflows_v1
#define MAP_SERVICE_ORIGINS ciliate_svcorigin_v1
#define MAP_SERVICE_AFFINITY ciliate_svcaffin_v1
#define MAP_SERVICE_EPOCH ciliate_svcepoch_v1

/* clang-format on */
#endif
