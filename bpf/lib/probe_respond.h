/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The echo responder: answers the probes of known nodes, at the device that they came in by. */
#ifndef CILIATE_PROBE_RESPOND_H
#define CILIATE_PROBE_RESPOND_H

#include <linux/pkt_cls.h>
#include "probe_maps.h"
#include "probe_packet.h"
#include "probe_time.h"

#define HOP_LIMIT 64

/* Whether a node may have one more echo. */
static __always_inline bool may_have_echo(const struct probe_packet *packet, __u64 now_ns)
{
	struct probe_peer *peer = bpf_map_lookup_elem(&probe_peers, &packet->source);
	__u32 zero = 0;
	const struct probe_config *config = bpf_map_lookup_elem(&probe_config, &zero);

	if (!peer || !config) {
		COUNT(refused_address);
		return false;
	}
	peer->heard_ns = now_ns;
	if (now_ns - peer->window_ns > SECOND_NS) {
		peer->window_ns = now_ns;
		peer->echoes = 0;
	}
	if (__sync_fetch_and_add(&peer->echoes, 1) < config->echoes_per_second)
		return true;
	COUNT(refused_rate);
	return false;
}

static __always_inline void swap_macs(struct ethhdr *ethernet)
{
	__u8 mac[ETH_ALEN];

	__builtin_memcpy(mac, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, ethernet->h_source, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, mac, ETH_ALEN);
}

/* A sum (RFC 1071) after two bytes of what it is over became others; all as they lie in the packet. */
static __always_inline __u16 sum_after(__u16 sum, __u16 before, __u16 after)
{
	__u32 rest = (__u16)~sum + (__u32)(__u16)~before + after;

	rest = (rest & 0xffff) + (rest >> 16);
	return (__u16) ~((rest & 0xffff) + (rest >> 16));
}

/* UDP header and cookie of the answer; addresses and ports change places, so that no sum changes by them. */
static __always_inline void answer_udp(struct probe_packet *packet, __u64 began_ns)
{
	__be16 port = packet->source_port;

	packet->source_port = packet->destination_port;
	packet->destination_port = port;
	packet->cookie.flags |= PROBE_ECHOED;
	packet->cookie.residence_ns = bpf_htonl((__u32)(bpf_ktime_get_ns() - began_ns));
}

/* The datagram's checksum, where it has one; the kernel knows of one that is still to be made. */
static __always_inline int replace_sum(struct __sk_buff *ctx, const struct probe_packet *packet,
				       const struct probe_cookie *asked)
{
	__u32 at = ETH_HLEN + packet->l4_offset + 6, before[2], after[2];

	if (!packet->udp_sum)
		return 0;
	__builtin_memcpy(&before[0], &asked->version, 4);
	__builtin_memcpy(&after[0], &packet->cookie.version, 4);
	before[1] = (__force __u32)asked->residence_ns;
	after[1] = (__force __u32)packet->cookie.residence_ns;
	if (bpf_l4_csum_replace(ctx, at, before[0], after[0], BPF_F_MARK_MANGLED_0 | 4) < 0)
		return -1;
	return bpf_l4_csum_replace(ctx, at, before[1], after[1], BPF_F_MARK_MANGLED_0 | 4);
}

/* Turned round in one piece: each call into the kernel costs more than the copy. */
static __always_inline int answer_v4(struct __sk_buff *ctx, const struct probe_packet *packet)
{
	struct {
		struct ethhdr ethernet;
		struct iphdr ip;
		__u32 words[SUMMED_WORDS];
	} __attribute__((packed)) frame;
	__be16 before, after = bpf_htons(HOP_LIMIT << 8 | IPPROTO_UDP);

	if (bpf_skb_load_bytes(ctx, 0, &frame, ETH_HLEN + sizeof(frame.ip)) < 0)
		return -1;
	swap_macs(&frame.ethernet);
	before = bpf_htons((__u16)(frame.ip.ttl << 8 | IPPROTO_UDP));
	frame.ip.ttl = HOP_LIMIT;
	frame.ip.check = sum_after(frame.ip.check, (__force __u16)before, (__force __u16)after);
	__builtin_memcpy(&frame.ip.saddr, packet->destination.bytes, 4);
	__builtin_memcpy(&frame.ip.daddr, packet->source.bytes, 4);
	__builtin_memcpy(frame.words, packet->words, sizeof(frame.words));
	return bpf_skb_store_bytes(ctx, 0, &frame, sizeof(frame), 0);
}

static __always_inline int answer_v6(struct __sk_buff *ctx, const struct probe_packet *packet)
{
	struct {
		struct ethhdr ethernet;
		struct ipv6hdr ip;
		__u32 words[SUMMED_WORDS];
	} __attribute__((packed)) frame;

	if (bpf_skb_load_bytes(ctx, 0, &frame, ETH_HLEN + sizeof(frame.ip)) < 0)
		return -1;
	swap_macs(&frame.ethernet);
	frame.ip.hop_limit = HOP_LIMIT;
	__builtin_memcpy(&frame.ip.saddr, packet->destination.bytes, 16);
	__builtin_memcpy(&frame.ip.daddr, packet->source.bytes, 16);
	__builtin_memcpy(frame.words, packet->words, sizeof(frame.words));
	return bpf_skb_store_bytes(ctx, 0, &frame, sizeof(frame), 0);
}

/*
 * A probe that asks for an echo: back the way it came, never larger, and only to nodes. By a device without
 * Ethernet headers its length does not fit, and the stack says that the port is closed.
 */
static __always_inline int answer_probe(struct __sk_buff *ctx, struct probe_packet *packet, __u64 now_ns)
{
	struct probe_cookie asked = packet->cookie;

	if (!bpf_map_lookup_elem(&probe_own, &packet->destination))
		return NEXT;
	if ((packet->cookie.flags & ~PROBE_BY_THREAD) != PROBE_WANTS_ECHO ||
	    bpf_ntohs(packet->udp_bytes) != packet->l4_bytes ||
	    ctx->len != ETH_HLEN + packet->l4_offset + packet->l4_bytes) {
		COUNT(refused_form);
		return NEXT;
	}
	if (!may_have_echo(packet, now_ns))
		return NEXT;
	answer_udp(packet, now_ns);
	if ((packet->source.family == 4 ? answer_v4(ctx, packet) : answer_v6(ctx, packet)) < 0 ||
	    replace_sum(ctx, packet, &asked) < 0)
		return TC_ACT_SHOT;
	COUNT(echoed);
	/* That it came in is in it: a look-up less. */
	waypoint_note(&probe_waypoints, &packet->cookie, WAYPOINT_ECHO | WAYPOINT_ANSWER, 0);
	return bpf_redirect(ctx->ifindex, 0);
}

#endif
