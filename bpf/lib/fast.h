/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The fast path: one look into this CPU's flow cache, or into conntrack, and the packet goes where the entry
 * says. It takes only plain packets of flows whose verdict stands; everything else is the slow path's.
 */
#ifndef CILIATE_FAST_H
#define CILIATE_FAST_H

#include "common.h"
#include "conntrack.h"
#include "flow_cache.h"
#include "metrics.h"
#include "parse.h"

/* The slow path must look. No verdict has this value. */
#define FAST_MISS 100

struct transport_ports {
	__be16 source;
	__be16 destination;
};

struct tcp_head {
	__be16 source;
	__be16 destination;
	__be32 sequence;
	__be32 acknowledged;
	__u8 offset;
	__u8 flags;
};

/* Ports of TCP, UDP and echo. False when the packet is not plain. */
static __always_inline bool fast_ports(const void *l4, const void *data_end, __u8 protocol, bool v6,
				       struct transport_ports *ports)
{
	const struct tcp_head *tcp = l4;
	const struct icmp_head *icmp = l4;

	if (protocol == IPPROTO_TCP) {
		if ((const void *)(tcp + 1) > data_end || tcp->flags & (TCP_SYN | TCP_FIN | TCP_RST))
			return false;
	} else if (protocol == IPPROTO_UDP) {
		if (l4 + 8 > data_end)
			return false;
	} else {
		if (protocol != (v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP) || (const void *)(icmp + 1) > data_end)
			return false;
		/* Identifier 0 has ports of its own. */
		if (!icmp->identifier)
			return false;
		if (icmp->type == (v6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO)) {
			ports->source = 0;
			ports->destination = icmp->identifier;
			return true;
		}
		if (icmp->type == (v6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY)) {
			ports->source = icmp->identifier;
			ports->destination = 0;
			return true;
		}
		return false;
	}
	ports->source = tcp->source;
	ports->destination = tcp->destination;
	return true;
}

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

/* The ports of a plain packet, and what else conntrack and the flow cache want to know of it. */
static __always_inline void fast_packet(struct flow_cache_packet *packet, const struct __sk_buff *ctx,
					const struct transport_ports *ports, __u32 protocol, __u32 hook)
{
	packet->hook = hook;
	packet->source_port = ports->source;
	packet->destination_port = ports->destination;
	packet->ifindex = ctx->ifindex;
	packet->protocol = protocol;
}

/* An echo at a hook: noted if it is a probe. */
static __always_inline void fast_probe(struct __sk_buff *ctx, __u32 l4_offset,
				       const struct transport_ports *ports, __u32 hook)
{
	/* An answer has its identifier in the place of the source port. */
	__u32 leg = ports->source ? WAYPOINT_ANSWER : 0;

	probe_seen(ctx, l4_offset + sizeof(struct icmp_head), hook | leg, 0);
}

/* False when it is not a plain packet. */
static __always_inline bool fast_parse4(struct __sk_buff *ctx, const struct iphdr *ip, const void *data_end,
					struct flow_cache_packet *packet, __u32 hook)
{
	struct transport_ports ports;

	if ((const void *)(ip + 1) > data_end || ip->version != 4 || ip->ihl != 5 ||
	    ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_OFFSET_MASK) || ip->ttl <= 1)
		return false;
	if (!fast_ports(ip + 1, data_end, ip->protocol, false, &ports))
		return false;
	fast_packet(packet, ctx, &ports, ip->protocol, hook);
	if (unlikely(ip->protocol == IPPROTO_ICMP))
		fast_probe(ctx, ETH_HLEN + sizeof(*ip), &ports, hook);
	return true;
}

static __always_inline bool fast_parse6(struct __sk_buff *ctx, const struct ipv6hdr *ip, const void *data_end,
					struct flow_cache_packet *packet, __u32 hook)
{
	struct transport_ports ports;

	if ((const void *)(ip + 1) > data_end || ip->version != 6 || ip->hop_limit <= 1)
		return false;
	if (!fast_ports(ip + 1, data_end, ip->nexthdr, true, &ports))
		return false;
	fast_packet(packet, ctx, &ports, ip->nexthdr, hook);
	if (unlikely(ip->nexthdr == IPPROTO_ICMPV6))
		fast_probe(ctx, ETH_HLEN + sizeof(*ip), &ports, hook);
	return true;
}

/* A route from the flow cache, if what it holds still stands. */
static __always_inline bool fast_recall(struct fast_route *route, const struct flow_cache_answer *answer)
{
	if (!flow_cache_fresh(answer))
		return false;
	route->from_slot = answer->slot[0];
	route->to_slot = answer->slot[1];
	route->ifindex = answer->ifindex;
	route->mac = answer->mac;
	return true;
}

static __always_inline int fast_cached4(struct __sk_buff *ctx, void *data, void *data_end, __u32 hook)
{
	struct iphdr *ip = data + ETH_HLEN;
	struct flow_cache_packet packet;
	struct flow_cache4_entry *entry;
	struct fast_route route;

	if (!fast_parse4(ctx, ip, data_end, &packet, hook))
		return FAST_MISS;
	entry = flow_cache4_place(ip, &packet);
	if (!entry || !flow_cache4_matches(entry, ip, &packet) || !fast_recall(&route, &entry->answer))
		return FAST_MISS;
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
	fast_age6(ctx, ip, &route, hook);
	return fast_forward(ctx, data, &route, hook);
}

/* Notes a flow of IPv4 in the cache, unless another one has its place. */
static __always_inline void fast_note4(const struct iphdr *ip, const struct flow_cache_packet *packet,
				       const struct ct4_key *key, const struct ct_entry *found, __u32 side)
{
	struct flow_cache4_entry *entry = flow_cache4_place(ip, packet);

	if (!entry || (flow_cache_taken(&entry->answer) && !flow_cache4_matches(entry, ip, packet)))
		return;
	entry->source = ip->saddr;
	entry->destination = ip->daddr;
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
