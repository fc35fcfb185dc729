/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Prefix -> identity, for whatever is not an endpoint of this node. */
#ifndef CILIATE_IPCACHE_H
#define CILIATE_IPCACHE_H

#include "common.h"

struct ipcache_key {
	__u32 prefix_bits; /* counts the 32 bits of cluster, pad and family */
	__u16 cluster;
	__u8 pad;
	__u8 family; /* 4 or 6 */
	union address address;
};

struct ipcache_entry {
	__u32 identity;
	__u32 flags;
	union address tunnel; /* node behind which the prefix lies; zero when there is none */
};

/*
 * Longest prefix -> identity. Written by user space, read by slow paths. The ranges of endpoints lie in it
 * with identity 0, so that an address in them which nobody has announced is unknown and never the world. One
 * whose identity is held speaks to no endpoint: not every policy map knows that identity yet.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 512000);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ipcache_key);
	__type(value, struct ipcache_entry);
} MAP_IPCACHE SEC(".maps");

/* NULL: the world. */
static __always_inline const struct ipcache_entry *ipcache_lookup(const union address *address, bool v6)
{
	struct ipcache_key key = {
		.prefix_bits = 32 + (v6 ? 128 : 32),
		.family = v6 ? 6 : 4,
		.address = *address,
	};

	return bpf_map_lookup_elem(&MAP_IPCACHE, &key);
}

#endif
