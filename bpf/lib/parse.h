/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The slow path's reading of a packet: any linear length, options, extension headers, fragments.
 * The fast path reads its few fields itself (fast.h).
 */
#ifndef CILIATE_PARSE_H
#define CILIATE_PARSE_H

#include "common.h"
#include "conntrack_maps.h"
#include <linux/ip.h>
#include <linux/ipv6.h>

#define IPV6_EXTENSIONS_MAX 6
#define IP_MORE_FRAGMENTS   0x2000
#define IP_OFFSET_MASK	    0x1fff

#define ICMP_ECHOREPLY	    0
#define ICMP_DEST_UNREACH   3
#define ICMP_SOURCE_QUENCH  4
#define ICMP_REDIRECT	    5
#define ICMP_ECHO	    8
#define ICMP_TIME_EXCEEDED  11
#define ICMP_PARAMETERPROB  12
#define ICMP6_UNREACHABLE   1
#define ICMP6_TOO_BIG	    2
#define ICMP6_TIME_EXCEEDED 3
#define ICMP6_PARAMETER	    4
#define ICMP6_ECHO_REQUEST  128
#define ICMP6_ECHO_REPLY    129

/*
 * Ports that ICMP has in conntrack. An echo goes from 0 to its identifier. Identifier 0 would look the same
 * from both sides, and the type of another query could be somebody's identifier: both go from 1 to a port
 * that tells them apart, so that no two kinds of message share an entry.
 */
#define ICMP_PORT_ASKER	    bpf_htons(1)
#define ICMP_PORT_ECHO_ZERO bpf_htons(2)
#define ICMP_PORT_TYPE	    0x100 /* host order, and the type in the low byte */

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* What conntrack and policy want to know of a packet. */
struct flow {
	union address source;
	union address destination;
	__be16 source_port;
	__be16 destination_port;
	__be16 policy_port; /* the port that policy judges: of ICMP the type */
	__u8 protocol;
	__u8 v6;
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 icmp_error; /* judged by the flow in its body */
	__u8 ttl;
	__u32 l4_offset;
	__u32 fragment_id;
	__u8 first_fragment;
	__u8 later_fragment;
	__u16 pad;
};

struct icmp_head {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be16 identifier;
	__be16 sequence;
};

/* One IPv4 header. Returns 0 or a negative DROP_*. */
static __always_inline int parse_ipv4(struct __sk_buff *ctx, __u32 offset, struct flow *flow)
{
	struct iphdr ip;
	__u32 fragment;

	if (bpf_skb_load_bytes(ctx, offset, &ip, sizeof(ip)) < 0)
		return -DROP_INVALID;
	if (ip.version != 4 || ip.ihl < 5)
		return -DROP_INVALID;
	flow->source.word[0] = ip.saddr;
	flow->destination.word[0] = ip.daddr;
	flow->protocol = ip.protocol;
	flow->ttl = ip.ttl;
	flow->l4_offset = offset + ip.ihl * 4;
	fragment = bpf_ntohs(ip.frag_off);
	if (fragment & IP_OFFSET_MASK)
		flow->later_fragment = 1;
	else if (fragment & IP_MORE_FRAGMENTS)
		flow->first_fragment = 1;
	flow->fragment_id = be16_bits(ip.id);
	return 0;
}

struct ipv6_extension {
	__u8 next;
	__u8 length;
	__be16 fragment;
	__be32 id;
};

