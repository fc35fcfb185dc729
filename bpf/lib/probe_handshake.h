/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How long the network takes for the handshake of a request, told apart from what both stacks take:
 * 1. the SYN of a socket with the prober's mark leaves: its time and number are noted at the socket;
 * 2. a SYN-ACK comes from the port of the peers' agents: the first one that answers that number has its time
 * noted. Of a SYN that was sent again nobody knows which one was answered; the kernel counts that, see
 * Exchange in TypeScript.
 */
#ifndef CILIATE_PROBE_HANDSHAKE_H
#define CILIATE_PROBE_HANDSHAKE_H

#include "probe_maps.h"
#include "probe_packet.h"
#include "probe_time.h"

/* `packet` with its IP header parsed. */
static __always_inline void note_syn(struct __sk_buff *ctx, const struct probe_packet *packet)
{
	struct bpf_sock *sock = ctx->sk;
	struct probe_handshake *handshake;
	struct tcphdr tcp;

	if (!sock || load(ctx, packet->l4_offset, &tcp, sizeof(tcp)) < 0 || !tcp.syn || tcp.ack)
		return;
	sock = bpf_sk_fullsock(sock);
	if (!sock)
		return;
	handshake = bpf_sk_storage_get(&probe_handshakes, sock, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!handshake)
		return;
	handshake->sequence = tcp.seq;
	handshake->answered_ns = 0;
	handshake->sent_ns = bpf_ktime_get_ns();
}

/* The socket of ours that a packet came for, to be released; or NULL. */
static __always_inline struct bpf_sock *socket_get(struct __sk_buff *ctx, const struct probe_packet *packet,
						   const struct tcphdr *tcp)
{
	struct bpf_sock_tuple tuple = {};

	if (packet->source.family == 4) {
		__builtin_memcpy(&tuple.ipv4.saddr, packet->source.bytes, 4);
		__builtin_memcpy(&tuple.ipv4.daddr, packet->destination.bytes, 4);
		tuple.ipv4.sport = tcp->source;
		tuple.ipv4.dport = tcp->dest;
		return bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	__builtin_memcpy(tuple.ipv6.saddr, packet->source.bytes, 16);
	__builtin_memcpy(tuple.ipv6.daddr, packet->destination.bytes, 16);
	tuple.ipv6.sport = tcp->source;
	tuple.ipv6.dport = tcp->dest;
	return bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
}

/* `packet` with its IP header parsed. */
static __always_inline void note_syn_ack(struct __sk_buff *ctx, const struct probe_packet *packet)
{
	__u32 zero = 0;
	const struct probe_config *config = bpf_map_lookup_elem(&probe_config, &zero);
	struct probe_handshake *handshake;
	struct bpf_sock *sock;
	struct tcphdr tcp;

	if (!config || load(ctx, packet->l4_offset, &tcp, sizeof(tcp)) < 0 || !tcp.syn || !tcp.ack ||
	    tcp.source != config->tcp_port)
		return;
	sock = socket_get(ctx, packet, &tcp);
	if (!sock)
		return;
	handshake = bpf_sk_storage_get(&probe_handshakes, sock, NULL, 0);
	if (handshake && bpf_ntohl(tcp.ack_seq) == bpf_ntohl(handshake->sequence) + 1)
		__sync_val_compare_and_swap(&handshake->answered_ns, 0, arrived_ns(ctx, handshake->sent_ns));
	bpf_sk_release(sock);
}

#endif
