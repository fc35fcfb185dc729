/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Telling probes from all other packets: what is read of them, and whether their checksum is right. */
#ifndef CILIATE_PROBE_PACKET_H
#define CILIATE_PROBE_PACKET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "probe_structs.h"

#define NEXT		(-1) /* TCX_NEXT: the next program of the chain decides */
#define L4_HEADER_BYTES 8    /* of ICMP echo, and of UDP */
#define SUMMED_WORDS	((L4_HEADER_BYTES + sizeof(struct probe_cookie)) / 4)

#ifndef __CHECKER__
#define __force
#endif

/* What is read of a packet that may be a probe. */
struct probe_packet {
	struct probe_address source;
	struct probe_address destination;
	__u32 l4_offset; /* from the IP header */
	__u32 l4_bytes;	 /* as the IP header says, from the L4 header on */
	__u32 hop_limit;
	__u32 protocol;
	union {
		__u32 words[SUMMED_WORDS]; /* as they lie in the packet */
		struct {
			union {
				__u8 icmp_type;
				struct {
					__be16 source_port;
					__be16 destination_port;
					__be16 udp_bytes;
					__be16 udp_sum;
				};
			};
			struct probe_cookie cookie;
		};
	};
};

/* Whether what follows an IP header is neither of a probe nor the SYN-ACK of a handshake. */
static __always_inline bool is_others_l4(const void *l4, const void *end, __u8 protocol)
{
	const struct tcphdr *tcp = l4;
	const struct udphdr *udp = l4;

	if (protocol == IPPROTO_TCP)
		return (const void *)(tcp + 1) <= end && !(tcp->syn && tcp->ack);
	if (protocol == IPPROTO_UDP)
		return (const void *)(udp + 1) <= end && udp->source != bpf_htons(PROBE_PORT) &&
		       udp->dest != bpf_htons(PROBE_PORT);
	return false;
}

/*
 * Whether a packet that came in is certainly nothing for us. Nearly all are told so by their plain headers,
 * without a call into the kernel; what lies otherwise, as behind a device without Ethernet headers, is to be
 * parsed. The lengths keep the bytes of such a packet from passing for an Ethernet header.
 */
static __always_inline bool is_others(const struct __sk_buff *ctx)
{
	const void *end = (const void *)(long)ctx->data_end;
	const struct ethhdr *ethernet = (const void *)(long)ctx->data;
	const struct iphdr *v4 = (const void *)(ethernet + 1);
	const struct ipv6hdr *v6 = (const void *)(ethernet + 1);

	if ((const void *)(v4 + 1) > end || (__force __u32)ethernet->h_proto != ctx->protocol)
		return false;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP))
		return v4->version == 4 && v4->ihl == 5 && ETH_HLEN + bpf_ntohs(v4->tot_len) <= ctx->len &&
		       is_others_l4(v4 + 1, end, v4->protocol);
	if (ethernet->h_proto == bpf_htons(ETH_P_IPV6))
		return (const void *)(v6 + 1) <= end && v6->version == 6 &&
		       ETH_HLEN + sizeof(*v6) + bpf_ntohs(v6->payload_len) <= ctx->len &&
		       is_others_l4(v6 + 1, end, v6->nexthdr);
	return false;
}

/* From the IP header on: a device may have no Ethernet header before it. */
static __always_inline long load(struct __sk_buff *ctx, __u32 offset, void *to, __u32 bytes)
{
	return bpf_skb_load_bytes_relative(ctx, offset, to, bytes, BPF_HDR_START_NET);
}

/* Headers without options, extensions or fragments: no probe of ours has any. False: not a probe. */
static __always_inline bool parse_ip(struct __sk_buff *ctx, struct probe_packet *packet)
{
	if (ctx->protocol == (__force __u32)bpf_htons(ETH_P_IP)) {
		struct iphdr ip;

		if (load(ctx, 0, &ip, sizeof(ip)) < 0 || ip.ihl != 5 || ip.frag_off & bpf_htons(0x3fff) ||
		    bpf_ntohs(ip.tot_len) < sizeof(ip))
			return false;
		packet->protocol = ip.protocol;
		packet->hop_limit = ip.ttl;
		packet->l4_offset = sizeof(ip);
		packet->l4_bytes = bpf_ntohs(ip.tot_len) - sizeof(ip);
		packet->source.family = packet->destination.family = 4;
		__builtin_memcpy(packet->source.bytes, &ip.saddr, 4);
		__builtin_memcpy(packet->destination.bytes, &ip.daddr, 4);
		return true;
	}
	if (ctx->protocol == (__force __u32)bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr ip;

		if (load(ctx, 0, &ip, sizeof(ip)) < 0)
			return false;
		packet->protocol = ip.nexthdr;
		packet->hop_limit = ip.hop_limit;
		packet->l4_offset = sizeof(ip);
		packet->l4_bytes = bpf_ntohs(ip.payload_len);
		packet->source.family = packet->destination.family = 6;
		__builtin_memcpy(packet->source.bytes, &ip.saddr, 16);
		__builtin_memcpy(packet->destination.bytes, &ip.daddr, 16);
		return true;
	}
	return false;
}

/* Reads the L4 header and the cookie, behind `parse_ip`. False: not a probe. */
static __always_inline bool parse_cookie(struct __sk_buff *ctx, struct probe_packet *packet)
{
	if (packet->protocol != IPPROTO_UDP && packet->protocol != IPPROTO_ICMP &&
	    packet->protocol != IPPROTO_ICMPV6)
		return false;
	if (packet->l4_bytes < sizeof(packet->words) ||
	    load(ctx, packet->l4_offset, packet->words, sizeof(packet->words)) < 0)
		return false;
	if (packet->protocol == IPPROTO_UDP && packet->source_port != bpf_htons(PROBE_PORT) &&
	    packet->destination_port != bpf_htons(PROBE_PORT))
		return false;
	return packet->cookie.magic == bpf_htonl(PROBE_MAGIC) && packet->cookie.version == 1;
}

/*
 * Whether the packet's checksum is right (RFC 1071), which no stack has looked at yet. A longer probe is
 * filled with zeros, which add nothing. An answer with another filling does not fit: the stack judges it.
 */
static __always_inline bool sum_fits(const struct probe_packet *packet)
{
	const __u32 *source = (const __u32 *)packet->source.bytes;
	const __u32 *destination = (const __u32 *)packet->destination.bytes;
	bool v4 = packet->source.family == 4;
	__u64 sum = 0;

	if (v4 && packet->protocol == IPPROTO_UDP && !packet->udp_sum)
		return true;
#pragma unroll
	for (__u32 i = 0; i < SUMMED_WORDS; i++)
		sum += packet->words[i];
	if (packet->protocol != IPPROTO_ICMP) {
		/* The pseudo-header; an IPv4 address is filled with zeros. */
#pragma unroll
		for (__u32 i = 0; i < 4; i++)
			sum += (__u64)source[i] + destination[i];
		sum += (__u64)(__force __u32)bpf_htonl(packet->l4_bytes) +
		       (__force __u32)bpf_htonl(packet->protocol);
	}
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

#endif
