/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Neighbours of an endpoint: whatever it asks for, the host side of its veth is the answer. */
#ifndef CILIATE_ARP_ND_H
#define CILIATE_ARP_ND_H

#include "checksum.h"
#include "common.h"
#include "endpoint_maps.h"
#include "parse.h"

#define ARP_REQUEST 1
#define ARP_REPLY   2

#define ND_SOLICITATION	 135
#define ND_ADVERTISEMENT 136
#define ND_HOP_LIMIT	 255
#define ND_OPTION_TARGET 2
#define ND_SCOPE_LINK	 2

/* Router, solicited, override (RFC 4861 4.4). */
#define ND_ADVERTISEMENT_FLAGS 0xe0000000

struct arp_packet {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_length;
	__u8 protocol_length;
	__be16 operation;
	__u8 sender_mac[6];
	__u8 sender_ip[4];
	__u8 target_mac[6];
	__u8 target_ip[4];
} __attribute__((packed));

static __always_inline bool bytes_equal(const __u8 *x, const __u8 *y, __u32 count)
{
	__u32 difference = 0, i;

	/* Without branches: the verifier would follow every one of them. */
	for (i = 0; i < count; i++)
		difference |= x[i] ^ y[i];
	return difference == 0;
}

/*
 * ARP from an endpoint. A request is answered, a reply goes to the stack that asked; probes for the
 * endpoint's own address find nobody. Returns a verdict or a negative DROP_*.
 */
SUBPROGRAM int arp_from_endpoint(struct __sk_buff *ctx, const struct endpoint *endpoint)
{
	struct arp_packet arp;
	__u8 macs[12];
	__u8 own[4];
	__u8 asked[4];

	if (!endpoint)
		return -DROP_EP_NOT_READY;
	if (bpf_skb_load_bytes(ctx, ETH_HLEN, &arp, sizeof(arp)) < 0 || arp.hardware != bpf_htons(1) ||
	    arp.protocol != bpf_htons(ETH_P_IP) || arp.hardware_length != 6 || arp.protocol_length != 4)
		return -DROP_INVALID;
	if (!bytes_equal(arp.sender_mac, endpoint->mac, 6))
		return -DROP_INVALID_SMAC;
	__builtin_memcpy(own, &endpoint->ip4, 4);
	if (!(endpoint->families & 1) || bytes_equal(arp.target_ip, own, 4))
		return -DROP_UNKNOWN_TARGET;
	if (!bytes_equal(arp.sender_ip, own, 4))
		return -DROP_INVALID_SIP;
	if (arp.operation == bpf_htons(ARP_REPLY))
		return VERDICT_PASS;
	if (arp.operation != bpf_htons(ARP_REQUEST))
		return -DROP_INVALID;
	__builtin_memcpy(asked, arp.target_ip, 4);
	__builtin_memcpy(macs, endpoint->mac, 6);
	__builtin_memcpy(macs + 6, endpoint->host_mac, 6);
	arp.operation = bpf_htons(ARP_REPLY);
	__builtin_memcpy(arp.sender_mac, endpoint->host_mac, 6);
	__builtin_memcpy(arp.sender_ip, asked, 4);
	__builtin_memcpy(arp.target_mac, endpoint->mac, 6);
	__builtin_memcpy(arp.target_ip, own, 4);
	if (bpf_skb_store_bytes(ctx, 0, macs, sizeof(macs), 0) < 0 ||
	    bpf_skb_store_bytes(ctx, ETH_HLEN, &arp, sizeof(arp), 0) < 0)
		return -DROP_WRITE_ERROR;
	bpf_skb_change_type(ctx, PACKET_HOST);
	return bpf_redirect_peer(endpoint->ifindex, 0);
}

/* A neighbour advertisement with its option; the layout of a solicitation is the same. */
struct nd_packet {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 flags;
	__u8 target[16];
	__u8 option;
	__u8 option_words;
	__u8 mac[6];
};

struct nd_reply {
	__u8 macs[12];
	__be16 ethertype;
	__be32 version;
	__be16 length;
	__u8 next;
	__u8 hops;
	__u8 source[16];
	__u8 destination[16];
	struct nd_packet nd;
} __attribute__((packed));

