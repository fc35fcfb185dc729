/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The programs by which the node's own policy is enforced on devices that lead to other nodes. They are
 * attached only while there is such a policy, and pass everything while the record of slot 0 is empty. What
 * the node and its endpoints say to each other is judged at the endpoints' devices.
 */
#include "lib/slow.h"

#define VLAN_NUMBER 0x0fff
#define LINK_LOCAL4 0xa9fe /* 169.254.0.0/16 */

/* False for groups, broadcast, loopback and addresses of the link: what a network needs to come up. */
static __always_inline bool is_unicast(const union address *address, bool v6)
{
	const __u8 *bytes = address->bytes;

	if (v6)
		return bytes[0] != 0xff && !(bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80);
	return bytes[0] != 0 && bytes[0] != 127 && bytes[0] < 224 &&
	       (bytes[0] << 8 | bytes[1]) != LINK_LOCAL4;
}

/* Both addresses, before anything else is looked at: most packets are not for us. */
static __always_inline bool load_addresses(struct __sk_buff *ctx, struct flow *flow)
{
	if (flow->v6)
		return bpf_skb_load_bytes(ctx, ETH_HLEN + 8, &flow->source, 16) == 0 &&
		       bpf_skb_load_bytes(ctx, ETH_HLEN + 24, &flow->destination, 16) == 0;
	return bpf_skb_load_bytes(ctx, ETH_HLEN + 12, &flow->source, 4) == 0 &&
	       bpf_skb_load_bytes(ctx, ETH_HLEN + 16, &flow->destination, 4) == 0;
}

static __always_inline struct address_entry *address_lookup(const union address *address, bool v6)
{
	struct address_key key = {.family = v6 ? 6 : 4, .address = *address};

	return bpf_map_lookup_elem(&MAP_ADDRESSES, &key);
}

/*
 * Never judged, as in Cilium's host firewall (RFC 4890): what IPv6 cannot do without on a link. Errors are
 * the stack's to judge, by the sockets that they are about.
 */
static __always_inline bool is_exempt(const struct flow *flow)
{
	if (flow->icmp_error)
		return true;
	if (!flow->v6 || flow->protocol != IPPROTO_ICMPV6)
		return false;
	return (flow->icmp_type >= 130 && flow->icmp_type <= 137) ||
	       (flow->icmp_type >= 141 && flow->icmp_type <= 143) || flow->icmp_type == 148 ||
	       flow->icmp_type == 149 || (flow->icmp_type >= 151 && flow->icmp_type <= 153);
}

/*
 * Whether the frame is one of a VLAN, whose devices have names of their own. Number 0 is no VLAN but a
 * priority (IEEE 802.1Q): the stack takes such a frame for an untagged one.
 */
static __always_inline bool of_vlan(const struct __sk_buff *ctx)
{
	return ctx->vlan_present && (ctx->vlan_tci & VLAN_NUMBER);
}

/* Whether a tag is left behind the one that was taken off: the stack would take off that one too. */
static __always_inline bool tagged_twice(const struct __sk_buff *ctx)
{
	return ctx->protocol == CTX_8021Q || ctx->protocol == CTX_8021AD;
}

/* A judgement of a packet that may be about the node, with its addresses; NULL where there is none. */
static __always_inline struct judgement *host_judgement(struct __sk_buff *ctx, __u8 hook, __u8 direction)
{
	struct endpoint *host = endpoint_get(0);
	struct judgement *judgement;

	if (!host || !host->id || of_vlan(ctx))
		return NULL;
	if (ctx->protocol != CTX_IPV4 && ctx->protocol != CTX_IPV6)
		return NULL;
	judgement = judgement_begin(hook, direction);
	if (!judgement)
		return NULL;
	judgement->flow.v6 = ctx->protocol == CTX_IPV6;
	if (!load_addresses(ctx, &judgement->flow))
		return NULL;
	return is_unicast(&judgement->flow.destination, judgement->flow.v6) ? judgement : NULL;
}

/* Returns 0 or a negative DROP_*. */
static __always_inline int host_ip(struct __sk_buff *ctx, struct judgement *judgement, __u32 point)
{
	struct flow *flow = &judgement->flow;
	int result = parse_flow(ctx, flow);

	if (result)
		return result;
	if (is_exempt(flow))
		return 0;
	result = sides_of_flow(judgement);
	if (result)
		return result;
	/* An endpoint's address from outside is nobody's. */
	if (judgement->source.slot)
		return -DROP_INVALID_SIP;
	judgement->source.host = judgement->hook == HOOK_FROM_HOST;
	judgement->destination.host = judgement->hook == HOOK_TO_HOST;
	result = judge(ctx, judgement);
	if (result)
		return result;
	if (flow->first_fragment)
		fragment_note(flow);
	if (opens_flow(judgement))
		trace_forward(ctx, judgement, point);
	if (judgement->hook == HOOK_FROM_HOST)
		count_egress(0, ctx->len);
	else
		count_ingress(0, ctx->len);
	return 0;
}

/*
 * Whether the entry is of a flow of the node with somebody outside whose verdict stands for a plain packet
 * from `side`. Which of both addresses is the node's need not be asked: a packet that has them the wrong way
 * round is none for the node, or by it, and passes as well.
 */
