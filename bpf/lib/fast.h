/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The fast path: one look into this CPU's flow cache, or into conntrack, and the packet goes where the entry
 * says. It takes only plain packets of flows whose verdict stands; everything else is the slow path's.
 */
#ifndef CILIATE_FAST_H
#define CILIATE_FAST_H

#include "common.h"
#include "conntrack.h"
#include "fast_parse.h"
#include "fast_route.h"
#include "fast_service.h"
#include "flow_cache.h"

static __always_inline int fast_cached4(struct __sk_buff *ctx, void *data, void *data_end, __u32 hook)
{
	struct iphdr *ip = data + ETH_HLEN;
	struct flow_cache_packet packet;
	struct flow_cache4_entry *entry;
	struct fast_route route;

	if (!fast_parse4(ctx, ip, data_end, &packet, hook))
		return FAST_MISS;
	entry = flow_cache4_place(ip->saddr, ip->daddr, &packet);
	if (!entry || !flow_cache4_matches(entry, ip->saddr, ip->daddr, &packet) ||
	    !fast_recall(&route, &entry->answer))
		return FAST_MISS;
	if (unlikely(entry->becomes.port))
		return hook == HOOK_FROM_POD ? translated4_from_pod(ctx, entry)
					     : translated4_from_netdev(ctx, entry);
	fast_age4(ip, &route, hook);
	return fast_forward(ctx, data, &route, hook);
}

static __always_inline int fast_cached6(struct __sk_buff *ctx, void *data, void *data_end, __u32 hook)
{
	struct ipv6hdr *ip = data + ETH_HLEN;
	const union address *source = (union address *)&ip->saddr, *destination = (union address *)&ip->daddr;
	struct flow_cache_packet packet;
	struct flow_cache6_entry *entry;
	struct fast_route route;

	if (!fast_parse6(ctx, ip, data_end, &packet, hook))
		return FAST_MISS;
	entry = flow_cache6_place(source, destination, &packet);
	if (!entry || !flow_cache6_matches(entry, source, destination, &packet) ||
	    !fast_recall(&route, &entry->answer))
		return FAST_MISS;
	if (unlikely(entry->becomes.port))
		return hook == HOOK_FROM_POD ? translated6_from_pod(ctx, entry)
					     : translated6_from_netdev(ctx, entry);
	fast_age6(ctx, ip, &route, hook);
	return fast_forward(ctx, data, &route, hook);
}

/* Notes a flow of IPv4 in the cache, unless another one has its place. */
static __always_inline void fast_note4(const struct iphdr *ip, const struct flow_cache_packet *packet,
				       const struct ct4_key *key, const struct ct_entry *found, __u32 side)
{
	struct flow_cache4_entry *entry = flow_cache4_place(ip->saddr, ip->daddr, packet);

	if (!entry ||
	    (flow_cache_taken(&entry->answer) && !flow_cache4_matches(entry, ip->saddr, ip->daddr, packet)))
		return;
	entry->source = ip->saddr;
	entry->destination = ip->daddr;
	entry->becomes.port = 0;
	flow_cache_note(&entry->answer, packet, found, side);
	/* The map may have given the entry to another flow while it was copied. */
	if (bpf_map_lookup_elem(&MAP_CT4, key) != found)
		entry->answer.protocol = 0;
}

static __always_inline void fast_note6(const struct ipv6hdr *ip, const struct flow_cache_packet *packet,
				       const struct ct6_key *key, const struct ct_entry *found, __u32 side)
{
	const union address *source = (union address *)&ip->saddr, *destination = (union address *)&ip->daddr;
	struct flow_cache6_entry *entry = flow_cache6_place(source, destination, packet);

	if (!entry ||
	    (flow_cache_taken(&entry->answer) && !flow_cache6_matches(entry, source, destination, packet)))
		return;
	entry->source = *source;
	entry->destination = *destination;
	entry->becomes.port = 0;
	flow_cache_note(&entry->answer, packet, found, side);
	if (bpf_map_lookup_elem(&MAP_CT6, key) != found)
		entry->answer.protocol = 0;
}

