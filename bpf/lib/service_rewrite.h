/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Giving packets, and packets that ICMP errors quote, another address and port, with their checksums. */
#ifndef CILIATE_SERVICE_REWRITE_H
#define CILIATE_SERVICE_REWRITE_H

#include "common.h"
#include "forward.h"
#include "parse.h"

#define END_SOURCE	0
#define END_DESTINATION 1

#define IP4_SOURCE_OFFSET      12
#define IP4_DESTINATION_OFFSET 16
#define IP6_SOURCE_OFFSET      8
#define IP6_DESTINATION_OFFSET 24

#define TCP_CHECKSUM_OFFSET  16
#define UDP_CHECKSUM_OFFSET  6
#define ICMP_CHECKSUM_OFFSET 2

/* An address in an IP header at `offset`. */
static __always_inline int rewrite_address(struct __sk_buff *ctx, __u32 offset, bool v6, __u32 end,
					   const union address *address)
{
	if (v6)
		return bpf_skb_store_bytes(
			ctx, offset + (end == END_SOURCE ? IP6_SOURCE_OFFSET : IP6_DESTINATION_OFFSET),
			address, 16, 0);
	return bpf_skb_store_bytes(ctx,
				   offset + (end == END_SOURCE ? IP4_SOURCE_OFFSET : IP4_DESTINATION_OFFSET),
				   address, 4, 0);
}

/* Where the checksum of the transport header is that covers addresses and ports; 0: it has none. */
static __always_inline __u32 transport_checksum(const struct flow *flow)
{
	switch (flow->protocol) {
	case IPPROTO_TCP:
		return flow->l4_offset + TCP_CHECKSUM_OFFSET;
	case IPPROTO_UDP:
		return flow->l4_offset + UDP_CHECKSUM_OFFSET;
	case IPPROTO_ICMPV6:
		return flow->l4_offset + ICMP_CHECKSUM_OFFSET;
	}
	return 0;
}

/*
 * In IPv6 no header checksum makes up for an address, but that of the transport does; bpf_l4_csum_replace
 * takes its change alone out of the sum that a NIC may have taken of the packet.
 */
static __always_inline void rewrite_sum6(struct __sk_buff *ctx, __s64 difference)
{
	bpf_csum_update(ctx, (__force __wsum)(__u32)difference);
}

/*
 * Gives one end of the packet another address and port, in the packet and in `flow`. A piece of a datagram
 * behind the first has no ports, SCTP keeps its own: its checksum covers all of it (RFC 9260 6.8). Returns 0
 * or a negative DROP_*.
 */
static __always_inline int service_rewrite(struct __sk_buff *ctx, struct flow *flow, __u32 end,
					   const union address *address, __be16 port)
{
	union address *old = end == END_SOURCE ? &flow->source : &flow->destination;
	__be16 *old_port = end == END_SOURCE ? &flow->source_port : &flow->destination_port;
	bool has_ports = flow->protocol == IPPROTO_TCP || flow->protocol == IPPROTO_UDP;
	__u32 mangled = flow->protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__u32 checksum = flow->later_fragment ? 0 : transport_checksum(flow);
	__s64 difference = bpf_csum_diff((__be32 *)old, 16, (__be32 *)address, 16, 0);

	if (difference < 0)
		return -DROP_WRITE_ERROR;
	if (checksum && bpf_l4_csum_replace(ctx, checksum, 0, difference, BPF_F_PSEUDO_HDR | mangled) < 0)
		return -DROP_WRITE_ERROR;
	if (flow->v6 && checksum)
		rewrite_sum6(ctx, difference);
	if (!flow->v6 && bpf_l3_csum_replace(ctx, IP4_CHECKSUM_OFFSET, 0, difference, 0) < 0)
		return -DROP_WRITE_ERROR;
	if (rewrite_address(ctx, ETH_HLEN, flow->v6, end, address) < 0)
		return -DROP_WRITE_ERROR;
	*old = *address;
	if (!has_ports)
		return 0;
	if (checksum && *old_port != port) {
		if (bpf_l4_csum_replace(ctx, checksum, be16_bits(*old_port), be16_bits(port), 2 | mangled) <
		    0)
			return -DROP_WRITE_ERROR;
		if (bpf_skb_store_bytes(ctx, flow->l4_offset + (end == END_SOURCE ? 0 : 2), &port, 2, 0) < 0)
			return -DROP_WRITE_ERROR;
	}
	*old_port = port;
	if (end == END_DESTINATION)
		flow->policy_port = port;
	return 0;
}

/*
 * Gives the packet that an ICMP error quotes another destination. The quote's own transport checksum stays:
 * most quotes hold too little to check it. Returns 0 or a negative DROP_*.
 */
static __always_inline int service_rewrite_quote(struct __sk_buff *ctx, const struct flow *outer,
						 const struct flow *inner, const union address *address,
						 __be16 port)
{
	bool has_ports = inner->protocol == IPPROTO_TCP || inner->protocol == IPPROTO_UDP;
	__u32 checksum = outer->l4_offset + ICMP_CHECKSUM_OFFSET;
	__u32 quote = outer->l4_offset + sizeof(struct icmp_head);
	__s64 difference = bpf_csum_diff((__be32 *)&inner->destination, 16, (__be32 *)address, 16, 0);

	if (difference < 0)
		return -DROP_WRITE_ERROR;
	/* In IPv4 the checksum of the quoted header makes up for the address. */
	if (outer->v6
		    ? bpf_l4_csum_replace(ctx, checksum, 0, difference, 0) < 0
		    : bpf_l3_csum_replace(ctx, quote + IP4_CHECKSUM_OFFSET - ETH_HLEN, 0, difference, 0) < 0)
		return -DROP_WRITE_ERROR;
	if (rewrite_address(ctx, quote, outer->v6, END_DESTINATION, address) < 0)
		return -DROP_WRITE_ERROR;
	if (!has_ports || inner->destination_port == port)
		return 0;
	if (bpf_l4_csum_replace(ctx, checksum, be16_bits(inner->destination_port), be16_bits(port), 2) < 0 ||
	    bpf_skb_store_bytes(ctx, inner->l4_offset + 2, &port, 2, 0) < 0)
		return -DROP_WRITE_ERROR;
	return 0;
}

#endif
