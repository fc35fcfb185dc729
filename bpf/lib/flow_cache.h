/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What conntrack said of the flows that this CPU saw lately: one look into an array, where conntrack costs a
 * call, a hash and three cold lines. It holds nothing of its own. An answer stands for one direction of a
 * flow, on the hook and the device where it was given, under the epochs of conntrack's entry, and for the
 * tick in which it was given: so each flow goes by conntrack once a tick (about a second), which keeps its
 * entry alive and finds out if it is gone. A flow to a service goes by the slow path instead, and under
 * the epoch of services.
 *
 * Packets that change a flow's state (SYN, FIN, RST) never come here. Whoever takes an entry out of conntrack
 * to end a flow at once has to move an epoch too.
 */
#ifndef CILIATE_FLOW_CACHE_H
#define CILIATE_FLOW_CACHE_H

#include "common.h"
#include "conntrack.h"
#include <linux/ip.h>
#include <linux/ipv6.h>

/*
 * Moved by programs when a flow becomes one to a service or stops being one, by the same addresses and ports:
 * what any CPU has noted is void then.
 */
__u32 flow_cache_generation;

/*
 * When an answer is given: in which tick and generation. Both only grow, so that no answer is ever taken for
 * one of later.
 */
static __always_inline __u32 flow_cache_time(void)
{
	return ct_now() + *(volatile __u32 *)&flow_cache_generation;
}

static __always_inline void flow_cache_void(void)
{
	__sync_fetch_and_add(&flow_cache_generation, 1);
}

/* As many entries as one value of a per-CPU map may hold: 32 KiB. */
#define FLOW_CACHE4_BITS 9
#define FLOW_CACHE6_BITS 8

/*
 * What an entry has besides the addresses of the packet, as it came: not sorted, so each direction has its
 * own entry. Of an echo the ports are as in ct4_key. Index 0 is the packet's source. protocol 0: empty.
 */
struct flow_cache_answer {
	__be16 source_port;
	__be16 destination_port;
	__u32 from_ifindex; /* where the packet came in */
	__u32 time;	    /* flow_cache_time() */
	__u32 epoch[2];
	__u16 slot[2];
	__u32 ifindex; /* as in ct_entry, of the destination */
	__u8 mac[8];   /* of a local destination */
	__u8 protocol;
	__u8 hook; /* HOOK_* */
	__u8 pad[2];
};

/* What becomes of one end of the packet, if it is of a flow to a service. port 0: nothing. */
struct flow_cache_end {
	__be16 port;
	__u8 end; /* END_* */
	__u8 pad;
};

/* One cache line. */
struct flow_cache4_entry {
	__be32 source;
	__be32 destination;
	struct flow_cache_answer answer;
	struct flow_cache_end becomes;
	__be32 address;
	__u32 service_epoch;
	__u32 reserved[1];
};

/* Two cache lines. */
struct flow_cache6_entry {
	union address source;
	union address destination;
	struct flow_cache_answer answer;
	union address address;
	struct flow_cache_end becomes;
	__u32 service_epoch;
	__u32 reserved[8];
};

struct flow_cache4 {
	struct flow_cache4_entry entries[1 << FLOW_CACHE4_BITS];
};

struct flow_cache6 {
	struct flow_cache6_entry entries[1 << FLOW_CACHE6_BITS];
};

/*
 * 0 -> this CPU's cache. Written and read by fast paths only; not pinned, so it is empty after every load.
 * Programs run with softirqs off, one at a time on a CPU: nobody reads an entry that is half written.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_cache4);
} ciliate_flow_cache4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_cache6);
} ciliate_flow_cache6 SEC(".maps");

/* A plain packet as the cache knows it, but for its addresses. Of an echo the ports are as in ct4_key. */
struct flow_cache_packet {
	__u32 hook;
	__be16 source_port;
	__be16 destination_port;
	__u32 ifindex; /* where it came in */
	__u32 protocol;
};

/* 2^64 over the golden ratio: the high bits of a product with it depend on all of the other factor. */
#define FLOW_CACHE_FACTOR 0x9e3779b97f4a7c15ULL