static __always_inline int fast_tracked4(struct __sk_buff *ctx, void *data, void *data_end, __u32 hook)
{
	struct iphdr *ip = data + ETH_HLEN;
	struct flow_cache_packet packet;
	struct fast_route route;
	struct ct_entry *entry;
	struct ct4_key key;
	__u32 side;

	if (!fast_parse4(ctx, ip, data_end, &packet, hook))
		return FAST_MISS;
	side = ct4_key_fill(&key, ip->saddr, ip->daddr, packet.source_port, packet.destination_port,
			    ip->protocol);
	entry = bpf_map_lookup_elem(&MAP_CT4, &key);
	if (!entry || !fast_usable(ctx, entry, side, hook))
		return FAST_MISS;
	fast_route_of(&route, entry, side);
	/* At to_pod it also matters by which device the packet reached the node, which the cache does not
	 * know. */
	if (hook != HOOK_TO_POD)
		fast_note4(ip, &packet, &key, entry, side);
	fast_age4(ip, &route, hook);
	return fast_forward(ctx, data, &route, hook);
}

static __always_inline int fast_tracked6(struct __sk_buff *ctx, void *data, void *data_end, __u32 hook)
{
	struct ipv6hdr *ip = data + ETH_HLEN;
	struct flow_cache_packet packet;
	struct fast_route route;
	struct ct_entry *entry;
	struct ct6_key key;
	__u32 side;

	if (!fast_parse6(ctx, ip, data_end, &packet, hook))
		return FAST_MISS;
	side = ct6_key_fill(&key, (union address *)&ip->saddr, (union address *)&ip->daddr,
			    packet.source_port, packet.destination_port, ip->nexthdr);
	entry = bpf_map_lookup_elem(&MAP_CT6, &key);
	if (!entry || !fast_usable(ctx, entry, side, hook))
		return FAST_MISS;
	fast_route_of(&route, entry, side);
	if (hook != HOOK_TO_POD)
		fast_note6(ip, &packet, &key, entry, side);
	fast_age6(ctx, ip, &route, hook);
	return fast_forward(ctx, data, &route, hook);
}

/* Functions of their own: their stack is not that of the slow path's callers. */
#define FAST_TRACKED(family, name, hook)                                                                     \
	static __attribute__((noinline)) int tracked##family##_##name(struct __sk_buff *ctx)                 \
	{                                                                                                    \
		return fast_tracked##family(ctx, (void *)(long)ctx->data, (void *)(long)ctx->data_end,       \
					    hook);                                                           \
	}

FAST_TRACKED(4, from_pod, HOOK_FROM_POD)
FAST_TRACKED(4, from_netdev, HOOK_FROM_NETDEV)
FAST_TRACKED(6, from_pod, HOOK_FROM_POD)
FAST_TRACKED(6, from_netdev, HOOK_FROM_NETDEV)

/* By the flow cache, else by conntrack. */
static __always_inline int fast_ipv4(struct __sk_buff *ctx, void *data, void *data_end, __u32 hook)
{
	int verdict;

	if (hook == HOOK_TO_POD)
		return fast_tracked4(ctx, data, data_end, hook);
	verdict = fast_cached4(ctx, data, data_end, hook);
	if (verdict != FAST_MISS)
		return verdict;
	return hook == HOOK_FROM_POD ? tracked4_from_pod(ctx) : tracked4_from_netdev(ctx);
}

static __always_inline int fast_ipv6(struct __sk_buff *ctx, void *data, void *data_end, __u32 hook)
{
	int verdict;

	if (hook == HOOK_TO_POD)
		return fast_tracked6(ctx, data, data_end, hook);
	verdict = fast_cached6(ctx, data, data_end, hook);
	if (verdict != FAST_MISS)
		return verdict;
	return hook == HOOK_FROM_POD ? tracked6_from_pod(ctx) : tracked6_from_netdev(ctx);
}

/* Returns a verdict, or FAST_MISS with the packet untouched. */
static __always_inline int fast_path(struct __sk_buff *ctx, __u32 hook)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;

	if (ctx->pkt_type != PACKET_HOST && hook != HOOK_TO_POD)
		return FAST_MISS;
	/* A tagged frame is another network's. */
	if (ctx->vlan_present && hook != HOOK_TO_POD)
		return FAST_MISS;
	if (ctx->protocol == CTX_IPV4)
		return fast_ipv4(ctx, data, data_end, hook);
	if (ctx->protocol == CTX_IPV6)
		return fast_ipv6(ctx, data, data_end, hook);
	return FAST_MISS;
}

#endif
