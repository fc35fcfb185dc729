/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What conntrack said of the flows that this CPU saw lately: one look into an array, where conntrack costs a
 * call, a hash and three cold lines. It holds nothing of its own. An answer stands for one direction of a
 * flow, on the hook and the device where it was given, under the epochs of conntrack's entry, and for the
 * tick in which it was given: so each flow goes by conntrack once a tick (about a second), which keeps its
 * entry alive and finds out if it is gone.
 *
 * Packets that change a flow's state (SYN, FIN, RST) never come here. Whoever takes an entry out of conntrack
 * to end a flow at once has to move an epoch too.
 */
#ifndef CILIATE_FLOW_CACHE_H
#define CILIATE_FLOW_CACHE_H

#include "common.h"
#include "conntrack.h"
#include <linux/ip.h>

#define FLOW_CACHE_BITS 9

/*
 * One cache line. The packet as it came: not sorted, so each direction has its own entry. Of an echo the
 * ports are as in ct4_key. Index 0 is the packet's source. protocol 0: empty.
 */
struct flow_cache_entry {
	__be32 source;
	__be32 destination;
	__be16 source_port;
	__be16 destination_port;
	__u32 from_ifindex; /* where the packet came in */
	__u32 tick;
	__u32 epoch[2];
	__u16 slot[2];
	__u32 ifindex; /* as in ct_entry, of the destination */
	__u8 mac[8];   /* of a local destination */
	__u8 protocol;
	__u8 hook; /* HOOK_* */
	__u8 pad[2];
	__u32 reserved[4];
};

/* As large as one value of a per-CPU map may be: 32 KiB. */
struct flow_cache {
	struct flow_cache_entry entries[1 << FLOW_CACHE_BITS];
};

/*
 * 0 -> this CPU's cache. Written and read by fast paths only; not pinned, so it is empty after every load.
 * Programs run with softirqs off, one at a time on a CPU: nobody reads an entry that is half written.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_cache);
} ciliate_flow_cache SEC(".maps");

/* A packet of IPv4 as the cache knows it. Of an echo the ports are as in ct4_key. */
struct flow_cache_packet {
	const struct iphdr *ip;
	__u32 hook;
	__be16 source_port;
	__be16 destination_port;
	__u32 ifindex; /* where it came in */
};

/* The one place where a flow may be cached. */
static __always_inline struct flow_cache_entry *flow_cache_place(const struct flow_cache_packet *packet)
{
	__u64 ports = (__u64)be16_bits(packet->source_port) << 16 | be16_bits(packet->destination_port);
	__u64 addresses = (__u64)be32_bits(packet->ip->saddr) << 32 | be32_bits(packet->ip->daddr);
	/* 2^64 over the golden ratio: the high bits of the product depend on all of the key. */
	__u64 hash = (addresses ^ ports << 16) * 0x9e3779b97f4a7c15ULL;
	struct flow_cache *cache;
	__u32 zero = 0;

	cache = bpf_map_lookup_elem(&ciliate_flow_cache, &zero);
	return cache ? &cache->entries[hash >> (64 - FLOW_CACHE_BITS)] : NULL;
}

static __always_inline bool flow_cache_matches(const struct flow_cache_entry *entry,
					       const struct flow_cache_packet *packet)
{
	return entry->source == packet->ip->saddr && entry->destination == packet->ip->daddr &&
	       entry->source_port == packet->source_port &&
	       entry->destination_port == packet->destination_port &&
	       entry->from_ifindex == packet->ifindex && entry->protocol == packet->ip->protocol &&
	       entry->hook == packet->hook;
}

/* Whether conntrack would still say the same. */
static __always_inline bool flow_cache_fresh(const struct flow_cache_entry *entry)
{
	return entry->tick == ct_now() &&
	       epochs_hold(entry->slot[0], entry->epoch[0], entry->slot[1], entry->epoch[1]);
}

/*
 * Notes what `found` says of packets from `side`; it has just been found usable. A flow keeps its place until
 * the tick ends: flows that share one do not take it from each other with every packet. Returns whether it
 * was noted.
 */
static __always_inline bool flow_cache_note(struct flow_cache_entry *entry,
					    const struct flow_cache_packet *packet,
					    const struct ct_entry *found, __u32 side)
{
	__u32 from = side & 1, to = from ^ 1;
	__u32 now = ct_now();

	if (entry->tick == now && entry->protocol && !flow_cache_matches(entry, packet))
		return false;
	entry->source = packet->ip->saddr;
	entry->destination = packet->ip->daddr;
	entry->source_port = packet->source_port;
	entry->destination_port = packet->destination_port;
	entry->from_ifindex = packet->ifindex;
	entry->protocol = packet->ip->protocol;
	entry->hook = (__u8)packet->hook;
	entry->tick = now;
	entry->epoch[0] = found->epoch[from];
	entry->epoch[1] = found->epoch[to];
	entry->slot[0] = found->slot[from];
	entry->slot[1] = found->slot[to];
	entry->ifindex = found->ifindex[to];
	mac_copy(entry->mac, found->mac[to]);
	return true;
}

#endif
