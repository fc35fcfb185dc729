/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The program on devices that lead to other nodes. */
#include "lib/slow.h"

/* Whether the packet is for an endpoint of this node; everything else belongs to the stack. */
static __always_inline bool for_endpoint(struct __sk_buff *ctx, bool v6)
{
	struct address_key key = {.family = v6 ? 6 : 4};
	struct address_entry *entry;

	if (v6) {
		if (bpf_skb_load_bytes(ctx, ETH_HLEN + 24, &key.address, 16) < 0)
			return false;
	} else if (bpf_skb_load_bytes(ctx, ETH_HLEN + 16, &key.address, 4) < 0) {
		return false;
	}
	entry = bpf_map_lookup_elem(&MAP_ADDRESSES, &key);
	return entry && entry->slot;
}

/* Returns a verdict or a negative DROP_*. */
static __always_inline int from_netdev_ip(struct __sk_buff *ctx, struct judgement *judgement)
{
	struct flow *flow = &judgement->flow;
	int result = parse_flow(ctx, flow);

	if (result)
		return result;
	result = sides_of_flow(judgement);
	if (result)
		return result;
	if (judgement->source.slot)
		return -DROP_INVALID_SIP;
	/* Our own address on a packet from outside proves nothing. */
	judgement->source.host = 0;
	if (flow->v6 && flow->protocol == IPPROTO_ICMPV6 && flow->icmp_type >= 130 && flow->icmp_type <= 137)
		return -DROP_FORBIDDEN_ICMP6;
	if (flow->ttl <= 1)
		return -DROP_TTL_EXCEEDED;
	result = judge(ctx, judgement);
	return result ? result : deliver(ctx, judgement);
}

SUBPROGRAM int slow_from_netdev(struct __sk_buff *ctx)
{
	struct judgement *judgement;
	bool v6 = ctx->protocol == CTX_IPV6;

	if (ctx->pkt_type != PACKET_HOST || (!v6 && ctx->protocol != CTX_IPV4) || ctx->vlan_present)
		return VERDICT_NEXT;
	if (!for_endpoint(ctx, v6))
		return VERDICT_NEXT;
	judgement = judgement_begin(HOOK_FROM_NETDEV, DIR_INGRESS);
	if (!judgement)
		return VERDICT_DROP;
	judgement->flow.v6 = v6;
	return finish(ctx, judgement, from_netdev_ip(ctx, judgement));
}

/* tcx ingress of a device to other nodes: what comes for endpoints goes to them past the stack. */
SEC("tc")
int from_netdev(struct __sk_buff *ctx)
{
	int verdict = fast_path(ctx, HOOK_FROM_NETDEV);

	return verdict == FAST_MISS ? slow_from_netdev(ctx) : verdict;
}