/* One IPv6 header and a bounded walk over what follows it. Returns 0 or a negative DROP_*. */
static __always_inline int parse_ipv6(struct __sk_buff *ctx, __u32 offset, struct flow *flow)
{
	struct ipv6_extension extension;
	struct ipv6hdr ip;
	__u8 next;
	int i;

	if (bpf_skb_load_bytes(ctx, offset, &ip, sizeof(ip)) < 0)
		return -DROP_INVALID;
	if (ip.version != 6)
		return -DROP_INVALID;
	__builtin_memcpy(&flow->source, &ip.saddr, 16);
	__builtin_memcpy(&flow->destination, &ip.daddr, 16);
	flow->ttl = ip.hop_limit;
	next = ip.nexthdr;
	offset += sizeof(ip);
	for (i = 0; i < IPV6_EXTENSIONS_MAX; i++) {
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
		    next != IPPROTO_FRAGMENT && next != IPPROTO_AH)
			break;
		if (bpf_skb_load_bytes(ctx, offset, &extension, sizeof(extension)) < 0)
			return -DROP_INVALID_EXTHDR;
		if (next == IPPROTO_FRAGMENT) {
			if (flow->first_fragment || flow->later_fragment)
				return -DROP_INVALID_EXTHDR;
			if (bpf_ntohs(extension.fragment) & 0xfff8)
				flow->later_fragment = 1;
			else if (bpf_ntohs(extension.fragment) & 1)
				flow->first_fragment = 1;
			flow->fragment_id = be32_bits(extension.id);
			offset += 8;
		} else if (next == IPPROTO_AH) {
			offset += (extension.length + 2) * 4;
		} else {
			offset += (extension.length + 1) * 8;
		}
		next = extension.next;
		/* The rest of a later fragment is payload, whatever it looks like. */
		if (flow->later_fragment)
			break;
	}
	if (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS ||
	    next == IPPROTO_FRAGMENT || next == IPPROTO_AH || next == IPPROTO_NONE)
		return -DROP_INVALID_EXTHDR;
	flow->protocol = next;
	flow->l4_offset = offset;
	return 0;
}

static __always_inline bool icmp_is_error(const struct flow *flow)
{
	if (flow->v6)
		return flow->icmp_type >= ICMP6_UNREACHABLE && flow->icmp_type <= ICMP6_PARAMETER;
	return flow->icmp_type == ICMP_DEST_UNREACH || flow->icmp_type == ICMP_SOURCE_QUENCH ||
	       flow->icmp_type == ICMP_TIME_EXCEEDED || flow->icmp_type == ICMP_PARAMETERPROB;
}

static __always_inline int parse_icmp(struct __sk_buff *ctx, struct flow *flow)
{
	struct icmp_head icmp;
	__u8 request = flow->v6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO;
	__u8 reply = flow->v6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY;

	if (bpf_skb_load_bytes(ctx, flow->l4_offset, &icmp, sizeof(icmp)) < 0)
		return -DROP_CT_INVALID_HDR;
	flow->icmp_type = icmp.type;
	flow->policy_port = bpf_htons(icmp.type);
	if (icmp.type == request) {
		flow->source_port = icmp.identifier ? 0 : ICMP_PORT_ASKER;
		flow->destination_port = icmp.identifier ? icmp.identifier : ICMP_PORT_ECHO_ZERO;
	} else if (icmp.type == reply) {
		/* A reply belongs to its request; alone it is judged as what it is. */
		flow->source_port = icmp.identifier ? icmp.identifier : ICMP_PORT_ECHO_ZERO;
		flow->destination_port = icmp.identifier ? 0 : ICMP_PORT_ASKER;
	} else if (icmp_is_error(flow)) {
		flow->icmp_error = 1;
	} else {
		flow->source_port = ICMP_PORT_ASKER;
		flow->destination_port = bpf_htons(ICMP_PORT_TYPE | icmp.type);
	}
	return 0;
}

/* The type, as policy knows it, of a message between these ports. */
static __always_inline __be16 icmp_type_of_ports(__be16 source, __be16 destination, bool v6)
{
	if (source == ICMP_PORT_ASKER && bpf_ntohs(destination) >= ICMP_PORT_TYPE)
		return bpf_htons(bpf_ntohs(destination) & 0xff);
	if (source == 0 || (source == ICMP_PORT_ASKER && destination == ICMP_PORT_ECHO_ZERO))
		return bpf_htons(v6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO);
	return bpf_htons(v6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY);
}

/* Ports from the transport header, as far as `bytes` of it are there. */
static __always_inline int parse_l4(struct __sk_buff *ctx, struct flow *flow)
{
	__be16 ports[2];
	__u8 tcp_flags;

	switch (flow->protocol) {
	case IPPROTO_ICMP:
		return flow->v6 ? -DROP_CT_UNKNOWN_PROTO : parse_icmp(ctx, flow);
	case IPPROTO_ICMPV6:
		return flow->v6 ? parse_icmp(ctx, flow) : -DROP_CT_UNKNOWN_PROTO;
	case IPPROTO_TCP:
		/* The first fragment must hold the flags: nobody sends less without an intention. */
		if (bpf_skb_load_bytes(ctx, flow->l4_offset + 13, &tcp_flags, 1) < 0)
			return -DROP_CT_INVALID_HDR;
		flow->tcp_flags = tcp_flags;
		break;
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		break;
	default:
		return -DROP_CT_UNKNOWN_PROTO;
	}
	if (bpf_skb_load_bytes(ctx, flow->l4_offset, ports, sizeof(ports)) < 0)
		return -DROP_CT_INVALID_HDR;
	flow->source_port = ports[0];
	flow->destination_port = ports[1];
	flow->policy_port = ports[1];
	return 0;
}

