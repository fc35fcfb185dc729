/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Facts of the node: constants set before load, and one map entry for what may change later. */
#ifndef CILIATE_CONFIG_MAPS_H
#define CILIATE_CONFIG_MAPS_H

#include "common.h"

/* UDP port of overlays (host order): pods may not send to it at nodes. 0 turns the check off. */
volatile const __u16 tunnel_port = 8472;

struct config {
	/* Lifetimes of conntrack entries in units of jiffies >> LIMIT_JIFFIES_SHIFT. */
	__u32 lifetime_tcp;
	__u32 lifetime_tcp_syn;
	__u32 lifetime_tcp_close;
	__u32 lifetime_any;
	/* Ticks a second, and one reading of both clocks by which user space converts. */
	__u32 hz;
	/* Bit n set: events of kind n are written. */
	__u32 event_kinds;
	__u64 jiffies;
	__u64 monotonic_ns;
};

/* 0 -> config. Written by user space at start (the clock pair by the program `clock`), read by slow paths. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct config);
} MAP_CONFIG SEC(".maps");

static __always_inline struct config *config_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&MAP_CONFIG, &zero);
}

#endif
