/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What user space hears of packets: one record for every kind. */
#ifndef CILIATE_EVENTS_MAPS_H
#define CILIATE_EVENTS_MAPS_H

#include "common.h"

struct event {
	__u8 kind;	/* EVENT_* */
	__u8 subtype;	/* drop: DROP_*, trace: TRACE_*, policy verdict: 1 for a refusal that passes all the
			   same */
	__u8 version;	/* LIMIT_EVENT_VERSION */
	__u8 direction; /* DIR_* */
	__u16 source;	/* endpoint at whose hook it was seen */
	__u16 destination; /* local endpoint of the destination, or 0 */
	__u32 length;	   /* on the wire */
	__u32 hash;
	__u32 source_identity;
	__u32 destination_identity;
	__u32 ifindex;
	__u32 remote_identity;
	__s32 verdict; /* policy verdict: -DROP_*, 0, or the proxy port */
	__u32 rule_id;
	__u64 monotonic_ns;
	__u64 cookie;		/* of a probe */
	__u16 destination_port; /* host order */
	__u16 proxy_port;	/* host order */
	__u16 cpu;
	__u16 capture_length;
	__u8 ct_state; /* CT_* */
	__u8 match;    /* MATCH_* */
	__u8 protocol;
	__u8 hook; /* HOOK_* */
	__u32 reserved;
	__u8 packet[LIMIT_EVENT_CAPTURE_BYTES];
};

/* Records of `struct event`. Written by slow paths, read by the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 * 1024 * 1024);
} MAP_EVENTS SEC(".maps");

/* 0 -> events that found the ring full. Written by slow paths, read by the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} MAP_LOST SEC(".maps");

#endif
