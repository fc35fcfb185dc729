/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The two programs on the host side of an endpoint's veth pair. */
#include "lib/slow.h"

/* What only the endpoint itself may send. Returns 0 or a negative DROP_*. */
static __always_inline int check_source(struct __sk_buff *ctx, const struct flow *flow,
					const struct endpoint *endpoint)
{
	__u8 mac[6];

	if (bpf_skb_load_bytes(ctx, 6, mac, sizeof(mac)) < 0)
		return -DROP_INVALID;
	if (!bytes_equal(mac, endpoint->mac, 6))
		return -DROP_INVALID_SMAC;
	if (!flow->v6)
		return endpoint->families & 1 && flow->source.word[0] == endpoint->ip4 ? 0
										       : -DROP_INVALID_SIP;
	if (!(endpoint->families & 2) || !bytes_equal(flow->source.bytes, endpoint->ip6, 16))
		return -DROP_INVALID_SIP;
	return 0;
}

static __always_inline bool nd_message(const struct flow *flow)
{
	return flow->v6 && flow->protocol == IPPROTO_ICMPV6 &&
	       (flow->icmp_type == ND_SOLICITATION || flow->icmp_type == ND_ADVERTISEMENT);
}

/* Router discovery, redirects and group reports: no endpoint has business with them. */
static __always_inline bool forbidden_icmp6(const struct flow *flow)
{
	return flow->v6 && flow->protocol == IPPROTO_ICMPV6 &&
	       ((flow->icmp_type >= 130 && flow->icmp_type <= 137) || flow->icmp_type == 143);
}

/* What an endpoint says to itself through a service. Returns a verdict or a negative DROP_*. */
static __always_inline int deliver_to_itself(struct __sk_buff *ctx, struct judgement *judgement)
{
	__u32 slot = judgement->source.slot, length = ctx->len;
	int verdict;

	if (judgement->flow.ttl <= 1)
		return -DROP_TTL_EXCEEDED;
	if (judgement->flow.first_fragment)
		fragment_note(&judgement->flow);
	verdict = forward_local(ctx, &judgement->flow, slot);
	if (verdict < 0)
		return verdict;
	count_egress(slot, length);
	count_ingress(slot, length);
	return verdict;
}

/* IP from an endpoint, off the fast path. Returns a verdict or a negative DROP_*. */
static __always_inline int from_pod_ip(struct __sk_buff *ctx, struct judgement *judgement,
				       struct endpoint *endpoint)
{
	struct flow *flow = &judgement->flow;
	int result = parse_flow(ctx, flow);

	if (result)
		return result;
	if (nd_message(flow)) {
		judgement->quiet = 1;
		return nd_from_endpoint(ctx, endpoint, flow);
	}
	if (forbidden_icmp6(flow)) {
		judgement->quiet = 1;
		return -DROP_FORBIDDEN_ICMP6;
	}
	result = check_source(ctx, flow, endpoint);
	if (result)
		return result;
	/* It answers what it got from itself through a service. */
	if (service_is_loop(&flow->destination, flow->v6)) {
		result = service_inbound(ctx, judgement);
		return result ? result : deliver_to_itself(ctx, judgement);
	}
	result = service_outbound(ctx, judgement);
	if (result)
		return result;
	if (judgement->looped)
		return deliver_to_itself(ctx, judgement);
	result = side_of_address(&judgement->destination, &flow->destination, flow->v6);
	if (result) {
		judgement->direction = DIR_INGRESS;
		return result;
	}
	if (judgement->destination.slot && flow->ttl <= 1)
		return -DROP_TTL_EXCEEDED;
	result = judge(ctx, judgement);
	if (result)
		return result;
	return deliver(ctx, judgement);
}

/*
 * What proxy_return sent back in at this device: from the stack to the endpoint, of a flow that passes the
 * proxy. Returns a verdict or a negative DROP_*.
 */
static __always_inline int returned_ip(struct __sk_buff *ctx, struct judgement *judgement)
{
	struct flow *flow = &judgement->flow;
	struct ct_entry *entry;
	int result;

	judgement->direction = DIR_INGRESS;
	flow->v6 = ctx->protocol == CTX_IPV6;
	if (!flow->v6 && ctx->protocol != CTX_IPV4)
		return -DROP_UNKNOWN_L3;
	result = parse_flow(ctx, flow);
	if (result)
		return result;
	result = side_of_address(&judgement->destination, &flow->destination, flow->v6);
	if (result)
		return result;
	ct_tuple_fill(&judgement->tuple, flow);
	entry = ct_lookup(&judgement->tuple);
	if (!entry || !(entry->flags & CTF_PROXY))
		return -DROP_PROXY_LOOKUP_FAILED;
	judgement->reply = judgement->tuple.side != (entry->flags & CTF_INIT_B ? 1 : 0);
	judgement->proxy_port = entry->proxy_port;
	/* Its destination address at the link is the endpoint's. */
	bpf_skb_change_type(ctx, PACKET_HOST);
	return proxy_take(ctx, judgement);
}

/* The end of a packet of an endpoint's: whoever asks a service that has no backend is told so. */
static __always_inline int finish_from_pod(struct __sk_buff *ctx, struct judgement *judgement, int result)
{
	int verdict = finish(ctx, judgement, result);

	return result == -DROP_NO_SERVICE ? service_refuse(ctx, judgement) : verdict;
}