static __always_inline void fragment_key_fill(struct fragment_key *key, const struct flow *flow)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->source = flow->source;
	key->destination = flow->destination;
	key->id = flow->fragment_id;
	key->protocol = flow->protocol;
	key->family = flow->v6 ? 6 : 4;
}

/*
 * Notes the ports of a first fragment that may pass. One that is dropped leaves nothing: else a sender could
 * name ports for the datagrams of others, or for pieces of its own that policy denies.
 */
static __always_inline void fragment_note(const struct flow *flow)
{
	struct fragment_entry ports = {flow->source_port, flow->destination_port};
	struct fragment_key key;

	fragment_key_fill(&key, flow);
	bpf_map_update_elem(&MAP_FRAGMENTS, &key, &ports, BPF_ANY);
}

/* Ports of a fragment: a first one has them, a later one takes them from the first. */
static __always_inline int parse_fragment(struct __sk_buff *ctx, struct flow *flow)
{
	struct fragment_entry *found;
	struct fragment_key key;
	int result;

	if (!flow->later_fragment) {
		result = parse_l4(ctx, flow);
		/* An error in pieces cannot be judged by the flow in its body. */
		return !result && flow->icmp_error ? -DROP_FRAG_NOSUPPORT : result;
	}
	fragment_key_fill(&key, flow);
	found = bpf_map_lookup_elem(&MAP_FRAGMENTS, &key);
	if (!found)
		return -DROP_FRAG_NOT_FOUND;
	flow->source_port = found->source_port;
	flow->destination_port = found->destination_port;
	flow->policy_port = found->destination_port;
	if (flow->protocol == IPPROTO_ICMP || flow->protocol == IPPROTO_ICMPV6)
		flow->policy_port = icmp_type_of_ports(found->source_port, found->destination_port, flow->v6);
	return 0;
}

/* Fills `flow` (zeroed, `v6` set) from the packet. Returns 0 or a negative DROP_*. */
SUBPROGRAM int parse_flow(struct __sk_buff *ctx, struct flow *flow)
{
	int result;

	if (!flow)
		return -DROP_INVALID;
	result = flow->v6 ? parse_ipv6(ctx, ETH_HLEN, flow) : parse_ipv4(ctx, ETH_HLEN, flow);
	if (result)
		return result;
	if (flow->first_fragment || flow->later_fragment)
		return parse_fragment(ctx, flow);
	return parse_l4(ctx, flow);
}

/* The flow that an ICMP error speaks of. The body need not hold more than 8 bytes of the transport header. */
SUBPROGRAM int parse_embedded(struct __sk_buff *ctx, const struct flow *outer, struct flow *inner)
{
	struct icmp_head icmp;
	__u32 offset;
	int result;

	if (!outer || !inner)
		return -DROP_INVALID;
	offset = outer->l4_offset + sizeof(icmp);
	inner->v6 = outer->v6;
	result = inner->v6 ? parse_ipv6(ctx, offset, inner) : parse_ipv4(ctx, offset, inner);
	if (result)
		return result;
	if (inner->later_fragment)
		return -DROP_UNKNOWN_CT;
	/* For TCP, UDP and SCTP the first two words of these 8 bytes are the ports. */
	if (bpf_skb_load_bytes(ctx, inner->l4_offset, &icmp, sizeof(icmp)) < 0)
		return -DROP_CT_INVALID_HDR;
	switch (inner->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		inner->source_port = *(__be16 *)&icmp.type;
		inner->destination_port = icmp.checksum;
		inner->policy_port = inner->destination_port;
		return 0;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return parse_icmp(ctx, inner);
	}
	return -DROP_UNKNOWN_CT;
}

#endif