static __always_inline __be16 nd_checksum(const struct nd_reply *reply)
{
	struct {
		__u8 source[16];
		__u8 destination[16];
		__be32 length;
		__be32 next;
		struct nd_packet nd;
	} pseudo;
	__s64 sum;

	__builtin_memcpy(pseudo.source, reply->source, 32);
	pseudo.length = bpf_htonl(sizeof(reply->nd));
	pseudo.next = bpf_htonl(IPPROTO_ICMPV6);
	__builtin_memcpy(&pseudo.nd, &reply->nd, sizeof(pseudo.nd));
	pseudo.nd.checksum = 0;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&pseudo, sizeof(pseudo), 0);
	if (sum < 0)
		return 0;
	return checksum_of(sum);
}

/*
 * Whether an advertisement goes to the stack of this node. Any other destination would carry it on unjudged,
 * to whoever it names: it has passed no policy.
 */
static __always_inline bool nd_for_node(const struct flow *flow)
{
	struct address_key key = {.family = 6, .address = flow->destination};
	struct address_entry *entry;

	if (flow->destination.bytes[0] == 0xff)
		return (flow->destination.bytes[1] & 0xf) <= ND_SCOPE_LINK;
	if (flow->destination.bytes[0] == 0xfe && (flow->destination.bytes[1] & 0xc0) == 0x80)
		return true;
	entry = bpf_map_lookup_elem(&MAP_ADDRESSES, &key);
	return entry && !entry->slot && entry->flags & ADDRESS_F_HOST;
}

/*
 * Neighbour discovery from an endpoint, whose source address may be link-local: a solicitation for anything
 * but itself is answered, an advertisement of its own address goes to the stack that asked.
 */
SUBPROGRAM int nd_from_endpoint(struct __sk_buff *ctx, const struct endpoint *endpoint,
				const struct flow *flow)
{
	struct nd_reply reply;
	__u8 target[16];

	if (!endpoint || !flow)
		return -DROP_EP_NOT_READY;
	if (flow->ttl != ND_HOP_LIMIT || flow->l4_offset != ETH_HLEN + 40)
		return -DROP_FORBIDDEN_ICMP6;
	if (bpf_skb_load_bytes(ctx, ETH_HLEN + 48, target, sizeof(target)) < 0)
		return -DROP_INVALID;
	if (flow->icmp_type == ND_ADVERTISEMENT) {
		if (!nd_for_node(flow))
			return -DROP_FORBIDDEN_ICMP6;
		return bytes_equal(target, endpoint->ip6, 16) ? VERDICT_PASS : -DROP_INVALID_SIP;
	}
	if (bytes_equal(target, endpoint->ip6, 16) || (!flow->source.half[0] && !flow->source.half[1]))
		return -DROP_UNKNOWN_TARGET;
	/* Bring the packet to the one size an answer has. */
	if (bpf_skb_change_tail(ctx, sizeof(reply), 0) < 0)
		return -DROP_WRITE_ERROR;
	__builtin_memcpy(reply.macs, endpoint->mac, 6);
	__builtin_memcpy(reply.macs + 6, endpoint->host_mac, 6);
	reply.ethertype = bpf_htons(ETH_P_IPV6);
	reply.version = bpf_htonl(0x60000000);
	reply.length = bpf_htons(sizeof(reply.nd));
	reply.next = IPPROTO_ICMPV6;
	reply.hops = ND_HOP_LIMIT;
	__builtin_memcpy(reply.source, target, 16);
	__builtin_memcpy(reply.destination, &flow->source, 16);
	reply.nd.type = ND_ADVERTISEMENT;
	reply.nd.code = 0;
	reply.nd.checksum = 0;
	reply.nd.flags = bpf_htonl(ND_ADVERTISEMENT_FLAGS);
	__builtin_memcpy(reply.nd.target, target, 16);
	reply.nd.option = ND_OPTION_TARGET;
	reply.nd.option_words = 1;
	__builtin_memcpy(reply.nd.mac, endpoint->host_mac, 6);
	reply.nd.checksum = nd_checksum(&reply);
	if (bpf_skb_store_bytes(ctx, 0, &reply, sizeof(reply), BPF_F_INVALIDATE_HASH) < 0)
		return -DROP_WRITE_ERROR;
	bpf_skb_change_type(ctx, PACKET_HOST);
	return bpf_redirect_peer(endpoint->ifindex, 0);
}

#endif