SUBPROGRAM int slow_from_pod(struct __sk_buff *ctx)
{
	struct judgement *judgement = judgement_begin(HOOK_FROM_POD, DIR_EGRESS);
	__u32 ifindex = ctx->ifindex;
	__u32 *slot = bpf_map_lookup_elem(&MAP_DEVICES, &ifindex);
	struct endpoint *endpoint;
	int result;

	if (!judgement)
		return VERDICT_DROP;
	if (!slot)
		return finish(ctx, judgement, -DROP_EP_NOT_READY);
	if ((ctx->mark & MARK_MASK) == MARK_RETURNED)
		return finish(ctx, judgement, returned_ip(ctx, judgement));
	result = side_of_slot(&judgement->source, *slot);
	endpoint = endpoint_get(judgement->source.slot);
	if (result || !endpoint || judgement->source.ifindex != ifindex)
		return finish(ctx, judgement, -DROP_EP_NOT_READY);
	if (ctx->vlan_present)
		return finish(ctx, judgement, -DROP_VLAN_FILTERED);
	switch (ctx->protocol) {
	case CTX_ARP:
		judgement->quiet = 1;
		return finish(ctx, judgement, arp_from_endpoint(ctx, endpoint));
	case CTX_IPV4:
		return finish_from_pod(ctx, judgement, from_pod_ip(ctx, judgement, endpoint));
	case CTX_IPV6:
		judgement->flow.v6 = 1;
		return finish_from_pod(ctx, judgement, from_pod_ip(ctx, judgement, endpoint));
	}
	return finish(ctx, judgement, -DROP_UNKNOWN_L3);
}

/* tcx ingress of the host side: what the endpoint sends. */
SEC("tc")
int from_pod(struct __sk_buff *ctx)
{
	int verdict = fast_path(ctx, HOOK_FROM_POD);

	return verdict == FAST_MISS ? slow_from_pod(ctx) : verdict;
}

/* IP from the stack to an endpoint, off the fast path. Returns a verdict or a negative DROP_*. */
static __always_inline int to_pod_ip(struct __sk_buff *ctx, struct judgement *judgement,
				     struct endpoint *endpoint)
{
	struct flow *flow = &judgement->flow;
	bool from_host = ctx->ingress_ifindex == 0;
	int result = parse_flow(ctx, flow);
	bool own;

	if (result)
		return result;
	if (nd_message(flow)) {
		judgement->quiet = 1;
		return from_host && flow->ttl == ND_HOP_LIMIT ? VERDICT_PASS : -DROP_FORBIDDEN_ICMP6;
	}
	own = flow->v6 ? endpoint->families & 2 && bytes_equal(flow->destination.bytes, endpoint->ip6, 16)
		       : endpoint->families & 1 && flow->destination.word[0] == endpoint->ip4;
	if (!own) {
		judgement->quiet = 1;
		return -DROP_UNROUTABLE;
	}
	if (forbidden_icmp6(flow))
		return -DROP_FORBIDDEN_ICMP6;
	result = side_of_address(&judgement->source, &flow->source, flow->v6);
	if (result)
		return result;
	/* The proxy speaks with the addresses of both ends. */
	judgement->from_proxy = from_host && (ctx->mark & MARK_MASK) == MARK_FROM_PROXY;
	if (!judgement->from_proxy) {
		/* An endpoint's packets reach the stack by its own device only. */
		if (judgement->source.slot && judgement->source.ifindex != ctx->ingress_ifindex)
			return -DROP_INVALID_SIP;
		judgement->source.host = from_host;
	}
	result = judge(ctx, judgement);
	return result ? result : deliver(ctx, judgement);
}

SUBPROGRAM int slow_to_pod(struct __sk_buff *ctx)
{
	struct judgement *judgement = judgement_begin(HOOK_TO_POD, DIR_INGRESS);
	__u32 ifindex = ctx->ifindex;
	__u32 *slot = bpf_map_lookup_elem(&MAP_DEVICES, &ifindex);
	struct endpoint *endpoint;
	int result;

	if (!judgement)
		return VERDICT_DROP;
	if (!slot)
		return finish(ctx, judgement, -DROP_EP_NOT_READY);
	result = side_of_slot(&judgement->destination, *slot);
	endpoint = endpoint_get(judgement->destination.slot);
	if (result || !endpoint || judgement->destination.ifindex != ifindex)
		return finish(ctx, judgement, -DROP_EP_NOT_READY);
	switch (ctx->protocol) {
	case CTX_ARP:
		return ctx->ingress_ifindex == 0 ? VERDICT_PASS : VERDICT_DROP;
	case CTX_IPV4:
		return finish(ctx, judgement, to_pod_ip(ctx, judgement, endpoint));
	case CTX_IPV6:
		judgement->flow.v6 = 1;
		return finish(ctx, judgement, to_pod_ip(ctx, judgement, endpoint));
	}
	return finish(ctx, judgement, -DROP_UNKNOWN_L3);
}

/* tcx egress of the host side: what the stack sends to the endpoint. */
SEC("tc")
int to_pod(struct __sk_buff *ctx)
{
	int verdict = fast_path(ctx, HOOK_TO_POD);

	return verdict == FAST_MISS ? slow_to_pod(ctx) : verdict;
}
