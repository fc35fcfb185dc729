/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Endpoints of this node. Everything of an endpoint hangs on its slot: 1..LIMIT_ENDPOINT_SLOTS-1, 0 stands
 * for whatever is no endpoint here. The record and policy of slot 0 are the node's own, where rules select
 * it. Entries are edited in place and never recycled under a reader; whoever edits one moves the slot's epoch
 * afterwards, so that verdicts made from a half-written entry do not last.
 */
#ifndef CILIATE_ENDPOINT_MAPS_H
#define CILIATE_ENDPOINT_MAPS_H

#include "common.h"

struct endpoint {
	__u16 id;	 /* 0: the slot is free */
	__u8 flags;	 /* EP_* */
	__u8 families;	 /* bit 0: ip4 is set, bit 1: ip6 is set */
	__u16 policy[2]; /* indices of policy maps; EP_POLICY_B says which of the two is in force */
	__u32 identity;
	__u32 ifindex; /* host side of the veth pair */
	__be32 ip4;
	__u8 ip6[16];
	__u8 mac[6];
	__u8 host_mac[6];
	char ifname[16];
};

/*
 * What of an endpoint belongs together: its first eight bytes, read at once. User space writes the index of a
 * policy map beside the one in force first, and only then the flags that put it there, so that whoever reads
 * between two bytes of a write finds the flags and the map of one policy.
 */
union endpoint_head {
	__u64 word;
	struct {
		__u16 id;
		__u8 flags;
		__u8 families;
		__u16 policy[2];
	};
};

/* Slot -> endpoint. Written by user space, read by slow paths and by `bpf endpoint list`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LIMIT_ENDPOINT_SLOTS);
	__type(key, __u32);
	__type(value, struct endpoint);
} MAP_ENDPOINTS SEC(".maps");

/* ifindex of the host side -> slot. Written by user space, read by slow paths. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LIMIT_ENDPOINT_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} MAP_DEVICES SEC(".maps");

struct address_key {
	__u8 family; /* 4 or 6 */
	__u8 pad[7];
	union address address;
};

struct address_entry {
	__u32 slot;  /* 0 for an address of the node */
	__u32 flags; /* ADDRESS_F_* */
};

/* Address of this node or of an endpoint -> slot. Written by user space, read by slow paths. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * LIMIT_ENDPOINT_SLOTS);
	__type(key, struct address_key);
	__type(value, struct address_entry);
} MAP_ADDRESSES SEC(".maps");

/*
 * Slot -> epoch. A cached verdict holds the epochs of both sides that were read before the lookups which made
 * it, and is void once one of them has moved. Slot 0 moves when the ipcache changes. Written by user space
 * only.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LIMIT_ENDPOINT_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} MAP_EPOCHS SEC(".maps");

/*
 * The same for the proxy, who reads its memory: it can be mapped only by who may also write, which nobody
 * should be let do to the epochs that verdicts rest on. Each epoch moves here first. Written by user space,
 * read by no program.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, LIMIT_ENDPOINT_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} MAP_SHOWN_EPOCHS SEC(".maps");

struct endpoint_counters {
	__u64 ingress_packets;
	__u64 ingress_bytes;
	__u64 egress_packets;
	__u64 egress_bytes;
	__u64 ingress_drops;
	__u64 egress_drops;
	__u64 reserved[2];
};

/* Slot -> packets that passed and were dropped. Written by programs, read by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LIMIT_ENDPOINT_SLOTS);
	__type(key, __u32);
	__type(value, struct endpoint_counters);
} MAP_ENDPOINT_COUNTERS SEC(".maps");

static __always_inline struct endpoint *endpoint_get(__u32 slot)
{
	return bpf_map_lookup_elem(&MAP_ENDPOINTS, &slot);
}

static __always_inline union endpoint_head endpoint_head(const struct endpoint *endpoint)
{
	union endpoint_head head = {.word = *(const volatile __u64 *)endpoint};

	return head;
}

#endif