static __always_inline bool host_usable(struct ct_entry *entry, __u32 side)
{
	__u32 initiator = entry->flags & CTF_INIT_B ? 1 : 0;
	__u32 needed = CTF_HOST | (side == initiator ? CTF_ESTABLISHED : CTF_SEEN_REPLY);

	if ((entry->flags & (CTF_SLOW | needed)) != needed || entry->slot[0] || entry->slot[1])
		return false;
	return ct_fresh(entry) && ct_see(entry);
}

static __always_inline bool host_tracked4(struct __sk_buff *ctx, __u32 hook)
{
	struct iphdr *ip = (void *)(long)ctx->data + ETH_HLEN;
	struct flow_cache_packet packet;
	struct ct_entry *entry;
	struct ct4_key key;
	__u32 side;

	if (!fast_parse4(ctx, ip, (void *)(long)ctx->data_end, &packet, hook))
		return false;
	side = ct4_key_fill(&key, ip->saddr, ip->daddr, packet.source_port, packet.destination_port,
			    ip->protocol);
	entry = bpf_map_lookup_elem(&MAP_CT4, &key);
	return entry && host_usable(entry, side);
}

static __always_inline bool host_tracked6(struct __sk_buff *ctx, __u32 hook)
{
	struct ipv6hdr *ip = (void *)(long)ctx->data + ETH_HLEN;
	struct flow_cache_packet packet;
	struct ct_entry *entry;
	struct ct6_key key;
	__u32 side;

	if (!fast_parse6(ctx, ip, (void *)(long)ctx->data_end, &packet, hook))
		return false;
	side = ct6_key_fill(&key, (union address *)&ip->saddr, (union address *)&ip->daddr,
			    packet.source_port, packet.destination_port, ip->nexthdr);
	entry = bpf_map_lookup_elem(&MAP_CT6, &key);
	return entry && host_usable(entry, side);
}

/* Whether it is a plain packet of a flow of the node that may pass: counted then. */
static __always_inline bool host_fast(struct __sk_buff *ctx, __u32 hook)
{
	struct endpoint *host = endpoint_get(0);

	if (!host || !host->id || of_vlan(ctx))
		return false;
	if (ctx->protocol == CTX_IPV4 ? !host_tracked4(ctx, hook)
				      : ctx->protocol != CTX_IPV6 || !host_tracked6(ctx, hook))
		return false;
	if (hook == HOOK_FROM_HOST)
		count_egress(0, ctx->len);
	else
		count_ingress(0, ctx->len);
	return true;
}

/* Returns a verdict. */
static __always_inline int drop_tagged_twice(struct __sk_buff *ctx)
{
	struct endpoint *host = endpoint_get(0);
	struct judgement *judgement;

	if (!host || !host->id || of_vlan(ctx))
		return VERDICT_NEXT;
	judgement = judgement_begin(HOOK_TO_HOST, DIR_INGRESS);
	return judgement ? finish(ctx, judgement, -DROP_VLAN_FILTERED) : VERDICT_DROP;
}

SUBPROGRAM int judge_to_host(struct __sk_buff *ctx)
{
	struct judgement *judgement = host_judgement(ctx, HOOK_TO_HOST, DIR_INGRESS);
	struct scratch *scratch = scratch_get();
	struct address_entry *entry;

	if (tagged_twice(ctx))
		return drop_tagged_twice(ctx);
	if (!judgement || !scratch)
		return VERDICT_NEXT;
	entry = address_lookup(&judgement->flow.destination, judgement->flow.v6);
	if (entry ? entry->slot || !(entry->flags & ADDRESS_F_HOST)
		  : !stays_on_node(ctx, &judgement->flow, &scratch->fib))
		return VERDICT_NEXT;
	return finish(ctx, judgement, host_ip(ctx, judgement, TRACE_TO_HOST)) == VERDICT_DROP ? VERDICT_DROP
											      : VERDICT_NEXT;
}

/*
 * tcx ingress of a device to other nodes, behind from_netdev: what comes for the node itself. A frame to a
 * group of the link is looked at as well, since the stack takes datagrams of such; what is for another
 * machine it drops.
 */
SEC("tc")
int to_host(struct __sk_buff *ctx)
{
	if (ctx->pkt_type == PACKET_OTHERHOST || host_fast(ctx, HOOK_TO_HOST))
		return VERDICT_NEXT;
	return judge_to_host(ctx);
}

SUBPROGRAM int judge_from_host(struct __sk_buff *ctx)
{
	struct judgement *judgement = host_judgement(ctx, HOOK_FROM_HOST, DIR_EGRESS);
	struct address_entry *entry;

	if (!judgement)
		return VERDICT_NEXT;
	/* The proxy speaks with the addresses of endpoints, whose flows were judged. */
	entry = address_lookup(&judgement->flow.source, judgement->flow.v6);
	if (entry && entry->slot)
		return VERDICT_NEXT;
	return finish(ctx, judgement, host_ip(ctx, judgement, TRACE_TO_NETWORK)) == VERDICT_DROP
		       ? VERDICT_DROP
		       : VERDICT_NEXT;
}

/* tcx egress of a device to other nodes: what the node itself sends; the rest is forwarded. */
SEC("tc")
int from_host(struct __sk_buff *ctx)
{
	if (ctx->ingress_ifindex != 0 || host_fast(ctx, HOOK_FROM_HOST))
		return VERDICT_NEXT;
	return judge_from_host(ctx);
}
