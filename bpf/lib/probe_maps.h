/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The maps of health.bpf.c. */
#ifndef CILIATE_PROBE_MAPS_H
#define CILIATE_PROBE_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "probe_structs.h"
#include "waypoint.h"

struct probe_config {
	__u32 prober;		 /* ours, in answers to us; 0: none */
	__u32 echoes_per_second; /* that one address gets */
	__be16 tcp_port;	 /* of the peers, where our requests go */
	__u16 pad;
};

/* 0 -> numbers of this prober. Written by user space, read by the programs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct probe_config);
} probe_config SEC(".maps");

/* Index of a path within its block -> its record, see probe_structs.h. In the memory of user space too. */
struct probe_records {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PROBE_BLOCK);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct probe_path));
};

/* Number of a block -> its records; empty while none of its paths was ever opened. Written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct probe_records);
} probe_blocks SEC(".maps");

/* 0: IPv4, 1: IPv6 -> the batch that leaves next. In the memory of user space, which writes it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct probe_batch);
} probe_batches SEC(".maps");

struct probe_peer {
	__u64 window_ns; /* when the present window began */
	__u64 echoes;	 /* in it */
	__u64 heard_ns;	 /* when a probe of it came last */
};

/* Address of a node -> how often it was answered lately. Written by user space; the programs count. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct probe_address);
	__type(value, struct probe_peer);
} probe_peers SEC(".maps");

/* Our own address -> 1: only what is for us is answered. Written by user space, read by the programs. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct probe_address);
	__type(value, __u32);
} probe_own SEC(".maps");

/* The handshake of a request's connection. Times are CLOCK_MONOTONIC, ns. */
struct probe_handshake {
	__u64 sent_ns;	   /* when its SYN left, the last one if it was sent again */
	__u64 answered_ns; /* when the first SYN-ACK to it came; 0: none yet */
	__be32 sequence;   /* of the SYN */
	__u32 pad;
};

/*
 * Socket with the prober's mark -> its handshake, which goes with the socket. Written by the programs, read
 * by user space, for which the key is the socket's descriptor.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct probe_handshake);
} probe_handshakes SEC(".maps");

/* 0 -> what the programs saw. Written by them, read by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct probe_counters);
} probe_counters SEC(".maps");

/* Path of a prober here -> what was seen last of it, see waypoint.h. Written by the programs, read by user
 * space. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct waypoint_key);
	__type(value, struct waypoint);
} probe_waypoints SEC(".maps");

static __always_inline struct probe_counters *counters_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&probe_counters, &zero);
}

#define COUNT(field)                                                                                         \
	do {                                                                                                 \
		struct probe_counters *counters = counters_get();                                            \
		if (counters)                                                                                \
			counters->field++;                                                                   \
	} while (0)

#endif
