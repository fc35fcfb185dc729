/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Services: frontends, their backends, and the flows that were balanced. Addresses of IPv4: the first word.
 */
#ifndef CILIATE_SERVICE_MAPS_H
#define CILIATE_SERVICE_MAPS_H

#include "common.h"

/*
 * Slot 0 is the frontend itself, 1 to `count` are its active backends. An address of zeros is that of any
 * node: a NodePort.
 */
struct service_key {
	union address address;
	__be16 port;
	__u16 slot;
	__u8 protocol;
	__u8 family; /* 4 or 6 */
	__u16 pad;
};

struct service_entry {
	__u32 backend;	/* slot 1 and on */
	__u32 affinity; /* of slot 0: how many seconds a client keeps its backend after its last flow; 0: not
			 */
	__u16 count;	/* of slot 0 */
	__u16 id;	/* of the service */
	__u8 type;	/* SERVICE_* */
	__u8 pad[3];
};

/* Frontends and slots. Written by user space: slots that `count` names are there before it, and after it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LIMIT_SERVICES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct service_key);
	__type(value, struct service_entry);
} MAP_SERVICES SEC(".maps");

struct backend_entry {
	union address address;
	__be16 port;
	__u8 protocol;
	__u8 family;
	__u8 state; /* BACKEND_* */
	__u8 pad[3];
};

/* Backend -> where it is. Written by user space: one that terminates stays until it is gone. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LIMIT_BACKENDS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct backend_entry);
} MAP_BACKENDS SEC(".maps");

/*
 * 0 -> number that user space moves behind every change that takes a backend from flows: what the flow cache
 * says of them is void then.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} MAP_SERVICE_EPOCH SEC(".maps");

static __always_inline __u32 service_epoch(void)
{
	__u32 zero = 0;
	__u32 *epoch = bpf_map_lookup_elem(&MAP_SERVICE_EPOCH, &zero);

	return epoch ? *(volatile __u32 *)epoch : 0;
}

/* A flow of an endpoint's, seen from its source. */
struct service_tuple {
	union address source;
	union address destination;
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol;
	__u8 family;
	__u16 pad;
};

struct service_flow {
	__u32 backend;
	__u32 seen; /* as in ct_entry */
	__u32 lifetime;
	__u16 service;
	__u16 pad;
};

/* Client to frontend -> the backend that the flow has. Written by programs. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct service_tuple);
	__type(value, struct service_flow);
} MAP_SERVICE_FLOWS SEC(".maps");

/* What a client spoke to before its packet was translated. */
struct service_origin {
	union address client; /* differs from the destination of answers where a pod speaks to itself */
	union address frontend;
	__be16 port;
	__u16 pad[3];
};

/* Backend to client, as its answers come -> what the client knows it by. Written by programs. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct service_tuple);
	__type(value, struct service_origin);
} MAP_SERVICE_ORIGINS SEC(".maps");

struct affinity_key {
	union address client;
	__u16 service;
	__u8 family;
	__u8 pad[5];
};

struct affinity_entry {
	__u64 used_ns; /* CLOCK_MONOTONIC */
	__u32 backend;
	__u32 pad;
};

/* Client -> the backend that it had last, where the service wants that. Written by programs. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct affinity_key);
	__type(value, struct affinity_entry);
} MAP_SERVICE_AFFINITY SEC(".maps");

/* 169.254.42.1 (RFC 3927), as in Cilium, and an address of a range of our own (RFC 4193). */
#define SERVICE_LOOP4	0xa9fe2a01
#define SERVICE_LOOP6_0 0xfd63696c
#define SERVICE_LOOP6_3 0x00000001

static __always_inline void service_loop_address(union address *address, bool v6)
{
	__builtin_memset(address, 0, sizeof(*address));
	if (v6) {
		address->word[0] = bpf_htonl(SERVICE_LOOP6_0);
		address->word[3] = bpf_htonl(SERVICE_LOOP6_3);
	} else {
		address->word[0] = bpf_htonl(SERVICE_LOOP4);
	}
}

static __always_inline bool service_is_loop(const union address *address, bool v6)
{
	union address loop;

	service_loop_address(&loop, v6);
	return address_equal(address, &loop);
}

#endif
