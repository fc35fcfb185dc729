/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Bringing a packet to an endpoint of this node, from any ingress hook. */
#ifndef CILIATE_FORWARD_H
#define CILIATE_FORWARD_H

#include "common.h"
#include "endpoint_maps.h"
#include "verdict_structs.h"

#define IP4_TTL_OFFSET	    (ETH_HLEN + 8)
#define IP4_CHECKSUM_OFFSET (ETH_HLEN + 10)
#define IP6_HOPS_OFFSET	    (ETH_HLEN + 7)

/* One hop less. The caller has checked that one is left. */
static __always_inline int forward_age(struct __sk_buff *ctx, const struct flow *flow)
{
	__be16 old, new;
	__u8 ttl = flow->ttl - 1;

	if (flow->v6)
		return bpf_skb_store_bytes(ctx, IP6_HOPS_OFFSET, &ttl, 1, BPF_F_RECOMPUTE_CSUM) < 0
			       ? -DROP_WRITE_ERROR
			       : 0;
	old = bpf_htons((__u16)(flow->ttl << 8 | flow->protocol));
	new = bpf_htons((__u16)(ttl << 8 | flow->protocol));
	if (bpf_l3_csum_replace(ctx, IP4_CHECKSUM_OFFSET, be16_bits(old), be16_bits(new), 2) < 0)
		return -DROP_WRITE_ERROR;
	return bpf_skb_store_bytes(ctx, IP4_TTL_OFFSET, &ttl, 1, 0) < 0 ? -DROP_WRITE_ERROR : 0;
}

/*
 * Hands the packet to the container side of `slot`'s veth, past the host's stack. The receiver sees the
 * address to which the sender spoke as its neighbour. Returns a verdict or a negative DROP_*.
 */
static __always_inline int forward_local(struct __sk_buff *ctx, const struct flow *flow, __u32 slot)
{
	struct endpoint *endpoint = endpoint_get(slot);
	__u8 macs[12];
	int result;

	if (!endpoint || endpoint->id == 0 || endpoint->flags & EP_LOCKED)
		return -DROP_EP_NOT_READY;
	result = forward_age(ctx, flow);
	if (result)
		return result;
	if (bpf_skb_load_bytes(ctx, 0, macs + 6, 6) < 0)
		return -DROP_WRITE_ERROR;
	__builtin_memcpy(macs, endpoint->mac, 6);
	if (bpf_skb_store_bytes(ctx, 0, macs, sizeof(macs), 0) < 0)
		return -DROP_WRITE_ERROR;
	if (ctx->pkt_type != PACKET_HOST)
		bpf_skb_change_type(ctx, PACKET_HOST);
	return bpf_redirect_peer(endpoint->ifindex, 0);
}

#endif
