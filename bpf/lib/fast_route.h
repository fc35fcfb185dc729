/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where a packet goes whose verdict stands, and sending it there. */
#ifndef CILIATE_FAST_ROUTE_H
#define CILIATE_FAST_ROUTE_H

#include "common.h"
#include "conntrack.h"
#include "flow_cache.h"
#include "metrics.h"

/* The slow path must look. No verdict has this value. */
#define FAST_MISS 100

/* Whether the packet came in where this flow's source lives. */
static __always_inline bool fast_binds(const struct __sk_buff *ctx, const struct ct_entry *entry, __u32 side,
				       __u32 hook)
{
	__u32 source_ifindex = entry->ifindex[side & 1], destination_ifindex = entry->ifindex[(side & 1) ^ 1];

	if (hook == HOOK_FROM_POD)
		return source_ifindex == ctx->ifindex;
	if (source_ifindex != 0)
		return false;
	if (hook == HOOK_TO_POD)
		return destination_ifindex == ctx->ifindex &&
		       !!(entry->flags & CTF_HOST) == (ctx->ingress_ifindex == 0);
	return destination_ifindex != 0 && !(entry->flags & CTF_HOST);
}

/* Whether the entry's verdict stands for a plain packet from `side`. */
static __always_inline bool fast_usable(const struct __sk_buff *ctx, struct ct_entry *entry, __u32 side,
					__u32 hook)
{
	__u32 initiator = entry->flags & CTF_INIT_B ? 1 : 0;
	__u32 needed = side == initiator ? CTF_ESTABLISHED : CTF_SEEN_REPLY;

	if ((entry->flags & (CTF_SLOW | needed)) != needed)
		return false;
	return fast_binds(ctx, entry, side, hook) && ct_fresh(entry) && ct_see(entry);
}

/* Where a packet goes, from conntrack or from the flow cache. */
struct fast_route {
	__u32 from_slot;
	__u32 to_slot;
	__u32 ifindex; /* of a local destination, else 0 */
	const __u8 *mac;
};

static __always_inline void fast_route_of(struct fast_route *route, const struct ct_entry *entry, __u32 side)
{
	__u32 from = side & 1, to = from ^ 1;

	route->from_slot = entry->slot[from];
	route->to_slot = entry->slot[to];
	route->ifindex = entry->ifindex[to];
	route->mac = entry->mac[to];
}

/* Counts, and sends the packet to a local side past the stack, or lets the stack route it. */
static __always_inline int fast_forward(struct __sk_buff *ctx, struct ethhdr *eth,
					const struct fast_route *route, __u32 hook)
{
	if (hook == HOOK_FROM_POD)
		count_egress(route->from_slot, ctx->len);
	if (route->to_slot)
		count_ingress(route->to_slot, ctx->len);
	if (hook == HOOK_TO_POD || !route->ifindex)
		return VERDICT_PASS;
	mac_copy(eth->h_source, eth->h_dest);
	mac_copy(eth->h_dest, route->mac);
	return bpf_redirect_peer(route->ifindex, 0);
}

/* One hop less, if the packet takes one here. */
static __always_inline void fast_age4(struct iphdr *ip, const struct fast_route *route, __u32 hook)
{
	__u32 sum;

	if (hook == HOOK_TO_POD || !route->ifindex)
		return;
	/* RFC 1141: one less in the high byte of a word is 0x0100 more in the sum. */
	sum = (__u32)be16_bits(ip->check) + be16_bits(bpf_htons(0x0100));
	ip->check = (__force __sum16)(__u16)(sum + (sum >= 0xffff));
	ip->ttl--;
}

/* The same for IPv6. No checksum of the header makes up for it in the sum that a NIC may have taken of the
 * packet. */
static __always_inline void fast_age6(struct __sk_buff *ctx, struct ipv6hdr *ip,
				      const struct fast_route *route, __u32 hook)
{
	if (hook == HOOK_TO_POD || !route->ifindex)
		return;
	ip->hop_limit--;
	if (hook == HOOK_FROM_NETDEV)
		bpf_csum_update(ctx, (__force __wsum)~be16_bits(bpf_htons(1)));
}

static __always_inline void fast_route_noted(struct fast_route *route, const struct flow_cache_answer *answer)
{
	route->from_slot = answer->slot[0];
	route->to_slot = answer->slot[1];
	route->ifindex = answer->ifindex;
	route->mac = answer->mac;
}

/* A route from the flow cache, if what it holds still stands. */
static __always_inline bool fast_recall(struct fast_route *route, const struct flow_cache_answer *answer)
{
	if (!flow_cache_fresh(answer))
		return false;
	fast_route_noted(route, answer);
	return true;
}

#endif
