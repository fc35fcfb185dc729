/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Telling an endpoint that a service has no backend, in the service's name: TCP is reset (RFC 9293 3.10.7.1),
 * which also ends what was open; anything else hears that the port is unreachable (RFC 792, RFC 4443 3.1). To
 * an ICMP error a connection that is being opened would only listen when its next SYN is due.
 */
#ifndef CILIATE_SERVICE_REFUSE_H
#define CILIATE_SERVICE_REFUSE_H

#include "checksum.h"
#include "common.h"
#include "endpoint_maps.h"
#include "parse.h"
#include "verdict_structs.h"

#define REFUSAL_TTL	       64
#define ICMP_PORT_UNREACHABLE  3
#define ICMP6_PORT_UNREACHABLE 4
/* What an IPv4 error must quote of the transport header, and what an IPv6 one quotes here. */
#define QUOTED_TRANSPORT 8

struct reset_segment {
	__be16 source;
	__be16 destination;
	__be32 sequence;
	__be32 acknowledged;
	__u8 offset;
	__u8 flags;
	__be16 window;
	__be16 checksum;
	__be16 urgent;
};

struct reset4 {
	struct iphdr ip;
	struct reset_segment tcp;
};

struct reset6 {
	struct ipv6hdr ip;
	struct reset_segment tcp;
};

struct unreachable4 {
	struct iphdr ip;
	struct icmp_head icmp;
	__u8 quote[sizeof(struct iphdr) + QUOTED_TRANSPORT];
};

struct unreachable6 {
	struct ipv6hdr ip;
	struct icmp_head icmp;
	__u8 quote[sizeof(struct ipv6hdr) + QUOTED_TRANSPORT];
};

/* Sum of the pseudo-header: both addresses, which lie next to each other, length and protocol (RFC 8200 8.1).
 */
static __always_inline __wsum pseudo_sum(__be32 *addresses, __u32 address_bytes, __u32 length, __u32 protocol)
{
	__be32 rest[2] = {bpf_htonl(length), bpf_htonl(protocol)};
	__s64 sum = bpf_csum_diff(NULL, 0, rest, sizeof(rest), 0);

	return (__force __wsum)(__u32)bpf_csum_diff(NULL, 0, addresses, address_bytes,
						    (__force __wsum)(__u32)sum);
}

/* From whom the packet went to to whom it came from. */
static __always_inline void turn4(struct iphdr *ip, const struct flow *flow, __u8 protocol, __u16 length)
{
	ip->version = 4;
	ip->ihl = 5;
	ip->tot_len = bpf_htons(length);
	ip->ttl = REFUSAL_TTL;
	ip->protocol = protocol;
	ip->saddr = flow->destination.word[0];
	ip->daddr = flow->source.word[0];
	ip->check = (__force __sum16)checksum_of(bpf_csum_diff(NULL, 0, (__be32 *)ip, sizeof(*ip), 0));
}

static __always_inline void turn6(struct ipv6hdr *ip, const struct flow *flow, __u8 protocol, __u16 length)
{
	ip->version = 6;
	ip->payload_len = bpf_htons(length);
	ip->nexthdr = protocol;
	ip->hop_limit = REFUSAL_TTL;
	__builtin_memcpy(&ip->saddr, &flow->destination, 16);
	__builtin_memcpy(&ip->daddr, &flow->source, 16);
}

/* A reset that answers the packet's segment, but for its checksum. */
static __always_inline long reset_fill(struct __sk_buff *ctx, const struct flow *flow,
				       struct reset_segment *reset)
{
	struct reset_segment asked;

	if (bpf_skb_load_bytes(ctx, flow->l4_offset, &asked, sizeof(asked)) < 0)
		return -1;
	reset->source = asked.destination;
	reset->destination = asked.source;
	reset->offset = sizeof(*reset) / 4 << 4;
	if (asked.flags & TCP_ACK) {
		reset->sequence = asked.acknowledged;
		reset->flags = TCP_RST;
	} else {
		reset->acknowledged = bpf_htonl(bpf_ntohl(asked.sequence) + 1);
		reset->flags = TCP_RST | TCP_ACK;
	}
	return 0;
}

/* The packet becomes what is in `refusal`, behind the header of its link. */
static __always_inline long refusal_store(struct __sk_buff *ctx, const void *refusal, __u32 bytes)
{
	if (bpf_skb_change_tail(ctx, ETH_HLEN + bytes, 0) < 0)
		return -1;
	return bpf_skb_store_bytes(ctx, ETH_HLEN, refusal, bytes, BPF_F_INVALIDATE_HASH);
}

