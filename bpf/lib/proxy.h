/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Handing packets to the proxy's sockets. Only sockets with the proxy's mark are ever given a packet,
 * whatever else has the same tuple or port:
 * 1. the socket of the packet's own tuple: a connection of the proxy to a client, or to a server;
 * 2. else the listener, on loopback at the port that the policy names. It accepts a SYN; any other segment of
 * TCP it answers with a RST, so a flow that was direct before ends. Answers to UDP have their own socket or
 * none. A packet with a socket and the mark MARK_TO_PROXY is routed to the node itself by a rule of the
 * agent's.
 */
#ifndef CILIATE_PROXY_H
#define CILIATE_PROXY_H

#include "common.h"
#include "forward.h"
#include "verdict_structs.h"

/* Fields of the kernel's own struct, found by its BTF at load. */
struct inet_request_sock {
	__u32 ir_mark;
} __attribute__((preserve_access_index));

struct tcp_request_sock {
	struct inet_request_sock req;
} __attribute__((preserve_access_index));

static __always_inline bool proxy_mark(__u32 mark)
{
	return (mark & MARK_MASK) == MARK_FROM_PROXY;
}

/*
 * Whether somebody of the node listens where a packet goes. A SYN that finds the remains of a closed
 * connection is given to such a listener by the stack; without one it is acknowledged, reset by its sender,
 * and accepted when it comes again: the kernel takes no new connection beside the remains.
 */
static __always_inline bool proxy_stranger_listens(struct __sk_buff *ctx, const struct flow *flow)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *socket;

	if (flow->v6) {
		__builtin_memcpy(tuple.ipv6.daddr, &flow->destination, 16);
		tuple.ipv6.dport = flow->destination_port;
		socket = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	} else {
		tuple.ipv4.daddr = flow->destination.word[0];
		tuple.ipv4.dport = flow->destination_port;
		socket = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	if (!socket)
		return false;
	bpf_sk_release(socket);
	return true;
}

/* Whether a TCP socket that has the packet's tuple may take it. */
static __always_inline bool proxy_owns(struct __sk_buff *ctx, struct bpf_sock *socket,
				       const struct flow *flow)
{
	struct tcp_request_sock *request;
	struct bpf_sock *full;

	switch (socket->state) {
	case BPF_TCP_LISTEN:
		return false;
	case BPF_TCP_TIME_WAIT:
		return !(flow->tcp_flags & TCP_SYN) || !proxy_stranger_listens(ctx, flow);
	case BPF_TCP_NEW_SYN_RECV:
		request = bpf_skc_to_tcp_request_sock(socket);
		return request && proxy_mark(request->req.ir_mark);
	}
	full = bpf_sk_fullsock(socket);
	return full && proxy_mark(full->mark);
}

static __always_inline void proxy_tuple(struct bpf_sock_tuple *tuple, const struct flow *flow)
{
	__builtin_memset(tuple, 0, sizeof(*tuple));
	if (flow->v6) {
		__builtin_memcpy(tuple->ipv6.saddr, &flow->source, 16);
		__builtin_memcpy(tuple->ipv6.daddr, &flow->destination, 16);
		tuple->ipv6.sport = flow->source_port;
		tuple->ipv6.dport = flow->destination_port;
	} else {
		tuple->ipv4.saddr = flow->source.word[0];
		tuple->ipv4.daddr = flow->destination.word[0];
		tuple->ipv4.sport = flow->source_port;
		tuple->ipv4.dport = flow->destination_port;
	}
}

/* The loopback address and the proxy's port; from nobody in particular. */
static __always_inline void proxy_listener_tuple(struct bpf_sock_tuple *tuple, bool v6, __be16 port)
{
	__builtin_memset(tuple, 0, sizeof(*tuple));
	if (v6) {
		tuple->ipv6.daddr[3] = bpf_htonl(1);
		tuple->ipv6.dport = port;
	} else {
		tuple->ipv4.daddr = bpf_htonl(0x7f000001);
		tuple->ipv4.dport = port;
	}
}

/* Marks the packet for the rule that routes it to the node. */
static __always_inline int proxy_pass(struct __sk_buff *ctx)
{
	ctx->mark = (ctx->mark & ~MARK_MASK) | MARK_TO_PROXY;
	return VERDICT_PASS;
}

