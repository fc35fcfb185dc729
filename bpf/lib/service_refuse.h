/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Telling an endpoint that a service has no backend: port unreachable, from the service (RFC 792, RFC 4443 3.1). */
#ifndef CILIATE_SERVICE_REFUSE_H
#define CILIATE_SERVICE_REFUSE_H

#include "arp_nd.h"
#include "common.h"
#include "endpoint_maps.h"
#include "parse.h"
#include "verdict_structs.h"

#define REFUSAL_TTL	       64
#define ICMP_PORT_UNREACHABLE  3
#define ICMP6_PORT_UNREACHABLE 4
/* What an IPv4 error must quote of the transport header, and what an IPv6 one quotes here. */
#define QUOTED_TRANSPORT       8

struct refusal4 {
	struct iphdr ip;
	struct icmp_head icmp;
	__u8 quote[sizeof(struct iphdr) + QUOTED_TRANSPORT];
};

struct refusal6 {
	struct ipv6hdr ip;
	struct icmp_head icmp;
	__u8 quote[sizeof(struct ipv6hdr) + QUOTED_TRANSPORT];
};

/* The checksum of a header that sums up to `sum` without it. */
static __always_inline __be16 checksum_of(__s64 sum)
{
	sum = (sum & 0xffff) + ((sum >> 16) & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__force __be16)~sum;
}

/* Turns the packet into its refusal, but for the addresses of the link. Returns 0 or a negative number. */
static __always_inline long refuse4(struct __sk_buff *ctx)
{
	struct refusal4 refusal = {};
	struct iphdr *asked = (struct iphdr *)refusal.quote;

	if (bpf_skb_load_bytes(ctx, ETH_HLEN, refusal.quote, sizeof(refusal.quote)) < 0)
		return -1;
	if (bpf_skb_change_tail(ctx, ETH_HLEN + sizeof(refusal), 0) < 0)
		return -1;
	refusal.ip.version = 4;
	refusal.ip.ihl = 5;
	refusal.ip.tot_len = bpf_htons(sizeof(refusal));
	refusal.ip.ttl = REFUSAL_TTL;
	refusal.ip.protocol = IPPROTO_ICMP;
	refusal.ip.saddr = asked->daddr;
	refusal.ip.daddr = asked->saddr;
	refusal.icmp.type = ICMP_DEST_UNREACH;
	refusal.icmp.code = ICMP_PORT_UNREACHABLE;
	refusal.ip.check = (__force __sum16)checksum_of(
		bpf_csum_diff(NULL, 0, (__be32 *)&refusal.ip, sizeof(refusal.ip), 0));
	refusal.icmp.checksum =
		checksum_of(bpf_csum_diff(NULL, 0, (__be32 *)&refusal.icmp,
					  sizeof(refusal.icmp) + sizeof(refusal.quote), 0));
	return bpf_skb_store_bytes(ctx, ETH_HLEN, &refusal, sizeof(refusal), BPF_F_INVALIDATE_HASH);
}

static __always_inline long refuse6(struct __sk_buff *ctx)
{
	struct refusal6 refusal = {};
	struct ipv6hdr *asked = (struct ipv6hdr *)refusal.quote;
	__be32 pseudo[2] = {bpf_htonl(sizeof(refusal.icmp) + sizeof(refusal.quote)), bpf_htonl(IPPROTO_ICMPV6)};
	__s64 sum;

	if (bpf_skb_load_bytes(ctx, ETH_HLEN, refusal.quote, sizeof(refusal.quote)) < 0)
		return -1;
	if (bpf_skb_change_tail(ctx, ETH_HLEN + sizeof(refusal), 0) < 0)
		return -1;
	refusal.ip.version = 6;
	refusal.ip.payload_len = bpf_htons(sizeof(refusal.icmp) + sizeof(refusal.quote));
	refusal.ip.nexthdr = IPPROTO_ICMPV6;
	refusal.ip.hop_limit = REFUSAL_TTL;
	refusal.ip.saddr = asked->daddr;
	refusal.ip.daddr = asked->saddr;
	refusal.icmp.type = ICMP6_UNREACHABLE;
	refusal.icmp.code = ICMP6_PORT_UNREACHABLE;
	/* Both addresses lie next to each other, as the pseudo-header has them (RFC 8200 8.1). */
	sum = bpf_csum_diff(NULL, 0, pseudo, sizeof(pseudo), 0);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&refusal.ip.saddr, 32, (__u32)sum);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&refusal.icmp, sizeof(refusal.icmp) + sizeof(refusal.quote),
			    (__u32)sum);
	refusal.icmp.checksum = checksum_of(sum);
	return bpf_skb_store_bytes(ctx, ETH_HLEN, &refusal, sizeof(refusal), BPF_F_INVALIDATE_HASH);
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
	if ((flow->v6 ? refuse6(ctx) : refuse4(ctx)) < 0)
		return VERDICT_DROP;
	__builtin_memcpy(macs, endpoint->mac, 6);
	__builtin_memcpy(macs + 6, endpoint->host_mac, 6);
	if (bpf_skb_store_bytes(ctx, 0, macs, sizeof(macs), 0) < 0)
		return VERDICT_DROP;
	bpf_skb_change_type(ctx, PACKET_HOST);
	return bpf_redirect_peer(endpoint->ifindex, 0);
}

#endif
