/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reading a plain packet: no options, no pieces, no change of a flow's state. */
#ifndef CILIATE_FAST_PARSE_H
#define CILIATE_FAST_PARSE_H

#include "common.h"
#include "flow_cache.h"
#include "parse.h"
#include "metrics.h"

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

#endif