/*
 * Gives the packet to a socket, which is released in any case. A piece of a datagram cannot have one: once it
 * is whole, the stack finds the same socket by its tuple.
 */
static __always_inline int proxy_give(struct __sk_buff *ctx, struct bpf_sock *socket, bool fragment)
{
	long failed = fragment ? 0 : bpf_sk_assign(ctx, socket, 0);

	bpf_sk_release(socket);
	return failed ? -DROP_PROXY_ASSIGN_FAILED : proxy_pass(ctx);
}

SUBPROGRAM int proxy_take_tcp(struct __sk_buff *ctx, const struct judgement *judgement)
{
	struct bpf_sock_tuple tuple;
	struct bpf_sock *socket, *full;
	bool v6, fragment;

	if (!judgement)
		return -DROP_INVALID;
	v6 = judgement->flow.v6;
	fragment = judgement->flow.first_fragment || judgement->flow.later_fragment;
	proxy_tuple(&tuple, &judgement->flow);
	socket = v6 ? bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0)
		    : bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	if (socket) {
		if (proxy_owns(ctx, socket, &judgement->flow))
			return proxy_give(ctx, socket, fragment);
		bpf_sk_release(socket);
	}
	/* Whole again, it would be taken by whoever listens on its port. */
	if (fragment)
		return -DROP_FRAG_NOSUPPORT;
	if (!judgement->proxy_port)
		return -DROP_PROXY_LOOKUP_FAILED;
	proxy_listener_tuple(&tuple, v6, judgement->proxy_port);
	socket = v6 ? bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0)
		    : bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return -DROP_PROXY_LOOKUP_FAILED;
	full = bpf_sk_fullsock(socket);
	if (full && full->state == BPF_TCP_LISTEN && proxy_mark(full->mark))
		return proxy_give(ctx, socket, false);
	bpf_sk_release(socket);
	return -DROP_PROXY_LOOKUP_FAILED;
}

SUBPROGRAM int proxy_take_udp(struct __sk_buff *ctx, const struct judgement *judgement)
{
	struct bpf_sock_tuple tuple;
	struct bpf_sock *socket;
	bool fragment, v6;

	if (!judgement)
		return -DROP_INVALID;
	v6 = judgement->flow.v6;
	fragment = judgement->flow.first_fragment || judgement->flow.later_fragment;
	if (judgement->reply) {
		proxy_tuple(&tuple, &judgement->flow);
	} else {
		if (fragment)
			return -DROP_FRAG_NOSUPPORT;
		if (!judgement->proxy_port)
			return -DROP_PROXY_LOOKUP_FAILED;
		proxy_listener_tuple(&tuple, v6, judgement->proxy_port);
	}
	socket = v6 ? bpf_sk_lookup_udp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0)
		    : bpf_sk_lookup_udp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return -DROP_PROXY_LOOKUP_FAILED;
	if (proxy_mark(socket->mark))
		return proxy_give(ctx, socket, fragment);
	bpf_sk_release(socket);
	return -DROP_PROXY_LOOKUP_FAILED;
}

/* Hands the packet of a proxied flow to the proxy, at an ingress hook. Returns a verdict or a negative
 * DROP_*. */
static __always_inline int proxy_take(struct __sk_buff *ctx, const struct judgement *judgement)
{
	/* An error about a packet that the proxy sent: the stack tells the socket that sent it. */
	if (judgement->flow.icmp_error)
		return proxy_pass(ctx);
	switch (judgement->flow.protocol) {
	case IPPROTO_TCP:
		return proxy_take_tcp(ctx, judgement);
	case IPPROTO_UDP:
		return proxy_take_udp(ctx, judgement);
	}
	return -DROP_PROXY_UNKNOWN_PROTO;
}

/* What the stack says about a flow in ICMP is for the endpoint. */
static __always_inline bool proxy_told_by_stack(const struct judgement *judgement)
{
	return judgement->hook == HOOK_TO_POD && judgement->flow.icmp_error;
}

/*
 * At egress no socket can be given: a packet of the stack's for a proxied flow goes back in at the same
 * device, to returned_ip.
 */
static __always_inline int proxy_return(struct __sk_buff *ctx)
{
	ctx->mark = (ctx->mark & ~MARK_MASK) | MARK_RETURNED;
	return bpf_redirect(ctx->ifindex, BPF_F_INGRESS);
}

#endif