static __always_inline long reset4(struct __sk_buff *ctx, const struct flow *flow)
{
	struct reset4 refusal = {};
	__wsum pseudo;

	if (reset_fill(ctx, flow, &refusal.tcp) < 0)
		return -1;
	turn4(&refusal.ip, flow, IPPROTO_TCP, sizeof(refusal));
	pseudo = pseudo_sum((__be32 *)&refusal.ip.saddr, 8, sizeof(refusal.tcp), IPPROTO_TCP);
	refusal.tcp.checksum =
		checksum_of(bpf_csum_diff(NULL, 0, (__be32 *)&refusal.tcp, sizeof(refusal.tcp), pseudo));
	return refusal_store(ctx, &refusal, sizeof(refusal));
}

static __always_inline long reset6(struct __sk_buff *ctx, const struct flow *flow)
{
	struct reset6 refusal = {};
	__wsum pseudo;

	if (reset_fill(ctx, flow, &refusal.tcp) < 0)
		return -1;
	turn6(&refusal.ip, flow, IPPROTO_TCP, sizeof(refusal.tcp));
	pseudo = pseudo_sum((__be32 *)&refusal.ip.saddr, 32, sizeof(refusal.tcp), IPPROTO_TCP);
	refusal.tcp.checksum =
		checksum_of(bpf_csum_diff(NULL, 0, (__be32 *)&refusal.tcp, sizeof(refusal.tcp), pseudo));
	return refusal_store(ctx, &refusal, sizeof(refusal));
}

static __always_inline long unreachable4(struct __sk_buff *ctx, const struct flow *flow)
{
	struct unreachable4 refusal = {};
	const __u32 bytes = sizeof(refusal.icmp) + sizeof(refusal.quote);

	if (bpf_skb_load_bytes(ctx, ETH_HLEN, refusal.quote, sizeof(refusal.quote)) < 0)
		return -1;
	turn4(&refusal.ip, flow, IPPROTO_ICMP, sizeof(refusal));
	refusal.icmp.type = ICMP_DEST_UNREACH;
	refusal.icmp.code = ICMP_PORT_UNREACHABLE;
	refusal.icmp.checksum = checksum_of(bpf_csum_diff(NULL, 0, (__be32 *)&refusal.icmp, bytes, 0));
	return refusal_store(ctx, &refusal, sizeof(refusal));
}

static __always_inline long unreachable6(struct __sk_buff *ctx, const struct flow *flow)
{
	struct unreachable6 refusal = {};
	const __u32 bytes = sizeof(refusal.icmp) + sizeof(refusal.quote);
	__wsum pseudo;

	if (bpf_skb_load_bytes(ctx, ETH_HLEN, refusal.quote, sizeof(refusal.quote)) < 0)
		return -1;
	turn6(&refusal.ip, flow, IPPROTO_ICMPV6, bytes);
	refusal.icmp.type = ICMP6_UNREACHABLE;
	refusal.icmp.code = ICMP6_PORT_UNREACHABLE;
	pseudo = pseudo_sum((__be32 *)&refusal.ip.saddr, 32, bytes, IPPROTO_ICMPV6);
	refusal.icmp.checksum = checksum_of(bpf_csum_diff(NULL, 0, (__be32 *)&refusal.icmp, bytes, pseudo));
	return refusal_store(ctx, &refusal, sizeof(refusal));
}

/* Turns the packet into its refusal, but for the addresses of the link. Returns a negative number if it
 * cannot. */
static __always_inline long refuse(struct __sk_buff *ctx, const struct flow *flow)
{
	if (flow->protocol == IPPROTO_TCP)
		return flow->v6 ? reset6(ctx, flow) : reset4(ctx, flow);
	return flow->v6 ? unreachable6(ctx, flow) : unreachable4(ctx, flow);
}

/*
 * Answers a packet that was dropped since its service has no backend. A packet with options or extension
 * headers, and one that comes in pieces, is dropped without an answer. Returns a verdict.
 */
SUBPROGRAM int service_refuse(struct __sk_buff *ctx, const struct judgement *judgement)
{
	const struct flow *flow;
	struct endpoint *endpoint;
	__u8 macs[12];

	if (!judgement)
		return VERDICT_DROP;
	flow = &judgement->flow;
	endpoint = endpoint_get(judgement->source.slot);
	if (!endpoint || flow->first_fragment || flow->later_fragment || flow->tcp_flags & TCP_RST ||
	    flow->l4_offset != ETH_HLEN + (flow->v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)))
		return VERDICT_DROP;
	if (refuse(ctx, flow) < 0)
		return VERDICT_DROP;
	__builtin_memcpy(macs, endpoint->mac, 6);
	__builtin_memcpy(macs + 6, endpoint->host_mac, 6);
	if (bpf_skb_store_bytes(ctx, 0, macs, sizeof(macs), 0) < 0)
		return VERDICT_DROP;
	bpf_skb_change_type(ctx, PACKET_HOST);
	return bpf_redirect_peer(endpoint->ifindex, 0);
}

#endif