static __always_inline __u64 flow_cache_ports(const struct flow_cache_packet *packet)
{
	return (__u64)be16_bits(packet->source_port) << 32 | (__u64)be16_bits(packet->destination_port) << 16;
}

/* The one place where a flow of IPv4 may be cached. */
static __always_inline struct flow_cache4_entry *flow_cache4_place(__be32 source, __be32 destination,
								   const struct flow_cache_packet *packet)
{
	__u64 addresses = (__u64)be32_bits(source) << 32 | be32_bits(destination);
	__u64 hash = (addresses ^ flow_cache_ports(packet)) * FLOW_CACHE_FACTOR;
	struct flow_cache4 *cache;
	__u32 zero = 0;

	cache = bpf_map_lookup_elem(&ciliate_flow_cache4, &zero);
	return cache ? &cache->entries[hash >> (64 - FLOW_CACHE4_BITS)] : NULL;
}

/* The one place where a flow of IPv6 may be cached. */
static __always_inline struct flow_cache6_entry *flow_cache6_place(const union address *source,
								   const union address *destination,
								   const struct flow_cache_packet *packet)
{
	__u64 hash = (source->half[0] ^ source->half[1] ^ flow_cache_ports(packet)) * FLOW_CACHE_FACTOR;
	struct flow_cache6 *cache;
	__u32 zero = 0;

	hash = (hash ^ destination->half[0] ^ destination->half[1]) * FLOW_CACHE_FACTOR;
	cache = bpf_map_lookup_elem(&ciliate_flow_cache6, &zero);
	return cache ? &cache->entries[hash >> (64 - FLOW_CACHE6_BITS)] : NULL;
}

static __always_inline bool flow_cache_matches(const struct flow_cache_answer *answer,
					       const struct flow_cache_packet *packet)
{
	return answer->source_port == packet->source_port &&
	       answer->destination_port == packet->destination_port &&
	       answer->from_ifindex == packet->ifindex && answer->protocol == packet->protocol &&
	       answer->hook == packet->hook;
}

static __always_inline bool flow_cache4_matches(const struct flow_cache4_entry *entry, __be32 source,
						__be32 destination, const struct flow_cache_packet *packet)
{
	return entry->source == source && entry->destination == destination &&
	       flow_cache_matches(&entry->answer, packet);
}

static __always_inline bool flow_cache6_matches(const struct flow_cache6_entry *entry,
						const union address *source, const union address *destination,
						const struct flow_cache_packet *packet)
{
	return address_equal(&entry->source, source) && address_equal(&entry->destination, destination) &&
	       flow_cache_matches(&entry->answer, packet);
}

/* Whether conntrack would still say the same. */
static __always_inline bool flow_cache_fresh(const struct flow_cache_answer *answer)
{
	return answer->time == flow_cache_time() &&
	       epochs_hold(answer->slot[0], answer->epoch[0], answer->slot[1], answer->epoch[1]);
}

/*
 * Whether another flow has the place. A flow keeps its place until the tick ends: flows that share one do not
 * take it from each other with every packet.
 */
static __always_inline bool flow_cache_taken(const struct flow_cache_answer *answer)
{
	return answer->time == flow_cache_time() && answer->protocol;
}

/* Notes what `found` says of packets from `side`; it has just been found usable. */
static __always_inline void flow_cache_note(struct flow_cache_answer *answer,
					    const struct flow_cache_packet *packet,
					    const struct ct_entry *found, __u32 side)
{
	__u32 from = side & 1, to = from ^ 1;

	answer->source_port = packet->source_port;
	answer->destination_port = packet->destination_port;
	answer->from_ifindex = packet->ifindex;
	answer->protocol = (__u8)packet->protocol;
	answer->hook = (__u8)packet->hook;
	answer->time = flow_cache_time();
	answer->epoch[0] = found->epoch[from];
	answer->epoch[1] = found->epoch[to];
	answer->slot[0] = found->slot[from];
	answer->slot[1] = found->slot[to];
	answer->ifindex = found->ifindex[to];
	mac_copy(answer->mac, found->mac[to]);
}

#endif
