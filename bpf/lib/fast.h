/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The fast path: one conntrack lookup, and the packet goes where the entry says. It takes only plain packets
 * of flows whose verdict stands; everything else is the slow path's.
 */
#ifndef CILIATE_FAST_H
#define CILIATE_FAST_H

#include "common.h"
#include "conntrack.h"
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
	__u32 now;

	if ((entry->flags & (CTF_SLOW | needed)) != needed)
		return false;
	if (!fast_binds(ctx, entry, side, hook) || !ct_fresh(entry))
		return false;
	now = ct_now();
	if (entry->seen != now) {
		if (ct_expired(entry, now))
			return false;
		entry->seen = now;
	}
	return true;
}

/* Counts, and sends the packet to a local side past the stack, or lets the stack route it. */
static __always_inline int fast_forward(struct __sk_buff *ctx, struct ethhdr *eth, struct ct_entry *entry,
					__u32 side, __u32 hook)
{
	__u32 to = (side & 1) ^ 1;

	if (hook == HOOK_FROM_POD)
		count_egress(entry->slot[side & 1], ctx->len);
	if (entry->slot[to])
		count_ingress(entry->slot[to], ctx->len);
	if (hook == HOOK_TO_POD || !entry->ifindex[to])
		return VERDICT_PASS;
	mac_copy(eth->h_source, eth->h_dest);
	mac_copy(eth->h_dest, entry->mac[to]);
	return bpf_redirect_peer(entry->ifindex[to], 0);
}

static __always_inline int fast_ipv4(struct __sk_buff *ctx, void *data, void *data_end, __u32 hook)
{
	struct iphdr *ip = data + ETH_HLEN;
	struct transport_ports ports;
	struct ct_entry *entry;
	struct ct4_key key;
	__u32 side, sum;

	if ((void *)(ip + 1) > data_end || ip->version != 4 || ip->ihl != 5 ||
	    ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_OFFSET_MASK) || ip->ttl <= 1)
		return FAST_MISS;
	if (!fast_ports(ip + 1, data_end, ip->protocol, false, &ports))
		return FAST_MISS;
	side = ct4_key_fill(&key, ip->saddr, ip->daddr, ports.source, ports.destination, ip->protocol);
	entry = bpf_map_lookup_elem(&MAP_CT4, &key);
	if (!entry || !fast_usable(ctx, entry, side, hook))
		return FAST_MISS;
	if (hook != HOOK_TO_POD && entry->ifindex[(side & 1) ^ 1]) {
		/* RFC 1141: one less in the high byte of a word is 0x0100 more in the sum. */
		sum = (__u32)be16_bits(ip->check) + be16_bits(bpf_htons(0x0100));
		ip->check = (__force __sum16)(__u16)(sum + (sum >= 0xffff));
		ip->ttl--;
	}
	return fast_forward(ctx, data, entry, side, hook);
}

static __always_inline int fast_ipv6(struct __sk_buff *ctx, void *data, void *data_end, __u32 hook)
{
	struct ipv6hdr *ip = data + ETH_HLEN;
	struct transport_ports ports;
	struct ct_entry *entry;
	struct ct6_key key;
	__u32 side;

	if ((void *)(ip + 1) > data_end || ip->version != 6 || ip->hop_limit <= 1)
		return FAST_MISS;
	if (!fast_ports(ip + 1, data_end, ip->nexthdr, true, &ports))
		return FAST_MISS;
	side = ct6_key_fill(&key, (union address *)&ip->saddr, (union address *)&ip->daddr, ports.source,
			    ports.destination, ip->nexthdr);
	entry = bpf_map_lookup_elem(&MAP_CT6, &key);
	if (!entry || !fast_usable(ctx, entry, side, hook))
		return FAST_MISS;
	if (hook != HOOK_TO_POD && entry->ifindex[(side & 1) ^ 1]) {
		ip->hop_limit--;
		/* No checksum of the header makes up for it in the sum that a NIC may have taken of the
		 * packet. */
		if (hook == HOOK_FROM_NETDEV)
			bpf_csum_update(ctx, (__wsum)~be16_bits(bpf_htons(1)));
	}
	return fast_forward(ctx, data, entry, side, hook);
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
